//! CBOR keys. RFC 9132 table 5, RFC 9133 section 4, RFC 9066 section 6.3; RFC 9362 and RFC 9244 are known by their
//! ranges only.

macro_rules! keys {
    ($($name:ident = $key:literal $json:literal $kind:expr;)*) => {
        $(#[doc = concat!("`", $json, "`")] pub const $name: u32 = $key;)*

        /// Every key that has a name: key, JSON member name, what its value is.
        pub(crate) const TABLE: &[(u32, &str, Kind)] = &[$(($key, $json, $kind),)*];
    };
}

/// What stands behind a key, and its form in JSON (RFC 7951).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Map,
    Maps,
    Text,
    Texts,
    Uints(u64),
    Uint(u64),
    /// A string in JSON.
    Uint64,
    Enum(&'static [&'static str]),
    Bool,
    /// Two digits behind the point; a string in JSON.
    Decimal,
    Lifetime,
}

use Kind::{Bool, Decimal, Enum, Lifetime, Map, Maps, Text, Texts, Uint, Uint64, Uints};

use super::enums::{ACTIVATION_TYPES, ATTACK_STATUSES, CONFLICT_CAUSES, CONFLICT_STATUSES, STATUSES};

const U8: u64 = 0xff;
const U16: u64 = 0xffff;
const U32: u64 = 0xffff_ffff;

keys! {
    MITIGATION_SCOPE = 1 "ietf-dots-signal-channel:mitigation-scope" Map;
    SCOPE = 2 "scope" Maps;
    CDID = 3 "cdid" Text;
    CUID = 4 "cuid" Text;
    MID = 5 "mid" Uint(U32);
    TARGET_PREFIX = 6 "target-prefix" Texts;
    TARGET_PORT_RANGE = 7 "target-port-range" Maps;
    LOWER_PORT = 8 "lower-port" Uint(U16);
    UPPER_PORT = 9 "upper-port" Uint(U16);
    TARGET_PROTOCOL = 10 "target-protocol" Uints(U8);
    TARGET_FQDN = 11 "target-fqdn" Texts;
    TARGET_URI = 12 "target-uri" Texts;
    ALIAS_NAME = 13 "alias-name" Texts;
    LIFETIME = 14 "lifetime" Lifetime;
    MITIGATION_START = 15 "mitigation-start" Uint64;
    STATUS = 16 "status" Enum(STATUSES);
    CONFLICT_INFORMATION = 17 "conflict-information" Map;
    CONFLICT_STATUS = 18 "conflict-status" Enum(CONFLICT_STATUSES);
    CONFLICT_CAUSE = 19 "conflict-cause" Enum(CONFLICT_CAUSES);
    RETRY_TIMER = 20 "retry-timer" Uint(U32);
    CONFLICT_SCOPE = 21 "conflict-scope" Map;
    ACL_LIST = 22 "acl-list" Maps;
    ACL_NAME = 23 "acl-name" Text;
    ACL_TYPE = 24 "acl-type" Text;
    BYTES_DROPPED = 25 "bytes-dropped" Uint64;
    BPS_DROPPED = 26 "bps-dropped" Uint64;
    PKTS_DROPPED = 27 "pkts-dropped" Uint64;
    PPS_DROPPED = 28 "pps-dropped" Uint64;
    ATTACK_STATUS = 29 "attack-status" Enum(ATTACK_STATUSES);
    SIGNAL_CONFIG = 30 "ietf-dots-signal-channel:signal-config" Map;
    SID = 31 "sid" Uint(U32);
    MITIGATING_CONFIG = 32 "mitigating-config" Map;
    HEARTBEAT_INTERVAL = 33 "heartbeat-interval" Map;
    MAX_VALUE = 34 "max-value" Uint(U16);
    MIN_VALUE = 35 "min-value" Uint(U16);
    CURRENT_VALUE = 36 "current-value" Uint(U16);
    MISSING_HB_ALLOWED = 37 "missing-hb-allowed" Map;
    MAX_RETRANSMIT = 38 "max-retransmit" Map;
    ACK_TIMEOUT = 39 "ack-timeout" Map;
    ACK_RANDOM_FACTOR = 40 "ack-random-factor" Map;
    MAX_VALUE_DECIMAL = 41 "max-value-decimal" Decimal;
    MIN_VALUE_DECIMAL = 42 "min-value-decimal" Decimal;
    CURRENT_VALUE_DECIMAL = 43 "current-value-decimal" Decimal;
    IDLE_CONFIG = 44 "idle-config" Map;
    TRIGGER_MITIGATION = 45 "trigger-mitigation" Bool;
    REDIRECTED_SIGNAL = 46 "ietf-dots-signal-channel:redirected-signal" Map;
    ALT_SERVER = 47 "alt-server" Text;
    ALT_SERVER_RECORD = 48 "alt-server-record" Texts;
    HEARTBEAT = 49 "ietf-dots-signal-channel:heartbeat" Map;
    PROBING_RATE = 50 "probing-rate" Map;
    PEER_HB_STATUS = 51 "peer-hb-status" Bool;
    ACTIVATION_TYPE = 52 "activation-type" Enum(ACTIVATION_TYPES);
    CONTROL_ACL_LIST = 53 "ietf-dots-signal-control:acl-list" Maps;
    SOURCE_PREFIX = 32768 "ietf-dots-call-home:source-prefix" Texts;
    SOURCE_PORT_RANGE = 32769 "ietf-dots-call-home:source-port-range" Maps;
    SOURCE_ICMP_TYPE_RANGE = 32770 "ietf-dots-call-home:source-icmp-type-range" Maps;
    LOWER_TYPE = 32771 "lower-type" Uint(U8);
    UPPER_TYPE = 32772 "upper-type" Uint(U8);
    ALT_CH_CLIENT = 32773 "ietf-dots-call-home:alt-ch-client" Text;
    ALT_CH_CLIENT_RECORD = 32774 "ietf-dots-call-home:alt-ch-client-record" Texts;
    TTL = 32775 "ietf-dots-call-home:ttl" Uint(U32);
    MAX_PAYLOADS = 32776 "ietf-dots-robust-trans:max-payloads" Map;
    NON_MAX_RETRANSMIT = 32777 "ietf-dots-robust-trans:non-max-retransmit" Map;
    NON_TIMEOUT = 32778 "ietf-dots-robust-trans:non-timeout" Map;
    NON_RECEIVE_TIMEOUT = 32779 "ietf-dots-robust-trans:non-receive-timeout" Map;
    NON_PROBING_WAIT = 32780 "ietf-dots-robust-trans:non-probing-wait" Map;
    NON_PARTIAL_TIMEOUT = 32781 "ietf-dots-robust-trans:non-partial-timeout" Map;
}

/// The JSON member name of a key.
pub fn name(key: u32) -> Option<&'static str> {
    row(key).map(|(_, name, _)| *name)
}

pub(crate) fn row(key: u32) -> Option<&'static (u32, &'static str, Kind)> {
    TABLE.binary_search_by_key(&key, |row| row.0).ok().and_then(|at| TABLE.get(at))
}

/// Whether a message with this key must be refused by whoever does not know it (RFC 9132 section 10.6.1.1).
pub const fn is_comprehension_required(key: u64) -> bool {
    !matches!(key, 128..=255 | 16384..=65535)
}

/// Whether it is one of DOTS telemetry (RFC 9244), which is not interpreted here.
pub const fn is_telemetry(key: u32) -> bool {
    matches!(key, 128..=210)
}
