//! REPUTE servers of one store: what is imported is seen by all of them.

use watchfire_testkit::servers::Postgres;
use watchfire_tests::{Service, Site, run, succeed, until};

#[test]
fn an_import_is_seen_by_every_server_of_the_store() {
    let Some(postgres) = Postgres::start() else { return };
    let site = Site::new();
    let (store, address) = (postgres.url(), "127.0.0.1:0");
    let import = |name: &str, rating: &str| {
        let line = format!(
            "{{\"application\":\"email-id\",\"assertion\":\"spam\",\"rated\":\"{name}\",\"rating\":{rating}}}\n"
        );
        let file = site.write("entries", line);
        succeed(&["repute", "import", "--store", &store, "--ndjson", &file]);
    };
    import("first.example", "0.25");
    let servers: Vec<(Service, String)> = (0..3)
        .map(|_| {
            let server = Service::start(&["repute", "serve", "--json", "--listen", address, "--data", &store]);
            let at = server.address();
            (server, at)
        })
        .collect();
    let ask = |at: &str, name: &str| {
        let words = [
            "repute",
            "query",
            "--json",
            "--scheme",
            "http",
            "--service",
            at,
            "--application",
            "email-id",
            "--timeout",
            "60",
        ];
        let output = run(&[&words[..], &["--subject", name]].concat());
        String::from_utf8(output.stdout).unwrap()
    };
    for (_, at) in &servers {
        assert!(ask(at, "first.example").contains("0.25"));
        assert_eq!(ask(at, "second.example"), "");
    }
    import("second.example", "0.75");
    import("first.example", "0.5");
    for (_, at) in &servers {
        until("both are seen", || {
            ask(at, "second.example").contains("0.75") && ask(at, "first.example").contains("0.5")
        });
    }
}
