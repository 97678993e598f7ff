use super::*;
use crate::testing::TempDir;

fn problems(text: &str) -> Vec<String> {
    match parse(Path::new("/etc/wf/c.toml"), text) {
        Ok(config) => panic!("taken: {config:?}"),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

const MANAGER: &str = "[iap.manager]\nlisten = \"[::1]:0\"\ncert = \"m.pem\"\nkey = \"/k/m.key\"\nca = \"ca.pem\"\n";

#[test]
fn a_whole_file() {
    let text = format!(
        "log-format = \"json\"\nmetrics = \"127.0.0.1:0\"\n{MANAGER}output = [\"ndjson:a.ndjson\", \"-\"]\nstore = \"sqlite:s.db\"\n\
         max-connections = 7\neku = \"ignore\"\n\
         [[iap.sensor]]\nconnect = [\"a:1\", \"b:2\"]\nmanager-name = \"m\"\ncert = \"c\"\nkey = \"k\"\nca = \"a\"\ninput = \"-\"\nfollow = false\n\
         [[iap.sensor]]\nconnect = \"a:1,b:2\"\nmanager-name = \"m\"\ncert = \"c\"\nkey = \"k\"\nca = \"a\"\neve = \"e.json\"\nfollow = true\n\
         [[iap.proxy]]\nlisten = [\"a:1\"]\nnext-hop = \"b:2\"\nname = \"p\"\nallow-from = [\"10.1.2.3/8\"]\n\
         [[obp.broker]]\nlisten = [\"a:1\"]\nudp = [\"a:2\"]\naccounts = \"a.toml\"\naudit = \"-\"\n\
         [obp.dns]\nlisten = [\"a:53\"]\nbinding = \"b.json\"\n\
         [repute.dnsbl]\nlisten = [\"a:53\"]\nstore = \"e.ndjson\"\nzone = \"bl.example\"\n\
         [repute.serve]\nlisten = [\"a:80\"]\ndata = \"e.ndjson\"\nkeys = \"keys\"\n\
         [dots.call-home-client]\nlisten = [\"tls://a:4647\", \"dtls://a\"]\ncert = \"c\"\nkey = \"k\"\nca = \"a\"\nrule = \"r.toml\"\n\
         [dots.call-home-server]\nconnect = \"h\"\npeer-name = \"n\"\ncert = \"c\"\nkey = \"k\"\nca = \"a\"\nstate = \"s\"\n\
         enforce = \"exec:x/y\"\nreconnect-min = 5\ndomain = [\"192.0.2.0/24\"]\n\
         [lurk.relay]\nlisten = [\"a:81\"]\npost-auth = \"users\"\nkeep = \"10m\"\n\
         [lurk.ca]\nlisten = \"a:14000\"\ndir = \"ca\"\nmin-lifetime = 5\ntrust-identifiers = true\n\
         [lurk.ido]\nlisten = \"a:1\"\nupstream = \"https://c.example/d\"\ndelegations = \"d.toml\"\ndir = \"ido\"\n\
         [lurk.ndc]\nido = \"https://i.example/d\"\naccount-key = \"a.key\"\nname = [\"a.example\"]\nout = \"tls\"\nsubject = [\"country=DE\"]\n"
    );
    let config = parse(Path::new("/etc/wf/c.toml"), &text).unwrap();
    assert_eq!(config.log_format, Some(LogFormat::Json));
    assert_eq!(config.services.len(), 14);
    let mut sensors = 0;
    for service in &config.services {
        match &service.args {
            ServiceArgs::IapManager(args) => {
                assert_eq!(args.tls.cert, Path::new("/etc/wf/m.pem"));
                assert_eq!(args.tls.key, Path::new("/k/m.key"));
                assert_eq!(args.store.store.as_ref().unwrap().to_string(), "sqlite:/etc/wf/s.db");
                assert_eq!(args.output[0].to_string(), "ndjson:/etc/wf/a.ndjson");
                assert_eq!(args.max_connections, 7);
                assert_eq!(args.tls.eku, crate::cli::EkuMode::Ignore);
                assert_eq!(args.body_limit.0, 1 << 20);
                assert_eq!(service.place, "/etc/wf/c.toml:3");
            }
            ServiceArgs::IapSensor(args) => {
                sensors += 1;
                assert_eq!(args.connect.len(), 2);
                assert_eq!(args.follow, args.eve.is_some());
            }
            ServiceArgs::IapProxy(args) => {
                assert!(args.admits("10.200.0.1".parse().unwrap()) && !args.admits("11.0.0.1".parse().unwrap()));
            }
            ServiceArgs::ObpBroker(args) => {
                assert_eq!(args.accounts.to_string(), "/etc/wf/a.toml");
                assert_eq!(args.audit.as_deref(), Some(Path::new("-")), "the log has no folder");
            }
            ServiceArgs::ReputeServe(args) => {
                assert_eq!(args.keys.as_deref(), Some(Path::new("/etc/wf/keys")));
            }
            ServiceArgs::ReputeDnsbl(args) => {
                assert_eq!(args.store.to_string(), "/etc/wf/e.ndjson");
                assert_eq!(args.zone, ["bl.example"]);
            }
            ServiceArgs::LurkIdo(args) => {
                assert_eq!((args.delegations.as_path(), args.emulate_star), (Path::new("/etc/wf/d.toml"), false));
            }
            ServiceArgs::LurkNdc(args) => {
                assert_eq!((args.out.as_path(), args.name.len()), (Path::new("/etc/wf/tls"), 1));
                assert_eq!(args.subject[0].value, "DE");
            }
            ServiceArgs::LurkRelay(args) => {
                assert_eq!(args.post_auth.as_deref(), Some(Path::new("/etc/wf/users")));
                assert_eq!(args.keep.to_string(), "10m");
            }
            ServiceArgs::LurkCa(args) => {
                assert_eq!((args.dir.as_path(), args.min_lifetime), (Path::new("/etc/wf/ca"), 5));
                assert!(args.trust_identifiers);
            }
            ServiceArgs::DotsClient(args) => {
                assert_eq!(args.listen[1].address.to_string(), "a:4647");
                assert_eq!(args.rule.as_deref(), Some(Path::new("/etc/wf/r.toml")));
            }
            ServiceArgs::DotsServer(args) => {
                assert_eq!(args.state.as_deref(), Some(Path::new("/etc/wf/s")));
                assert_eq!(args.enforce, crate::cli::Enforce::Exec(Some("/etc/wf/x/y".into())));
                assert_eq!(args.reconnect_min.0.as_secs(), 5);
            }
            ServiceArgs::ObpDns(args) => assert_eq!(args.binding.binding, Path::new("/etc/wf/b.json")),
        }
    }
    assert_eq!(sensors, 2);
}

#[test]
fn problems_name_line_column_key_and_remedy() {
    let cases = [
        ("x = ", "/etc/wf/c.toml:1:5: "),
        ("", "/etc/wf/c.toml:1:1: no service; add a table such as [[iap.manager]]"),
        ("iapp = 1", "/etc/wf/c.toml:1:1: iapp: unknown key; did you mean `iap`?"),
        ("iap = 1", "/etc/wf/c.toml:1:7: iap: must be a table, not a number; write [[iap.manager]]"),
        ("[iap.manger]", "/etc/wf/c.toml:1:6: iap.manger: unknown key; did you mean `manager`?"),
        (
            "[iap.manager]\nlisten = 1\n",
            "/etc/wf/c.toml:2:10: iap.manager.listen: `1` is wrong; no port: write HOST:PORT, as in 127.0.0.1:7000 or [::1]:7000",
        ),
        (
            "[iap.proxy]\nlisten = [\"a:1\"]\nname = \"x\"\n",
            "/etc/wf/c.toml:1:1: iap.proxy: missing: next-hop; add the key",
        ),
        (
            "[iap.manager]\ncert=\"c\"\nkey=\"k\"\nca=\"a\"\n",
            "/etc/wf/c.toml:1:1: iap.manager: missing: listen or dial; add the key",
        ),
        (
            "[iap.manager]\nlisten = [\"a:1\", \"b\"]\ncert=\"c\"\nkey=\"k\"\nca=\"a\"\n",
            "/etc/wf/c.toml:2:18: iap.manager.listen: `b` is wrong; no port",
        ),
        (
            "[iap.proxy]\nlisten = \"a:1\"\nnext-hop=\"b:2\"\nname=\"x\"\ncompat = \"lax\"",
            "/etc/wf/c.toml:5:10: iap.proxy.compat: `lax` is wrong; write one of strict, default, liberal",
        ),
        (
            "[iap.sensor]\nfollow = \"yes\"",
            "/etc/wf/c.toml:2:10: iap.sensor.follow: must be true or false, not a string",
        ),
        (
            "[iap.sensor]\nmanager_name = \"m\"",
            "/etc/wf/c.toml:2:1: iap.sensor.manager_name: unknown key; did you mean `manager-name`?",
        ),
        (
            "[[iap.sensor]]\ncert = [\"m\"]",
            "/etc/wf/c.toml:2:8: iap.sensor.cert: must be a string or number, not an array",
        ),
    ];
    for (text, wanted) in cases {
        let found = problems(text);
        assert!(found[0].starts_with(wanted), "{text:?}\n  gave   {}\n  wanted {wanted}", found[0]);
        assert!(!found[0].contains('\n'));
    }
}

#[test]
fn each_service_reports_its_own_problem() {
    let text = format!("[iap.proxy]\nlisen = \"a:1\"\n{MANAGER}max-connections = 0\n");
    let found = problems(&text);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[1].contains("max-connections"), "{found:?}");
}

#[test]
fn any_text_is_read_without_panic() {
    use proptest::prelude::*;
    proptest!(|(text in "(\\[?\\[(iap|x)?\\.?(manager|sensor)?\\]?\\]?|[a-z-]{1,8}|=|\"|\n|[0-9]|\\PC){0,40}")| {
        let _ = parse(Path::new("c.toml"), &text);
    });
}

/// What the check finds; it must not take long.
fn found(dir: &Path, text: &str) -> Vec<String> {
    let config = parse(&dir.join("c.toml"), text).unwrap();
    let (to_test, found) = std::sync::mpsc::channel();
    std::thread::spawn(move || to_test.send(check(&config)));
    let found = found.recv_timeout(std::time::Duration::from_secs(60)).expect("it waits for nobody");
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_no_file_is_named_and_not_waited_for() {
    let dir = TempDir::new("check");
    for name in ["a", "b", "c", "d", "e"] {
        let made = std::process::Command::new("mkfifo").arg(dir.path().join(name)).status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: mkfifo cannot be run; FIFOs were not tested");
            return;
        }
    }
    let tls = "cert = \"a\"\nkey = \"b\"\n";
    let peers = format!("{tls}ca = \"c\"\n");
    let listen = "listen = \"127.0.0.1:0\"\n";
    for (files, text) in [
        (4, format!("[iap.manager]\n{listen}{peers}console = \"127.0.0.1:0\"\nconsole-token-file = \"d\"\n")),
        (4, format!("[obp.broker]\n{listen}accounts = \"a\"\npolicy = \"b\"\nroots = \"c\"\ncrl = \"d\"\n")),
        (1, format!("[obp.dns]\n{listen}binding = \"a\"\n")),
        (4, format!("[repute.serve]\n{listen}{tls}data = \"c\"\nkeys = \"d\"\n")),
        (1, format!("[repute.dnsbl]\n{listen}store = \"a\"\nzone = \"bl.test\"\n")),
        (2, format!("[lurk.relay]\n{listen}cert = \"a\"\nkey = \"b\"\npost-auth = \"c\"\n")),
        (
            3,
            format!(
                "[lurk.ido]\n{listen}upstream = \"https://ca.test/d\"\ndelegations = \"a\"\ndir = \"ido\"\nupstream-ca = \
                 \"b\"\ndns-update = \"127.0.0.1:53\"\ndns-update-key = \"c\"\n"
            ),
        ),
        (
            5,
            format!(
                "[dots.call-home-client]\nlisten = \"tls://127.0.0.1:0\"\n{peers}rule = \"d\"\neve = \"eve\"\nfollow = \
                 true\napi = \"127.0.0.1:0\"\napi-token-file = \"e\"\n"
            ),
        ),
        (1, format!("[console]\n{listen}token-file = \"a\"\n[iap.proxy]\n{listen}next-hop = \"b:1\"\nname = \"x\"\n")),
    ] {
        let found = found(dir.path(), &text);
        let no_file = found.iter().filter(|problem| problem.contains("not a file")).count();
        // A key is looked at beside its certificate only.
        assert!(no_file >= files - usize::from(text.contains("key = \"b\"")), "{text}\n{found:?}");
        assert!(found.iter().all(|problem| problem.contains("not a file")), "{text}\n{found:?}");
    }
    // What is read once.
    let sensor = format!("[iap.sensor]\nconnect = \"a:1\"\nmanager-name = \"m\"\n{peers}input = \"d\"\n");
    assert!(!found(dir.path(), &sensor).iter().any(|problem| problem.contains("/d")));
}

#[test]
fn a_port_is_one_for_connections_and_one_for_datagrams() {
    let dir = Path::new("/nowhere");
    let twice = |text: &str| -> Vec<String> {
        found(dir, text).into_iter().filter(|problem| problem.contains("used twice")).collect()
    };
    let broker =
        |udp: &str| format!("[[obp.broker]]\nlisten = \"127.0.0.1:7\"\nudp = \"127.0.0.1:{udp}\"\naccounts = \"a\"\n");
    assert_eq!(twice(&broker("7")), Vec::<String>::new());
    let dnsbl =
        |port: &str| format!("[[repute.dnsbl]]\nlisten = \"127.0.0.1:{port}\"\nstore = \"s\"\nzone = \"bl.test\"\n");
    assert_eq!(twice(&format!("{}{}", broker("8"), dnsbl("9"))), Vec::<String>::new());
    let found = twice(&format!("{}{}", broker("8"), dnsbl("8")));
    assert!(found.len() == 1 && found[0].contains("127.0.0.1:8 is used twice over UDP"), "{found:?}");
    let found = twice(&format!("{}{}", broker("8"), dnsbl("7")));
    assert!(found.len() == 1 && found[0].contains("127.0.0.1:7 is used twice over TCP"), "{found:?}");
}

#[test]
fn what_would_be_open_to_the_network_is_found_before_it_starts() {
    let found = |text: &str| {
        let found = found(Path::new("/nowhere"), text);
        found.iter().any(|problem| problem.contains("open to the network") || problem.contains("for the loopback only"))
    };
    let call_home = "cert = \"c\"\nkey = \"k\"\nca = \"a\"\n";
    let tables = [
        MANAGER.to_owned() + "console = \"AT\"\n",
        format!("[dots.call-home-client]\nlisten = \"tls://a:1\"\n{call_home}api = \"AT\"\n"),
        format!("[dots.call-home-server]\nconnect = \"a:1\"\npeer-name = \"a\"\n{call_home}api = \"AT\"\n"),
    ];
    for table in tables {
        for (at, is_open) in [("0.0.0.0:7080", true), ("console.test:7080", true), ("[::1]:7080", false)] {
            assert_eq!(found(&table.replace("AT", at)), is_open, "{at}\n{table}");
        }
        let token = if table.contains("console") { "console-token-file" } else { "api-token-file" };
        assert!(!found(&format!("{}{token} = \"t\"\n", table.replace("AT", "0.0.0.0:7080"))), "{table}");
    }
}

#[test]
fn what_is_missing_is_said_where_it_is_named() {
    let folder = TempDir::new("config-named");
    let path = folder.path().join("all.toml");
    let text = "[[repute.serve]]\nlisten = \"127.0.0.1:0\"\ndata = \"sqlite:nope.db\"\nkeys = 'nope.keys'\n\n\
        [[iap.manager]]\nlisten = \"127.0.0.1:0\"\ncert = \"nope.pem\"\nkey = \"nope.key\"\nca = \"nope.ca\"\n\
        output = [\"-\", \"ndjson:gone/alerts\"]\n";
    let config = parse(&path, text).unwrap();
    let found: Vec<String> = check(&config).iter().map(ToString::to_string).collect();
    for place in [
        "3:8: repute.serve.data",
        "4:8: repute.serve.keys",
        "8:8: iap.manager.cert",
        "10:6: iap.manager.ca",
        "11:16: iap.manager.output",
    ] {
        let start = format!("{}:{place}: {}/", path.display(), folder.path().display());
        assert!(found.iter().any(|line| line.starts_with(&start)), "{start} in {found:#?}");
    }
    assert_eq!(found.len(), 5, "{found:#?}");
}
