//! RFC 6121: the roster's requests. What a roster is, and presence, are the core's: `core::roster`, `core::presence`.

use crate::core::{About, Extension, Flow, Handled, Place, State, roster};
use crate::wire::{Condition, Ns, Stanza, StreamFeature, Type};

pub(super) struct Roster;

impl Extension for Roster {
    fn about(&self) -> &'static About {
        &About {
            spec: "RFC 6121",
            name: "Instant Messaging and Presence",
            version: "2011",
            missing: "",
            server: &["jabber:iq:roster"],
            account: &[],
            iq: &[Ns::ROSTER],
        }
    }

    fn stream_features(&self, _st: &State) -> Vec<StreamFeature> {
        vec![
            StreamFeature::new("<ver xmlns='urn:xmpp:features:rosterver'/>"),
            StreamFeature::new("<sub xmlns='urn:xmpp:features:pre-approval'/>"),
        ]
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        match (at, iq.ty) {
            (Place::Own(local), Type::Get) => roster::get(st, iq, local),
            (Place::Own(local), _) => roster::set(st, iq, local),
            // RFC 6121 §2.1.5: nobody sees or changes another's roster.
            (Place::Account(_), _) => Err(Condition::Forbidden.into()),
            (Place::Server, _) => Ok(Flow::Pass),
        }
    }
}
