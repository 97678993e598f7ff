//! What Suricata's tables say, in the words of IDMEF.

use crate::model::{Completion, ImpactType, Severity};

/// The descriptions of the class types that Suricata ships, where they say what was attempted.
const TYPES: &[(&str, ImpactType)] = &[
    ("an attempted login using a suspicious username was detected", ImpactType::User),
    ("attempt to login by a default username and password", ImpactType::User),
    ("attempted administrator privilege gain", ImpactType::Admin),
    ("attempted denial of service", ImpactType::Dos),
    ("attempted information leak", ImpactType::Recon),
    ("attempted user privilege gain", ImpactType::User),
    ("decode of an rpc query", ImpactType::Recon),
    ("denial of service", ImpactType::Dos),
    ("detection of a denial of service attack", ImpactType::Dos),
    ("detection of a network scan", ImpactType::Recon),
    ("device retrieving external ip address detected", ImpactType::Recon),
    ("information leak", ImpactType::Recon),
    ("large scale information leak", ImpactType::Recon),
    ("successful administrator privilege gain", ImpactType::Admin),
    ("successful credential theft detected", ImpactType::User),
    ("successful user privilege gain", ImpactType::User),
    ("unsuccessful user privilege gain", ImpactType::User),
];

/// The type of impact that a category stands for.
pub(super) fn impact_type(category: &str) -> ImpactType {
    let found = TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(category));
    found.map_or(ImpactType::Unlisted, |(_, kind)| kind.clone())
}

/// Whether the category says that the attempt got through, or did not.
pub(super) fn completion(category: &str) -> Option<Completion> {
    let starts = |word: &str| category.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    match () {
        () if starts("successful ") => Some(Completion::Succeeded),
        () if starts("unsuccessful ") => Some(Completion::Failed),
        () => None,
    }
}

/// The severity of a priority, 1 being the gravest.
pub(super) fn severity(priority: u64) -> Severity {
    match priority {
        0 | 1 => Severity::High,
        2 => Severity::Medium,
        3 => Severity::Low,
        _ => Severity::Info,
    }
}

/// IANA's number and name of the protocol that EVE calls `proto`.
pub(super) fn protocol(proto: &str) -> (Option<u8>, String) {
    let name = proto.to_ascii_lowercase();
    let number = match &*name {
        "icmp" => 1,
        "igmp" => 2,
        "ipv4" | "ip-in-ip" => 4,
        "tcp" => 6,
        "udp" => 17,
        "ipv6" => 41,
        "gre" => 47,
        "esp" => 50,
        "ah" => 51,
        "ipv6-icmp" | "icmpv6" => 58,
        "sctp" => 132,
        // A protocol without a name is printed as three digits.
        other => return (other.parse().ok(), name),
    };
    (Some(number), name)
}
