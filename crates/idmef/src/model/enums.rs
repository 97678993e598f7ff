//! Enumerations. IANA may extend them ([RFC 4765 section 10](https://www.rfc-editor.org/rfc/rfc4765#section-10)), so
//! that each keeps words it does not know.

use crate::types::Value;
use std::borrow::Cow;
use std::fmt;

/// A word that the DTD does not list; it survives reading and writing.
///
/// Only made by the enumerations themselves, from words that they do not know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Extension(Box<str>);

impl Extension {
    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! enumeration {
    (
        $(#[$doc:meta])*
        $name:ident $(= $default:ident)? {
            $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A word that the DTD does not list.
            Other(Extension),
        }

        impl $name {
            /// All values that the DTD lists, in its order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in XML.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(word) => word.as_str(),
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)+
                    other => Self::Other(Extension(other.into())),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Value for $name {
            const TYPE: &'static str = "ENUM";

            fn parse(text: Cow<'_, str>, strict: bool) -> Option<Self> {
                let value = Self::from(crate::types::trim(&text));
                (!strict || !matches!(value, Self::Other(_))).then_some(value)
            }

            fn text(&self) -> Cow<'_, str> {
                Cow::Borrowed(self.as_str())
            }

            $(fn is_default(&self) -> bool {
                *self == Self::$default
            })?
        }

        $(impl Default for $name {
            fn default() -> Self {
                Self::$default
            }
        })?

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = Cow::<'de, str>::deserialize(deserializer)?;
                Ok(Self::from(&*word))
            }
        }
    };
}

enumeration! {
    /// Reference.origin: who named the vulnerability.
    Origin = Unknown {
        /// Not known, the default.
        Unknown = "unknown",
        /// A vendor of the sensor or of the attacked product.
        VendorSpecific = "vendor-specific",
        /// The user of the sensor.
        UserSpecific = "user-specific",
        /// The Bugtraq vulnerability database.
        Bugtraqid = "bugtraqid",
        /// Common Vulnerabilities and Exposures.
        Cve = "cve",
        /// The Open Source Vulnerability Database.
        Osvdb = "osvdb",
    }
}

enumeration! {
    /// Source.spoofed: whether the source is believed to be a pretence.
    Spoofed = Unknown {
        /// Not known, the default.
        Unknown = "unknown",
        /// The source is a decoy.
        Yes = "yes",
        /// The source is real.
        No = "no",
    }
}

enumeration! {
    /// Target.decoy: whether the target is believed to be a pretence.
    Decoy = Unknown {
        /// Not known, the default.
        Unknown = "unknown",
        /// The target is a decoy.
        Yes = "yes",
        /// The target is real.
        No = "no",
    }
}

enumeration! {
    /// Impact.severity.
    Severity {
        /// Not an attack, for information.
        Info = "info",
        /// Low severity.
        Low = "low",
        /// Medium severity.
        Medium = "medium",
        /// High severity.
        High = "high",
    }
}

enumeration! {
    /// Impact.completion: whether the attempt got through.
    Completion {
        /// It did not.
        Failed = "failed",
        /// It did.
        Succeeded = "succeeded",
    }
}

enumeration! {
    /// Impact.type: what was attempted.
    ImpactType = Unlisted {
        /// Administrative privileges.
        Admin = "admin",
        /// Denial of service.
        Dos = "dos",
        /// An action on a file.
        File = "file",
        /// Reconnaissance.
        Recon = "recon",
        /// User privileges.
        User = "user",
        /// Anything else, the default.
        Unlisted = "other",
    }
}

enumeration! {
    /// Action.category: what was done in response.
    ActionCategory = Unlisted {
        /// Something was installed to block the attack.
        BlockInstalled = "block-installed",
        /// Somebody was told.
        NotificationSent = "notification-sent",
        /// A system, a network or a user was taken offline.
        TakenOffline = "taken-offline",
        /// Anything else, the default.
        Unlisted = "other",
    }
}

enumeration! {
    /// Confidence.rating.
    Rating = Numeric {
        /// Little confidence.
        Low = "low",
        /// Some confidence.
        Medium = "medium",
        /// High confidence.
        High = "high",
        /// A probability, given as number; the default.
        Numeric = "numeric",
    }
}

enumeration! {
    /// Node.category: the domain that the name of the node comes from.
    NodeCategory = Unknown {
        /// Not known or not relevant, the default.
        Unknown = "unknown",
        /// Windows 2000 Advanced Directory Services.
        Ads = "ads",
        /// Andrew File System.
        Afs = "afs",
        /// Coda.
        Coda = "coda",
        /// Distributed File System (IBM).
        Dfs = "dfs",
        /// Domain Name System.
        Dns = "dns",
        /// A local hosts file.
        Hosts = "hosts",
        /// A Kerberos realm.
        Kerberos = "kerberos",
        /// Novell Directory Services.
        Nds = "nds",
        /// Network Information Services (Sun).
        Nis = "nis",
        /// Network Information Services Plus (Sun).
        Nisplus = "nisplus",
        /// A Windows NT domain.
        Nt = "nt",
        /// Windows for Workgroups.
        Wfw = "wfw",
    }
}

enumeration! {
    /// Address.category: what kind of address it is.
    AddressCategory = Unknown {
        /// Not known, the default.
        Unknown = "unknown",
        /// Asynchronous Transfer Mode.
        Atm = "atm",
        /// An electronic mail address.
        EMail = "e-mail",
        /// Lotus Notes e-mail.
        LotusNotes = "lotus-notes",
        /// Media Access Control.
        Mac = "mac",
        /// IBM Systems Network Architecture.
        Sna = "sna",
        /// IBM VM e-mail.
        Vm = "vm",
        /// IPv4 in dotted decimals.
        Ipv4Addr = "ipv4-addr",
        /// IPv4 in hexadecimal.
        Ipv4AddrHex = "ipv4-addr-hex",
        /// IPv4 network: address, slash, length.
        Ipv4Net = "ipv4-net",
        /// IPv4 network: address, slash, mask.
        Ipv4NetMask = "ipv4-net-mask",
        /// IPv6.
        Ipv6Addr = "ipv6-addr",
        /// IPv6 in hexadecimal.
        Ipv6AddrHex = "ipv6-addr-hex",
        /// IPv6 network: address, slash, length.
        Ipv6Net = "ipv6-net",
        /// IPv6 network: address, slash, mask.
        Ipv6NetMask = "ipv6-net-mask",
    }
}

enumeration! {
    /// User.category: what kind of user it is.
    UserCategory = Unknown {
        /// Not known, the default.
        Unknown = "unknown",
        /// A user of an application.
        Application = "application",
        /// A user of an operating system or of a device.
        OsDevice = "os-device",
    }
}

enumeration! {
    /// UserId.type: which of a user's or a process's identities it is.
    UserIdType = OriginalUser {
        /// The identity now in use.
        CurrentUser = "current-user",
        /// The identity that logged in, the default.
        OriginalUser = "original-user",
        /// The identity that the user tries to take on.
        TargetUser = "target-user",
        /// Another user identity that gives privileges.
        UserPrivs = "user-privs",
        /// The group now in use.
        CurrentGroup = "current-group",
        /// Another group that gives privileges.
        GroupPrivs = "group-privs",
        /// Everybody else; for files.
        OtherPrivs = "other-privs",
    }
}

enumeration! {
    /// File.category: which state of the file is told.
    FileCategory {
        /// After the reported change.
        Current = "current",
        /// Before the reported change.
        Original = "original",
    }
}

enumeration! {
    /// Permission.perms: what is allowed with a file.
    Perms {
        /// Nothing.
        NoAccess = "noAccess",
        /// Read it.
        Read = "read",
        /// Write it.
        Write = "write",
        /// Execute it.
        Execute = "execute",
        /// Search it.
        Search = "search",
        /// Delete it.
        Delete = "delete",
        /// Execute it as somebody else.
        ExecuteAs = "executeAs",
        /// Change who may do what.
        ChangePermissions = "changePermissions",
        /// Take it over.
        TakeOwnership = "takeOwnership",
    }
}

enumeration! {
    /// Linkage.category: how one file stands for another.
    LinkageCategory {
        /// Another name of the same file.
        HardLink = "hard-link",
        /// An alias for a directory, on a drive of its own.
        MountPoint = "mount-point",
        /// Data that a file-system filter interprets.
        ReparsePoint = "reparse-point",
        /// A file that represents another.
        Shortcut = "shortcut",
        /// A stream attached to the file.
        Stream = "stream",
        /// A name that is resolved to the file.
        SymbolicLink = "symbolic-link",
    }
}

enumeration! {
    /// Checksum.algorithm.
    ChecksumAlgorithm {
        /// MD4.
        Md4 = "MD4",
        /// MD5.
        Md5 = "MD5",
        /// SHA-1.
        Sha1 = "SHA1",
        /// SHA-256.
        Sha2_256 = "SHA2-256",
        /// SHA-384.
        Sha2_384 = "SHA2-384",
        /// SHA-512.
        Sha2_512 = "SHA2-512",
        /// A cyclic redundancy check of 32 bits.
        Crc32 = "CRC-32",
        /// Haval.
        Haval = "Haval",
        /// Tiger.
        Tiger = "Tiger",
        /// Gost.
        Gost = "Gost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_words_survive() {
        let origin = Origin::from("osint");
        assert_eq!(origin.as_str(), "osint");
        assert_ne!(origin, Origin::Unknown);
        assert_eq!(Origin::from("cve"), Origin::Cve);
        assert_eq!(Origin::parse("osint".into(), true), None);
        assert_eq!(Origin::parse("osint".into(), false), Some(origin));
    }

    #[test]
    fn defaults_are_those_of_the_dtd() {
        assert_eq!(ImpactType::default().as_str(), "other");
        assert_eq!(ActionCategory::default().as_str(), "other");
        assert_eq!(Rating::default().as_str(), "numeric");
        assert_eq!(UserIdType::default().as_str(), "original-user");
        for word in [Origin::default().as_str(), Spoofed::default().as_str(), NodeCategory::default().as_str()] {
            assert_eq!(word, "unknown");
        }
    }

    #[test]
    fn words_are_those_of_the_dtd() {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/idmef/idmef-rfc4765/idmef-message-rfc4765.dtd");
        let dtd: String = std::fs::read_to_string(path).unwrap().split_whitespace().collect();
        fn list(words: &[&str]) -> String {
            format!("({})", words.join("|"))
        }
        macro_rules! in_dtd {
            ($($name:ident)+) => {$(
                let words: Vec<_> = $name::ALL.iter().map(|value| value.as_str()).collect();
                assert!(dtd.contains(&list(&words)), "{words:?}");
            )+};
        }
        in_dtd!(ActionCategory AddressCategory ChecksumAlgorithm Completion Decoy FileCategory ImpactType);
        in_dtd!(LinkageCategory NodeCategory Origin Perms Rating Severity Spoofed UserCategory UserIdType);
    }
}
