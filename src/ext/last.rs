//! XEP-0012: Last Activity. How long the server runs, and when an account was last seen, for those who may know.

use crate::core::{About, Extension, Flow, Handled, Place, State};
use crate::wire::xml::escaped;
use crate::wire::{Condition, Jid, Kind, Ns, Stanza, StanzaError, Type};

pub(super) struct Last;

/// XEP-0012 §3, §4 and §8: an account's activity is for those who may see its presence.
fn allowed(st: &State, local: &str, from: Option<&Jid>) -> Result<(), StanzaError> {
    match st.account_of(local).zip(from) {
        Some((account, from)) if from.bare_str() == account.jid.as_str() || account.shows_presence_to(from) => Ok(()),
        _ => Err(Condition::Forbidden.into()),
    }
}

impl Extension for Last {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0012",
            name: "Last Activity",
            version: "2.0",
            missing: "",
            server: &["jabber:iq:last"],
            account: &["jabber:iq:last"],
            iq: &[Ns::LAST],
        }
    }

    /// A question about one resource, which its client would answer.
    fn arrive(&mut self, st: &mut State, local: &str, stanza: &mut Stanza) -> Handled {
        let asks = stanza.kind == Kind::Iq && stanza.ty == Type::Get && stanza.child(Ns::LAST, "query").is_some();
        if asks && stanza.to.as_ref().is_some_and(|to| !to.is_bare()) {
            allowed(st, local, stanza.from.as_ref())?;
        }
        Ok(Flow::Pass)
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        if iq.ty != Type::Get {
            return Err(Condition::BadRequest.into());
        }
        let (ms, status) = match at {
            Place::Server => (st.uptime_ms(), ""),
            Place::Own(local) | Place::Account(local) => {
                allowed(st, local, iq.from.as_ref())?;
                match st.account_of(local).and_then(|account| account.last_seen.as_ref()) {
                    _ if !st.available(local).is_empty() => (0, ""),
                    Some((seen, status)) => (st.time().saturating_sub(st.past(*seen)), &**status),
                    None => return Err(StanzaError::new(Condition::ItemNotFound).text("never seen here")),
                }
            }
        };
        let answer = format!("<query xmlns='jabber:iq:last' seconds='{}'>{}</query>", ms / 1000, escaped(status));
        st.reply(iq, answer)
    }
}
