//! Where everything is. [RFC 8555 section 7.1.1](https://www.rfc-editor.org/rfc/rfc8555#section-7.1.1),
//! [RFC 8739 section 3.2](https://www.rfc-editor.org/rfc/rfc8739#section-3.2),
//! [RFC 9115 section 2.3.4](https://www.rfc-editor.org/rfc/rfc9115#section-2.3.4)

use jsonbcd::{Object, Value};

use crate::error::DecodeError;
use crate::json::{self, Members, put};
use crate::limits::Limits;
use crate::star::StarMeta;

/// A directory. The names of its members are those of RFC 8555; figure 5 of RFC 8739 has others, which nobody uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Directory {
    /// `newNonce`.
    pub new_nonce: String,
    /// `newAccount`.
    pub new_account: String,
    /// `newOrder`.
    pub new_order: String,
    /// `newAuthz`, which servers may lack.
    pub new_authz: Option<String>,
    /// `revokeCert`.
    pub revoke_cert: Option<String>,
    /// `keyChange`.
    pub key_change: Option<String>,
    /// `renewalInfo` (RFC 9773).
    pub renewal_info: Option<String>,
    /// What else the server says about itself.
    pub meta: Meta,
    /// Members that are not known here.
    pub others: Object,
}

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Meta {
    /// `termsOfService`.
    pub terms_of_service: Option<String>,
    /// `website`.
    pub website: Option<String>,
    /// `caaIdentities`.
    pub caa_identities: Vec<String>,
    /// `externalAccountRequired`.
    pub external_account_required: bool,
    /// `auto-renewal`: the server speaks STAR.
    pub auto_renewal: Option<StarMeta>,
    /// `delegation-enabled`: the server delegates.
    pub delegation_enabled: bool,
    /// `allow-certificate-get`: certificates that are not renewed automatically can be fetched by everybody.
    pub allow_certificate_get: bool,
    /// Members that are not known here.
    pub others: Object,
}

impl Directory {
    /// Reads a directory.
    ///
    /// # Errors
    /// When one of the three URLs without which nothing works is missing, or a member is of the wrong type.
    pub fn decode(body: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut members = Members::decode(body, "directory", limits)?;
        let mut required = |name: &str| members.url(name, limits)?.ok_or_else(|| members.missing(name));
        let (new_nonce, new_account, new_order) =
            (required("newNonce")?, required("newAccount")?, required("newOrder")?);
        Ok(Self {
            new_nonce,
            new_account,
            new_order,
            new_authz: members.url("newAuthz", limits)?,
            revoke_cert: members.url("revokeCert", limits)?,
            key_change: members.url("keyChange", limits)?,
            renewal_info: members.url("renewalInfo", limits)?,
            meta: members.members("meta")?.map(Meta::read).transpose()?.unwrap_or_default(),
            others: members.rest(),
        })
    }

    /// The directory as JSON.
    pub fn encode(&self) -> Vec<u8> {
        let mut object = Object::new();
        object.insert("newNonce", self.new_nonce.as_str());
        object.insert("newAccount", self.new_account.as_str());
        object.insert("newOrder", self.new_order.as_str());
        put(&mut object, "newAuthz", self.new_authz.as_deref());
        put(&mut object, "revokeCert", self.revoke_cert.as_deref());
        put(&mut object, "keyChange", self.key_change.as_deref());
        put(&mut object, "renewalInfo", self.renewal_info.as_deref());
        let meta = self.meta.to_object();
        put(&mut object, "meta", (!meta.is_empty()).then_some(meta));
        json::put_others(&mut object, &self.others);
        json::encode(&object)
    }
}

impl Meta {
    fn read(mut members: Members) -> Result<Self, DecodeError> {
        let place = members.place("auto-renewal");
        let auto_renewal = members.take("auto-renewal").map(|value: Value| StarMeta::from_value(value, &place));
        Ok(Self {
            terms_of_service: members.text("termsOfService")?,
            website: members.text("website")?,
            caa_identities: members.texts("caaIdentities")?.unwrap_or_default(),
            external_account_required: members.boolean("externalAccountRequired")?.unwrap_or(false),
            auto_renewal: auto_renewal.transpose()?,
            delegation_enabled: members.boolean("delegation-enabled")?.unwrap_or(false),
            allow_certificate_get: members.boolean("allow-certificate-get")?.unwrap_or(false),
            others: members.rest(),
        })
    }

    fn to_object(&self) -> Object {
        let mut object = Object::new();
        put(&mut object, "termsOfService", self.terms_of_service.as_deref());
        put(&mut object, "website", self.website.as_deref());
        put(&mut object, "caaIdentities", (!self.caa_identities.is_empty()).then(|| json::texts(&self.caa_identities)));
        put(&mut object, "externalAccountRequired", self.external_account_required.then_some(true));
        put(&mut object, "auto-renewal", self.auto_renewal.map(|star| star.to_object()));
        put(&mut object, "delegation-enabled", self.delegation_enabled.then_some(true));
        put(&mut object, "allow-certificate-get", self.allow_certificate_get.then_some(true));
        json::put_others(&mut object, &self.others);
        object
    }
}
