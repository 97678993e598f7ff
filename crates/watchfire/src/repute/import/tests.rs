use super::*;
use crate::repute::data::Data;
use crate::repute::place::Target;
use crate::testing::TempDir;
use clap::Parser as _;

struct Import {
    dir: TempDir,
}

impl Import {
    fn new() -> Self {
        Self { dir: TempDir::new("repute-import") }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn args(&self, store: &str, words: &[&str]) -> ImportArgs {
        let store = store.replace("DIR", &self.dir.path().display().to_string());
        let words = [&["watchfire", "repute", "import", "--store", &store], words].concat();
        let cli = crate::cli::Cli::try_parse_from(words).unwrap();
        match cli.command {
            crate::cli::Command::Repute(crate::cli::ReputeCommand::Import(args)) => *args,
            other => panic!("{other:?}"),
        }
    }

    async fn run(&self, store: &str, words: &[&str]) -> Result<Imported, Failure> {
        import(&self.args(store, words), true).await
    }

    async fn found(&self, store: &str, subjects: &[&str]) -> Vec<String> {
        let data = Data::open(&self.args(store, &["--csv", "x"]).store, None).await.unwrap();
        let snapshot = data.snapshot();
        let mut hits = Vec::new();
        let mut all = Vec::new();
        for subject in subjects {
            snapshot.find(Target::of(repute_proto::SubjectSyntax::NameOrAddress, subject), None, 0, &mut hits);
            let mut lines: Vec<String> = hits
                .iter()
                .map(|hit| {
                    let reputon = hit.record.reputon(hit.head, subject, "");
                    let text = reputon.extension(TEXT).and_then(|text| text.as_text()).unwrap_or_default().to_owned();
                    let code = hit.head.code.map_or(0, |code| code.octets()[3]);
                    format!("{subject} {} {} {code} {text}", hit.head.assertion, hit.record.rating)
                        .trim_end()
                        .to_owned()
                })
                .collect();
            lines.sort();
            all.append(&mut lines);
        }
        all
    }
}

const STORES: [&str; 2] = ["DIR/store.ndjson", "sqlite:DIR/store.db"];

#[tokio::test]
async fn lines_go_to_files_and_databases_and_later_ones_win() {
    for store in STORES {
        let at = Import::new();
        let entry = |rated: &str, rating: &str| {
            format!(r#"{{"application":"email-id","assertion":"spam","rated":"{rated}","rating":{rating},"x":"ü\""}}"#)
        };
        let first = at.file("one", &[entry("a.example", "0.25"), entry("b.example", "0.5"), String::new()].join("\n"));
        let imported = at.run(store, &["--ndjson", &first]).await.unwrap();
        assert_eq!((imported.entries, imported.stored), (2, 2));
        let second = at.file("two", &entry("B.Example", "0.75"));
        at.run(store, &["--ndjson", &second]).await.unwrap();
        let found = at.found(store, &["a.example", "b.example"]).await;
        assert_eq!(found, ["a.example spam 0.25 0", "b.example spam 0.75 0"], "{store}");
    }
}

#[tokio::test]
async fn a_mistake_is_named_and_nothing_is_kept() {
    for store in STORES {
        let at = Import::new();
        let good = r#"{"application":"email-id","assertion":"spam","rated":"a.example","rating":0.5}"#;
        at.run(store, &["--ndjson", &at.file("good", good)]).await.unwrap();
        for (flag, text, why) in [
            ("--ndjson", format!("{good}\n{{\"rating\":2}}"), "bad:2: column 11: rating must be"),
            ("--ndjson", format!("{good}\n\n{}", good.replace("a.example", "a b")), "bad:3: rated: "),
            ("--csv", "rated,rating\nc.example,0.5\nd.example,x\n".to_owned(), "bad:3: rating: not a number"),
            ("--csv", "rated,rating\nc.example,0.5,7\n".to_owned(), "bad:2: "),
            ("--csv", "name,rating\nc.example,0.5\n".to_owned(), "bad:1: no column is named rated"),
            ("--csv", "rated,rating,rated\n".to_owned(), "bad:1: two columns"),
            ("--dnsbl-zone", "192.0.2.1\n192.0.2.300\n".to_owned(), "bad:2: \"192.0.2.300\" is no IPv4"),
            ("--dnsbl-zone", "192.0.2.1/24\n".to_owned(), "bad:1: rated: the network has host bits"),
            ("--dnsbl-zone", ":10.0.0.1:x\n".to_owned(), "bad:1: the code 10.0.0.1"),
            ("--dnsbl-zone", "$NONSENSE\n".to_owned(), "bad:1: unknown directive"),
            ("--dnsbl-zone", "192.0.2.9-192.0.2.1\n".to_owned(), "bad:1: "),
            ("--misp", r#"{"name":"x","type":"regex","list":["/a/"]}"#.to_owned(), "patterns"),
            ("--misp", "{}".to_owned(), "bad:1: not a warning list"),
            ("--misp", r#"{"name":"x","type":"cidr","list":["c.example","a b"]}"#.to_owned(), "entry 2 of the list"),
        ] {
            let failure = at.run(store, &[flag, &at.file("bad", &text)]).await.unwrap_err().to_string();
            assert!(failure.contains(why) && failure.contains("nothing was imported"), "{failure}");
            assert_eq!(at.found(store, &["a.example", "c.example", "192.0.2.1"]).await, ["a.example spam 0.5 0"]);
        }
    }
}

#[tokio::test]
async fn tables_name_their_members() {
    let at = Import::new();
    let table = "rated,rating,assertion,sample-size,note\na.example,0.5,malware,7,\"a, b\"\nb.example,1,,,\n";
    let imported = at.run("sqlite:DIR/s.db", &["--csv", &at.file("t", table)]).await.unwrap();
    assert_eq!(imported.entries, 2);
    let found = at.found("sqlite:DIR/s.db", &["a.example", "b.example"]).await;
    assert_eq!(found, ["a.example malware 0.5 0", "b.example spam 1 0"]);
}

#[tokio::test]
async fn zones_are_read_as_rbldnsd_reads_them() {
    let at = Import::new();
    let zone = "# a list\n$SOA 0 a b 0 0 0 0 0\n$1 http://list.example/\n:127.0.0.3:Blocked, see $1$\n192.0.2.1\n\
        192.0.3 :4:all of it\n10.0.0.250-10.0.1.2\n10.1.2.3-5 a text alone\n!192.0.3.7\n172.16/12 :5\n\
        2001:db8::/32\n!2001:db8:1::/48\nexample.org\n.example.net :6:below $\n*.example.com\n!good.example.net\n";
    let imported =
        at.run("DIR/z.ndjson", &["--dnsbl-zone", &at.file("z", zone), "--code", "malware=127.0.0.4"]).await.unwrap();
    assert_eq!(imported.skipped, 1);
    let text = "Blocked, see http://list.example/$";
    let found = at
        .found(
            "DIR/z.ndjson",
            &[
                "192.0.2.1",
                "192.0.3.9",
                "192.0.3.7",
                "10.0.0.249",
                "10.0.0.250",
                "10.0.1.2",
                "10.0.1.3",
                "10.1.2.4",
                "10.1.2.6",
                "172.31.0.1",
                "2001:db8::1",
                "2001:db8:1::1",
                "example.org",
                "www.example.org",
                "example.net",
                "a.b.example.net",
                "good.example.net",
                "example.com",
                "a.example.com",
            ],
        )
        .await;
    let wanted = [
        format!("192.0.2.1 spam 1 3 {text}"),
        "192.0.3.9 malware 1 4 all of it".to_owned(),
        format!("10.0.0.250 spam 1 3 {text}"),
        format!("10.0.1.2 spam 1 3 {text}"),
        "10.1.2.4 spam 1 3 a text alone".to_owned(),
        "172.31.0.1 spam 1 5".to_owned(),
        format!("2001:db8::1 spam 1 3 {text}"),
        format!("example.org spam 1 3 {text}"),
        "example.net spam 1 6 below $".to_owned(),
        "a.b.example.net spam 1 6 below $".to_owned(),
        format!("a.example.com spam 1 3 {text}"),
    ];
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn generic_zones_have_records() {
    let at = Import::new();
    let zone = "@ NS ns.example\n99.2.0.192 A 127.0.0.2\n99.2.0.192 TXT \"seen twice\"\nexample.org 300 IN A 127.0.0.9\n\
        example.org A 127.0.0.10\nwww.example.org MX 10 x\n";
    let imported = at.run("DIR/g.ndjson", &["--dnsbl-zone", &at.file("g", zone), "--format", "generic"]).await.unwrap();
    assert_eq!((imported.entries, imported.skipped), (3, 2));
    let found = at.found("DIR/g.ndjson", &["192.0.2.99", "example.org"]).await;
    assert_eq!(found, ["192.0.2.99 spam 1 2 seen twice", "example.org spam 1 10", "example.org spam 1 9"]);
}

#[tokio::test]
async fn master_files_are_read_as_name_servers_read_them() {
    let at = Import::new();
    let zone = "; a list\n$ORIGIN bl.example.\n$TTL 2h\n@ 1h IN SOA ns1 hostmaster.example. ( 1 2h ; later\n\t 10m\n  1d 5m )\n\
        \tIN NS ns1\n@ A 192.0.2.53\nns1 A 192.0.2.53\n2.0.0.127 IN A 127.0.0.2\n99.2.0.192 300 IN A 127.0.0.4\n\
        \tTXT \"seen; \\\"twice\\\" \" \"or \\116hrice\"\n*.100.51.198 A 127.0.0.2\n$ORIGIN names.bl.example.\n\
        Bad.example.bl.example. A 127.0.0.9\nwww.example 5m A 127.0.0.10\n        CNAME x\n";
    for (name, more) in [("a", &[][..]), ("b", &["--format", "master"])] {
        let file = at.file(name, zone);
        let store = format!("DIR/{name}.ndjson");
        let imported = at.run(&store, &[&["--dnsbl-zone", file.as_str()], more].concat()).await.unwrap();
        assert_eq!((imported.entries, imported.skipped), (5, 5));
        let subjects = ["127.0.0.2", "192.0.2.99", "198.51.100.7", "bad.example", "www.example.names"];
        let found = at.found(&store, &subjects).await;
        let wanted = [
            "127.0.0.2 spam 1 2",
            "192.0.2.99 spam 1 4 seen; \"twice\" or thrice",
            "198.51.100.7 spam 1 2",
            "bad.example spam 1 9",
            "www.example.names spam 1 10",
        ];
        assert_eq!(found, wanted);
    }
    // Without $ORIGIN, as where the server's configuration has it.
    let bare = at.file("bare", "@ IN SOA ns. h. 1 2 3 4 5\n1.2.0.192 A 127.0.0.2\n");
    at.run("DIR/bare.ndjson", &["--dnsbl-zone", &bare]).await.unwrap();
    assert_eq!(at.found("DIR/bare.ndjson", &["192.0.2.1"]).await, ["192.0.2.1 spam 1 2"]);
    for (text, why) in [
        ("$GENERATE 1-9 $.0.0.10 A 127.0.0.2\n", "bad:3: $GENERATE: only"),
        ("elsewhere. A 127.0.0.2\n", "bad:3: elsewhere is not below the zone bl.example"),
        ("a A 127.0.0\n", "bad:3: \"127.0.0\" is no IPv4"),
        ("a A\n", "bad:3: A has one"),
        ("a 300 IN\n", "bad:3: no record"),
        ("a TXT \"x\n", "bad:3: a quote"),
        ("a TXT x\\999\n", "bad:3: a backslash"),
        ("a )\n", "bad:3: a closing"),
        ("a TXT (\nx\n", "the parenthesis opened in"),
    ] {
        let bad = at.file("bad", &format!("$ORIGIN bl.example.\n@ SOA a b 1 2 3 4 5\n{text}"));
        let failure = at.run("DIR/bad.ndjson", &["--dnsbl-zone", &bad]).await.unwrap_err().to_string();
        assert!(failure.contains(why), "{failure}");
    }
    let many = format!("$ORIGIN bl.example.\na TXT {}\n", "x ".repeat(300));
    let failure = at.run("DIR/bad.ndjson", &["--dnsbl-zone", &at.file("bad", &many)]).await.unwrap_err().to_string();
    assert!(failure.contains("bad:2: a record of more than 256 fields"), "{failure}");
}

#[tokio::test]
async fn what_is_known_to_be_good_is_rated_so() {
    let at = Import::new();
    let list = r#"{"name":"Known","version":1,"description":"","type":"hostname","list":["Example.org",".example.net"],"matching_attributes":[]}"#;
    at.run("sqlite:DIR/m.db", &["--misp", &at.file("m", list), "--rater", "misp.example"]).await.unwrap();
    let found = at.found("sqlite:DIR/m.db", &["example.org", "www.example.org", "example.com"]).await;
    assert_eq!(found, ["example.org spam 0 0", "www.example.org spam 0 0"]);
}

#[tokio::test]
async fn what_is_no_longer_listed_goes() {
    for store in STORES {
        let at = Import::new();
        let zone = |text: &str| at.file("z", text);
        let keep = ["--rater", "other", "--dnsbl-zone", &zone("keep.example\n")].map(str::to_owned);
        at.run(store, &keep.each_ref().map(String::as_str)).await.unwrap();
        for (text, removed) in [("old.example\n", 0), ("new.example\n", 1)] {
            let words = ["--replace", "--rater", "me", "--dnsbl-zone", &zone(text)].map(str::to_owned);
            let imported = at.run(store, &words.each_ref().map(String::as_str)).await.unwrap();
            assert_eq!((imported.removed, imported.stored), (removed, 2), "{store}");
        }
        let found = at.found(store, &["keep.example", "old.example", "new.example"]).await;
        assert_eq!(found, ["keep.example spam 1 2", "new.example spam 1 2"]);
    }
}

#[tokio::test]
async fn a_database_server_takes_all_or_nothing_too() {
    let Some(server) = watchfire_testkit::servers::Postgres::start() else { return };
    let (at, url) = (Import::new(), server.url());
    let zone = |name: &str, text: &str| at.file(name, text);
    let words =
        ["--rater", "me", "--dnsbl-zone", &zone("z", "a.example\n192.0.2.0/24\nA.example :4:again\na.example\n")];
    let imported = at.run(&url, &words).await.unwrap();
    assert_eq!((imported.entries, imported.stored), (4, 3), "the same statement once");
    let data = Data::open(&at.args(&url, &["--csv", "x"]).store, None).await.unwrap();
    assert_eq!(data.snapshot().entries(), 3);
    assert!(!data.refresh(false).await.unwrap(), "nothing has changed");
    let failure = at.run(&url, &["--dnsbl-zone", &zone("bad", "b.example\n192.0.2.300\n")]).await.unwrap_err();
    assert!(failure.to_string().contains("bad:2: "), "{failure}");
    assert!(!data.refresh(false).await.unwrap(), "nothing was kept");
    let words = ["--replace", "--rater", "me", "--dnsbl-zone", &zone("y", "c.example\n")];
    let imported = at.run(&url, &words).await.unwrap();
    assert_eq!((imported.removed, imported.stored), (3, 1));
    assert!(data.refresh(false).await.unwrap());
    assert_eq!(at.found(&url, &["a.example", "c.example"]).await, ["c.example spam 1 2"]);
    drop(server);
    let failure = at.run(&url, &["--dnsbl-zone", &zone("z", "a.example\n")]).await.unwrap_err();
    assert_eq!(failure.blame(), crate::exit::Blame::Unreachable, "{failure}");
    assert!(data.refresh(false).await.is_err() && data.snapshot().entries() == 1, "the old entries stay");
}

#[tokio::test]
async fn a_file_that_cannot_take_entries_stays_and_nothing_is_left_beside_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let import = Import::new();
    let csv = import.file("a.csv", "rated,rating\na.example,0.5\n");
    import.file("long.ndjson", &"x".repeat(LINE + 1));
    let failure = import.run("DIR/long.ndjson", &["--csv", &csv]).await.unwrap_err().to_string();
    assert!(failure.contains("long.ndjson:1: the line is longer"), "{failure}");
    assert!(!import.dir.path().join("long.ndjson.importing").exists());
    let failure = import.run("/dev/full", &["--csv", &csv]).await.unwrap_err().to_string();
    assert!(failure.contains("not a file"), "{failure}");
    // What only the owner may read stays so.
    let secret = import.file("secret.ndjson", "");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    import.run("DIR/secret.ndjson", &["--csv", &csv]).await.unwrap();
    let mode = std::fs::metadata(&secret).unwrap().permissions().mode();
    assert_eq!((mode & 0o777, std::fs::read_to_string(&secret).unwrap().lines().count()), (0o600, 1));
}
