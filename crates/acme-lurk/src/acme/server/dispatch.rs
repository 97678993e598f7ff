//! Which request is answered by what: what every server of ACME has, and where each has its own.
//! [RFC 8555 section 7.1](https://www.rfc-editor.org/rfc/rfc8555#section-7.1)

use super::desk::Desk;
use super::http::{Request, Response, ResponseExt as _};
use super::id::AccountId;
use super::{Problem, ProblemType, not_found};

/// What stands in a URL behind the begin that all have, as far as it is looked at.
pub(crate) type Path<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Option<&'a str>);

type Answer = Result<Response, Problem>;

/// A server of ACME.
pub(crate) trait Service {
    /// What time it is.
    type Now: Copy;

    fn desk(&mut self) -> &mut Desk;

    fn show_directory(&self, now: Self::Now) -> Response;

    /// What anybody may fetch beside the directory and nonces; none if there is nothing like that at the path.
    fn fetched(&mut self, now: Self::Now, path: Path<'_>, request: &Request<'_>) -> Option<Answer>;

    /// What may be signed with the key of no account; none if what is at the path may not.
    fn keyed(&mut self, now: Self::Now, path: Path<'_>, request: &Request<'_>) -> Option<Answer>;

    /// An account was given up.
    fn deactivated(&mut self, now: Self::Now, account: &AccountId);

    /// What an account asks for, beside what is about the account itself.
    fn signed(
        &mut self,
        now: Self::Now,
        path: Path<'_>,
        by: (&AccountId, &[u8]),
        request: &Request<'_>,
    ) -> Option<Answer>;
}

/// Answers a request.
pub(crate) fn answer<S: Service>(service: &mut S, now: S::Now, request: &Request<'_>) -> Response {
    let mut response = route(service, now, request).unwrap_or_else(|problem| Response::problem(&problem));
    let desk = service.desk();
    if request.method == "POST" {
        response = response.with_header("replay-nonce", desk.front.nonce());
    }
    let index = desk.config.url("/directory");
    if request.url != index {
        response = response.with_header("link", format!("<{index}>;rel=\"index\""));
    }
    if request.method == "HEAD" {
        response.body.clear();
    }
    response
}

fn route<S: Service>(service: &mut S, now: S::Now, request: &Request<'_>) -> Answer {
    let nothing = || not_found("nothing is at this URL");
    let path = request.url.strip_prefix(&*service.desk().config.base).and_then(|path| path.strip_prefix('/'));
    let mut parts = path.ok_or_else(nothing)?.split('/');
    let path = (parts.next().unwrap_or(""), parts.next(), parts.next(), parts.next());
    match request.method {
        "GET" | "HEAD" => match path {
            ("directory", None, ..) => Ok(service.show_directory(now)),
            ("new-nonce", None, ..) => {
                let response = Response::new(if request.method == "HEAD" { 200 } else { 204 });
                let response = response.with_header("replay-nonce", service.desk().front.nonce());
                Ok(response.with_header("cache-control", "no-store"))
            }
            _ => service.fetched(now, path, request).unwrap_or_else(|| {
                Err(Problem::new(ProblemType::Malformed, "this is not for GET: POST a signed request").with_status(405))
            }),
        },
        "POST" => {
            if let Some(answer) = service.keyed(now, path, request) {
                return answer;
            }
            let desk = service.desk();
            let (account, payload) = desk.authenticate(request)?;
            match path {
                ("directory", None, ..) => Ok(service.show_directory(now)),
                ("key-change", None, ..) => desk.change_key(request.url, &account, &payload),
                ("acct", Some(id), None, _) => {
                    let answer = desk.account(id, &account, &payload);
                    if desk.is_deactivated(&account) {
                        service.deactivated(now, &account);
                    }
                    answer
                }
                ("acct", Some(id), Some("orders"), after) => desk.account_orders(id, after, &account, &payload),
                _ => service.signed(now, path, (&account, &payload), request).unwrap_or_else(|| Err(nothing())),
            }
        }
        _ => Err(Problem::new(ProblemType::Malformed, "GET, HEAD and POST are used here").with_status(405)),
    }
}
