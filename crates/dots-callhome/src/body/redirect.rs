//! Redirection (RFC 9132 section 4.6, RFC 9066 section 5.2.2) and heartbeats (RFC 9132 section 4.7).

use core::net::IpAddr;

use super::encode::Writer;
use super::error::BodyErrorKind;
use super::key;
use super::list::List;
use super::reader::{Extra, Reader, Result};

/// Where to go instead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RedirectedSignal {
    /// The alternate server; base DOTS only.
    pub alt_server: Option<String>,
    /// Its addresses.
    pub alt_server_record: List<IpAddr>,
    /// The alternate Call Home client, also the name that it must prove.
    pub alt_ch_client: Option<String>,
    /// Its addresses; without any the name is looked up.
    pub alt_ch_client_record: List<IpAddr>,
    /// Seconds that this holds.
    pub ttl: Option<u32>,
    /// What is not interpreted here.
    pub extra: Vec<Extra>,
}

impl RedirectedSignal {
    /// To another Call Home client.
    pub fn to_client(name: impl Into<String>, records: List<IpAddr>, ttl: Option<u32>) -> Self {
        Self { alt_ch_client: Some(name.into()), alt_ch_client_record: records, ttl, ..Self::default() }
    }

    /// To another server; base DOTS only.
    pub fn to_server(name: impl Into<String>, records: List<IpAddr>) -> Self {
        Self { alt_server: Some(name.into()), alt_server_record: records, ..Self::default() }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let mut extra = Vec::new();
        let mut redirect = Self::default();
        reader.map(&mut extra, |reader, key| {
            match key {
                key::ALT_SERVER => redirect.alt_server = Some(reader.text(key)?),
                key::ALT_SERVER_RECORD => reader.list(key, &mut redirect.alt_server_record, |r| r.address(key))?,
                key::ALT_CH_CLIENT => redirect.alt_ch_client = Some(reader.text(key)?),
                key::ALT_CH_CLIENT_RECORD => {
                    reader.list(key, &mut redirect.alt_ch_client_record, |r| r.address(key))?
                }
                key::TTL => redirect.ttl = Some(reader.u32(key)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        redirect.extra = extra;
        Ok(redirect)
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        writer.map(|writer| {
            name(writer, key::ALT_SERVER, self.alt_server.as_deref());
            records(writer, key::ALT_SERVER_RECORD, &self.alt_server_record);
            writer.extras(&self.extra, 0, key::SOURCE_PREFIX);
            name(writer, key::ALT_CH_CLIENT, self.alt_ch_client.as_deref());
            records(writer, key::ALT_CH_CLIENT_RECORD, &self.alt_ch_client_record);
            if let Some(ttl) = self.ttl {
                writer.uint(key::TTL, u64::from(ttl));
            }
            writer.extras(&self.extra, key::SOURCE_PREFIX, u32::MAX);
        });
    }
}

fn name(writer: &mut Writer<'_>, key: u32, name: Option<&str>) {
    if let Some(name) = name {
        writer.key(key);
        writer.text(name);
    }
}

fn records(writer: &mut Writer<'_>, key: u32, records: &List<IpAddr>) {
    if !records.is_empty() {
        writer.addresses(key, records);
    }
}

pub(super) fn read_heartbeat(reader: &mut Reader<'_>) -> Result<bool> {
    let mut status = None;
    reader.map(&mut Vec::new(), |reader, key| {
        if key != key::PEER_HB_STATUS {
            return Ok(false);
        }
        status = Some(reader.bool()?);
        Ok(true)
    })?;
    status.ok_or_else(|| reader.error(BodyErrorKind::Missing(key::PEER_HB_STATUS)))
}
