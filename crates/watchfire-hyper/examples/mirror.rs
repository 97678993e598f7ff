//! A server that tells everybody who they are, and one who asks it: `cargo run -p watchfire-hyper --example mirror`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use watchfire_hyper::{ConnectionLimits, Peer, Server, Site};

struct Mirror;

impl Site for Mirror {
    type Body = Full<Bytes>;

    async fn respond(&self, _request: Request<Incoming>, peer: Peer) -> Response<Full<Bytes>> {
        Response::new(Full::from(peer.address.to_string()))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::start(Arc::new(Mirror), ConnectionLimits::default());
    let address = server.serve(tokio::net::TcpListener::bind("127.0.0.1:0").await?, None)?;

    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let own = stream.local_addr()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: mirror.example\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    println!("{answer}");
    server.shutdown(Duration::from_secs(5)).await;
    if answer.ends_with(&own.ip().to_string()) || answer.contains(&own.to_string()) {
        Ok(())
    } else {
        Err("that is somebody else".into())
    }
}
