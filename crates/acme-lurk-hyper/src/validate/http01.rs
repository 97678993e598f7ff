//! http-01. [RFC 8555 section 8.3](https://www.rfc-editor.org/rfc/rfc8555#section-8.3)

use acme_lurk::acme::challenge::{http01_is_met, http01_path};
use acme_lurk::acme::{Problem, ProblemType};
use bytes::Bytes;
use http::header::{HOST, LOCATION, USER_AGENT};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::{NetworkValidator, may_be_loopback};

const AGENT: &str = concat!("acme-lurk-hyper/", env!("CARGO_PKG_VERSION"));

impl NetworkValidator {
    pub(super) async fn http01(&self, name: &str, token: &str, key_authorization: &str) -> Result<(), Problem> {
        let port = self.config.http01_port;
        let mut place = Place { host: name.to_owned(), port, path: http01_path(token) };
        let mut loopback_too = may_be_loopback(name, port);
        for _ in 0..=self.config.redirects {
            let (response, is_loopback) = self.get(&place, loopback_too).await?;
            // Who is outside leads to nothing inside.
            loopback_too &= is_loopback;
            let status = response.status();
            if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                place = place.led_by(&response, port)?;
                continue;
            }
            if !status.is_success() {
                return Err(Problem::new(ProblemType::Unauthorized, format!("{place}: status {status}")));
            }
            let body = Limited::new(response.into_body(), self.config.octets).collect().await;
            let body =
                body.map_err(|error| Problem::new(ProblemType::IncorrectResponse, format!("{place}: {error}")))?;
            if http01_is_met(&body.to_bytes(), key_authorization) {
                return Ok(());
            }
            let detail = format!("{place}: the content is not the key authorization");
            return Err(Problem::new(ProblemType::IncorrectResponse, detail));
        }
        let detail = format!("{place}: led elsewhere more than {} times", self.config.redirects);
        Err(Problem::new(ProblemType::Connection, detail))
    }

    /// The response, and whether it is of the loopback.
    async fn get(&self, place: &Place, loopback_too: bool) -> Result<(Response<Incoming>, bool), Problem> {
        let failed = |error: &dyn std::fmt::Display| Problem::new(ProblemType::Connection, format!("{place}: {error}"));
        let tcp = self.connect(&place.host, place.port, loopback_too).await?;
        let is_loopback = tcp.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback());
        let handshake = http1::Builder::new().max_buf_size(16 << 10).handshake(TokioIo::new(tcp)).await;
        let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
        let request = Request::get(place.path.as_str()).header(HOST, place.host_field()).header(USER_AGENT, AGENT);
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(&error))?;
        // It ends with the response, or with the one who waits for that.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        Ok((response, is_loopback))
    }
}

/// Where is looked.
struct Place {
    host: String,
    port: u16,
    path: String,
}

impl Place {
    fn host_field(&self) -> String {
        if self.port == 80 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Where a redirect leads: over http, to a name, and to a port at which challenges are looked for.
    fn led_by<B>(&self, response: &Response<B>, own_port: u16) -> Result<Self, Problem> {
        let wrong = |what: &str| Problem::new(ProblemType::Connection, format!("{self}: {what}"));
        let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let target: Uri = target.and_then(|text| text.parse().ok()).ok_or_else(|| wrong("a redirect to nowhere"))?;
        let path = target.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let Some(host) = target.host() else { return Ok(Self { host: self.host.clone(), port: self.port, path }) };
        if target.scheme_str() != Some("http") {
            return Err(wrong("led to something that is not http, which is not followed"));
        }
        let port = target.port_u16().unwrap_or(80);
        let host = acme_lurk::names::normalize(host).ok_or_else(|| wrong("led to what is no name"))?;
        if port != own_port && port != 80 {
            return Err(wrong("led to another port"));
        }
        Ok(Self { host, port, path })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}{}", self.host_field(), self.path)
    }
}
