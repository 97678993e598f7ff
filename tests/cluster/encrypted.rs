//! A database that is reached by TLS alone.

use std::path::Path;

use watchfire_testkit::servers::{Postgres, PostgresTls};
use watchfire_tests::{Service, Site, run, succeed};

#[test]
fn every_store_is_reached_by_tls() {
    let site = Site::new();
    let dir = site.file("");
    succeed(&["pki", "issue", "--dir", &dir, "--profile", "tls-server", "--name", "db.test"]);
    let (cert, key, ca) = (site.file("db.test.pem"), site.file("db.test.key"), site.file("ca.pem"));
    let access = "hostssl all watchfire 127.0.0.1/32 trust";
    let tls = PostgresTls { cert: Path::new(&cert), key: Path::new(&key), ca: Path::new(&ca), access };
    let Some(postgres) = Postgres::start_with_tls(&tls) else { return };
    let bare = format!("postgres://watchfire@db.test:{}/postgres?hostaddr=127.0.0.1", postgres.port());
    let url = format!("{bare}&sslrootcert={ca}");

    // Accounts, reputations, alerts.
    succeed(&["obp", "account", "add", "--accounts", &url, "alice@example.com"]);
    assert!(succeed(&["obp", "account", "list", "--accounts", &url]).contains("alice@example.com"));
    let entries = site.write(
        "entries.ndjson",
        "{\"application\":\"email-id\",\"assertion\":\"spam\",\"rated\":\"a.example\",\"rating\":1.0}\n",
    );
    succeed(&["repute", "import", "--store", &url, "--ndjson", &entries]);
    // In a file paths start at its folder.
    let file = |store: &str| {
        format!(
            "[iap.manager]\nlisten = \"127.0.0.1:0\"\ncert = \"manager.test.pem\"\nkey = \"manager.test.key\"\nca = \"ca.pem\"\n\
             store = \"{store}\"\n"
        )
    };
    let config = site.write("c.toml", file(&format!("{bare}&sslrootcert=ca.pem")));
    succeed(&["config", "check", &config]);
    let mut manager = Service::start(&["run", "--config", &config, "--json"]);
    manager.address();
    manager.signal("TERM");
    assert_eq!(manager.wait(), 0, "{}", manager.log());
    assert_eq!(succeed(&["iap", "alerts", "--json", "--store", &url]), "");

    // What is refused is one line: what, where, what to do.
    let refused = |words: &[&str]| {
        let output = run(words);
        let said = String::from_utf8(output.stderr).unwrap();
        let line = said.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{words:?}: {said}"));
        (output.status.code().unwrap(), line.to_owned())
    };
    let other = format!("{bare}&sslrootcert={}", site.file("manager.test.pem"));
    let (code, error) = refused(&["obp", "account", "list", "--accounts", &other]);
    assert!(code == 3 && error.starts_with("error: postgres://watchfire@db.test:"), "{code} {error}");
    assert!(error.contains("sslrootcert=FILE"), "{error}");
    let (code, error) = refused(&["iap", "alerts", "--store", &format!("{bare}&sslmode=disable")]);
    assert!(code == 2 && error.contains("write sslmode=verify-full"), "{code} {error}");
    let (code, error) =
        refused(&["repute", "import", "--ndjson", &entries, "--store", &format!("{bare}&sslmode=prefer")]);
    assert!(code == 2 && error.contains("write verify-full, or disable"), "{code} {error}");
    let config = site.write("c.toml", file(&format!("{bare}&sslrootcert=none.pem")));
    let (code, error) = refused(&["config", "check", &config]);
    assert!(code == 2 && error.contains("none.pem") && error.contains("check the path"), "{code} {error}");
    let config = site.write("c.toml", file(&format!("{bare}&sslmode=verify-ca")));
    let (code, error) = refused(&["config", "check", &config]);
    assert!(
        code == 2 && error.contains("c.toml:6:9: iap.manager.store") && error.contains("sslrootcert=FILE"),
        "{error}"
    );
}
