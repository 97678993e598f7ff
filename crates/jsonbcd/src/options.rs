//! What can be chosen: the dialect, the table of codes, limits.

/// Which of the nested languages: JSON ⊂ JSON-B ⊂ JSON-C ⊂ JSON-D.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums, reason = "the drafts define these")]
pub enum Dialect {
    /// RFC 8259 text, no octet above 0x7F outside strings.
    Json,
    /// Binary strings, data, integers and binary64.
    B,
    /// Codes that stand for strings and data.
    C,
    /// All other numbers: 128-bit integers, the smaller and larger binary floats, decimal floats.
    D,
}

impl Dialect {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::B => "json-b",
            Self::C => "json-c",
            Self::D => "json-d",
        }
    }
}

/// Which revision's table of codes. They differ in big numbers only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(clippy::exhaustive_enums, reason = "there are these two")]
pub enum Profile {
    /// draft-hallambaker-jsonbcd-01 of January 2014: big numbers are A5 and AD, nothing is A6, A7 or AF. What
    /// OmniBroker peers speak.
    Bcd01,
    /// Revisions 16 to 21: big numbers are A7 and AF, A5 has 256 bits, A6 has 512.
    #[default]
    Bcd16Plus,
}

/// Whether commas must be where the grammar wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[allow(clippy::exhaustive_enums, reason = "there are these two")]
pub enum Commas {
    /// Behind objects, arrays and text values if something follows, never behind binary values.
    #[default]
    Strict,
    /// One may stand, or be missing, behind any value, also the last. The author's programs read so and write none.
    Lenient,
}

/// Upper bounds of everything that input can make grow. Nothing is ever allocated because a length was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Octets of one document. Default 16 MiB.
    pub input: usize,
    /// Arrays and objects inside one another, when reading and when writing. Default 128.
    pub depth: u16,
    /// Octets of one string, name, data item or big number, all chunks together, after escapes. Default 16 MiB.
    pub item: usize,
    /// Characters of a number in text. Default 512.
    pub digits: usize,
    /// Elements of one array, or members of one object. Default 1,048,576.
    pub members: usize,
    /// Elements and members in all of the document. Default 1,048,576.
    pub values: usize,
    /// Codes defined in one document (JSON-C). Default 4,096.
    pub codes: usize,
    /// Octets of all definitions in one document (JSON-C). Default 64 KiB.
    pub code_octets: usize,
    /// Octets of everything that references insert (JSON-C): what a small document may grow to. Default 1 MiB.
    pub expansion: usize,
    /// Dictionaries that one document loads (JSON-C). Default 4.
    pub dictionaries: usize,
}

impl Limits {
    /// The defaults, as a constant.
    pub const DEFAULT: Self = Self {
        input: 16 << 20,
        depth: 128,
        item: 16 << 20,
        digits: 512,
        members: 1 << 20,
        values: 1 << 20,
        codes: 4096,
        code_octets: 64 << 10,
        expansion: 1 << 20,
        dictionaries: 4,
    };

    /// With another limit of the document's length, in octets.
    pub const fn with_input(mut self, octets: usize) -> Self {
        self.input = octets;
        self
    }

    /// With another nesting depth.
    pub const fn with_depth(mut self, depth: u16) -> Self {
        self.depth = depth;
        self
    }

    /// With another limit for single items, in octets.
    pub const fn with_item(mut self, octets: usize) -> Self {
        self.item = octets;
        self
    }

    /// With another limit for numbers in text, in characters.
    pub const fn with_digits(mut self, digits: usize) -> Self {
        self.digits = digits;
        self
    }

    /// With another limit of elements or members in one array or object.
    pub const fn with_members(mut self, members: usize) -> Self {
        self.members = members;
        self
    }

    /// With another limit of elements and members in all.
    pub const fn with_values(mut self, values: usize) -> Self {
        self.values = values;
        self
    }

    /// With another limit of defined codes, in number and in octets.
    pub const fn with_codes(mut self, codes: usize, octets: usize) -> Self {
        self.codes = codes;
        self.code_octets = octets;
        self
    }

    /// With another limit of what references insert, in octets.
    pub const fn with_expansion(mut self, octets: usize) -> Self {
        self.expansion = octets;
        self
    }

    /// With another limit of dictionaries in one document.
    pub const fn with_dictionaries(mut self, dictionaries: usize) -> Self {
        self.dictionaries = dictionaries;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
