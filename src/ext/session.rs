//! RFC 3921 §3: session establishment. RFC 6121 has dropped it; old clients still do not go on without it. And the answer to whoever
//! asks for what a session has already: a resource.

use crate::core::{About, Extension, Flow, Handled, Place, State};
use crate::wire::{Condition, Ns, Stanza, StanzaError, StreamFeature, Type};

pub(super) struct SessionEstablishment;

impl Extension for SessionEstablishment {
    fn about(&self) -> &'static About {
        &About {
            spec: "RFC 3921",
            name: "Session Establishment for Old Clients",
            version: "2004",
            missing: "all but §3, which does nothing; RFC 6121 replaces the rest",
            server: &[],
            account: &[],
            iq: &[Ns::SESSION, Ns::BIND],
        }
    }

    fn stream_features(&self, _st: &State) -> Vec<StreamFeature> {
        // Clients that know <optional/> save themselves the round trip.
        vec![StreamFeature::new("<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>")]
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        match (at, iq.ty) {
            (Place::Account(_), _) => Ok(Flow::Pass),
            // RFC 6120 §7: once on a stream.
            _ if iq.child(Ns::BIND, "bind").is_some() => {
                Err(StanzaError::new(Condition::NotAllowed).text("a stream has one resource"))
            }
            (_, Type::Set) => st.reply(iq, ""),
            _ => Err(Condition::BadRequest.into()),
        }
    }
}
