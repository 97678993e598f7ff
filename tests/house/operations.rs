//! What is shipped for operators works: example configurations, blocks of TOML in documents, units, the dashboard.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use watchfire_tests::{Site, run, succeed};

use crate::root;

const CERTIFICATES: &[(&str, &str)] = &[
    ("iap-manager", "manager.example.com"),
    ("tls-server", "broker.example.com"),
    ("tls-server", "rep.example.net"),
    ("dots-server", "home.example.net"),
    ("dots-client", "isp.example.com"),
    ("tls-server", "acme.example.com"),
    ("tls-server", "relay.example.com"),
];

/// A folder with everything that the examples name, and the example with its paths led there.
struct Etc {
    site: Site,
}

impl Etc {
    fn new() -> Self {
        let site = Site::new();
        let dir = site.file("");
        for (profile, name) in CERTIFICATES {
            succeed(&["pki", "issue", "--dir", &dir, "--profile", profile, "--name", name]);
        }
        succeed(&["pki", "crl", "--dir", &dir]);
        std::fs::copy(site.file("ca.pem"), site.file("isp-ca.pem")).unwrap();
        for folder in ["log", "suricata", "lib", "lib/sensor", "lib/manager", "lib/broker", "lib/rater", "tls"] {
            std::fs::create_dir_all(site.file(folder)).unwrap();
        }
        succeed(&["obp", "account", "add", "--accounts", &site.file("lib/broker/accounts.toml"), "alice@example.com"]);
        let entry = r#"{"application":"email-id","assertion":"spam","rated":"example.org","rating":0.5}"#;
        let entries = site.write("entries.ndjson", format!("{entry}\n"));
        let store = format!("sqlite:{}", site.file("lib/rater/entries.db"));
        succeed(&["repute", "import", "--store", &store, "--ndjson", &entries, "--rater", "rep.example.net"]);
        for entry in std::fs::read_dir(root().join("contrib/config")).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            site.write(path.file_name().unwrap().to_str().unwrap(), led(&text, &site));
        }
        Self { site }
    }

    fn check(&self, file: &str) -> (Option<i32>, String) {
        let output = run(&["config", "check", &self.site.file(file)]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Paths of an installed system become those of the folder.
fn led(text: &str, site: &Site) -> String {
    [
        ("/var/lib/watchfire", "lib"),
        ("/var/log/suricata", "suricata"),
        ("/var/log/watchfire", "log"),
        ("/etc/watchfire/tls", "tls"),
        ("/etc/watchfire", "."),
    ]
    .iter()
    .fold(text.to_owned(), |text, (from, to)| text.replace(from, &site.file(to)))
}

#[test]
fn example_configurations_are_accepted() {
    let etc = Etc::new();
    let mut checked = Vec::new();
    for entry in std::fs::read_dir(root().join("contrib/config")).unwrap() {
        let name = entry.unwrap().file_name().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(root().join("contrib/config").join(&name)).unwrap();
        // What the others name is checked with them.
        if !name.ends_with(".toml") || !text.contains("metrics = ") {
            continue;
        }
        let (code, errors) = etc.check(&name);
        assert_eq!(code, Some(0), "contrib/config/{name}: {errors}");
        let unit = format!("watchfire@{}.service", name.trim_end_matches(".toml"));
        assert!(text.contains(&unit), "contrib/config/{name} does not say that it is run by {unit}");
        checked.push((name, text));
    }
    assert_eq!(checked.len(), 6, "{checked:?}");

    // No two ask for the same port for metrics: all may run on one machine.
    let ports: BTreeSet<_> = checked.iter().map(|(_, text)| text.lines().find(|l| l.starts_with("metrics"))).collect();
    assert_eq!(ports.len(), checked.len());

    // The check looks: without a file that is named it fails.
    for (file, gone) in [
        ("sensor.toml", "sensor-1.key"),
        ("manager.toml", "ca.crl.pem"),
        ("broker.toml", "broker-policy.toml"),
        ("rater.toml", "rep.example.net.pem"),
        ("gateway.toml", "isp-ca.pem"),
        ("name-owner.toml", "delegation-cdn.json"),
    ] {
        std::fs::rename(etc.site.file(gone), etc.site.file("away")).unwrap();
        let (code, errors) = etc.check(file);
        assert_eq!(code, Some(2), "{file} without {gone}: {errors}");
        assert!(errors.contains(gone), "{file} without {gone}: {errors}");
        std::fs::rename(etc.site.file("away"), etc.site.file(gone)).unwrap();
    }
}

/// Blocks of TOML in documents, each read by what reads such files.
#[test]
fn every_block_of_toml_is_accepted() {
    let etc = Etc::new();
    let site = &etc.site;
    // What the page about configuration names.
    for (name, like) in [
        ("manager", "manager.example.com"),
        ("broker", "broker.example.com"),
        ("relay", "relay.example.com"),
        ("isp", "isp.example.com"),
        ("home", "home.example.net"),
    ] {
        for suffix in ["pem", "key"] {
            let to = site.file(&format!("{name}.{suffix}"));
            std::fs::copy(site.file(&format!("{like}.{suffix}")), to).unwrap();
        }
    }
    site.write("users", "alice:a password that is long enough\n");
    std::fs::copy(site.file("lib/broker/accounts.toml"), site.file("accounts.toml")).unwrap();
    site.write("binding.json", "{}");
    site.write("console.token", "0123456789abcdef0123456789abcdef\n");
    site.write("watchfire.creds", "-----BEGIN NATS USER JWT-----\n");
    site.write("watchfire.creds", "-----BEGIN NATS USER JWT-----");
    for zone in ["threats.zone", "local.zone"] {
        site.write(zone, "$ORIGIN zone.example.\n$TTL 60\n@ SOA a. b. 1 1 1 1 1\nbad.example.com CNAME .\n");
    }
    std::fs::copy(site.file("delegation-cdn.json"), site.file("cdn.json")).unwrap();

    let mut seen = [0; 4];
    for file in ["docs", "crates", "contrib"]
        .iter()
        .flat_map(|folder| markdown(&root().join(folder)))
        .chain([root().join("README.md")])
    {
        let text = std::fs::read_to_string(&file).unwrap();
        for (number, block) in text.split("```toml\n").skip(1).enumerate() {
            let block = led(block.split("```").next().unwrap(), site);
            let place = format!("{}, block {}", file.strip_prefix(root()).unwrap().display(), number + 1);
            // In the file that such a block is, and a service that reads it.
            let (kind, config) = if block.contains("[[delegation]]") {
                site.write("block-delegations.toml", &block);
                let ido = "[lurk.ido]\nlisten = \"127.0.0.1:0\"\nupstream = \"https://ca.example/directory\"\n\
                           delegations = \"block-delegations.toml\"\ndir = \"lib\"\n";
                (1, ido.to_owned())
            } else if block.contains("[[peer]]") {
                site.write("block-rules.toml", &block);
                let client = "[dots.call-home-client]\nlisten = \"tls://127.0.0.1:0\"\ncert = \"isp.pem\"\nkey = \"isp.key\"\n\
                              ca = \"ca.pem\"\neve = \"entries.ndjson\"\nrule = \"block-rules.toml\"\n";
                (2, client.to_owned())
            } else if block.contains("[[rule]]") {
                site.write("block-policy.toml", &block);
                let broker = "[obp.broker]\nlisten = \"127.0.0.1:0\"\naccounts = \"accounts.toml\"\n\
                              policy = \"block-policy.toml\"\n";
                site.write("policy.toml", &block);
                (3, broker.to_owned())
            } else {
                site.write("policy.toml", "");
                (0, block)
            };
            seen[kind] += 1;
            site.write("block.toml", config);
            let (code, errors) = etc.check("block.toml");
            assert_eq!(code, Some(0), "{place}: {errors}");
        }
    }
    assert!(seen.iter().all(|count| *count >= 1), "{seen:?}: configuration, delegations, rules, policy");
}

fn markdown(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    crate::files(folder, ".md", &mut found);
    found
}

/// Units are what systemd understands, and hardened.
#[test]
fn units_verify_and_are_hardened() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("SKIPPED: systemd-analyze is not installed, so the units were not looked at");
        return;
    }
    let folder = std::env::temp_dir().join(format!("watchfire-units-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let unit = std::fs::read_to_string(root().join("contrib/systemd/watchfire@.service")).unwrap();
    let program = watchfire_tests::program().display().to_string();
    let mut instances = 0;
    for entry in std::fs::read_dir(root().join("contrib/config")).unwrap() {
        let name = entry.unwrap().file_name().to_str().unwrap().to_owned();
        let Some(instance) = name.strip_suffix(".toml") else { continue };
        if ["delegations", "broker-policy"].contains(&instance) {
            continue;
        }
        instances += 1;
        // The unit as this instance has it, with its drop-ins behind it.
        let mut text = unit.replace("/usr/bin/watchfire", &program).replace("%i", instance);
        let drop_ins = root().join(format!("contrib/systemd/watchfire@{instance}.service.d"));
        if let Ok(found) = std::fs::read_dir(&drop_ins) {
            for drop_in in found {
                text.push_str(&std::fs::read_to_string(drop_in.unwrap().path()).unwrap());
            }
        }
        let path = folder.join(format!("watchfire-{instance}.service"));
        std::fs::write(&path, text).unwrap();
        let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output().unwrap();
        let said = String::from_utf8_lossy(&verified.stderr).into_owned();
        // Complaints about units of the machine are not about ours.
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("watchfire")).collect();
        assert!(verified.status.success() && ours.is_empty(), "{instance}: {said}");
        // The exposure goes from 0 to 10 in tenths; `--threshold` is in tenths too.
        let judged = Command::new("systemd-analyze")
            .args(["security", "--offline=yes", "--no-pager", "--threshold=20"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(judged.status.success(), "{instance}: {}", String::from_utf8_lossy(&judged.stdout));
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(instances, 6);
}

/// Every metric that the dashboard draws is one that the program has.
#[test]
fn the_dashboard_draws_what_the_program_exports() {
    let text = std::fs::read_to_string(root().join("contrib/grafana/watchfire.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut expressions = Vec::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels have the same id");
        assert!(panel["gridPos"]["x"].as_u64().unwrap() + panel["gridPos"]["w"].as_u64().unwrap() <= 24);
        for target in panel["targets"].as_array().into_iter().flatten() {
            expressions.push(target["expr"].as_str().unwrap().to_owned());
        }
    }
    assert!(expressions.len() > 60, "{}", expressions.len());
    let exported = exported();
    assert!(exported.len() > 100, "{exported:?}");
    let mut drawn = BTreeSet::new();
    for expression in &expressions {
        let balanced = [('(', ')'), ('{', '}'), ('[', ']')]
            .iter()
            .all(|(open, close)| expression.matches(*open).count() == expression.matches(*close).count());
        assert!(balanced, "{expression}");
        for name in names(expression) {
            let family = name.strip_suffix("_bucket").unwrap_or(&name).to_owned();
            assert!(exported.contains(&family), "the dashboard draws {name}, which the program does not export");
            drawn.insert(family);
        }
    }
    assert!(drawn.len() > 50, "{drawn:?}");
}

/// Names of metrics in a text: not those of crates (`watchfire_core::`), packages (`watchfire_0.1.0`) and groups
/// (`watchfire_lurk_relay_`).
fn names(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let after = |at: usize| &text[at + "watchfire_".len()..];
    text.match_indices("watchfire_")
        .map(|(at, _)| (after(at), after(at).find(|c| !is_part(c)).unwrap_or_else(|| after(at).len())))
        .filter(|(rest, end)| !rest[..*end].ends_with('_') && !rest[*end..].starts_with(':'))
        .filter(|(rest, _)| rest.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(|(rest, end)| format!("watchfire_{}", &rest[..end]))
        .collect()
}

/// The names in the sources of the program: series are made when there is something to count, so that no single run shows
/// all of them.
fn exported() -> BTreeSet<String> {
    let mut sources = Vec::new();
    crate::files(&root().join("crates/watchfire/src"), ".rs", &mut sources);
    let texts = sources.iter().map(|path| std::fs::read_to_string(path).unwrap());
    let literals = |text: String| -> Vec<String> {
        text.split("\"watchfire_")
            .skip(1)
            .filter_map(|rest| Some(format!("watchfire_{}", rest.split('"').next()?)))
            .collect()
    };
    texts.flat_map(literals).collect()
}

/// Names of metrics in documents, too.
#[test]
fn documents_name_metrics_that_exist() {
    let exported = exported();
    let mut mentioned = 0;
    for path in markdown(&root().join("docs")) {
        let text = std::fs::read_to_string(&path).unwrap();
        for name in names(&text) {
            mentioned += 1;
            let family = name.strip_suffix("_bucket").unwrap_or(&name);
            assert!(exported.contains(family), "{} names the metric {name}", path.display());
        }
    }
    assert!(mentioned >= 25, "{mentioned}");
}
