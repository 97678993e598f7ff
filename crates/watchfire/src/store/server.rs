//! PostgreSQL for whoever keeps something there: the one place where connections are opened.

use std::path::Path;
use std::time::Duration;

use tokio_postgres::config::{ChannelBinding, Host, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, NoTls, Socket};
use zeroize::Zeroizing;

use super::tls::Tls;
use super::{Access, StoreError, hosts};
use crate::exit::{Failure, file_failure};
use crate::values::{PostgresUrl, ServerCheck};

/// The longest time for a connection.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest time for an answer: the server's own words, that it has taken too long, come first.
pub(crate) const ANSWER: Duration = Duration::from_secs(35);
/// The same for what takes as long as there is much, over a connection that is made for that.
pub(crate) const LONG_ANSWER: Duration = Duration::from_secs(3605);

/// A server, and how it is reached.
pub(crate) struct Server {
    config: Config,
    name: String,
    tls: Option<Tls>,
    /// Whether the URL says what sessions must be able to do.
    says_session: bool,
}

impl Server {
    /// A password is taken from `password_file` (its first line), else from the URL, else from the variable
    /// `PGPASSWORD`. The files for TLS are read, to see that they can be, and again for each connection.
    ///
    /// # Errors
    /// A file that cannot be read or is not what it should be.
    pub(crate) fn new(url: &PostgresUrl, password_file: Option<&Path>) -> Result<Self, Failure> {
        let name = url.to_string();
        let mut config = url.config().map_err(|what| Failure::usage(what).at(&name))?;
        if let Some(password) = password(password_file)?
            && (password_file.is_some() || config.get_password().is_none())
        {
            config.password(password.as_bytes());
        }
        let tls = url.tls().map(Tls::new).transpose()?;
        // Who the server is must be shown by its certificate, or by that it knows the password too. Otherwise it would be
        // told the password if it asked for that.
        let is_unknown = url.tls().is_some_and(|tls| tls.check != ServerCheck::Full && tls.client.is_none());
        if is_unknown && config.get_password().is_some() && !url.says("channel_binding") {
            config.channel_binding(ChannelBinding::Require);
        }
        if url.is_far() && tls.is_none() {
            tracing::warn!(
                store = %name,
                "sslmode=disable: what is stored travels in clear text, and the password if the server asks for it"
            );
        }
        if tls.as_ref().is_some_and(Tls::trusts_anybody) {
            tracing::warn!(
                store = %name,
                "sslmode=require: whoever is in between can be the server; write verify-full, and sslrootcert=FILE"
            );
        }
        config.application_name("watchfire");
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        Ok(Self { config, name, tls, says_session: url.says("target_session_attrs") })
    }

    /// What stands for it in errors: its URL without password and parameters.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What an error of the library is for whoever asked.
    pub(crate) fn failed(&self, error: &tokio_postgres::Error) -> StoreError {
        let store = self.name.clone();
        let Some(server) = error.as_db_error() else {
            // The library's own words lack the cause.
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            let remedy = super::tls::remedy(error).map(|remedy| format!("; {remedy}"));
            let reached = |error: &(dyn std::error::Error + 'static)| error.is::<std::io::Error>();
            let unreached = std::error::Error::source(error).is_some_and(reached);
            let remedy = remedy.or_else(|| {
                unreached.then(|| "; check the host and the port, and that PostgreSQL runs there".to_owned())
            });
            let remedy = remedy.unwrap_or_default();
            return StoreError::Unavailable { store, what: format!("{error}{cause}{remedy}") };
        };
        let mut what = format!("{} ({})", server.message(), server.code().code());
        if *server.code() == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
            match &self.tls {
                // On a socket there is none.
                None if self.config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(_))) => {
                    what.push_str("; if it wants TLS, write sslmode=verify-full");
                }
                Some(tls) if !tls.has_client() => what.push_str("; if it wants a certificate, name sslcert and sslkey"),
                _ => {}
            }
        }
        if *server.code() == SqlState::INSUFFICIENT_PRIVILEGE {
            what.push_str("; grant this user the rights that docs/cluster.md names");
        }
        match server.code() {
            // Another one of the hosts takes writes, or this one will.
            code if *code == SqlState::READ_ONLY_SQL_TRANSACTION => StoreError::Unavailable { store, what },
            code if *code == SqlState::DISK_FULL => StoreError::Full { store, what },
            code => match code.code().get(..2) {
                // Connection, transaction rolled back, resources, operator, system.
                Some("08" | "40" | "53" | "55" | "57" | "58") => StoreError::Unavailable { store, what },
                // Authentication, unknown database, no rights or tables.
                Some("28" | "3D" | "42") => StoreError::Unusable { store, what },
                _ => StoreError::Failed { store, what },
            },
        }
    }

    /// What a call brings, unless it takes longer: whatever is between us and the server may say nothing for ever.
    pub(crate) async fn in_time<T>(
        &self,
        patience: Duration,
        call: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        let late = || StoreError::Unavailable { store: self.name.clone(), what: "no answer in time".into() };
        let answer = tokio::time::timeout(patience, call).await.map_err(|_| late())?;
        answer.map_err(|error| self.failed(&error))
    }

    /// A new connection, whose statements may take an hour: see [`LONG_ANSWER`].
    pub(crate) async fn connect_patiently(&self, access: Access) -> Result<Client, StoreError> {
        let client = self.connect_to(access).await?;
        self.in_time(ANSWER, client.batch_execute("SET statement_timeout = '1h'")).await?;
        Ok(client)
    }

    /// A new connection, to write.
    pub(crate) async fn connect(&self) -> Result<Client, StoreError> {
        self.connect_to(Access::Write).await
    }

    /// A new connection. Of several servers one that takes writes, if it is to write and the URL does not say otherwise:
    /// a standby would be found first when the primary has moved.
    pub(crate) async fn connect_to(&self, access: Access) -> Result<Client, StoreError> {
        match &self.tls {
            None => self.open(access, NoTls).await,
            Some(tls) => {
                let connector = tls.connector();
                let unavailable =
                    |what: Failure| StoreError::Unavailable { store: self.name.clone(), what: what.to_string() };
                self.open(access, connector.map_err(unavailable)?).await
            }
        }
    }

    async fn open<T>(&self, access: Access, tls: T) -> Result<Client, StoreError>
    where
        T: MakeTlsConnect<Socket, Stream: Send + 'static, TlsConnect: Send> + Clone,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let connect_one = async |config: Config| {
            let (client, connection) = config.connect(tls.clone()).await?;
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "the connection to PostgreSQL ended");
                }
            });
            // What is committed must be on disk, whatever the server's default is.
            let settings = "SET statement_timeout = '30s'; SELECT set_config('synchronous_commit', 'on', false) \
                            WHERE current_setting('synchronous_commit') = 'off'";
            client.batch_execute(settings).await?;
            Ok(client)
        };
        let connect = async {
            let mut all = hosts::each(&self.config).await;
            if access == Access::Write && all.len() > 1 && !self.says_session {
                for one in &mut all {
                    one.target_session_attrs(TargetSessionAttrs::ReadWrite);
                }
            }
            hosts::first(all.into_iter().map(connect_one)).await
        };
        self.in_time(PATIENCE, connect).await
    }
}

/// Whether the server takes no writes: a standby, or one that is becoming one. It is left for another.
pub(crate) fn is_read_only(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
}

fn password(file: Option<&Path>) -> Result<Option<Zeroizing<String>>, Failure> {
    let Some(path) = file else { return Ok(std::env::var("PGPASSWORD").ok().map(Zeroizing::new)) };
    let octets = crate::pki::read_bounded(path).map_err(|error| file_failure("read the password", path, &error))?;
    let octets = Zeroizing::new(octets);
    let text = std::str::from_utf8(&octets).map_err(|_| Failure::usage("not UTF-8").at(path.display()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Some(Zeroizing::new(line.to_owned()))),
        _ => Err(Failure::usage("the first line is empty").at(path.display()).remedy("write the password there")),
    }
}
