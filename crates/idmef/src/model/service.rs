//! Service, WebService, SNMPService. [RFC 4765 section 4.2.7.5](https://www.rfc-editor.org/rfc/rfc4765#section-4.2.7.5)

use crate::types::{Ident, Integer, Portlist};
use crate::xml::class;

/// A network service: by name, by port or by both; or else by a list of ports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// Its identifier in this message.
    pub ident: Ident,
    /// The version of IP.
    pub ip_version: Option<Integer>,
    /// The number that IANA gave the protocol above IP.
    pub iana_protocol_number: Option<Integer>,
    /// The name that IANA gave the protocol above IP.
    pub iana_protocol_name: Option<String>,
    /// The name of the service, from IANA's list where it is in there.
    pub name: Option<String>,
    /// The port.
    pub port: Option<Integer>,
    /// The ports, when they are several; then neither `name` nor `port`.
    pub portlist: Option<Portlist>,
    /// Protocols above, or anything else about the protocol.
    pub protocol: Option<String>,
    /// More about SNMP.
    pub snmp_service: Option<SnmpService>,
    /// More about the Web.
    pub web_service: Option<WebService>,
}

class! {
    Service, rules service_rules {
        attributes {
            "ident" => ident,
            "ip_version" => ip_version,
            "iana_protocol_number" => iana_protocol_number,
            "iana_protocol_name" => iana_protocol_name,
        }
        elements {
            "name" => name,
            "port" => port,
            "portlist" => portlist,
            "protocol" => protocol,
            "SNMPService" => snmp_service,
            "WebService" => web_service,
        }
    }
}

fn service_rules(it: &Service) -> Result<(), &'static str> {
    match (it.name.is_some() || it.port.is_some(), it.portlist.is_some()) {
        (false, false) => Err("neither name, port nor portlist"),
        (true, true) => Err("portlist beside name or port"),
        _ => Ok(()),
    }
}

/// A request to a Web server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebService {
    /// The URL.
    pub url: String,
    /// The script, without arguments.
    pub cgi: Option<String>,
    /// The method.
    pub http_method: Option<String>,
    /// The arguments of the script.
    pub arg: Vec<String>,
}

class! {
    WebService {
        elements { "url" => url, "cgi" => cgi, "http-method" => http_method, "arg" => arg }
    }
}

/// SNMPService: a request by SNMP, with the names of RFC 3411.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnmpService {
    /// The object identifier in the request.
    pub oid: Option<String>,
    /// The version of SNMP.
    pub message_processing_model: Option<Integer>,
    /// The security model.
    pub security_model: Option<Integer>,
    /// The security name.
    pub security_name: Option<String>,
    /// The security level.
    pub security_level: Option<Integer>,
    /// The context name.
    pub context_name: Option<String>,
    /// The context engine identifier.
    pub context_engine_id: Option<String>,
    /// The command.
    pub command: Option<String>,
}

class! {
    SnmpService {
        elements {
            "oid" => oid,
            "messageProcessingModel" => message_processing_model,
            "securityModel" => security_model,
            "securityName" => security_name,
            "securityLevel" => security_level,
            "contextName" => context_name,
            "contextEngineID" => context_engine_id,
            "command" => command,
        }
    }
}
