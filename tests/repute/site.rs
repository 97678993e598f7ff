//! A folder, raters that answer from it, and peers that behave badly.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Output, Stdio};

use watchfire_tests::{Service, exchange, run, watchfire};

/// A line of data.
pub(crate) fn entry(rated: &str, rating: &str) -> String {
    format!(
        "{{\"application\":\"email-id\",\"assertion\":\"spam\",\"rated\":\"{rated}\",\"rating\":{rating},\
         \"confidence\":0.95,\"sample-size\":16938213,\"generated\":1317795852,\"email-id-identity\":\"dkim\"}}\n"
    )
}

/// A rater of this file, and where it answers.
pub(crate) fn rater(data: &str, flags: &[&str]) -> (Service, String) {
    let words = [&["repute", "serve", "--json", "--listen", "127.0.0.1:0", "--data", data], flags].concat();
    let service = Service::start(&words);
    let address = service.address();
    (service, address)
}

/// `repute query --json`, which is given much time, its exit code, its lines, and what it says on standard error.
pub(crate) fn query(words: &[&str]) -> (i32, Vec<serde_json::Value>, String) {
    let patience = if words.contains(&"--timeout") { &[][..] } else { &["--timeout", "60"] };
    told(&run(&[&["repute", "query", "--json"], words, patience].concat()))
}

pub(crate) fn told(output: &Output) -> (i32, Vec<serde_json::Value>, String) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), lines, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The one line on standard error of a command that fails, and its exit code.
pub(crate) fn failure(words: &[&str]) -> (i32, String) {
    let output = run(words);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = error.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(lines.len(), 1, "{words:?}: {error}");
    (output.status.code().unwrap(), lines[0].to_owned())
}

/// A command that is fed.
pub(crate) fn fed(words: &[&str], input: &str) -> Output {
    let mut command = watchfire(words);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// A page over plain HTTP, head and body.
pub(crate) fn get(address: &str, path: &str, fields: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{fields}Connection: close\r\n\r\n");
    String::from_utf8(exchange(address, request).unwrap()).unwrap()
}

/// A server that says these responses, one for each connection, and then nothing any more.
pub(crate) fn canned(responses: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for response in responses {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut head = Vec::new();
            let mut octet = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut octet).is_ok_and(|read| read > 0) {
                head.extend_from_slice(&octet);
            }
            let _ = stream.write_all(response.as_bytes());
        }
    });
    address
}
