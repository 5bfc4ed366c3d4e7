//! XEP-0202: Entity Time.

use crate::core::{About, Extension, Flow, Handled, Place, State};
use crate::wire::{Condition, Ns, Stanza, Type, stamp};

pub(super) struct Time;

impl Extension for Time {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0202",
            name: "Entity Time",
            version: "2.0",
            missing: "",
            server: &["urn:xmpp:time"],
            account: &[],
            iq: &[Ns::TIME],
        }
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        if *at != Place::Server {
            return Ok(Flow::Pass);
        }
        if iq.ty != Type::Get {
            return Err(Condition::BadRequest.into());
        }
        // Where the box stands is nobody's business (XEP-0202 §6): its zone is UTC.
        let utc = stamp::format(st.now().wall);
        st.reply(iq, format!("<time xmlns='urn:xmpp:time'><tzo>Z</tzo><utc>{utc}</utc></time>"))
    }
}
