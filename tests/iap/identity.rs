//! Which alerts are the same: what is acknowledged is stored, unless it is there already.

use watchfire_tests::Site;

fn alert(analyzerid: &str, messageid: &str, text: &str) -> String {
    format!(
        "<IDMEF-Message><Alert{messageid}><Analyzer{analyzerid}/>\
         <CreateTime ntpstamp=\"0xbc722ebe.0x00000000\">2000-03-09T14:07:58Z</CreateTime>\
         <Classification text=\"{text}\"/></Alert></IDMEF-Message>\n"
    )
}

#[test]
fn alerts_that_share_half_a_name_are_all_stored() {
    let site = Site::new();
    let store = format!("sqlite:{}", site.file("alerts.db"));
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--store", &store]);
    let mut lines = String::new();
    let mut different = 0;
    for (analyzerid, messageid) in [
        (" analyzerid=\"a\"", ""),
        (" analyzerid=\"a\"", " messageid=\"\""),
        (" analyzerid=\"a\"", " messageid=\"0\""),
        ("", " messageid=\"7\""),
        (" analyzerid=\"\"", " messageid=\"7\""),
        (" analyzerid=\"0\"", " messageid=\"7\""),
        ("", ""),
    ] {
        for text in ["one", "two"] {
            lines += &alert(analyzerid, messageid, text);
            different += 1;
        }
    }
    // These two are one: the same name twice, whatever they say.
    lines += &alert(" analyzerid=\"a\"", " messageid=\"7\"", "one");
    lines += &alert(" analyzerid=\"a\"", " messageid=\"7\"", "two");
    let input = site.write("in", lines);
    let mut sensor = site.sensor(&["--connect", &manager.address(), "--input", &input, "--exit-when-drained"]);
    assert!(sensor.line().contains("\"acked\":16"), "{}", sensor.log());
    assert_eq!(sensor.wait(), 0);
    assert_eq!(site.alerts(&store).len(), different + 1);
}

#[test]
fn a_line_that_can_never_be_sent_holds_up_nobody() {
    let site = Site::new();
    let store = format!("sqlite:{}", site.file("alerts.db"));
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--store", &store, "--body-limit", "4M"]);
    let address = manager.address();
    let input = site.write("in", format!("before\n{}\nafter\n", "x".repeat(1_500_000)));
    let send = |more: &[&str]| {
        let flags = ["--connect", &address, "--input", &input, "--exit-when-drained"];
        let mut sensor = site.sensor(&[&flags[..], more].concat());
        let line = sensor.line();
        assert_eq!(sensor.wait(), 0, "{}", sensor.log());
        line
    };
    assert!(send(&[]).contains("\"acked\":2"));
    // With room for it, it is sent; what came before is known.
    assert!(send(&["--line-limit", "2M"]).contains("\"acked\":3"));
    assert_eq!(site.alerts(&store).len(), 3);
}

#[test]
fn a_large_document_is_read_where_large_bodies_are_allowed() {
    let site = Site::new();
    let store = format!("sqlite:{}", site.file("alerts.db"));
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--store", &store, "--body-limit", "4M"]);
    let padded = alert(" analyzerid=\"a\"", " messageid=\"1\"", "large").replace('\n', &" ".repeat(1_500_000));
    let input = site.write("in", padded);
    let flags = ["--connect", &manager.address(), "--input", &input, "--exit-when-drained", "--line-limit", "4M"];
    let mut sensor = site.sensor(&flags);
    assert!(sensor.line().contains("\"acked\":1"), "{}\n{}", sensor.log(), manager.log());
    assert_eq!(sensor.wait(), 0);
    assert_eq!(site.alerts(&store)[0]["alert"]["Alert"][0]["Classification"]["text"], "large");
}

#[test]
fn what_no_output_can_hold_is_refused_and_not_acknowledged() {
    let site = Site::new();
    let xml = site.file("out.xml");
    let manager = site.manager(&["--listen", "127.0.0.1:0", "--output", &format!("xml:{xml}")]);
    let input = site.write("in", format!("plain text\n{}", alert(" analyzerid=\"a\"", " messageid=\"1\"", "kept")));
    let mut sensor = site.sensor(&["--connect", &manager.address(), "--input", &input, "--exit-when-drained"]);
    assert!(sensor.line().contains("\"acked\":1,\"rejected\":1"), "{}", sensor.log());
    assert_eq!(sensor.wait(), 1);
    assert!(std::fs::read_to_string(xml).unwrap().contains("kept"));
}
