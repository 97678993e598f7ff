//! Source, Target, Node, Address, User. [RFC 4765 sections 4.2.4 and 4.2.7](https://www.rfc-editor.org/rfc/rfc4765#section-4.2.4)

use super::{AddressCategory, Decoy, File, NodeCategory, Process, Service, Spoofed, UserCategory, UserIdType};
use crate::types::{Ident, Integer};
use crate::xml::class;
use std::net::IpAddr;

/// Where events came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// Its identifier in this message.
    pub ident: Ident,
    /// Whether it is believed to be a pretence.
    pub spoofed: Spoofed,
    /// The network interface of the sensor on which it was seen.
    pub interface: Option<String>,
    /// The machine.
    pub node: Option<Node>,
    /// The user.
    pub user: Option<User>,
    /// The process.
    pub process: Option<Process>,
    /// The network service.
    pub service: Option<Service>,
}

class! {
    Source {
        attributes { "ident" => ident, "spoofed" => spoofed, "interface" => interface }
        elements { "Node" => node, "User" => user, "Process" => process, "Service" => service }
    }
}

/// What events were aimed at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// Its identifier in this message.
    pub ident: Ident,
    /// Whether it is believed to be a pretence.
    pub decoy: Decoy,
    /// The network interface of the sensor on which it was seen.
    pub interface: Option<String>,
    /// The machine.
    pub node: Option<Node>,
    /// The user.
    pub user: Option<User>,
    /// The process.
    pub process: Option<Process>,
    /// The network service.
    pub service: Option<Service>,
    /// The files.
    pub file: Vec<File>,
}

class! {
    Target {
        attributes { "ident" => ident, "decoy" => decoy, "interface" => interface }
        elements { "Node" => node, "User" => user, "Process" => process, "Service" => service, "File" => file }
    }
}

/// A machine or a device: it has a name, an address, or both.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Its identifier in this message.
    pub ident: Ident,
    /// Where its name comes from.
    pub category: NodeCategory,
    /// Where it stands.
    pub location: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its addresses.
    pub address: Vec<Address>,
}

impl From<IpAddr> for Node {
    fn from(address: IpAddr) -> Self {
        Self { address: vec![address.into()], ..Self::default() }
    }
}

class! {
    Node, rules node_rules {
        attributes { "ident" => ident, "category" => category }
        elements { "location" => location, "name" => name, "Address" => address }
    }
}

fn node_rules(it: &Node) -> Result<(), &'static str> {
    if it.name.is_none() && it.address.is_empty() { Err("neither name nor Address") } else { Ok(()) }
}

/// An address of a network, of hardware, or of an application.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Address {
    /// Its identifier in this message.
    pub ident: Ident,
    /// What kind of address.
    pub category: AddressCategory,
    /// The name of its virtual LAN.
    pub vlan_name: Option<String>,
    /// The number of its virtual LAN.
    pub vlan_num: Option<Integer>,
    /// The address.
    pub address: String,
    /// The network mask.
    pub netmask: Option<String>,
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        let category = if address.is_ipv4() { AddressCategory::Ipv4Addr } else { AddressCategory::Ipv6Addr };
        Self { category, address: address.to_string(), ..Self::default() }
    }
}

class! {
    Address {
        attributes {
            "ident" => ident,
            "category" => category,
            "vlan-name" => vlan_name,
            "vlan-num" => vlan_num,
        }
        elements { "address" => address, "netmask" => netmask }
    }
}

/// A user, by one or more identities.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// Its identifier in this message.
    pub ident: Ident,
    /// What kind of user.
    pub category: UserCategory,
    /// The identities; at least one.
    pub user_id: Vec<UserId>,
}

class! {
    User, rules user_rules {
        attributes { "ident" => ident, "category" => category }
        elements { "UserId" => user_id }
    }
}

fn user_rules(it: &User) -> Result<(), &'static str> {
    if it.user_id.is_empty() { Err("no UserId") } else { Ok(()) }
}

/// One identity of a user or of a process: it has a name, a number, or both.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserId {
    /// Its identifier in this message.
    pub ident: Ident,
    /// Which of the identities; attribute `type`.
    pub kind: UserIdType,
    /// The terminal in use.
    pub tty: Option<String>,
    /// The name of the user or group.
    pub name: Option<String>,
    /// The number of the user or group.
    pub number: Option<Integer>,
}

class! {
    UserId or Default, rules user_id_rules {
        attributes { "ident" => ident, "type" => kind, "tty" => tty }
        elements { "name" => name, "number" => number }
    }
}

fn user_id_rules(it: &UserId) -> Result<(), &'static str> {
    if it.name.is_none() && it.number.is_none() { Err("neither name nor number") } else { Ok(()) }
}
