//! What is read beyond the strict grammar. The drafts contradict their own examples; each switch stands for one such
//! spot, and says which draft shows the form it admits.

/// Which forms are accepted. What we write never changes: it is always the strict form.
///
/// | switch | [`strict`](Self::strict) | [`default`](Self::default) | [`liberal`](Self::liberal) |
/// | --- | --- | --- | --- |
/// | `prefix_on_every_line` | no | yes | yes |
/// | `extra_white_space` | no | yes | yes |
/// | `reason_phrase` | no | yes | yes |
/// | `any_header_order` | no | yes | yes |
/// | `any_trailer` | no | yes | yes |
/// | `newer_tls_token` | no | yes | yes |
/// | `no_space_after_colon` | no | no | yes |
/// | `via_without_colon` | no | no | yes |
/// | `port_in_connect` | no | no | yes |
/// | `missing_blank_line` | no | no | yes |
/// | `higher_minor` | no | no | yes |
/// | `early_client_hello` | no | no | no |
///
/// Always accepted: letters of either case in literals (RFC 2616 section 2.1) and Via lines on any response.
/// Never accepted: a bare LF or CR, control characters, folded lines, differing Content-Lengths, Transfer-Encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compat {
    /// The version before any setup line, as in the transcript of section 4.4 (`IAP/0.3 IAP-Role: Sender`), where
    /// the grammar has it only before the first.
    pub prefix_on_every_line: bool,
    /// More than one space or a tab between words and after colons, and white space at the end of a line. The
    /// grammar of Content-Length read literally has two spaces.
    pub extra_white_space: bool,
    /// Text after a status code, as the examples of -03 to -05 have it (`200 OK`).
    pub reason_phrase: bool,
    /// Headers of content in any order, and headers that we do not know.
    pub any_header_order: bool,
    /// Between zero and three CRLF after a body, where the grammar has two; -03 to -05 have none, -00 three.
    pub any_trailer: bool,
    /// `Upgrade: TLS/1.1` to `TLS/1.3`, where the draft knows only `TLS/1.0`.
    pub newer_tls_token: bool,
    /// No space after a colon.
    pub no_space_after_colon: bool,
    /// `VIA host`, as draft-gupta-idef-iap-00 wrote it.
    pub via_without_colon: bool,
    /// `CONNECT host:port` in 0.3, as -03 writes it. The port is ignored.
    pub port_in_connect: bool,
    /// No empty line between the headers of content and its body, as the transcript of section 4.4 prints it. The
    /// body must then not begin with a letter, a digit or another token character.
    pub missing_blank_line: bool,
    /// A higher minor version in the 0.3 form (section 1.6 promises that it parses the same), answered as 0.3.
    pub higher_minor: bool,
    /// As responder and TLS server: octets right behind the upgrade request are the peer's ClientHello, sent before
    /// our 101. Off in every preset: a peer that does not wait may be somebody injecting clear text.
    pub early_client_hello: bool,
}

impl Compat {
    /// The repaired grammar and nothing else.
    pub const fn strict() -> Self {
        Self {
            prefix_on_every_line: false,
            extra_white_space: false,
            reason_phrase: false,
            any_header_order: false,
            any_trailer: false,
            newer_tls_token: false,
            no_space_after_colon: false,
            via_without_colon: false,
            port_in_connect: false,
            missing_blank_line: false,
            higher_minor: false,
            early_client_hello: false,
        }
    }

    /// What an honest peer of any draft's reading may send without being ambiguous. The default.
    pub const fn tolerant() -> Self {
        Self {
            prefix_on_every_line: true,
            extra_white_space: true,
            reason_phrase: true,
            any_header_order: true,
            any_trailer: true,
            newer_tls_token: true,
            ..Self::strict()
        }
    }

    /// Every form that any of the drafts shows.
    pub const fn liberal() -> Self {
        Self {
            no_space_after_colon: true,
            via_without_colon: true,
            port_in_connect: true,
            missing_blank_line: true,
            higher_minor: true,
            ..Self::tolerant()
        }
    }
}

/// [`Compat::tolerant`].
impl Default for Compat {
    fn default() -> Self {
        Self::tolerant()
    }
}
