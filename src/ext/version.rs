//! XEP-0092: Software Version.

use crate::core::{About, Extension, Flow, Handled, Place, State};
use crate::wire::{Condition, Ns, Stanza, Type};

pub(super) struct Version;

impl Extension for Version {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0092",
            name: "Software Version",
            version: "1.1",
            missing: "",
            server: &["jabber:iq:version"],
            account: &[],
            iq: &[Ns::VERSION],
        }
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        if *at != Place::Server {
            return Ok(Flow::Pass);
        }
        if iq.ty != Type::Get {
            return Err(Condition::BadRequest.into());
        }
        // XEP-0092 §5: the operating system helps attackers; it is named only where the owner wants it.
        let os = if st.settings().show_os { format!("<os>{}</os>", std::env::consts::OS) } else { String::new() };
        let version = env!("CARGO_PKG_VERSION");
        st.reply(
            iq,
            format!("<query xmlns='jabber:iq:version'><name>Inglenook</name><version>{version}</version>{os}</query>"),
        )
    }
}
