use std::io::{BufRead as _, Write as _};
use std::net::TcpListener;

use clap::Parser as _;

use super::*;

/// A rater that answers each request with what `answer` makes of its path: status line, fields and body.
fn rater(answer: impl Fn(&str, &str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let host = address.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = std::io::BufReader::new(stream.try_clone().unwrap()).lines();
            let Some(Ok(first)) = lines.next() else { continue };
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let path = first.split(' ').nth(1).unwrap_or_default();
            let _ = stream.write_all(answer(path, &host).as_bytes());
        }
    });
    address
}

fn response(status: &str, media: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {media}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

/// A rater whose template is good and whose answers are these.
fn answering(status: &'static str, body: &'static str) -> String {
    rater(move |path, host| match path {
        "/.well-known/repute-template" => {
            response("200 OK", "text/plain", &format!("http://{host}/{{application}}/{{subject}}/{{assertion}}"))
        }
        _ => response(status, "application/reputon+json", body),
    })
}

async fn asked(services: &[&str], more: &[&str]) -> Result<(), Failure> {
    let mut words = vec!["watchfire", "repute", "query", "--subject", "example.org"];
    services.iter().for_each(|service| words.extend(["--service", service]));
    words.extend(more);
    let cli = crate::cli::Cli::try_parse_from(words).unwrap();
    let crate::cli::Command::Repute(crate::cli::ReputeCommand::Query(args)) = cli.command else { panic!() };
    Asker::start(&args)?.ask("example.org").await?.end()
}

const SAID: &str =
    r#"{"application":"email-id","reputons":[{"rater":"r","assertion":"spam","rated":"example.org","rating":0.9}]}"#;
const UNSURE: &str = r#"{"application":"email-id","reputons":[{"rater":"r","assertion":"spam","rated":"example.org","rating":0.9,"confidence":0.0}]}"#;
const TWICE: &str = r#"{"application":"email-id","reputons":[{"rater":"r","assertion":"spam","rated":"example.org","rating":0.9,"rating":0.1}]}"#;
const NOTHING: &str = r#"{"application":"email-id","reputons":[]}"#;

#[tokio::test]
async fn only_no_data_and_a_refusal_are_a_no() {
    for (status, body, code) in [
        ("200 OK", SAID, 0),
        ("200 OK", UNSURE, 0),
        ("200 OK", NOTHING, 1),
        ("404 Not Found", "", 1),
        ("403 Forbidden", "", 1),
        ("500 Oops", "", 3),
        ("503 Later", "", 3),
        ("429 Slow down", "", 3),
        ("200 OK", TWICE, 4),
        ("200 OK", "{", 4),
        ("302 Found", "", 4),
    ] {
        let ended = asked(&[&answering(status, body)], &["--timeout", "500ms"]).await;
        let found = ended.as_ref().map_or_else(|failure| failure.blame().code(), |()| 0);
        assert_eq!(found, code, "{status} {body}: {ended:?}");
    }
}

#[tokio::test]
async fn what_has_no_weight_is_no_finding_of_several() {
    let (unsure, silent, said) = (answering("200 OK", UNSURE), answering("200 OK", NOTHING), answering("200 OK", SAID));
    let failure = asked(&[&unsure, &silent], &[]).await.unwrap_err();
    assert_eq!(failure.blame(), Blame::PeerRefused);
    assert!(failure.to_string().contains("weight"), "{failure}");
    asked(&[&unsure, &said], &[]).await.unwrap();
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_is_not_one_without_data() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let failure = asked(&[&gone], &[]).await.unwrap_err();
    assert_eq!(failure.blame(), Blame::Unreachable);
    assert!(failure.to_string().contains("refused"), "{failure}");
    let failure = asked(&[&gone, &answering("200 OK", NOTHING)], &[]).await.unwrap_err();
    assert!(failure.to_string().contains("of those that answered"), "{failure}");
}

#[test]
fn a_key_is_for_one_rater_and_a_rater_counts_once() {
    let dir = crate::testing::TempDir::new("repute-key-rules");
    let path = dir.path().join("key");
    std::fs::write(&path, "secret\n").unwrap();
    let file = path.display().to_string();
    let started = |words: &[&str]| {
        let words = [&["watchfire", "repute", "query", "--subject", "x", "--scheme", "https"], words].concat();
        let cli = crate::cli::Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        match cli.command {
            crate::cli::Command::Repute(crate::cli::ReputeCommand::Query(args)) => {
                let names = ["https://a.example".to_owned(), "https://b.example".to_owned()];
                let named = |text: &String| args.service.iter().any(|service| text.ends_with(service.as_str()));
                let names: Vec<String> = names.into_iter().filter(named).collect();
                keys(&args, &names).map_err(|failure| failure.to_string())
            }
            other => panic!("{other:?}"),
        }
    };
    let (a, b) = (["--service", "a.example"], ["--service", "b.example"]);
    let to = |keys: Vec<(String, Zeroizing<String>)>| keys.into_iter().map(|(service, _)| service).collect::<Vec<_>>();
    assert_eq!(started(&[&a[..], &["--key-file", &file]].concat()).map(to), Ok(vec!["https://a.example".to_owned()]));
    let for_b = format!("b.example={file}");
    let both = [&a[..], &b].concat();
    assert_eq!(
        started(&[&both[..], &["--key-file", &for_b]].concat()).map(to),
        Ok(vec!["https://b.example".to_owned()])
    );
    for (more, why) in [
        (vec![file.as_str()], "several raters could be meant"),
        (vec![&for_b, &for_b], "a second key"),
        (vec!["c.example=x"], "c.example is no --service"),
        (vec!["b.example=/nowhere/key"], "read the key"),
        (vec!["=x"], "write RATER=FILE"),
    ] {
        let flags: Vec<&str> = more.into_iter().flat_map(|rule| ["--key-file", rule]).collect();
        let told = started(&[&both[..], &flags].concat()).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
    let twice =
        ["watchfire", "repute", "query", "--subject", "x", "--service", "a.example", "--service", "http://a.example"];
    let crate::cli::Command::Repute(crate::cli::ReputeCommand::Query(args)) =
        crate::cli::Cli::try_parse_from(twice).unwrap().command
    else {
        panic!("another command")
    };
    let told = Asker::start(&args).err().map(|failure| failure.to_string()).unwrap_or_default();
    assert!(told.contains("there twice"), "{told}");
}
