//! RFC 3921 §3: session establishment. RFC 6121 has dropped it; old clients still do not go on without it.

use crate::core::{About, Extension, Flow, Handled, Place, State};
use crate::wire::{Condition, Ns, Stanza, Type};

pub(super) struct Session;

impl Extension for Session {
    fn about(&self) -> &'static About {
        &About {
            spec: "RFC 3921",
            name: "Session Establishment for Old Clients",
            version: "2004",
            missing: "all but §3, which does nothing; RFC 6121 replaces the rest",
            server: &[],
            account: &[],
            iq: &[Ns::SESSION],
        }
    }

    fn stream_features(&self, _st: &State) -> Vec<String> {
        // Clients that know <optional/> save themselves the round trip.
        vec!["<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>".into()]
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        match (at, iq.ty) {
            (Place::Account(_), _) => Ok(Flow::Pass),
            (_, Type::Set) => st.reply(iq, ""),
            _ => Err(Condition::BadRequest.into()),
        }
    }
}
