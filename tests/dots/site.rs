//! A folder with certificates, an operator and a network that calls it.

use serde_json::Value;
use watchfire_tests::{Service, Site, exchange, run, succeed, until, wait_for};

pub(crate) const OPERATOR: &str = "isp.test";
pub(crate) const HOME: &str = "home.test";

/// The certificates of both besides what every site has.
pub(crate) fn site() -> Site {
    let site = Site::new();
    let dir = site.file("");
    for (profile, name) in [("dots-client", OPERATOR), ("dots-server", HOME)] {
        succeed(&["pki", "issue", "--dir", &dir, "--profile", profile, "--name", name]);
    }
    site
}

/// What a command says: its exit code, its lines, and standard error.
pub(crate) type Said = (i32, Vec<Value>, String);

/// An operator, and where it is called and asked.
pub(crate) struct Operator {
    pub(crate) service: Service,
    pub(crate) tls: String,
    pub(crate) dtls: String,
    pub(crate) api: String,
}

impl Operator {
    /// Listens for both transports, at free ports.
    pub(crate) fn start(site: &Site, flags: &[&str]) -> Self {
        Self::at(site, "tls://127.0.0.1:0", "dtls://127.0.0.1:0", flags)
    }

    pub(crate) fn at(site: &Site, tls: &str, dtls: &str, flags: &[&str]) -> Self {
        let credentials = site.tls(OPERATOR);
        let mut words = vec!["dots", "call-home-client", "--json", "--listen", tls, "--listen", dtls];
        words.extend(["--api", "127.0.0.1:0"]);
        words.extend(credentials.iter().map(String::as_str));
        words.extend(flags);
        let service = Service::start(&words);
        let listens = |service: &Service, transport: &str| {
            let event = service.event();
            assert_eq!(
                (&event["event"], &event["service"], &event["transport"]),
                (&"listening".into(), &"dots-call-home-client".into(), &transport.into())
            );
            event["addr"].as_str().unwrap().to_owned()
        };
        let (tls, dtls) = (listens(&service, "tls"), listens(&service, "dtls"));
        let api = service.event();
        assert_eq!(api["service"], "dots-api");
        Self { tls, dtls, api: api["addr"].as_str().unwrap().to_owned(), service }
    }

    /// A command that uses the interface: exit code, lines, and what it says on standard error.
    pub(crate) fn ask(&self, words: &[&str]) -> Said {
        ask(&self.api, words)
    }

    /// Asks HOME to stop 192.0.2.10, under this mid.
    pub(crate) fn mitigate(&self, mid: &str, more: &[&str]) -> Said {
        let words = ["mitigate", "--peer", HOME, "--mid", mid, "--target-prefix", "198.51.100.7/32"];
        let source = if more.contains(&"--source-prefix") { &[][..] } else { &["--source-prefix", "192.0.2.10/32"] };
        self.ask(&[&words[..], source, more].concat())
    }

    /// Waits until a mitigation stands so.
    pub(crate) fn stands(&self, mid: u64, status: &str) -> Value {
        stands_by(&|words: &[&str]| self.ask(words), mid, status)
    }
}

/// Waits until those who are asked for the status say that a mitigation stands so. The command that has asked for it
/// waits for that no longer than some seconds, and this machine may be slow.
pub(crate) fn stands_by(ask: &dyn Fn(&[&str]) -> Said, mid: u64, status: &str) -> Value {
    let look = || {
        let (code, lines, error) = ask(&["status"]);
        assert_eq!(code, 0, "{error}");
        lines.into_iter().find(|one| one["mid"] == mid && one["status"] == status)
    };
    wait_for(|| format!("mid {mid} {status}: {:?}", ask(&["status"]).1), look)
}

/// Asks for what cannot be done. Whoever asks hears of that at once, or, where it takes too long, the next time.
pub(crate) fn is_told_that_it_fails(ask: impl Fn() -> Said) {
    let look = || match ask() {
        (1, _, error) if error.contains("attack-exceeded-capability") => Some(()),
        (0, lines, _) if lines[0]["status"] != IN_FORCE => None,
        other => panic!("{other:?}"),
    };
    wait_for(|| "the command fails".to_owned(), look);
}

pub(crate) const IN_FORCE: &str = "attack-successfully-mitigated";

/// A command that uses the interface there. Unless it is told otherwise it waits as long as any test does.
pub(crate) fn ask(api: &str, words: &[&str]) -> Said {
    let (command, rest) = words.split_first().unwrap();
    let patience = if rest.contains(&"--timeout") { &[][..] } else { &["--timeout", "120s"] };
    let output = run(&[&["dots", command, "--json", "--api", api], rest, patience].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), lines, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A network that calls there.
pub(crate) fn home(site: &Site, connect: &str, flags: &[&str]) -> Service {
    let credentials = site.tls(HOME);
    let mut words = vec!["dots", "call-home-server", "--json", "--connect", connect, "--peer-name", OPERATOR];
    words.extend(["--reconnect-min", "1", "--terminating", "1s", "--report-every", "1s"]);
    words.extend(credentials.iter().map(String::as_str));
    words.extend(flags);
    Service::start(&words)
}

/// Waits for the line that a mitigation stands so.
pub(crate) fn stands(service: &Service, mid: u64, status: &str) -> Value {
    loop {
        let event = service.event();
        assert_eq!(event["event"], "mitigation", "{event}");
        if event["mid"] == mid && event["status"] == status {
            return event;
        }
    }
}

/// Waits until the log holds one of these.
pub(crate) fn says(service: &Service, texts: &[&str]) {
    until(&format!("one of {texts:?} is said"), || texts.iter().any(|text| service.log().contains(text)));
}

/// A request by hand, and the whole response.
pub(crate) fn http(address: &str, request: &str) -> String {
    String::from_utf8_lossy(&exchange(address, request).unwrap()).into_owned()
}
