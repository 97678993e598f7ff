//! Entries that come as records: A says the code, TXT the text, and both are about one name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Broken, Defaults, Sink};

/// A name whose records are still coming.
#[derive(Debug, Default)]
pub(super) struct Records {
    rated: Option<String>,
    codes: Vec<Ipv4Addr>,
    text: String,
    place: String,
}

impl Records {
    /// An A record.
    pub(super) fn code(
        &mut self,
        rated: String,
        code: Ipv4Addr,
        place: &str,
        defaults: &Defaults,
        sink: &mut Sink,
    ) -> Result<(), Broken> {
        self.about(rated, place, defaults, sink)?;
        if !self.codes.contains(&code) {
            self.codes.push(code);
        }
        Ok(())
    }

    /// A TXT record.
    pub(super) fn text(
        &mut self,
        rated: String,
        text: &str,
        place: &str,
        defaults: &Defaults,
        sink: &mut Sink,
    ) -> Result<(), Broken> {
        self.about(rated, place, defaults, sink)?;
        text.clone_into(&mut self.text);
        Ok(())
    }

    fn about(&mut self, rated: String, place: &str, defaults: &Defaults, sink: &mut Sink) -> Result<(), Broken> {
        if self.rated.as_ref() != Some(&rated) {
            self.settle(defaults, sink)?;
            self.rated = Some(rated);
            place.clone_into(&mut self.place);
        }
        Ok(())
    }

    /// Gives away the name whose records were read.
    pub(super) fn settle(&mut self, defaults: &Defaults, sink: &mut Sink) -> Result<(), Broken> {
        let Some(rated) = self.rated.take() else { return Ok(()) };
        let (codes, text) = (std::mem::take(&mut self.codes), std::mem::take(&mut self.text));
        if codes.is_empty() {
            // A text about nothing that is listed.
            sink.skipped += 1;
        }
        for code in codes {
            let reputon = defaults.listed(&rated, 1.0, Some(code), &text);
            sink.add(&defaults.application, &reputon, || self.place.clone())?;
        }
        Ok(())
    }
}

/// The address or network that a name is the reverse of, or the name. [RFC 5782 section
/// 2.1](https://www.rfc-editor.org/rfc/rfc5782#section-2.1)
pub(super) fn forwards(name: &str) -> String {
    let (below, name_of) = name.strip_prefix("*.").map_or((false, name), |rest| (true, rest));
    let labels: Vec<&str> = name_of.rsplit('.').collect();
    let is_whole = |count: usize| if below { (1..count).contains(&labels.len()) } else { labels.len() == count };
    if is_whole(4) {
        let mut octets = [0; 4];
        let parsed = octets.iter_mut().zip(&labels).all(|(octet, label)| {
            let is_plain = label.len() == 1 || !label.starts_with('0');
            label.parse().ok().filter(|_| is_plain).inspect(|number| *octet = *number).is_some()
        });
        if parsed {
            return shown(Ipv4Addr::from(octets).into(), 8 * labels.len());
        }
    }
    if is_whole(32) && labels.iter().all(|label| label.len() == 1) {
        let digits = format!("{:0<32}", labels.concat());
        // Of a few digits, a name such as `*.a.b` is more likely.
        if let (Ok(address), true) = (u128::from_str_radix(&digits, 16), labels.len() >= 4) {
            return shown(Ipv6Addr::from(address).into(), 4 * labels.len());
        }
    }
    name.to_owned()
}

fn shown(address: IpAddr, len: usize) -> String {
    let whole = if address.is_ipv4() { 32 } else { 128 };
    if len == whole { address.to_string() } else { format!("{address}/{len}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reversed_names_are_addresses_and_networks() {
        let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2";
        for (name, rated) in [
            ("2.0.0.127", "127.0.0.2"),
            ("*.2.0.192", "192.0.2.0/24"),
            ("*.10", "10.0.0.0/8"),
            ("*.8.b.d.0.1.0.0.2", "2001:db8::/32"),
            (v6, "2001:db8::1"),
            ("256.0.0.127", "256.0.0.127"),
            ("02.0.0.127", "02.0.0.127"),
            ("0.0.127", "0.0.127"),
            // Below one IPv4 address there is nothing: digits of IPv6.
            ("*.1.2.3.4", "4321::/16"),
            ("*.example.org", "*.example.org"),
            ("*.a.b", "*.a.b"),
            ("example.org", "example.org"),
            ("", ""),
        ] {
            assert_eq!(forwards(name), rated, "{name}");
        }
    }
}
