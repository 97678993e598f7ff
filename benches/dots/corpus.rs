//! What the benchmark of the codec reads and writes, and the types that whoever has no DOTS library would write with
//! minicbor's derive.

use std::net::IpAddr;

use dots_callhome::body::{Body, Direction};
use dots_callhome::wire::{Token, udp};
use minicbor::decode::{self, Decode, Decoder};
use minicbor::encode::{self, Encode, Encoder, Write};

use crate::attack;

/// RFC 9132 figure 8: two targets, three ports, a protocol, an hour. 73 octets.
pub(super) const BASE: &str = "a101a10281a4068274323030313a6462383a363430313a3a312f31323874323030313a6462383a363430313a\
                               3a322f3132380783a1081850a1081901bba108191f900a81060e190e10";

/// The typed body of octets.
pub(super) fn body(octets: &[u8]) -> Body {
    Body::decode(octets, Direction::Request).expect("a body of the figures")
}

/// The whole datagram of a PUT, without the record of DTLS around it.
pub(super) fn datagram(body: &[u8]) -> Vec<u8> {
    let put = attack::request(body).with_token(Token::new(&[1, 2, 3, 4, 5, 6, 7, 8]).expect("eight octets"));
    let mut out = Vec::new();
    put.encode_udp(udp::Type::Non, 0x1239, &mut out);
    out
}

/// The same body by minicbor's derive. With `&str` prefixes stay texts, and nothing is checked but CBOR.
#[derive(Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub(super) struct Derived<P> {
    #[n(1)]
    pub(super) mitigation_scope: DerivedScopes<P>,
}

#[derive(Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub(super) struct DerivedScopes<P> {
    #[n(2)]
    pub(super) scope: Vec<DerivedScope<P>>,
}

#[derive(Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub(super) struct DerivedScope<P> {
    #[n(6)]
    target_prefix: Option<Vec<P>>,
    #[n(7)]
    target_port_range: Option<Vec<DerivedPorts>>,
    #[n(10)]
    target_protocol: Option<Vec<u8>>,
    #[n(14)]
    lifetime: Option<i64>,
    #[n(32768)]
    source_prefix: Option<Vec<P>>,
    #[n(32769)]
    source_port_range: Option<Vec<DerivedPorts>>,
}

#[derive(Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub(super) struct DerivedPorts {
    #[n(8)]
    lower_port: u16,
    #[n(9)]
    upper_port: Option<u16>,
}

/// A prefix as whoever needs its address would have it, by the standard library.
#[derive(Debug, PartialEq)]
pub(super) struct Typed(IpAddr, u8);

impl<C> Encode<C> for Typed {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        encoder.str(&format!("{}/{}", self.0, self.1))?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Typed {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let parts = decoder.str()?.split_once('/');
        let typed = parts.and_then(|(address, len)| Some(Self(address.parse().ok()?, len.parse().ok()?)));
        typed.ok_or_else(|| decode::Error::message("no prefix"))
    }
}

/// By minicbor's derive.
pub(super) fn derived<'a, P: Decode<'a, ()>>(octets: &'a [u8]) -> Derived<P> {
    minicbor::decode(octets).expect("a body of the figures")
}
