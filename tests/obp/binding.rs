//! Binding: PINs, restarts, accounts that are removed, brokers that are not there.

use std::net::Ipv4Addr;
use std::path::Path;

use watchfire_tests::{run, succeed, until};

use crate::authority::Authority;
use crate::site::{Brokered, connect, port};

#[test]
fn a_pin_is_for_one_device_and_the_binding_is_its_owner_s_alone() {
    let Some(at) = Brokered::start("a_pin_is_for_one_device_and_the_binding_is_its_owner_s_alone", &[]) else { return };
    use std::os::unix::fs::PermissionsExt as _;
    for file in [at.binding.clone(), at.site.file("accounts.toml"), at.site.file("accounts.toml.keys")] {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }
    let text = std::fs::read_to_string(&at.binding).unwrap();
    let binding: serde_json::Value = serde_json::from_str(&text).unwrap();
    let services = binding["Service"].as_array().unwrap();
    assert_eq!(services.len(), 2);
    for service in services {
        assert_eq!(service["Service"], "omni-query");
        let key = &service["Cryptographic"];
        assert_eq!((&key["Authentication"], &key["Encryption"]), (&"HS256T128".into(), &"A128CBC".into()));
        assert!(key["Secret"].is_string() && key["Ticket"].is_string() && key["Expires"].is_string(), "{service}");
    }
    let (url, again, pin, ca) =
        (format!("https://{}", at.https), at.site.file("again.json"), at.site.file("pin"), at.site.file("ca.pem"));
    let bind = |pin: &str| {
        let words = [
            "obp",
            "bind",
            "--broker",
            &url,
            "--account",
            "alice@localhost",
            "--out",
            &again,
            "--ca",
            &ca,
            "--timeout",
            "60s",
        ];
        run(&[&words[..], &["--pin-file", pin]].concat())
    };
    let (code, error) = Brokered::failure(&bind(&pin));
    assert!(code == 1 && error.contains("PIN"), "used: {error}");
    let wrong = at.site.write("wrong", "0000-0000-0000\n");
    assert_eq!(Brokered::failure(&bind(&wrong)).0, 1);
    assert!(!Path::new(&again).exists());
}

#[test]
fn tickets_outlive_the_broker_and_not_the_account() {
    let Some(mut at) = Brokered::start("tickets_outlive_the_broker_and_not_the_account", &[]) else { return };
    at.ways(&["www.plain.test", "ssh"]);
    at.broker.kill();
    // Another broker with the same keys, at the same port.
    let listen = at.https.clone();
    let udp = {
        let text = std::fs::read_to_string(&at.binding).unwrap();
        let binding: serde_json::Value = serde_json::from_str(&text).unwrap();
        let all = binding["Service"].as_array().unwrap().clone();
        let udp = all.iter().find(|one| one["Transport"] == "UDP").unwrap();
        format!("{}:{}", at.host, udp["Port"])
    };
    let file = |name: &str| at.site.file(name);
    let (cert, key, accounts) = (file("broker.test.pem"), file("broker.test.key"), file("accounts.toml"));
    let words = ["obp", "broker", "--json", "--listen", &listen, "--udp", &udp, "--cert", &cert, "--key", &key];
    let more = ["--accounts", &accounts, "--resolver", at.authority.address(), "--metrics", "127.0.0.1:0"];
    at.broker = watchfire_tests::Service::start(&[&words[..], &more].concat());
    at.broker.address();
    for transport in ["udp", "http"] {
        assert!(!at.ways(&["www.plain.test", "ssh", "--transport", transport]).is_empty());
    }
    succeed(&["obp", "account", "remove", "--accounts", &accounts, "alice@localhost"]);
    let ask = || {
        let output = at.connect(&["www.plain.test", "ssh", "--transport", "http"]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    until("the account's bindings are over", || ask().0 == Some(1));
    let (_, error) = ask();
    assert!(error.contains("bind again"), "{error}");
}

#[test]
fn mistakes_are_one_line_with_the_right_exit_code() {
    let site = watchfire_tests::Site::new();
    let (out, pin, ca) = (site.file("b.json"), site.write("pin", "1234\n"), site.file("ca.pem"));
    let bind = |broker: &str| {
        let words = ["obp", "bind", "--account", "a@localhost", "--out", &out, "--pin-file", &pin, "--ca", &ca];
        run(&[&words[..], &["--broker", broker]].concat())
    };
    for (broker, wanted, says) in
        [("https://localhost:1", 3, "localhost:1"), ("http://broker.example.com", 2, "https"), ("nonsense", 2, "https")]
    {
        let (code, error) = Brokered::failure(&bind(broker));
        assert!(code == wanted && error.contains(says), "{broker}: {code} {error}");
    }
    let missing = site.file("missing.json");
    let (code, error) = Brokered::failure(&run(&["obp", "connect", "--binding", &missing, "x.test", "http"]));
    assert!(code == 2 && error.contains("missing.json") && error.contains("obp bind"), "{error}");
    let nonsense = site.write("nonsense.json", "{\"Service\":[{\"Port\":0}]}");
    let (code, error) = Brokered::failure(&run(&["obp", "connect", "--binding", &nonsense, "x.test", "http"]));
    assert!(code == 2 && error.contains("Service[0].Port"), "{error}");
    // A broker that nobody can reach with what it would hand out says so before it serves.
    let accounts = site.file("accounts.toml");
    let output = run(&["obp", "broker", "--listen", "0.0.0.0:0", "--accounts", &accounts, "--resolver", "127.0.0.1:1"]);
    let (code, error) = Brokered::failure(&output);
    assert!(code == 2 && error.contains("--advertise"), "{error}");
}

/// OBP-179: the name of the service leads to its host and port, and the certificate must be for the name.
#[test]
fn srv_records_lead_to_the_broker() {
    const TEST: &str = "srv_records_lead_to_the_broker";
    let Some(at) = Brokered::start(TEST, &[]) else { return };
    let folder = at.site.file("srv");
    std::fs::create_dir(&folder).unwrap();
    // Addresses are asked of the system, which knows one.
    let (_broker, https, _) = Brokered::broker(&at.site, &at.authority, Ipv4Addr::LOCALHOST, &[]);
    let port = port(&https);
    let record = |name: &str| format!("_sxs-connect._tcp.{name} SRV 0 0 {port} localhost.\n");
    let records = record("home") + &record("away");
    let Some(dns) = Authority::start_with(Path::new(&folder), &records) else { return };
    let accounts = at.site.file("accounts.toml");
    let pin = succeed(&["obp", "account", "add", "--accounts", &accounts, "bob@localhost", "--pin"]);
    let (pin, ca, binding) = (at.site.write("pin2", pin), at.site.file("ca.pem"), at.site.file("bob.json"));
    let bind = |url: &str| {
        let words =
            ["obp", "bind", "--broker", url, "--account", "bob@localhost", "--out", &binding, "--timeout", "60s"];
        run(&[&words[..], &["--pin-file", &pin, "--ca", &ca, "--resolver", dns.address()]].concat())
    };
    let (_, error) = Brokered::failure(&bind("https://away.plain.test"));
    assert!(error.contains("certificate"), "{error}");
    let output = bind("https://home.plain.test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let asked = ["obp", "connect", "--json", "--binding", &binding, "www.plain.test", "ssh", "--transport", "http"];
    assert!(succeed(&asked).contains("192.0.2.1"));
}

#[test]
fn a_binding_whose_end_cannot_be_written_goes_on_and_is_ended_later() {
    let Some(at) = Brokered::start("a_binding_whose_end_cannot_be_written_goes_on_and_is_ended_later", &[]) else {
        return;
    };
    let in_the_way = at.site.file("accounts.toml.ended");
    std::fs::create_dir(&in_the_way).unwrap();
    let copy = at.site.write("copy.json", std::fs::read_to_string(&at.binding).unwrap());
    let unbind = || run(&["obp", "unbind", "--timeout", "60s", "--binding", &at.binding]);
    let (code, error) = Brokered::failure(&unbind());
    assert!(code == 1 && error.contains("as it was"), "{error}");
    at.broker.wait_for_log("its end cannot be written");
    assert!(!at.ways(&["www.plain.test", "ssh"]).is_empty());
    std::fs::remove_dir(&in_the_way).unwrap();
    assert!(unbind().status.success());
    let (code, error) = Brokered::failure(&connect(&copy, &["www.plain.test", "ssh"]));
    assert!(code == 1 && error.contains("bind again"), "{error}");
}

#[test]
fn a_binding_is_refreshed_and_ended_by_its_owner() {
    let Some(at) = Brokered::start("a_binding_is_refreshed_and_ended_by_its_owner", &[]) else { return };
    let before = std::fs::read_to_string(&at.binding).unwrap();
    let lost = at.site.write("lost.json", &before);
    let said = succeed(&["obp", "refresh", "--timeout", "60s", "--binding", &at.binding]);
    assert!(said.contains("good until"), "{said}");
    let after = std::fs::read_to_string(&at.binding).unwrap();
    assert_ne!(after, before);
    for member in ["\"Broker\"", "\"CA\""] {
        assert!(after.contains(member), "{member}");
    }
    assert!(!at.ways(&["www.plain.test", "ssh"]).is_empty());
    succeed(&["obp", "unbind", "--timeout", "60s", "--binding", &at.binding]);
    assert!(!Path::new(&at.binding).exists());
    // Copies of it are worth nothing.
    let (code, error) = Brokered::failure(&connect(&lost, &["www.plain.test", "ssh"]));
    assert!(code == 1 && error.contains("bind again"), "{error}");
    for command in ["refresh", "unbind"] {
        let (code, error) = Brokered::failure(&run(&["obp", command, "--timeout", "60s", "--binding", &lost]));
        assert!(code == 1 && error.contains("bind again"), "{command}: {error}");
    }
    assert!(Path::new(&lost).exists());
}

/// What another program wrote by the documented form says nothing of how the broker is spoken to.
#[test]
fn a_binding_with_nothing_but_its_services_is_asked_as_the_loopback_is() {
    let test = "a_binding_with_nothing_but_its_services_is_asked_as_the_loopback_is";
    let Some(at) = Brokered::start(test, &[]) else { return };
    let accounts = at.site.file("accounts.toml");
    let words = ["obp", "broker", "--json", "--listen", "127.0.0.1:0", "--accounts", &accounts];
    let plain = watchfire_tests::Service::start(&[&words[..], &["--resolver", at.authority.address()]].concat());
    let url = format!("http://{}", plain.address());
    let pin = succeed(&["obp", "account", "add", "--accounts", &accounts, "bob@localhost", "--pin"]);
    let (pin, binding) = (at.site.write("pin-b", pin), at.site.file("bob.json"));
    let words = ["obp", "bind", "--broker", &url, "--account", "bob@localhost", "--out", &binding, "--pin-file", &pin];
    succeed(&[&words[..], &["--timeout", "60s"]].concat());
    let ask = |from: &str, change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
        let mut content: serde_json::Value = serde_json::from_slice(&std::fs::read(from).unwrap()).unwrap();
        change(content.as_object_mut().unwrap());
        let changed = at.site.write("changed.json", content.to_string());
        connect(&changed, &["www.plain.test", "ssh", "--transport", "http"])
    };
    let bare = |content: &mut serde_json::Map<String, serde_json::Value>| content.retain(|name, _| name == "Service");
    let output = ask(&binding, &bare);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // An authority that vouches for a broker says that there is something to vouch for.
    let ca = at.site.file("ca.pem");
    let output = ask(&binding, &|content| {
        bare(content);
        content.insert("CA".into(), ca.as_str().into());
    });
    let (code, error) = Brokered::failure(&output);
    assert!(code == 3 && error.contains("TLS"), "{error}");
    let output = ask(&at.binding, &|content| drop(content.remove("Broker")));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Nothing is asked in clear text where a name may lead elsewhere.
    let output = ask(&binding, &|content| {
        bare(content);
        for service in content["Service"].as_array_mut().unwrap() {
            service["Name"] = "broker.example".into();
        }
    });
    let (_, error) = Brokered::failure(&output);
    assert!(error.contains("TLS"), "{error}");
}
