//! `repute template`.

use watchfire_tests::{Site, run, succeed};

use crate::site::{failure, fed};

#[test]
fn templates_are_expanded_with_values_and_files() {
    let expand = |words: &[&str]| succeed(&[&["repute", "template", "expand"], words].concat()).trim_end().to_owned();
    assert_eq!(expand(&["http://{service}/{subject}{?a,b}", "service=h", "subject=a/b", "b="]), "http://h/a%2Fb?b=");
    let site = Site::new();
    let vars = site.write(
        "vars.json",
        r#"{"list":["red","green","blue"],"keys":{"semi":";","dot":".","comma":","},"n":1024,"undef":null,"empty":[]}"#,
    );
    assert_eq!(
        expand(&["{/list*,n}{?keys*,undef,empty}", "--vars", &vars]),
        "/red/green/blue/1024?semi=%3B&dot=.&comma=%2C"
    );
    assert_eq!(expand(&["{n}", "n=7", "--vars", &vars]), "7", "what is given by hand wins");
    let output = fed(&["repute", "template", "expand", "--json", "{x}", "--vars", "-"], "{\"x\":\"é\"}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), r#"{"uri":"%C3%A9"}"#);
    for bad in ["{", "{x", "}", "{!x}", "{x:0}", "{?}", "a b", "%x", "{keys:1}"] {
        let (code, error) = failure(&["repute", "template", "expand", bad, "--vars", &vars]);
        assert_eq!(code, 4, "{bad}: {error}");
    }
    for (text, why) in [("[]", "not a JSON object"), ("{\"x\":[[]]}", "x: lists"), ("{", "v.json:1"), ("", "v.json")] {
        let (code, error) = failure(&["repute", "template", "expand", "{x}", "--vars", &site.write("v.json", text)]);
        assert!(code == 2 && error.contains(why), "{error}");
    }
    assert_eq!(failure(&["repute", "template", "expand", "{x}", "x"]).0, 2);
}

#[test]
fn what_is_unwise_is_said() {
    let lint = |template: &str| run(&["repute", "template", "lint", template]);
    assert!(lint("http://{service}/{application}/{subject}/{assertion}").status.success());
    let output = lint("gopher://{service}/{application}/{assertion}/{subject}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("gopher") && said.contains("{assertion} is optional"), "{said}");
    assert_eq!(lint("http://{").status.code(), Some(4));
}
