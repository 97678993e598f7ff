//! Properties of the codec: what is written reads back, the short way of reading agrees with the long one, and nothing
//! that comes makes it panic.

use iap_proto::message::{ChannelSetup, Connect, ContentHeader, Form, Response, SetupRequest, Upgrade, Version};
use iap_proto::wire::{DecodeErrorKind, HeadFramer, Syntax};
use iap_proto::{Compat, DataRole, Dialect, Host, Limits, MediaType};
use proptest::prelude::*;

use crate::support::*;

pub fn any_host() -> impl Strategy<Value = Host> {
    prop_oneof![
        "[A-Za-z0-9_-]([A-Za-z0-9._-]{0,40})".prop_map(|name| host(&name)),
        any::<[u16; 8]>().prop_map(|parts| host(&format!("[{}]", std::net::Ipv6Addr::from(parts)))),
        any::<[u8; 4]>().prop_map(|parts| host(&std::net::Ipv4Addr::from(parts).to_string())),
    ]
}

/// Any that can be told apart on the wire: without a Via line only the version tells the form of a response.
fn any_dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![
        Just(Dialect::V0_3),
        Just(Dialect::V0_4),
        Just(Dialect::V0_5),
        (0u16..1, 0u16..4).prop_map(|(major, minor)| Dialect::new(Form::Prefixed, Version::new(major, minor))),
        (0u16..1000, 4u16..1000).prop_map(|(major, minor)| Dialect::new(Form::HttpLike, Version::new(major, minor))),
    ]
}

fn any_form() -> impl Strategy<Value = Dialect> {
    (any_dialect(), any::<bool>()).prop_map(|(dialect, prefixed)| {
        Dialect::new(if prefixed { Form::Prefixed } else { Form::HttpLike }, dialect.version)
    })
}

fn any_media() -> impl Strategy<Value = MediaType> {
    prop_oneof![
        Just(MediaType::IDEF_ALERT),
        Just(MediaType::XML),
        Just(MediaType::JSON),
        "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,20}/[a-zA-Z0-9.+-]{1,20}( ?;[ -~]{0,20}[!-~])?".prop_map(|text| media(&text)),
    ]
}

pub fn any_role() -> impl Strategy<Value = DataRole> {
    prop_oneof![Just(DataRole::Sender), Just(DataRole::Receiver)]
}

pub fn any_request() -> impl Strategy<Value = SetupRequest> {
    let hosts = proptest::collection::vec(any_host(), 0..16);
    let connect = (any_form(), any_host(), hosts, any::<Option<u16>>(), proptest::option::of(any_host()));
    prop_oneof![
        connect.prop_map(|(dialect, host, via, port, source)| {
            let mut connect = Connect::new(dialect, host);
            connect.via = via;
            if dialect.form == Form::HttpLike {
                (connect.port, connect.source) = (port, source);
            }
            SetupRequest::Connect(connect)
        }),
        (any_form(), 0u8..4).prop_map(|(dialect, minor)| {
            let mut upgrade = Upgrade::new(dialect);
            upgrade.tls_minor = minor;
            SetupRequest::Upgrade(upgrade)
        }),
        (any_form(), any_form(), any_role()).prop_map(|(dialect, inside, role)| {
            let mut setup = ChannelSetup::new(dialect, role);
            setup.version = inside.version;
            SetupRequest::ChannelSetup(setup)
        }),
    ]
}

fn any_response() -> impl Strategy<Value = Response> {
    let hosts = proptest::collection::vec(any_host(), 0..16);
    (any_dialect(), any_form(), 100u16..600, hosts).prop_map(|(plain, with_via, code, via)| {
        let mut response = Response::new(if via.is_empty() { plain } else { with_via }, status(code));
        // A version up to 0.3 is always in the prefixed form.
        if response.dialect.version <= Version::new(0, 3) {
            response.dialect.form = Form::Prefixed;
        }
        response.via = via;
        response
    })
}

fn presets() -> [Compat; 3] {
    [Compat::strict(), Compat::default(), Compat::liberal()]
}

proptest! {
    #[test]
    fn setup_requests_read_back_as_written(request in any_request(), behind in proptest::collection::vec(any::<u8>(), 0..20)) {
        let mut octets = Vec::new();
        request.encode(&mut octets);
        let len = octets.len();
        octets.extend_from_slice(&behind);
        for compat in presets() {
            // The minor number of the upgrade token is a compatibility switch of its own.
            let newer = matches!(&request, SetupRequest::Upgrade(upgrade) if upgrade.tls_minor > 0);
            if !newer || compat.newer_tls_token {
                prop_assert_eq!(SetupRequest::decode_with(&octets, &syntax(compat)), Ok((request.clone(), len)));
            }
        }
        for cut in 0..len {
            let read = SetupRequest::decode(&octets[..cut]);
            prop_assert_eq!(read.map_err(|error| error.kind), Err(DecodeErrorKind::Incomplete));
        }
    }

    #[test]
    fn responses_read_back_as_written(response in any_response(), behind in proptest::collection::vec(any::<u8>(), 0..20)) {
        let mut octets = Vec::new();
        response.encode(&mut octets);
        let len = octets.len();
        octets.extend_from_slice(&behind);
        for compat in presets() {
            prop_assert_eq!(Response::decode_with(&octets, &syntax(compat)), Ok((response.clone(), len)));
        }
    }

    #[test]
    fn content_headers_read_back_as_written(
        content_type in any_media(),
        length in 0u64..9_999_999_999_999_999_999,
        dialect in prop_oneof![Just(Dialect::V0_3), Just(Dialect::V0_4), Just(Dialect::V0_5)],
        behind in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let header = ContentHeader::new(content_type, length);
        let mut octets = Vec::new();
        header.encode(dialect, &mut octets);
        let len = octets.len();
        octets.extend_from_slice(&behind);
        for compat in presets() {
            let read = ContentHeader::decode_with(&octets, dialect, &syntax(compat));
            prop_assert_eq!(read, Ok((header.clone(), len)));
        }
    }

    /// Headers that are nearly the one that everybody sends: with one change somewhere, or none.
    #[test]
    fn the_short_way_of_reading_content_headers_agrees_with_the_long_one(
        kind in 0usize..8,
        length in "[0-9]{1,21}|[0-9]{0,3}",
        changes in proptest::collection::vec((any::<prop::sample::Index>(), near_octet(), 0u8..3), 0..3),
        body in proptest::collection::vec(near_octet(), 0..4),
        compat in any_compat(),
    ) {
        let kinds = ["application/x-idef-alert", "application/xml", "application/idmef+xml", "application/json",
            "application/octet-stream", "application/x-idef-alert2", "application/XML", "a/b; c=d"];
        let mut octets = format!("Content-Type: {}\r\nContent-Length: {length}\r\n\r\n", kinds[kind]).into_bytes();
        octets.extend_from_slice(&body);
        for (at, octet, how) in changes {
            let at = at.index(octets.len());
            match how {
                0 => octets[at] = octet,
                1 => octets.insert(at, octet),
                _ => drop(octets.remove(at)),
            }
        }
        // A limit below the length of the header, but not of any line, leads the decoder the long way.
        let longest = octets.split(|octet| *octet == b'\n').map(|line| line.len() + 2).max().unwrap_or(0);
        let long_way = Syntax::new(compat, limits(longest.max(2)));
        let short_way = Syntax::new(compat, limits(8192));
        let long = ContentHeader::decode_with(&octets, Dialect::V0_3, &long_way);
        let short = ContentHeader::decode_with(&octets, Dialect::V0_3, &short_way);
        prop_assert_eq!(long, short, "{:?}", text(&octets));
    }

    #[test]
    fn garbage_never_panics_and_errors_point_into_it(octets in near_iap(), compat in any_compat()) {
        let syntax = syntax(compat);
        let mut offsets = Vec::new();
        offsets.extend(SetupRequest::decode_with(&octets, &syntax).err().map(|error| error.offset));
        offsets.extend(Response::decode_with(&octets, &syntax).err().map(|error| error.offset));
        for dialect in [Dialect::V0_3, Dialect::V0_4, Dialect::V0_5] {
            offsets.extend(ContentHeader::decode_with(&octets, dialect, &syntax).err().map(|error| error.offset));
        }
        prop_assert!(offsets.iter().all(|offset| *offset <= octets.len()), "{:?}", offsets);
    }

    /// What is read in any form is written in the strict one, and means the same.
    #[test]
    fn what_was_read_is_written_strictly_and_means_the_same(octets in near_iap()) {
        if let Ok((request, _)) = SetupRequest::decode_with(&octets, &syntax(Compat::liberal())) {
            let mut written = Vec::new();
            request.encode(&mut written);
            let mut strict = Compat::strict();
            strict.newer_tls_token = true;
            let (again, len) = SetupRequest::decode_with(&written, &syntax(strict)).unwrap();
            prop_assert_eq!(len, written.len());
            let mut expected = request;
            if let SetupRequest::Connect(connect) = &mut expected && connect.dialect.form == Form::Prefixed {
                connect.port = None;
            }
            prop_assert_eq!(again, expected);
        }
    }

    #[test]
    fn the_framer_finds_the_same_end_whatever_the_pieces(octets in near_iap(), content in any::<bool>(), compat in any_compat()) {
        let syntax = syntax(compat);
        let whole = HeadFramer::default().find_end(&octets, content, &syntax);
        let mut framer = HeadFramer::default();
        let mut piecewise = Ok(None);
        for end in 0..=octets.len() {
            piecewise = framer.find_end(&octets[..end], content, &syntax);
            if piecewise != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(whole, piecewise);
    }
}

fn limits(line: usize) -> Limits {
    let mut limits = Limits::default();
    limits.line = line;
    limits
}

fn near_octet() -> impl Strategy<Value = u8> {
    prop_oneof![prop::sample::select(b"\r\n \t:;/,.0123456789-+TLSxX\0\x7f\xff".to_vec()), any::<u8>(),]
}

pub fn any_compat() -> impl Strategy<Value = Compat> {
    (0usize..3, any::<Option<u8>>()).prop_map(|(preset, flipped)| {
        let mut compat = presets()[preset];
        let switches = [
            &mut compat.prefix_on_every_line,
            &mut compat.extra_white_space,
            &mut compat.reason_phrase,
            &mut compat.any_header_order,
            &mut compat.any_trailer,
            &mut compat.newer_tls_token,
            &mut compat.no_space_after_colon,
            &mut compat.via_without_colon,
            &mut compat.port_in_connect,
            &mut compat.missing_blank_line,
            &mut compat.higher_minor,
            &mut compat.early_client_hello,
        ];
        if let Some(at) = flipped {
            let count = switches.len();
            for (n, switch) in switches.into_iter().enumerate() {
                *switch ^= n == usize::from(at) % count;
            }
        }
        compat
    })
}

/// Octets put together from words of the protocol and from anything else.
pub fn near_iap() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&[u8]> = vec![
        b"IAP/0.3 ",
        b"IAP/0.3",
        b"IAP/0.5",
        b" IAP/0.5\r\n",
        b"CONNECT ",
        b"M.DOM.ORG",
        b"\r\n",
        b"\r\n\r\n",
        b"IAP/0.3 Via: P\r\n",
        b"Via: P\r\n",
        b"Upgrade: TLS/1.0\r\n",
        b"IAP-Version: 0.3\r\n",
        b"IAP-Role: Sender\r\n",
        b"200",
        b"101\r\n",
        b"503 no\r\n",
        b"PUT /iap/config/",
        b"PUT /iap/alert",
        b"Host: M:1\r\n",
        b"Source: A\r\n",
        b"Content-Type: a/b\r\n",
        b"Content-Type: application/x-idef-alert\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: ",
        b"0",
        b"99999999999999999999",
        b"abc",
        b"VIA P\r\n",
        b" ",
        b"\t",
        b":",
        b":1443",
        b"[::1]",
    ];
    let word = prop_oneof![
        12 => prop::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => proptest::collection::vec(any::<u8>(), 0..5),
    ];
    proptest::collection::vec(word, 0..12).prop_map(|words| words.concat())
}
