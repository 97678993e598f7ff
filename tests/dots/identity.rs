//! Who proves to be whom.

use watchfire_tests::{Site, run, succeed};

use crate::site::{HOME, OPERATOR, Operator, home, says, site};

/// The one line on standard error of a command that fails, and its exit code.
fn failure(words: &[&str]) -> (i32, String) {
    let output = run(words);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = error.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(lines.len(), 1, "{words:?}: {error}");
    (output.status.code().unwrap(), lines[0].to_owned())
}

fn has_called(operator: &Operator) -> bool {
    operator.ask(&["status", "--peer", HOME]).0 == 0
}

#[test]
fn an_operator_of_another_name_is_hung_up_on() {
    let site = site();
    let dir = site.file("");
    succeed(&["pki", "issue", "--dir", &dir, "--profile", "dots-client", "--name", "other.test"]);
    for (file, other) in [(format!("{OPERATOR}.pem"), "other.test.pem"), (format!("{OPERATOR}.key"), "other.test.key")]
    {
        std::fs::copy(site.file(other), site.file(&file)).unwrap();
    }
    let operator = Operator::start(&site, &[]);
    for address in [format!("tls://{}", operator.tls), format!("dtls://{}", operator.dtls)] {
        let home = home(&site, &address, &[]);
        says(&home, &["NotValidForName", "other.test"]);
    }
    // Over DTLS it is known to have called, and to have hung up.
    assert_eq!(operator.mitigate("1", &["--timeout", "1"]).0, 3);
}

#[test]
fn a_network_of_another_authority_is_not_let_in() {
    let (site, stranger) = (site(), Site::new());
    let dir = stranger.file("");
    succeed(&["pki", "issue", "--dir", &dir, "--profile", "dots-server", "--name", HOME]);
    let operator = Operator::start(&site, &[]);
    // It trusts the operator, and shows a certificate that the operator cannot know.
    for file in ["pem", "key"] {
        let name = format!("{HOME}.{file}");
        std::fs::copy(stranger.file(&name), site.file(&name)).unwrap();
    }
    for address in [format!("tls://{}", operator.tls), format!("dtls://{}", operator.dtls)] {
        let home = home(&site, &address, &[]);
        // It hears of it after its own part of the handshake.
        says(&home, &["cannot be reached", "session ended"]);
    }
    assert!(!has_called(&operator));
}

#[test]
fn only_names_on_the_list_are_let_in() {
    let site = site();
    let operator = Operator::start(&site, &["--allow", "*.example.net"]);
    let refused = home(&site, &format!("tls://{}", operator.tls), &[]);
    refused.wait_for_log("session ended");
    assert!(!has_called(&operator));
    let operator = Operator::start(&site, &["--allow", "*.example.net", "--allow", "HOME.test"]);
    let _home = home(&site, &format!("dtls://{}", operator.dtls), &[]);
    assert_eq!(operator.mitigate("1", &[]).0, 0);
}

#[test]
fn mistakes_are_named_before_anything_starts() {
    let site = site();
    let tls = site.tls(HOME);
    let tls: Vec<&str> = tls.iter().map(String::as_str).collect();
    let server = |words: &[&str]| {
        let base = ["dots", "call-home-server", "--peer-name", OPERATOR, "--connect", "127.0.0.1:9"];
        failure(&[&base[..], &tls, words].concat())
    };
    for (words, why) in [
        (&["--connect", "h:1"][..], "--peer-name for each --connect"),
        (&["--enforce", "exec"], "--hook"),
        (&["--enforce", "exec", "--hook", "/no/such"], "/no/such"),
        (&["--domain", "192.0.2.0"], ""),
        (&["--domain", "192.0.2.0/33"], "prefix length"),
        (&["--state", "/proc/x"], "/proc/x"),
        (&["--enforce", "flowspec", "--json"], "--flowspec-output"),
    ] {
        if why.is_empty() {
            continue;
        }
        let (code, error) = server(words);
        assert!(code == 2 && error.contains(why), "{words:?}: {code} {error}");
    }
    let key = site.file(&format!("{OPERATOR}.key"));
    let cert = site.file(&format!("{HOME}.pem"));
    let ca = site.file("ca.pem");
    let mixed = ["--cert", &cert, "--key", &key, "--ca", &ca];
    let base = ["dots", "call-home-server", "--peer-name", OPERATOR, "--connect", "127.0.0.1:9"];
    let (code, error) = failure(&[&base[..], &mixed].concat());
    assert!(code == 2 && error.contains("cannot be used"), "{code} {error}");
    let client = ["dots", "call-home-client", "--listen", "tls://127.0.0.1:0", "--api", "0.0.0.0:0"];
    let (code, error) = failure(&[&client[..], &tls].concat());
    assert!(code == 2 && error.contains("--api-token-file"), "{code} {error}");
    // The same is said of a file.
    let name = |suffix: &str| format!("{HOME}.{suffix}");
    let text = format!(
        "[dots.call-home-server]\nconnect = [\"a:1\", \"b:2\"]\npeer-name = \"n\"\ncert = \"{}\"\nkey = \"{}\"\nca = \"ca.pem\"\n\
         [dots.call-home-client]\nlisten = \"tls://a:1\"\ncert = \"none.pem\"\nkey = \"{}\"\nca = \"ca.pem\"\n",
        name("pem"),
        name("key"),
        name("key")
    );
    let file = site.write("c.toml", text);
    let output = run(&["config", "check", &file]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(error.contains("2 places to call, and 1 names") && error.contains("none.pem"), "{error}");
}
