//! XEP-0199: XMPP Ping.

use crate::core::{About, Extension, Flow, Handled, Place, State};
use crate::wire::{Condition, Ns, Stanza, Type};

pub(super) struct Ping;

impl Extension for Ping {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0199",
            name: "XMPP Ping",
            version: "2.0.1",
            missing: "",
            server: &["urn:xmpp:ping"],
            account: &["urn:xmpp:ping"],
            iq: &[Ns::PING],
        }
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        if iq.ty != Type::Get {
            return Err(Condition::BadRequest.into());
        }
        match at {
            Place::Server | Place::Own(_) => st.reply(iq, ""),
            // Whether there is such an account is not for strangers (RFC 6120 §13.11).
            Place::Account(_) if st.shows_presence(iq) => st.reply(iq, ""),
            Place::Account(_) => Ok(Flow::Pass),
        }
    }
}
