//! The only client of REPUTE that was ever deployed: the requests of its four dated versions as they were recorded, and
//! what each takes from an answer without looking twice. It reads what is there and leaves the rest uninitialised, so
//! that each of these members must be there, in the spelling that the version knows.

use watchfire_tests::Site;

use crate::site::{entry, get, rater};

/// What all versions send besides `Host`.
const FIELDS: &str = "User-Agent: libcurl-agent/1.0\r\nAccept: */*\r\n";

/// The body of an answer. It cuts at the first empty line wherever that is, and takes nothing but 200.
fn body(page: &str) -> &str {
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    assert!(!page.to_ascii_lowercase().contains("transfer-encoding"), "{page}");
    let (_, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(!body.trim_end().contains("\n\n") && !body.contains("\r\n\r\n"), "{page}");
    body
}

/// It fetches one template, and expands it with what it knows.
fn expanded(address: &str) -> String {
    let page = get(address, "/.well-known/repute-template", FIELDS);
    let template = body(&page).trim_end();
    assert!(template.len() < 1024 && !template.contains(['\r', '\n']), "it glues lines together: {template}");
    let path = template.strip_prefix("http://{service}").expect("it knows no other scheme");
    path.replace("{application}", "email-id").replace("{subject}", "example.org").replace("{assertion}", "spam")
}

/// What the version of RFC 7071 reads: of several reputons the last. A rating without a point is 0 to it.
fn read_head(page: &str) -> (f64, f64, u64, u64, u64) {
    let text = body(page);
    let document: serde_json::Value = serde_json::from_str(text).unwrap();
    assert!(document["application"].as_str().unwrap().eq_ignore_ascii_case("email-id"));
    let reputon = document["reputons"].as_array().unwrap().last().unwrap();
    assert!(reputon["assertion"].as_str().unwrap().eq_ignore_ascii_case("spam"));
    assert!(reputon["identity"].as_str().unwrap().eq_ignore_ascii_case("dkim"), "it does not know the other name");
    for member in ["rating", "confidence"] {
        assert!(reputon[member].is_f64(), "{member} has a point: {text}");
    }
    let (real, whole) = (|name: &str| reputon[name].as_f64().unwrap(), |name: &str| reputon[name].as_u64().unwrap());
    (real("rating"), real("confidence"), whole("sample-size"), whole("generated"), whole("rate"))
}

fn element<'t>(text: &'t str, name: &str) -> &'t str {
    let (_, rest) = text.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {text}"));
    rest.split_once('<').unwrap().0.trim()
}

#[test]
fn the_version_of_the_rfc_reads_all_it_takes() {
    let site = Site::new();
    let spf = entry("example.org", "0.9").replace("\"dkim\"", "\"spf\"");
    let bare = "{\"application\":\"email-id\",\"assertion\":\"spam\",\"rated\":\"bare.example\",\"rating\":1}\n";
    let data = site.write("d.ndjson", entry("example.org", "0.012") + &spf + bare);
    let (_service, address) = rater(&data, &[]);
    assert_eq!(expanded(&address), "/email-id/example.org/spam");
    let query = "/repute.php?subject=example.org&application=email-id&assertion=spam&service=127.0.0.77";
    for path in [expanded(&address), query.to_owned(), format!("{query}&reporter=7")] {
        let (rating, confidence, samples, generated, rate) = read_head(&get(&address, &path, FIELDS));
        assert_eq!((rating, confidence, samples, generated), (0.012, 0.95, 16_938_213, 1_317_795_852), "{path}");
        assert!(rate > 0);
    }
    // What the data does not say, and what there is no data about.
    let (rating, confidence, samples, generated, _) = read_head(&get(&address, "/email-id/bare.example/spam", FIELDS));
    assert!(rating == 1.0 && confidence > 0.0 && samples > 0 && generated > 1_700_000_000);
    let (rating, confidence, samples, ..) = read_head(&get(&address, "/email-id/nobody.example/spam", FIELDS));
    assert_eq!((rating, confidence, samples), (0.0, 0.0, 0));
}

#[test]
fn the_versions_of_the_draft_read_all_they_take() {
    let site = Site::new();
    let data = site.write("d.ndjson", entry("example.org", "0.012"));
    let (_service, address) = rater(&data, &["--dialect", "draft2012"]);
    let path = expanded(&address);
    // January 2012: XML, the identity in an extension.
    let page = get(&address, &path, FIELDS);
    let xml = body(&page);
    assert_eq!((element(xml, "assertion"), element(xml, "rated")), ("spam", "example.org"));
    assert_eq!((element(xml, "rating"), element(xml, "confidence")), ("0.012", "0.95"));
    let extensions: Vec<String> =
        xml.split("<extension>").skip(1).map(|rest| rest.split('<').next().unwrap().trim().to_lowercase()).collect();
    assert!(extensions.contains(&"identity: dkim".to_owned()), "{xml}");
    assert!(extensions.iter().any(|extension| extension.starts_with("rate: ")), "{xml}");
    // September 2013, built with an XML reader, says so.
    let query = "/repute.php?subject=example.org&application=email-id&assertion=spam&service=127.0.0.77&reporter=7";
    assert_eq!(element(body(&get(&address, &format!("{query}&format=xml"), FIELDS)), "rating"), "0.012");
    // The same, built with a JSON reader: the reputon itself is the document.
    let page = get(&address, &format!("{query}&format=json"), FIELDS);
    let reputon: serde_json::Value = serde_json::from_str(body(&page)).unwrap();
    assert_eq!((reputon["rating"].as_f64(), reputon["identity"].as_str()), (Some(0.012), Some("dkim")));
    assert!(reputon["rate"].is_u64() && reputon["confidence"].is_f64() && reputon["rated"] == "example.org", "{page}");
}
