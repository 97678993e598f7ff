//! The forms that came before RFC 8739 and RFC 9115: a delegate registers a request for a certificate at the name owner's,
//! and looks again until there is a certificate that renews itself.
//!
//! draft-sheffer-acme-star-request-02 is spoken: [`Registrar`] is the name owner's side, [`Registrant`] the delegate's.
//! What draft-sheffer-acme-star-00 and star-request-00/01 said differently is understood. Of
//! draft-sheffer-lurk-cert-delegation-00, where the owner made the key too, there is the request alone.

mod message;
mod registrant;
mod registrar;

pub use message::{Progress, Registration, RegistrationStatus, delegation_00_request};
pub use registrant::{Outcome, Registrant, RegistrantEvent};
pub use registrar::{Passwords, Registrar, RegistrarEvent, RegistrationId};
