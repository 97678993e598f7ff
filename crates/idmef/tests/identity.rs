//! Any message is the same after writing and reading; nothing that is read makes the reader panic.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use idmef::*;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

/// Text that XML can carry, with what is hard about it.
fn text() -> BoxedStrategy<String> {
    let hard =
        select(vec!["", " ", " a ", "\t", "\n", "\r\n", "a\rb", "<&>\"']]>", "é€😀", "&amp;", "\u{85}\u{2028}", "0"]);
    prop_oneof![
        4 => "[a-z0-9./:-]{0,12}",
        1 => hard.prop_map(str::to_owned),
        1 => "\\PC{0,12}".prop_filter("not XML", |text| !text.contains(['\u{fffe}', '\u{ffff}'])),
    ]
    .boxed()
}

fn ident() -> impl Strategy<Value = Ident> {
    prop_oneof![Just(Ident::default()), text().prop_map(Ident::from)]
}

fn integer() -> impl Strategy<Value = Integer> {
    prop_oneof![
        any::<i64>().prop_map(Integer::from),
        any::<u64>().prop_map(Integer::from),
        any::<u16>().prop_map(Integer::from)
    ]
}

fn datetime() -> impl Strategy<Value = DateTime> {
    let day = (0u16..=9999, 1u8..=12, 1u8..=28, 0u8..24, 0u8..60, 0u8..=60);
    let zone = prop_oneof![
        Just("Z".to_owned()),
        (0u8..24, 0u8..60).prop_map(|(h, m)| format!("+{h:02}:{m:02}")),
        (0u8..24, 1u8..60).prop_map(|(h, m)| format!("-{h:02}:{m:02}"))
    ];
    (day, "(\\.[0-9]{1,18})?", zone).prop_map(|((y, m, d, h, min, s), fraction, zone)| {
        format!("{y:04}-{m:02}-{d:02}T{h:02}:{min:02}:{s:02}{fraction}{zone}").parse().unwrap()
    })
}

fn ntpstamp() -> impl Strategy<Value = NtpStamp> {
    (any::<u32>(), any::<u32>()).prop_map(|(seconds, fraction)| NtpStamp { seconds, fraction })
}

fn time() -> impl Strategy<Value = Time> {
    let near = (datetime(), any::<u16>()).prop_map(|(text, more)| {
        let time = Time::new(text);
        let stamp = NtpStamp { fraction: time.ntpstamp().fraction.saturating_add(more.into()), ..time.ntpstamp() };
        Time::from_parts(text, stamp)
    });
    prop_oneof![
        datetime().prop_map(Time::new),
        near,
        (datetime(), ntpstamp()).prop_map(|(text, stamp)| Time::from_parts(text, stamp))
    ]
}

fn portlist() -> impl Strategy<Value = Portlist> {
    let range = (any::<u16>(), any::<u16>()).prop_map(|(first, last)| PortRange::new(first, last));
    vec(range, 1..5).prop_map(|ranges| Portlist::new(ranges).unwrap())
}

fn real() -> impl Strategy<Value = Real> {
    any::<f64>().prop_filter_map("finite", Real::new)
}

fn one_of<T: Clone + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    select(all)
}

fn xmltext() -> impl Strategy<Value = XmlText> {
    // Elements that the DTD declares, so that what holds them is valid.
    let leaf = select(vec![
        "",
        "t",
        "<string>x &lt; y</string>",
        "<port>1</port>",
        "<![CDATA[<]]>",
        "<!-- c -->",
        "<url xml:space='preserve'> </url>",
        "&#65;\r\n",
    ]);
    vec(leaf, 0..4).prop_map(|parts| XmlText::new(&parts.concat()).unwrap())
}

fn data() -> impl Strategy<Value = AdditionalData> {
    let data = prop_oneof![
        any::<bool>().prop_map(Data::Boolean),
        any::<u8>().prop_map(Data::Byte),
        any::<char>()
            .prop_filter("not XML", |c| *c >= ' ' && !"\u{fffe}\u{ffff}".contains(*c))
            .prop_map(Data::Character),
        datetime().prop_map(Data::DateTime),
        integer().prop_map(Data::Integer),
        ntpstamp().prop_map(Data::NtpStamp),
        portlist().prop_map(Data::Portlist),
        real().prop_map(Data::Real),
        text().prop_map(Data::String),
        vec(any::<u8>(), 0..40).prop_map(|octets| Data::ByteString(ByteString(octets))),
        xmltext().prop_map(Data::XmlText),
    ];
    (of(text()), data).prop_map(|(meaning, data)| AdditionalData { meaning, data })
}

fn address() -> impl Strategy<Value = Address> {
    (ident(), one_of(AddressCategory::ALL), of(text()), of(integer()), text(), of(text())).prop_map(
        |(ident, category, vlan_name, vlan_num, address, netmask)| Address {
            ident,
            category,
            vlan_name,
            vlan_num,
            address,
            netmask,
        },
    )
}

fn node() -> impl Strategy<Value = Node> {
    (ident(), one_of(NodeCategory::ALL), of(text()), of(text()), vec(address(), 0..3))
        .prop_filter("name or address", |(.., name, address)| name.is_some() || !address.is_empty())
        .prop_map(|(ident, category, location, name, address)| Node { ident, category, location, name, address })
}

fn user_id() -> impl Strategy<Value = UserId> {
    (ident(), one_of(UserIdType::ALL), of(text()), of(text()), of(integer()))
        .prop_filter("name or number", |(.., name, number)| name.is_some() || number.is_some())
        .prop_map(|(ident, kind, tty, name, number)| UserId { ident, kind, tty, name, number })
}

fn user() -> impl Strategy<Value = User> {
    (ident(), one_of(UserCategory::ALL), vec(user_id(), 1..3)).prop_map(|(ident, category, user_id)| User {
        ident,
        category,
        user_id,
    })
}

fn process() -> impl Strategy<Value = Process> {
    (ident(), text(), of(integer()), of(text()), vec(text(), 0..3), vec(text(), 0..2))
        .prop_map(|(ident, name, pid, path, arg, env)| Process { ident, name, pid, path, arg, env })
}

fn service() -> impl Strategy<Value = Service> {
    let which = prop_oneof![
        (text(), of(integer())).prop_map(|(name, port)| (Some(name), port, None)),
        integer().prop_map(|port| (None, Some(port), None)),
        portlist().prop_map(|list| (None, None, Some(list))),
    ];
    let web = (text(), of(text()), of(text()), vec(text(), 0..3)).prop_map(|(url, cgi, http_method, arg)| WebService {
        url,
        cgi,
        http_method,
        arg,
    });
    let snmp =
        ((of(text()), of(integer()), of(integer()), of(text())), (of(integer()), of(text()), of(text()), of(text())))
            .prop_map(
                |(
                    (oid, message_processing_model, security_model, security_name),
                    (security_level, context_name, context_engine_id, command),
                )| SnmpService {
                    oid,
                    message_processing_model,
                    security_model,
                    security_name,
                    security_level,
                    context_name,
                    context_engine_id,
                    command,
                },
            );
    ((ident(), of(integer()), of(integer()), of(text())), which, of(text()), of(snmp), of(web)).prop_map(
        |(
            (ident, ip_version, iana_protocol_number, iana_protocol_name),
            (name, port, portlist),
            protocol,
            snmp_service,
            web_service,
        )| Service {
            ident,
            ip_version,
            iana_protocol_number,
            iana_protocol_name,
            name,
            port,
            portlist,
            protocol,
            snmp_service,
            web_service,
        },
    )
}

fn file() -> impl Strategy<Value = File> {
    let access = (user_id(), vec(one_of(Perms::ALL), 1..4)).prop_map(|(user_id, perms)| FileAccess {
        user_id,
        permission: perms.into_iter().map(Permission::from).collect(),
    });
    let inode = (of(datetime()), of((integer(), integer(), integer())), of((integer(), integer()))).prop_map(
        |(change_time, on, is)| Inode {
            change_time,
            number: on.map(|on| on.0),
            major_device: on.map(|on| on.1),
            minor_device: on.map(|on| on.2),
            c_major_device: is.map(|is| is.0),
            c_minor_device: is.map(|is| is.1),
        },
    );
    let checksum = (one_of(ChecksumAlgorithm::ALL), text(), of(text())).prop_map(|(algorithm, value, key)| Checksum {
        algorithm,
        value,
        key,
    });
    let flat = (
        (ident(), one_of(FileCategory::ALL), of(text()), of(text()), text(), text()),
        (of(datetime()), of(datetime()), of(datetime()), of(integer()), of(integer())),
        (vec(access, 0..2), of(inode), vec(checksum, 0..2)),
    )
        .prop_map(
            |(
                (ident, category, fstype, file_type, name, path),
                (create_time, modify_time, access_time, data_size, disk_size),
                (file_access, inode, checksum),
            )| File {
                ident,
                category,
                fstype,
                file_type,
                name,
                path,
                create_time,
                modify_time,
                access_time,
                data_size,
                disk_size,
                file_access,
                linkage: vec![],
                inode,
                checksum,
            },
        );
    flat.prop_recursive(3, 6, 2, |inner| {
        let linkage = (one_of(LinkageCategory::ALL), of(inner.clone()), text(), text()).prop_map(
            |(category, file, name, path)| match file {
                Some(file) => Linkage { category, name: None, path: None, file: Some(Box::new(file)) },
                None => Linkage { category, name: Some(name), path: Some(path), file: None },
            },
        );
        (inner, vec(linkage, 0..2)).prop_map(|(file, linkage)| File { linkage, ..file })
    })
}

fn analyzer() -> impl Strategy<Value = Analyzer> {
    let names = (ident(), of(text()), of(text()), of(text()), of(text()), of(text()), of(text()), of(text()));
    let one = (names, of(node()), of(process())).prop_map(
        |((analyzerid, name, manufacturer, model, version, class, ostype, osversion), node, process)| Analyzer {
            analyzerid,
            name,
            manufacturer,
            model,
            version,
            class,
            ostype,
            osversion,
            node,
            process,
            analyzer: None,
        },
    );
    one.prop_recursive(4, 5, 1, |inner| {
        (inner.clone(), inner).prop_map(|(outer, inner)| Analyzer { analyzer: Some(Box::new(inner)), ..outer })
    })
}

fn classification() -> impl Strategy<Value = Classification> {
    let reference = (one_of(Origin::ALL), of(text()), text(), text())
        .prop_map(|(origin, meaning, name, url)| Reference { origin, meaning, name, url });
    (ident(), text(), vec(reference, 0..3)).prop_map(|(ident, text, reference)| Classification {
        ident,
        text,
        reference,
    })
}

fn assessment() -> impl Strategy<Value = Assessment> {
    let impact = (of(one_of(Severity::ALL)), of(one_of(Completion::ALL)), one_of(ImpactType::ALL), text())
        .prop_map(|(severity, completion, kind, text)| Impact { severity, completion, kind, text });
    let action = (one_of(ActionCategory::ALL), text()).prop_map(|(category, text)| Action { category, text });
    let confidence = (one_of(Rating::ALL), of(real())).prop_map(|(rating, value)| Confidence { rating, value });
    (of(impact), vec(action, 0..2), of(confidence)).prop_map(|(impact, action, confidence)| Assessment {
        impact,
        action,
        confidence,
    })
}

fn kind() -> impl Strategy<Value = AlertKind> {
    let idents =
        || vec((of(text()), text()).prop_map(|(analyzerid, alertident)| AlertIdent { analyzerid, alertident }), 1..4);
    prop_oneof![
        (text(), of(text()), idents()).prop_map(|(name, command, alertident)| AlertKind::Tool(ToolAlert {
            name,
            command,
            alertident
        })),
        (text(), of(integer()), of(vec(any::<u8>(), 0..20))).prop_map(|(program, size, buffer)| {
            AlertKind::Overflow(OverflowAlert { program, size, buffer: buffer.map(ByteString) })
        }),
        (text(), idents()).prop_map(|(name, alertident)| AlertKind::Correlation(CorrelationAlert { name, alertident })),
    ]
}

fn alert() -> impl Strategy<Value = Alert> {
    let source = (ident(), one_of(Spoofed::ALL), of(text()), of(node()), of(user()), of(process()), of(service()))
        .prop_map(|(ident, spoofed, interface, node, user, process, service)| Source {
            ident,
            spoofed,
            interface,
            node,
            user,
            process,
            service,
        });
    let target = (
        ident(),
        one_of(Decoy::ALL),
        of(text()),
        of(node()),
        of(user()),
        of(process()),
        of(service()),
        vec(file(), 0..2),
    )
        .prop_map(|(ident, decoy, interface, node, user, process, service, file)| Target {
            ident,
            decoy,
            interface,
            node,
            user,
            process,
            service,
            file,
        });
    let head = (ident(), analyzer(), time(), of(time()), of(time()));
    (head, vec(source, 0..3), vec(target, 0..3), classification(), of(assessment()), of(kind()), vec(data(), 0..4))
        .prop_map(
            |(
                (messageid, analyzer, create_time, detect_time, analyzer_time),
                source,
                target,
                classification,
                assessment,
                kind,
                additional_data,
            )| Alert {
                messageid,
                analyzer,
                create_time,
                detect_time,
                analyzer_time,
                source,
                target,
                classification,
                assessment,
                kind,
                additional_data,
            },
        )
}

fn heartbeat() -> impl Strategy<Value = Heartbeat> {
    (ident(), analyzer(), time(), of(integer()), of(time()), vec(data(), 0..4)).prop_map(
        |(messageid, analyzer, create_time, heartbeat_interval, analyzer_time, additional_data)| Heartbeat {
            messageid,
            analyzer,
            create_time,
            heartbeat_interval,
            analyzer_time,
            additional_data,
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let item = prop_oneof![
        2 => alert().prop_map(|alert| Item::Alert(Box::new(alert))),
        1 => heartbeat().prop_map(|heartbeat| Item::Heartbeat(Box::new(heartbeat))),
    ];
    (of("[a-z]{2}(-[A-Z]{2})?"), vec(item, 0..3)).prop_map(|(lang, items)| Message { lang, items })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn written_and_read_is_the_same(message in message()) {
        let text = message.encode().unwrap();
        prop_assert_eq!(Message::decode(text.as_bytes()), Ok(message.clone()), "{}", text);
        prop_assert_eq!(Decoder::new().strict().decode(text.as_bytes()), Ok(message.clone()), "{}", text);
        let prefixed = Encoder::new().prefixed().encode(&message).unwrap();
        prop_assert_eq!(Message::decode(prefixed.as_bytes()), Ok(message.clone()), "{}", prefixed);
        let wide: Vec<u8> = [0xfeff].into_iter().chain(text.replace("UTF-8", "UTF-16").encode_utf16()).flat_map(u16::to_be_bytes).collect();
        prop_assert_eq!(Message::decode(&wide), Ok(message.clone()));
    }

    #[test]
    fn any_text_at_all_can_be_written_and_read(text in any::<String>()) {
        let time: DateTime = "2000-03-09T14:07:58Z".parse().unwrap();
        let mut alert = Alert::new(Analyzer::default(), time, text.as_str().into());
        alert.additional_data.push(AdditionalData::new(text.as_str(), text.as_str()));
        let written = Message::from(alert).encode().unwrap();
        let once = Message::decode(written.as_bytes()).unwrap();
        let again = Message::decode(once.encode().unwrap().as_bytes());
        prop_assert_eq!(again, Ok(once));
    }

    #[test]
    fn garbage_never_panics(octets in vec(any::<u8>(), 0..300)) {
        let _ = Message::decode(&octets);
        let _ = XmlText::new(&String::from_utf8_lossy(&octets));
    }

    #[test]
    fn markup_never_panics(parts in vec(select(vec![
        "<IDMEF-Message>", "</IDMEF-Message>", "<Alert>", "</Alert>", "<Analyzer/>", "<AdditionalData type='xmltext'>",
        "</AdditionalData>", "<xmltext>", "</xmltext>", "<![CDATA[", "]]>", "<!--", "-->", "<?xml version='1.0'?>", "<?p", "?>", "&", "&#x41;",
        "&lt;", ";", "<", ">", "/>", "'", "\"", "=", " a='1'", "<x:y", " xmlns:x='u'", "xml:space='preserve'", "text", "\r", "é",
        "<!DOCTYPE x>", "<!", "<a", "</a>", "<CreateTime ntpstamp='0x1.0x1'>", "</CreateTime>",
    ]), 0..30)) {
        let text = parts.concat();
        let _ = Message::decode(text.as_bytes());
        let _ = Decoder::new().strict().decode(text.as_bytes());
        if let Ok(fragment) = XmlText::new(&text) {
            prop_assert_eq!(XmlText::new(fragment.as_str()), Ok(fragment));
        }
    }

    #[test]
    fn damaged_documents_never_panic(index in 0usize..29, at in any::<prop::sample::Index>(), octet in any::<u8>(), cut in any::<bool>()) {
        let mut octets = common::all_documents().swap_remove(index).1;
        let at = at.index(octets.len());
        if cut { octets.remove(at); } else { octets[at] = octet; }
        if let Ok(message) = Message::decode(&octets) {
            // Leniently read, it may lack what the writer insists on; what it writes, it reads.
            if let Ok(text) = message.encode() {
                prop_assert_eq!(Message::decode(text.as_bytes()), Ok(message));
            }
        }
    }
}

#[cfg(feature = "serde")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn json_and_back_is_the_same(mut message in message()) {
        // JSON keeps alerts and heartbeats apart.
        message.items.sort_by_key(|item| matches!(item, Item::Heartbeat(_)));
        let text = serde_json::to_string(&message).unwrap();
        let back: Message = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(back, message, "{}", text);
    }

    #[test]
    fn json_garbage_never_panics(text in "[{}\\[\\]\":,a-zA0-9]{0,60}") {
        let _ = serde_json::from_str::<Message>(&text);
    }
}

#[test]
fn everything_that_is_written_is_valid() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let documents: Vec<String> =
        (0..300).map(|_| message().new_tree(&mut runner).unwrap().current().encode().unwrap()).collect();
    if let Some(result) = common::dtd_valid(documents.iter().map(String::as_str)) {
        assert_eq!(result, Ok(300));
    }
}
