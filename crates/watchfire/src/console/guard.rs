//! Who may look at the console.
//!
//! On the loopback everybody of this machine, unless there is a token. A token comes from a file, and is shown in an
//! `Authorization` field or once in the login form, which gives a cookie for a while. It is never part of a URL. The
//! `Host` of each request must be an address, `localhost`, or a name that the operator gave, so that no page of another
//! name can be made to lead here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use hyper::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, ORIGIN};
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode, Uri};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio_util::sync::CancellationToken;
use watchfire_hyper::network;
use zeroize::Zeroizing;

use crate::dots::api::read_token;
use crate::exit::Failure;
use crate::pki::hex;

/// Logins that are remembered; the oldest is forgotten.
const SESSIONS: usize = 64;
/// Wrong tokens of one network in [`WINDOW`]; then nobody there is listened to until it is over.
const WRONG: u32 = 20;
/// Networks whose wrong tokens are counted apart.
const NETWORKS: usize = 1024;
/// Wrong tokens in [`WINDOW`] of those that are too many for that.
const WRONG_OF_OTHERS: u32 = 10_000;
/// Of wrong tokens.
const WINDOW: Duration = Duration::from_secs(60);

/// Why a request is not answered.
pub(super) type Refusal = (StatusCode, &'static str);

/// What a request must show.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<Token>,
    hosts: Vec<String>,
    lifetime: Duration,
    /// The name of the cookie: browsers do not tell ports apart.
    cookie: String,
    is_tls: bool,
    sessions: Mutex<Vec<Session>>,
    wrong: Mutex<Wrong>,
    /// Ends what was let in by a login: streams show anew who reads them.
    streams: Mutex<CancellationToken>,
}

/// Wrong tokens since the window began, by network: an address of IPv4, a /64 of IPv6.
#[derive(Debug, Default)]
struct Wrong {
    since: Option<Instant>,
    by_network: BTreeMap<u128, u32>,
    others: u32,
}

impl Wrong {
    /// How many came from there, and how many may.
    fn count(&mut self, from: IpAddr) -> (&mut u32, u32) {
        let network = network(from);
        if self.by_network.len() >= NETWORKS && !self.by_network.contains_key(&network) {
            return (&mut self.others, WRONG_OF_OTHERS);
        }
        (self.by_network.entry(network).or_default(), WRONG)
    }
}

#[derive(Debug)]
struct Token {
    file: PathBuf,
    digest: RwLock<[u8; 32]>,
}

#[derive(Debug)]
struct Session {
    digest: [u8; 32],
    until: Instant,
}

/// Secrets are compared by their digests: in constant time, whatever their lengths.
fn digest(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

impl Guard {
    /// For a console at a port, reading the token.
    ///
    /// # Errors
    /// A token that cannot be read or is none.
    pub(super) fn new(
        token: Option<&Path>,
        hosts: &[String],
        lifetime: Duration,
        port: u16,
        is_tls: bool,
    ) -> Result<Self, Failure> {
        let read = |file: &Path| {
            Ok::<_, Failure>(Token { file: file.to_owned(), digest: RwLock::new(digest(&read_token(file)?)) })
        };
        // The prefix makes browsers refuse it from other names and from clear text.
        let prefix = if is_tls { "__Host-" } else { "" };
        Ok(Self {
            token: token.map(read).transpose()?,
            hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            lifetime,
            cookie: format!("{prefix}watchfire-{port}"),
            is_tls,
            sessions: Mutex::default(),
            wrong: Mutex::default(),
            streams: Mutex::default(),
        })
    }

    /// Whether there is a token at all.
    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Reads the token again. With another one all logins end.
    ///
    /// # Errors
    /// When it cannot be read; the old one stays.
    pub(super) fn reload(&self) -> Result<(), Failure> {
        let Some(token) = &self.token else { return Ok(()) };
        let new = digest(&read_token(&token.file)?);
        let mut current = token.digest.write().unwrap_or_else(PoisonError::into_inner);
        if *current != new {
            *current = new;
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.end_streams();
        }
        Ok(())
    }

    /// Ends when a login ended: whoever reads a stream then shows anew that he may.
    pub(super) fn until(&self) -> CancellationToken {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn end_streams(&self) {
        std::mem::take(&mut *self.streams.lock().unwrap_or_else(PoisonError::into_inner)).cancel();
    }

    /// Looks where a request is meant to go, and whose page it comes from.
    pub(super) fn is_meant(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = uri.authority().cloned().or_else(|| headers.get(HOST)?.to_str().ok()?.parse::<Authority>().ok());
        let Some(host) = host.filter(|host| self.knows(host.host())) else {
            return Err((StatusCode::MISDIRECTED_REQUEST, "this host name is not known here: name it by `host`"));
        };
        let field = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let is_ours = |origin: &str| {
            let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host.as_str()))
        };
        if field("origin").is_some_and(|origin| !is_ours(origin)) || headers.get_all(ORIGIN).iter().count() > 1 {
            return Err((StatusCode::FORBIDDEN, "not for pages of others"));
        }
        // Following a link to the console is fine; anything else from another site is not.
        let is_visit = *method == Method::GET && field("sec-fetch-mode") == Some("navigate");
        match field("sec-fetch-site") {
            None | Some("same-origin" | "none") => Ok(()),
            Some(_) if is_visit => Ok(()),
            Some(_) => Err((StatusCode::FORBIDDEN, "not for pages of others")),
        }
    }

    fn knows(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }

    /// Whether a request shows the token, or that it was shown.
    pub(super) fn admits(&self, headers: &HeaderMap, from: IpAddr) -> Result<bool, Refusal> {
        if self.token.is_none() {
            return Ok(true);
        }
        if let Some(shown) = headers.get(AUTHORIZATION) {
            let shown = shown.as_bytes().strip_prefix(b"Bearer ").unwrap_or_default();
            return self.is_token(shown, from);
        }
        let Some(id) = self.shown_cookie(headers) else { return Ok(false) };
        let (id, now) = (digest(id.as_bytes()), Instant::now());
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|session| session.until > now);
        // All are compared, so that the time says nothing.
        Ok(sessions.iter().fold(false, |found, session| found | bool::from(session.digest.ct_eq(&id))))
    }

    fn shown_cookie<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let fields = headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
        let mut pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.cookie).map(|(_, value)| value)
    }

    /// Compares a token, and counts wrong ones.
    fn is_token(&self, shown: &[u8], from: IpAddr) -> Result<bool, Refusal> {
        let Some(token) = &self.token else { return Ok(true) };
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.since.is_some_and(|since| since.elapsed() >= WINDOW) {
            *wrong = Wrong::default();
        }
        wrong.since.get_or_insert_with(Instant::now);
        let (count, most) = wrong.count(from);
        if *count >= most {
            return Err((StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens: wait a minute"));
        }
        let current = *token.digest.read().unwrap_or_else(PoisonError::into_inner);
        let is_right = bool::from(digest(shown).ct_eq(&current));
        *count += u32::from(!is_right);
        Ok(is_right)
    }

    /// Takes a token, and gives the cookie that stands for it.
    ///
    /// # Errors
    /// Too many wrong ones, or no randomness.
    pub(super) fn log_in(&self, shown: &[u8], from: IpAddr) -> Result<Option<String>, Refusal> {
        if !self.has_token() || !self.is_token(shown, from)? {
            return Ok(None);
        }
        let mut id = Zeroizing::new([0; 32]);
        getrandom::fill(&mut id[..]).map_err(|_| (StatusCode::SERVICE_UNAVAILABLE, "no randomness"))?;
        let id = Zeroizing::new(hex(&id[..]));
        let session = Session { digest: digest(id.as_bytes()), until: Instant::now() + self.lifetime };
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= SESSIONS {
            sessions.remove(0);
        }
        sessions.push(session);
        drop(sessions);
        Ok(Some(self.cookie(&id, self.lifetime.as_secs())))
    }

    /// Forgets a login, and gives the cookie that takes the other's place.
    pub(super) fn log_out(&self, headers: &HeaderMap) -> String {
        if let Some(id) = self.shown_cookie(headers) {
            let id = digest(id.as_bytes());
            let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
            let before = sessions.len();
            sessions.retain(|session| !bool::from(session.digest.ct_eq(&id)));
            let has_ended = sessions.len() < before;
            drop(sessions);
            if has_ended {
                self.end_streams();
            }
        }
        self.cookie("", 0)
    }

    fn cookie(&self, value: &str, seconds: u64) -> String {
        let secure = if self.is_tls { "; Secure" } else { "" };
        format!("{}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", self.cookie)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn guard(lifetime: u64) -> (TempDir, Guard) {
        let dir = TempDir::new("console-guard");
        let file = dir.path().join("token");
        std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
        let hosts = ["Console.Example".to_owned()];
        let guard = Guard::new(Some(&file), &hosts, Duration::from_secs(lifetime), 7080, true).unwrap();
        (dir, guard)
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_known_hosts_and_own_pages() {
        let (_dir, guard) = guard(60);
        let judge = |method: Method, fields: &[(&'static str, &str)]| {
            guard.is_meant(&method, &"/".parse().unwrap(), &headers(fields)).map_err(|(status, _)| status.as_u16())
        };
        for host in ["127.0.0.1:1", "[::1]:80", "192.0.2.7", "localhost:9", "console.example"] {
            assert_eq!(judge(Method::GET, &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", ""] {
            assert_eq!(judge(Method::GET, &[("host", host)]), Err(421), "{host}");
        }
        assert_eq!(judge(Method::GET, &[]), Err(421));
        let from = |origin| judge(Method::POST, &[("host", "localhost:9"), ("origin", origin)]);
        assert_eq!(
            (from("http://localhost:9"), from("http://localhost:8"), from("null")),
            (Ok(()), Err(403), Err(403))
        );
        let site = |method, site, mode| {
            judge(method, &[("host", "localhost"), ("sec-fetch-site", site), ("sec-fetch-mode", mode)])
        };
        assert_eq!(site(Method::GET, "cross-site", "navigate"), Ok(()));
        assert_eq!(site(Method::GET, "cross-site", "cors"), Err(403));
        assert_eq!(site(Method::GET, "same-site", "no-cors"), Err(403));
        assert_eq!(site(Method::POST, "cross-site", "navigate"), Err(403));
        assert_eq!(site(Method::POST, "same-origin", "cors"), Ok(()));
        // HTTP/2 has the host in its URI.
        let uri = "https://evil.example/".parse().unwrap();
        assert!(guard.is_meant(&Method::GET, &uri, &headers(&[("host", "localhost")])).is_err());
    }

    #[test]
    fn a_login_is_a_cookie_that_ends() {
        let (dir, guard) = guard(60);
        assert_eq!(guard.admits(&headers(&[("authorization", &format!("Bearer {TOKEN}"))]), HERE), Ok(true));
        for wrong in ["Bearer 0123456789abcdef", TOKEN, "Basic x", ""] {
            assert_eq!(guard.admits(&headers(&[("authorization", wrong)]), HERE), Ok(false), "{wrong}");
        }
        assert_eq!(guard.admits(&headers(&[]), HERE), Ok(false));
        assert_eq!(guard.log_in(b"wrong", HERE), Ok(None));
        let set = guard.log_in(TOKEN.as_bytes(), HERE).unwrap().unwrap();
        for word in ["__Host-watchfire-7080=", "HttpOnly", "SameSite=Strict", "Secure", "Path=/", "Max-Age=60"] {
            assert!(set.contains(word), "{set}");
        }
        assert!(!set.contains(TOKEN));
        let cookie = set.split(';').next().unwrap();
        let shown = headers(&[("cookie", &format!("a=b; {cookie}"))]);
        assert_eq!(guard.admits(&shown, HERE), Ok(true));
        let stream = guard.until();
        assert!(guard.log_out(&headers(&[])).contains("Max-Age=0") && !stream.is_cancelled(), "nobody was logged in");
        assert!(guard.log_out(&shown).contains("Max-Age=0"));
        assert_eq!(guard.admits(&shown, HERE), Ok(false));
        assert!(stream.is_cancelled() && !guard.until().is_cancelled());
        let (stream, other) = (guard.until(), guard.until());
        let again = guard.log_in(TOKEN.as_bytes(), HERE).unwrap().unwrap();
        let again = headers(&[("cookie", again.split(';').next().unwrap())]);
        guard.reload().unwrap();
        assert_eq!(guard.admits(&again, HERE), Ok(true), "the same token");
        assert!(!stream.is_cancelled());
        std::fs::write(dir.path().join("token"), "another-token-of-32-characters..").unwrap();
        guard.reload().unwrap();
        assert_eq!(guard.admits(&again, HERE), Ok(false), "another token ends what the first one opened");
        assert!(stream.is_cancelled() && other.is_cancelled());
        std::fs::write(dir.path().join("token"), "short").unwrap();
        assert!(guard.reload().is_err());
        let (_dir, brief) = self::guard(0);
        let over = brief.log_in(TOKEN.as_bytes(), HERE).unwrap().unwrap();
        assert_eq!(brief.admits(&headers(&[("cookie", over.split(';').next().unwrap())]), HERE), Ok(false));
    }

    #[test]
    fn guessing_is_stopped_and_logins_are_bounded() {
        let (_dir, guard) = guard(60);
        let first = guard.log_in(TOKEN.as_bytes(), HERE).unwrap().unwrap();
        for _ in 0..SESSIONS {
            guard.log_in(TOKEN.as_bytes(), HERE).unwrap().unwrap();
        }
        assert_eq!(guard.sessions.lock().unwrap().len(), SESSIONS);
        let first = headers(&[("cookie", first.split(';').next().unwrap())]);
        assert_eq!(guard.admits(&first, HERE), Ok(false), "the oldest is forgotten");
        for _ in 0..WRONG {
            assert_eq!(guard.log_in(b"guess", HERE), Ok(None));
        }
        assert_eq!(guard.log_in(TOKEN.as_bytes(), HERE).unwrap_err().0, StatusCode::TOO_MANY_REQUESTS);
        let bearer = headers(&[("authorization", &format!("Bearer {TOKEN}"))]);
        assert_eq!(guard.admits(&bearer, HERE).unwrap_err().0, StatusCode::TOO_MANY_REQUESTS);
        let there = "192.0.2.1".parse().unwrap();
        assert_eq!(guard.admits(&bearer, there), Ok(true), "others are not kept out by that");
        for host in 0..WRONG_OF_OTHERS + 2 * NETWORKS as u32 {
            let _ = guard.log_in(b"guess", std::net::Ipv4Addr::from(host).into());
        }
        assert!(guard.wrong.lock().unwrap().by_network.len() <= NETWORKS);
        assert_eq!(guard.admits(&bearer, there), Ok(true), "whoever was there before them");
        let stranger = "192.0.2.2".parse().unwrap();
        assert_eq!(guard.admits(&bearer, stranger).unwrap_err().0, StatusCode::TOO_MANY_REQUESTS);
    }

    #[test]
    fn without_a_token_everybody_of_the_loopback_is_admitted_and_nobody_logs_in() {
        let guard = Guard::new(None, &[], Duration::from_secs(60), 1, false).unwrap();
        assert_eq!(guard.admits(&headers(&[]), HERE), Ok(true));
        assert_eq!(guard.log_in(b"", HERE), Ok(None));
    }
}
