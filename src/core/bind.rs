//! A stream gets a resource, and with it a session (RFC 6120 §7).

use super::event::Event;
use super::ids::{SessionId, StreamId};
use super::impossible::impossible;
use super::server::Core;
use super::session;
use super::work::Work;
use crate::wire::{Condition, Jid, StanzaError, StreamCondition, StreamError};

impl Core {
    /// RFC 6120 §7.6, §7.7
    pub(super) fn bind(
        &mut self,
        stream: StreamId,
        jid: &Jid,
        resource: Option<String>,
    ) -> Result<(SessionId, Jid), StanzaError> {
        let st = &mut self.state;
        let resource = resource.filter(|r| !r.is_empty()).unwrap_or_else(|| st.token());
        let full = jid.with_resource(&resource).map_err(|e| StanzaError::new(Condition::BadRequest).text(e.0))?;
        if st.account(jid).is_none() {
            return Err(Condition::NotAllowed.into());
        }
        if let Some(old) = st.session_at(&full) {
            // RFC 6120 §7.7.2.2, the third way: whoever comes last is the one whose connection works.
            let conflict = StreamError::new(StreamCondition::Conflict).text("replaced by a new connection");
            st.close(old, Some(conflict));
        }
        let Some(account) = st.here.account(full.local().unwrap_or_default()) else {
            impossible("an account is gone while a stream binds");
            return Err(Condition::NotAllowed.into());
        };
        if account.sessions.len() >= session::SESSIONS {
            let waits = |sid: &&SessionId| st.here.session(**sid).and_then(|s| s.waits_until);
            let Some(longest) = account.sessions.values().filter(|sid| waits(sid).is_some()).min_by_key(waits).copied()
            else {
                return Err(StanzaError::new(Condition::ResourceConstraint).text("too many sessions of this account"));
            };
            st.gone(longest, false);
        }
        let sid = st.here.enter(full.clone(), stream).ok_or(Condition::NotAllowed)?;
        st.work.push_back(Work::Event(Event::Bound(sid)));
        Ok((sid, full))
    }
}
