//! Enumerations, all open: what is not known keeps its number. RFC 9132 sections 4.4 and 10.6, RFC 9066 section 5.3.1,
//! RFC 9244 section 12.2, RFC 9133 section 3.

macro_rules! open_enum {
    ($(#[$doc:meta])* $name:ident, $labels:ident { $($(#[$vdoc:meta])* $variant:ident = $number:literal $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(clippy::exhaustive_enums, reason = "new numbers are Other")]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
            /// A number that is not known here.
            Other(u32),
        }

        pub(crate) const $labels: &[&str] = &[$($label,)*];

        impl $name {
            /// The value with this number.
            pub const fn from_code(code: u32) -> Self {
                match code {
                    $($number => Self::$variant,)*
                    other => Self::Other(other),
                }
            }

            /// Its number.
            pub const fn code(self) -> u32 {
                match self {
                    $(Self::$variant => $number,)*
                    Self::Other(other) => other,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self {
                    $(Self::$variant => f.write_str($label),)*
                    Self::Other(other) => write!(f, "{other}"),
                }
            }
        }
    };
}

open_enum! {
    /// How a mitigation stands.
    Status, STATUSES {
        /// Being set up; in Call Home also while consent is awaited.
        InProgress = 1 "attack-mitigation-in-progress",
        /// The attack is blocked.
        SuccessfullyMitigated = 2 "attack-successfully-mitigated",
        /// The attack has stopped.
        Stopped = 3 "attack-stopped",
        /// Too much for the mitigator.
        ExceededCapability = 4 "attack-exceeded-capability",
        /// The client withdrew it; active but terminating.
        ClientWithdrawn = 5 "dots-client-withdrawn-mitigation",
        /// Over.
        Terminated = 6 "attack-mitigation-terminated",
        /// The server withdrew it.
        Withdrawn = 7 "attack-mitigation-withdrawn",
        /// Waits for the loss of the signal; never in Call Home.
        SignalLoss = 8 "attack-mitigation-signal-loss",
    }
}

open_enum! {
    /// What a conflict does to a request.
    ConflictStatus, CONFLICT_STATUSES {
        /// Not active, because another one is.
        RequestInactiveOtherActive = 1 "request-inactive-other-active",
        /// Active in spite of it.
        RequestActive = 2 "request-active",
        /// None of them is active.
        AllRequestsInactive = 3 "all-requests-inactive",
    }
}

open_enum! {
    /// Why there is a conflict.
    ConflictCause, CONFLICT_CAUSES {
        /// Targets overlap.
        OverlappingTargets = 1 "overlapping-targets",
        /// An accept-list says otherwise.
        ConflictWithAcceptlist = 2 "conflict-with-acceptlist",
        /// The cuid is another client's.
        CuidCollision = 3 "cuid-collision",
        /// The traffic is legitimate (RFC 9066).
        LegitimateTraffic = 4 "request-rejected-legitimate-traffic",
        /// Pipes overlap (RFC 9244).
        OverlappingPipes = 5 "overlapping-pipes",
    }
}

open_enum! {
    /// How the client sees the attack, in an efficacy update.
    AttackStatus, ATTACK_STATUSES {
        /// It goes on.
        UnderAttack = 1 "under-attack",
        /// It is mitigated.
        SuccessfullyMitigated = 2 "attack-successfully-mitigated",
    }
}

open_enum! {
    /// When an access list is in force (RFC 9133).
    ActivationType, ACTIVATION_TYPES {
        /// During a mitigation.
        ActivateWhenMitigating = 1 "activate-when-mitigating",
        /// At once.
        Immediate = 2 "immediate",
        /// Not.
        Deactivate = 3 "deactivate",
    }
}
