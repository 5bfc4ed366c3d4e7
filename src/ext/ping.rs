//! XEP-0199: XMPP Ping.

use crate::core::{About, Extension, Handled, Place, State};
use crate::wire::{Ns, Stanza, Type};

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

    fn iq(&mut self, st: &mut State, _at: &Place, iq: &Stanza) -> Handled {
        match iq.ty {
            Type::Get => st.reply(iq, ""),
            _ => Err(crate::wire::Condition::BadRequest.into()),
        }
    }
}
