//! RFC 6570: every operator with every kind of value, every rejection, and an engine that is not ours.

use std::collections::HashMap;

use proptest::prelude::*;
use repute_proto::{Limit, Limits, Lint, Template, TemplateErrorKind, Value, Variables};

fn variables() -> Variables {
    Variables::new()
        .with("name", "spam trap")
        .with("path", "/a/b")
        .with("half", "50%")
        .with("triplet", "%41%4")
        .with("empty", "")
        .with("uni", "bücher")
        .with("n", "7")
        .with("list", ["red", "gr=en", ""])
        .with("none", Value::List(Vec::new()))
        .with("keys", [("semi", ";"), ("dot", "."), ("void", "")])
        .with("nokeys", Value::Map(Vec::new()))
}

fn expand(template: &str) -> String {
    template.parse::<Template>().unwrap().expand(&variables()).unwrap()
}

/// The columns are simple, list, exploded list, map, exploded map, several with undefined and empty ones.
#[test]
fn every_operator_writes_every_kind_of_value() {
    for (operator, expected) in [
        (
            "",
            [
                "spam%20trap",
                "red,gr%3Den,",
                "red,gr%3Den,",
                "semi,%3B,dot,.,void,",
                "semi=%3B,dot=.,void=",
                "7,,%2Fa%2Fb",
            ],
        ),
        ("+", ["spam%20trap", "red,gr=en,", "red,gr=en,", "semi,;,dot,.,void,", "semi=;,dot=.,void=", "7,,/a/b"]),
        ("#", ["#spam%20trap", "#red,gr=en,", "#red,gr=en,", "#semi,;,dot,.,void,", "#semi=;,dot=.,void=", "#7,,/a/b"]),
        (
            ".",
            [
                ".spam%20trap",
                ".red,gr%3Den,",
                ".red.gr%3Den.",
                ".semi,%3B,dot,.,void,",
                ".semi=%3B.dot=..void=",
                ".7..%2Fa%2Fb",
            ],
        ),
        (
            "/",
            [
                "/spam%20trap",
                "/red,gr%3Den,",
                "/red/gr%3Den/",
                "/semi,%3B,dot,.,void,",
                "/semi=%3B/dot=./void=",
                "/7//%2Fa%2Fb",
            ],
        ),
        (
            ";",
            [
                ";name=spam%20trap",
                ";list=red,gr%3Den,",
                ";list=red;list=gr%3Den;list",
                ";keys=semi,%3B,dot,.,void,",
                ";semi=%3B;dot=.;void",
                ";n=7;empty;path=%2Fa%2Fb",
            ],
        ),
        (
            "?",
            [
                "?name=spam%20trap",
                "?list=red,gr%3Den,",
                "?list=red&list=gr%3Den&list=",
                "?keys=semi,%3B,dot,.,void,",
                "?semi=%3B&dot=.&void=",
                "?n=7&empty=&path=%2Fa%2Fb",
            ],
        ),
        (
            "&",
            [
                "&name=spam%20trap",
                "&list=red,gr%3Den,",
                "&list=red&list=gr%3Den&list=",
                "&keys=semi,%3B,dot,.,void,",
                "&semi=%3B&dot=.&void=",
                "&n=7&empty=&path=%2Fa%2Fb",
            ],
        ),
    ] {
        let inside = ["name", "list", "list*", "keys", "keys*", "none,n,undefined,empty,nokeys,path"];
        for (inside, expected) in inside.into_iter().zip(expected) {
            assert_eq!(expand(&format!("{{{operator}{inside}}}")), expected, "{{{operator}{inside}}}");
        }
        assert_eq!(expand(&format!("a{{{operator}none,undefined,nokeys*}}b")), "ab", "{operator}");
    }
}

#[test]
fn prefixes_count_characters_and_never_cut_triplets() {
    for (template, expected) in [
        ("{uni:2}", "b%C3%BC"),
        ("{+uni:2}", "b%C3%BC"),
        ("{?uni:1}", "?uni=b"),
        ("{name:9999}", "spam%20trap"),
        ("{;empty:3}", ";empty"),
        ("{half:3}", "50%25"),
        ("{+triplet}", "%41%254"),
        ("{triplet}", "%2541%254"),
        ("{+triplet:3}", "%41"),
        ("{+triplet:2}", "%254"),
    ] {
        assert_eq!(expand(template), expected, "{template}");
    }
}

#[test]
fn literals_are_those_of_the_grammar() {
    for (template, expected) in [
        ("a%20b", "a%20b"),
        ("bücher", "b%C3%BCcher"),
        ("it's", "it's"),
        ("~!#$&()*+,-./:;=?@[]_", "~!#$&()*+,-./:;=?@[]_"),
        ("", ""),
    ] {
        assert_eq!(expand(template), expected);
    }
}

#[test]
fn every_character_of_a_literal_is_one_that_the_grammar_has() {
    let is_literal = |character: char| character.to_string().parse::<Template>().is_ok();
    for octet in 0..0x80u8 {
        let due = octet.is_ascii_alphanumeric() || b"!#$&'()*+,-./:;=?@[]_~".contains(&octet);
        assert_eq!(is_literal(char::from(octet)), due, "{octet:#x}");
    }
    // The first and the last of each range of ucschar and iprivate, and what stands before and behind them.
    for (first, last) in [(0xa0, 0xd7ff), (0xe000, 0xfdcf), (0xfdf0, 0xffef), (0xe_1000, 0xe_fffd)] {
        assert!([first, last].iter().all(|&code| is_literal(char::from_u32(code).unwrap())), "{first:#x}");
        let mut beside = [first - 1, last + 1].into_iter().filter_map(char::from_u32);
        assert!(beside.all(|character| !is_literal(character)), "{first:#x}");
    }
    for plane in (1..=0xd).chain(0xf..=0x10) {
        let codes = [0, 0xfffd, 0xfffe, 0xffff].map(|low| is_literal(char::from_u32(plane << 16 | low).unwrap()));
        assert_eq!(codes, [true, true, false, false], "{plane:#x}");
    }
    assert!(!is_literal('\u{e0000}'));
    assert_eq!(expand("\u{a0}\u{10fffd}"), "%C2%A0%F4%8F%BF%BD");
}

#[test]
fn what_is_no_template_is_refused_where_it_goes_wrong() {
    use TemplateErrorKind as K;
    for (template, kind, offset) in [
        ("a b", K::Character, 1),
        ("a\"b", K::Character, 1),
        ("<", K::Character, 0),
        ("a\\b", K::Character, 1),
        ("a^", K::Character, 1),
        ("`", K::Character, 0),
        ("a|b", K::Character, 1),
        ("a\r\nHost: x", K::Character, 1),
        ("\u{7f}", K::Character, 0),
        ("\u{80}", K::Character, 0),
        ("\u{fffe}", K::Character, 0),
        ("\u{e0001}", K::Character, 0),
        ("%", K::Percent, 0),
        ("a%4", K::Percent, 1),
        ("%zz", K::Percent, 0),
        ("%é0", K::Percent, 0),
        ("}", K::Brace, 0),
        ("{a}}", K::Brace, 3),
        ("{a{b}", K::Brace, 2),
        ("x{", K::Unclosed, 1),
        ("{a", K::Unclosed, 0),
        ("{}", K::Empty, 1),
        ("{+}", K::Empty, 2),
        ("{a,}", K::Empty, 3),
        ("{,a}", K::ReservedOperator, 1),
        ("{=a}", K::ReservedOperator, 1),
        ("{!a}", K::ReservedOperator, 1),
        ("{@a}", K::ReservedOperator, 1),
        ("{|a}", K::ReservedOperator, 1),
        ("{$a}", K::Name, 1),
        ("{(a)}", K::Name, 1),
        ("{a b}", K::Name, 1),
        ("{a-b}", K::Name, 1),
        ("{.}", K::Empty, 2),
        ("{..a}", K::Name, 2),
        ("{a.}", K::Name, 1),
        ("{a..b}", K::Name, 1),
        ("{é}", K::Name, 1),
        ("{a%4}", K::Name, 1),
        ("{%}", K::Name, 1),
        ("{a**}", K::Name, 1),
        ("{a*:3}", K::Name, 1),
        ("{a:3*}", K::Name, 1),
        ("{a:}", K::Prefix, 2),
        ("{a:0}", K::Prefix, 2),
        ("{a:01}", K::Prefix, 2),
        ("{a:10000}", K::Prefix, 2),
        ("{a:-1}", K::Prefix, 2),
        ("{a:x}", K::Prefix, 2),
        ("{:3}", K::Name, 1),
        ("{*}", K::Name, 1),
        ("{+*}", K::Name, 2),
    ] {
        let error = template.parse::<Template>().expect_err(template);
        assert_eq!((error.kind, error.offset), (kind, offset), "{template:?}");
    }
    for good in ["{%41b}", "{a.b_c.1}", "{a:9999}", "{a:1}", "{a*,b,c:3}"] {
        assert!(good.parse::<Template>().is_ok(), "{good}");
    }
}

#[test]
fn a_list_or_map_has_no_prefix() {
    for template in ["{list:1}", "{keys:1}", "{?list:3}"] {
        let error = template.parse::<Template>().unwrap().expand(&variables()).unwrap_err();
        assert_eq!(error.kind, TemplateErrorKind::PrefixOfComposite);
    }
    assert_eq!(expand("{none:1}{nokeys:1}{undefined:1}"), "");
}

#[test]
fn templates_and_expansions_are_bounded() {
    let limit = |limit| Err(TemplateErrorKind::LimitExceeded(limit));
    let parse = |text: &str| text.parse::<Template>().map(|_| ()).map_err(|error| error.kind);
    assert_eq!(parse(&"a".repeat(8192)), Ok(()));
    assert_eq!(parse(&"a".repeat(8193)), limit(Limit::Template));
    assert_eq!(parse(&"{a}".repeat(64)), Ok(()));
    assert_eq!(parse(&"{a}".repeat(65)), limit(Limit::Variables));
    let list = Variables::new().with("a", vec!["x".repeat(1000); 1000]);
    let template: Template = "{?a*}".parse().unwrap();
    assert_eq!(template.expand(&list).map(|_| ()).map_err(|error| error.kind), limit(Limit::Uri));
    let mut small = Limits::default();
    small.uri = 4;
    let expand = |value: &str| template.expand_within(&Variables::new().with("a", value), &small);
    assert_eq!(expand("x").unwrap(), "?a=x");
    assert!(expand("xy").is_err());
}

#[test]
fn the_linter_says_what_is_unwise() {
    let lint = |text: &str| text.parse::<Template>().unwrap().lint();
    for good in [
        "http://{service}/{application}/{subject}/{assertion}",
        "{scheme}://{+service}/{application}/{subject}{/assertion}",
        "http://{service}/repute.php{?subject,application,assertion,service,reporter}",
        "{scheme}://{user}:{passwd}@{service}/{application}/{subject}{/assertion}",
    ] {
        assert_eq!(lint(good), [], "{good}");
    }
    let optional = |name: &str| Lint::OptionalInPath(name.to_owned());
    for (template, found) in [
        ("http://{service}/{application}/{assertion}/{subject}", optional("assertion")),
        ("http://{service}/{application}/{subject}/{assertion}/x", optional("assertion")),
        ("http://x.example/{application}/{subject}", Lint::Missing("service")),
        ("http://{service}/{subject}", Lint::Missing("application")),
        ("coap://{service}/{application}/{subject}", Lint::Scheme("coap".to_owned())),
        ("http://{service}/{application}/{ticket}{/subject}", Lint::Unknown("ticket".to_owned())),
        ("http://{service}/{application}{subject}", Lint::Adjacent("application".to_owned(), "subject".to_owned())),
        ("http://{service}/{application}/{+subject}", Lint::Reserved("subject".to_owned())),
        ("http://{service}/{application}/{subject}{#assertion}", Lint::Fragment),
        ("http://{service}/{application}/{subject}#x", Lint::Fragment),
        ("http://{service}/{user}/{application}/{subject}", Lint::Credentials("user".to_owned())),
        ("{service}/{application}/{subject}", Lint::Missing("scheme")),
    ] {
        assert!(lint(template).contains(&found), "{template}: {:?}", lint(template));
    }
    let long = format!("http://{{service}}/{{application}}/{{subject}}/{}", "x".repeat(1000));
    assert_eq!(lint(&long), [Lint::OpenDkimLength]);
}

proptest! {
    #[test]
    fn expansions_are_those_of_another_engine(
        operator in "[+#./;?&]?",
        modifier in "(\\*|:[1-9])?",
        text in "[a-zA-Z0-9é%/:=&. ]{0,12}",
        // Where items of a list without explosion are empty, RFC 6570 can be read in two ways.
        items in proptest::collection::vec("[a-z/é%=]{1,4}", 0..4),
        literal in "[a-z0-9/?=é]{0,8}",
    ) {
        // A percent sign that begins no triplet makes that engine forget to encode what follows it.
        let is_reserved = matches!(operator.as_str(), "+" | "#");
        prop_assume!(!is_reserved || !items.iter().chain([&text]).any(|value| value.contains('%')));
        let template = format!("{literal}{{{operator}text{modifier},missing,list,text}}");
        let ours = template.parse::<Template>().unwrap().expand(
            &Variables::new().with("text", text.as_str()).with("list", items.clone()),
        ).unwrap();
        let mut theirs = HashMap::new();
        theirs.insert("text".to_owned(), stduritemplate::Value::String(text));
        let list = items.into_iter().map(stduritemplate::Value::String).collect();
        theirs.insert("list".to_owned(), stduritemplate::Value::List(list));
        prop_assert_eq!(ours, stduritemplate::expand(&template, &theirs).unwrap());
    }

    #[test]
    fn an_expansion_has_only_characters_of_a_uri(template in "\\PC{0,40}|[{}+#./;?&:*a-c,0-9%]{0,24}", a in "\\PC*|.*", b in ".*") {
        let Ok(template) = template.parse::<Template>() else { return Ok(()) };
        let variables = Variables::new().with("a", a.as_str()).with("b", vec![b.clone(), a]).with("c", [("k", b.as_str())]);
        if let Ok(uri) = template.expand(&variables) {
            prop_assert!(uri.bytes().all(|octet| octet.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&octet)), "{uri}");
        }
    }
}
