//! Names on the wire. [RFC 1035 section 3.1](https://www.rfc-editor.org/rfc/rfc1035#section-3.1)

/// Octets of the longest name.
const MOST: usize = 255;

/// A name that was read: in small letters, with where its labels start.
#[derive(Debug, Clone)]
pub(super) struct Labels {
    wire: [u8; MOST],
    /// Where the length octet of each label is, the root's left out.
    starts: [u8; 128],
    count: usize,
    /// Octets with the root's.
    len: usize,
}

impl Labels {
    /// Reads a name without compression, which a question cannot have; gives what is behind it.
    pub(super) fn read(octets: &[u8]) -> Option<(Self, &[u8])> {
        let mut name = Self { wire: [0; MOST], starts: [0; 128], count: 0, len: 0 };
        let mut rest = octets;
        loop {
            let (len, behind) = rest.split_first()?;
            let start = name.len;
            *name.wire.get_mut(start)? = *len;
            name.len = start.checked_add(1)?;
            if *len == 0 {
                return Some((name, behind));
            }
            if *len > 63 {
                return None;
            }
            let (label, behind) = behind.split_at_checked(usize::from(*len))?;
            let end = name.len.checked_add(label.len())?;
            let place = name.wire.get_mut(name.len..end)?;
            place.copy_from_slice(label);
            place.make_ascii_lowercase();
            *name.starts.get_mut(name.count)? = u8::try_from(start).ok()?;
            name.count = name.count.checked_add(1)?;
            name.len = end;
            rest = behind;
        }
    }

    /// If the name is `apex` or below it: how many labels it has more, and where on the wire the apex starts.
    pub(super) fn below(&self, apex: &[u8]) -> Option<(usize, usize)> {
        let at = self.len.checked_sub(apex.len())?;
        if self.wire.get(at..self.len)? != apex {
            return None;
        }
        if apex.len() == 1 {
            return Some((self.count, at));
        }
        let labels = self.starts.get(..self.count)?;
        let index = labels.iter().position(|start| usize::from(*start) == at)?;
        Some((index, at))
    }

    /// The label of this number, without its length.
    pub(super) fn label(&self, index: usize) -> Option<&[u8]> {
        let start = usize::from(*self.starts.get(..self.count)?.get(index)?);
        let len = usize::from(*self.wire.get(start)?);
        let from = start.checked_add(1)?;
        self.wire.get(from..from.checked_add(len)?)
    }

    /// The first labels with dots between them, if they are of letters, digits, hyphens and underscores.
    pub(super) fn text<'t>(&self, count: usize, buffer: &'t mut [u8; MOST]) -> Option<&'t str> {
        let mut end = 0_usize;
        for index in 0..count {
            let label = self.label(index)?;
            if !label.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_')) {
                return None;
            }
            if index > 0 {
                *buffer.get_mut(end)? = b'.';
                end = end.checked_add(1)?;
            }
            let to = end.checked_add(label.len())?;
            buffer.get_mut(end..to)?.copy_from_slice(label);
            end = to;
        }
        std::str::from_utf8(buffer.get(..end)?).ok()
    }
}

/// A name as it is on the wire, in small letters.
pub(super) fn encode(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut wire = Vec::with_capacity(text.len().saturating_add(2));
    for label in text.split('.').filter(|_| !text.is_empty()) {
        let is_good = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        if label.is_empty() || !label.bytes().all(is_good) {
            return None;
        }
        wire.push(u8::try_from(label.len()).ok().filter(|len| *len < 64)?);
        wire.extend(label.bytes().map(|octet| octet.to_ascii_lowercase()));
    }
    wire.push(0);
    (wire.len() <= MOST).then_some(wire)
}

/// Passes over a name, compressed or not.
pub(super) fn skip(mut octets: &[u8]) -> Option<&[u8]> {
    loop {
        let (len, behind) = octets.split_first()?;
        match len {
            0 => return Some(behind),
            1..=63 => octets = behind.split_at_checked(usize::from(*len))?.1,
            0xc0.. => return behind.split_first().map(|(_, rest)| rest),
            _ => return None,
        }
    }
}
