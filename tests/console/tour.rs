//! What quickstart's page shows: all that happened.

use watchfire_tests::{Service, Site};

use super::browser::Browser;

#[tokio::test]
async fn the_page_of_quickstart_shows_all_that_happened() {
    let site = Site::new();
    let folder = site.file("quickstart");
    let quickstart = Service::start(&["quickstart", "--json", "--dir", &folder]);
    let address = loop {
        let event = quickstart.event();
        assert_eq!(event["ok"], true, "{event}");
        if event["name"] == "console" {
            let url = event["message"].as_str().unwrap().to_owned();
            break url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        }
    };
    let Some(browser) = Browser::start("quickstart's page", &address).await else { return };
    let shows = async |path: &str, wanted: &[&str]| {
        browser.open(path).await;
        for text in wanted {
            browser.until(&format!("document.querySelector('main')?.innerText.includes({text:?})")).await;
        }
    };
    shows("/#/", &["iap-manager", "obp-broker", "repute-serve", "dots-call-home-client", "lurk-ido", "lurk-relay"])
        .await;
    let tiles = "[...document.querySelectorAll('.tile-value')].map(one => Number(one.innerText.replaceAll(',', '')))";
    browser.until(&format!("((t) => t[0] === 9 && t[2] >= 4 && t[3] >= 2 && t[4] >= 1 && t[5] >= 1)({tiles})")).await;
    shows("/#/alerts", &["9 alerts", "IAPTEST SSH brute force", "<script>"]).await;
    shows("/#/sensors", &["sensor-1"]).await;
    shows("/#/broker", &["revoked.plain.test", "veto 410", "good.plain.test", "alice@localhost", "signed.test"]).await;
    shows("/#/reputations", &["rater-1", "rater-2", "offers.example", "0.900", "0.600"]).await;
    browser.fill("#r-subject", "offers.example").await;
    browser.press("\u{e007}").await;
    browser.until("document.querySelector('#found')?.innerText.includes('2 opinions')").await;
    let found = browser.text("#found").await;
    assert!(found.contains("rater-1") && found.contains("rater-2") && found.contains("0.834"), "{found}");
    shows(
        "/#/dots",
        &[
            "attack-successfully-mitigated",
            "attack-mitigation-terminated",
            "cabin.localhost",
            "home.localhost",
            "DTLS",
            "198.51.100.7/32",
        ],
    )
    .await;
    shows("/#/certificates", &["cdn.ido.example", "canceled", "installed", "at the CA: https://"]).await;
    browser.end().await;
}
