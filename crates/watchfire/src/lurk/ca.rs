//! `lurk ca`: a CA for laboratories, with certificates that renew themselves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use acme_lurk::acme::server::{Ca, CaConfig, CaLimits};
use acme_lurk::crypto::Ring;
use acme_lurk::star::{Fraction, StarMeta, StarPolicy};
use acme_lurk::url::Reach;
use acme_lurk_hyper::ca::{Authority, CaNotice, CaSite};
use acme_lurk_hyper::server::{Server, ServerLimits};
use acme_lurk_hyper::validate::{NetworkValidator, Resolver as Names, ResolverError, ValidatorConfig};
use watchfire_hyper::Clock;

use super::front::{self, DAYS};
use super::records::Records;
use crate::cli::{CaArgs, Resolver};
use crate::exit::Failure;
use crate::metrics::{self, Registry};
use crate::pki::files;
use crate::service::Context;

/// How long requests that are under way may take when the CA ends.
const GRACE: Duration = Duration::from_secs(5);

/// A CA that listens.
#[derive(Debug)]
pub struct CaService {
    server: Server,
    site: CaSite,
    address: SocketAddr,
    directory: String,
}

impl CaService {
    /// Makes or reads the keys, opens the socket and says where it listens.
    ///
    /// # Errors
    /// A folder that cannot be used, an address that cannot be listened at.
    pub async fn start(args: &CaArgs, context: &Context) -> Result<Self, Failure> {
        files::make_folder(&args.dir)?;
        let root = front::authority(&args.dir, "ca", || Authority::root("Watchfire laboratory root", DAYS))?;
        let issuer = front::authority(&args.dir, "issuer", || root.subordinate("Watchfire laboratory issuer", DAYS))?;
        let listener = metrics::bind(&args.listen).await?;
        let address = listener.local_addr().map_err(|error| Failure::usage(error.to_string()).at(&args.listen))?;
        let metrics = metrics::bind_optional(args.metrics.as_ref()).await?;
        let base = front::base(args.url.as_deref(), &args.listen, address)?;
        let config = config(args, &base, &issuer)?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| Failure::usage(format!("no randomness: {error}")))?;
        let state = args.dir.join("state.db");
        let (records, known) = Records::open(&state)?;
        let ca = Ca::restore(Arc::new(config), Arc::new(Ring::new()), seed, Clock::wall(), known).map_err(|error| {
            let failure = Failure::usage(error.to_string()).at(state.display());
            failure.remedy("restore it from a backup, or move it away and begin anew")
        })?;
        let (accounts, orders) = ca.len();
        if accounts > 0 {
            tracing::info!(accounts, orders, "the CA goes on");
        }
        let (validator, tls) = (validator(args)?, front::tls(&root, &args.listen, &base)?);
        let site = CaSite::builder(ca, issuer, validator).with_keeper(records).on_notice(told).start();
        let mut limits = ServerLimits::default();
        limits.connection.connections = args.max_connections as usize;
        let origin = front::origin_of(&base);
        let server = Server::builder(origin, site.clone()).with_limits(limits).on_event(front::told);
        let server = server.start();
        let served = server.serve(listener, Some(tls));
        served.map_err(|error| Failure::usage(error.to_string()).at(&args.listen))?;
        let directory = format!("{base}/directory");
        context.announce_with("lurk-ca", address, &serde_json::json!({ "directory": &directory }))?;
        if !context.json {
            tracing::info!(%directory, trust = %args.dir.join("ca.pem").display(), "a laboratory CA");
        }
        if args.trust_identifiers {
            tracing::warn!("every account gets certificates for every name: no challenges are asked for");
        }
        context.serve_metrics(metrics)?;
        count(&server, &site, &context.metrics);
        Ok(Self { server, site, address, directory })
    }

    /// Where it answers.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The URL of its directory.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// Serves until `context.shutdown`.
    ///
    /// # Errors
    /// None; it has the form of every service.
    pub async fn run(self, context: Context) -> Result<(), Failure> {
        context.shutdown.cancelled().await;
        self.server.shutdown(GRACE).await;
        self.site.shutdown().await;
        Ok(())
    }
}

fn config(args: &CaArgs, base: &str, issuer: &Authority) -> Result<CaConfig, Failure> {
    let meta = StarMeta::new(args.min_lifetime, args.max_duration.0.as_secs(), true);
    let thousandths = (args.renew_fraction * 1000.0).round() as u16;
    let fraction = Fraction::from_thousandths(thousandths).unwrap_or(Fraction::HALF);
    let limits = CaLimits::default().with_totals(CaLimits::default().accounts, args.max_orders as usize);
    CaConfig::builder(base)
        .with_limits(limits)
        .with_trusted_identifiers(args.trust_identifiers)
        .with_validity(args.validity.0.as_secs().max(1))
        .with_star(StarPolicy::new(meta), fraction)
        .with_certificate_get(true)
        .with_issuers(issuer.certificate_pem())
        .build()
        .map_err(|error| Failure::usage(error.to_string()))
}

fn validator(args: &CaArgs) -> Result<NetworkValidator, Failure> {
    let failed = |error: ResolverError| Failure::usage(error.to_string()).at("--resolver");
    let names = match args.resolver {
        Resolver::System => Names::system(),
        Resolver::Server(address) => Names::server(address),
    };
    let mut config = ValidatorConfig::default();
    (config.http01_port, config.tls_alpn01_port) = (args.http01_port, args.tls_alpn01_port);
    if args.validate_private {
        config.reach = Reach::Any;
    }
    NetworkValidator::new(names.map_err(failed)?, config).map_err(|error| Failure::usage(format!("TLS: {error}")))
}

fn told(notice: CaNotice<'_>) {
    match notice {
        CaNotice::Gap { .. } | CaNotice::IssueFailed { .. } | CaNotice::NotKept { .. } => tracing::error!("{notice}"),
        _ => tracing::info!("{notice}"),
    }
}

fn count(server: &Server, site: &CaSite, registry: &Registry) {
    let (http, site) = (Arc::clone(server.counters()), site.clone());
    registry.at_each_look(move |registry| {
        let names = [
            "watchfire_lurk_ca_connections_total",
            "watchfire_lurk_ca_connections_refused_total",
            "watchfire_lurk_ca_handshakes_failed_total",
        ];
        registry.connections(names, &http.connection);
        registry.total("watchfire_lurk_ca_requests_total", "Requests.", &http.requests);
        registry.total("watchfire_lurk_ca_refused_total", "Requests that were refused.", &http.refused);
        registry.total(
            "watchfire_lurk_ca_not_modified_total",
            "Answers that the client had already (304).",
            &http.not_modified,
        );
        let ca = site.counters();
        registry.total("watchfire_lurk_ca_challenges_met_total", "Challenges that were met.", &ca.validated);
        registry.total(
            "watchfire_lurk_ca_challenges_failed_total",
            "Challenges that were not met.",
            &ca.validations_failed,
        );
        registry.total("watchfire_lurk_ca_certificates_total", "Certificates, those of renewals too.", &ca.issued);
        registry.total(
            "watchfire_lurk_ca_certificates_failed_total",
            "Certificates that could not be made.",
            &ca.issues_failed,
        );
        registry.total("watchfire_lurk_ca_gaps_total", "Orders that were without a valid certificate.", &ca.gaps);
        let (accounts, orders) = site.len();
        registry.level("watchfire_lurk_ca_accounts", "Accounts.", accounts);
        registry.level("watchfire_lurk_ca_orders", "Orders that are kept.", orders);
    });
}
