//! Certificates and revocation lists are read again while the services run.

use watchfire_tests::succeed;

use crate::site::{HOME, Operator, home, site};

#[test]
fn a_network_whose_certificate_is_revoked_does_not_get_in_again() {
    let site = site();
    let dir = site.file("");
    let crl = site.file("ca.crl.pem");
    succeed(&["pki", "crl", "--dir", &dir]);
    let operator = Operator::start(&site, &["--crl", &crl]);
    let address = format!("tls://{}", operator.tls);
    let first = home(&site, &address, &["--crl", &crl]);
    assert_eq!(operator.mitigate("1", &[]).0, 0);
    succeed(&["pki", "crl", "--dir", &dir, "--revoke", HOME]);
    operator.service.signal("HUP");
    operator.service.wait_for_log("certificates read again");
    // What is up goes on.
    assert_eq!(operator.mitigate("2", &["--target-prefix", "198.51.100.8/32"]).0, 0);
    drop(first);
    let second = home(&site, &address, &[]);
    operator.service.wait_for_log("invalid peer certificate: Revoked");
    // A new certificate, and it is let in; it is read again too.
    succeed(&["pki", "issue", "--dir", &dir, "--profile", "dots-server", "--name", HOME, "--force"]);
    second.signal("HUP");
    second.wait_for_log("certificates read again");
    assert_eq!(operator.mitigate("3", &[]).0, 0, "{}", second.log());
}

#[test]
fn what_cannot_be_read_again_changes_nothing() {
    let site = site();
    let operator = Operator::start(&site, &[]);
    let (ca, kept) = (site.file("ca.pem"), site.file("kept"));
    std::fs::copy(&ca, &kept).unwrap();
    std::fs::write(&ca, "no certificate").unwrap();
    operator.service.signal("HUP");
    operator.service.wait_for_log("the old certificates stay");
    std::fs::copy(&kept, &ca).unwrap();
    let _home = home(&site, &format!("dtls://{}", operator.dtls), &[]);
    assert_eq!(operator.mitigate("1", &[]).0, 0);
}
