//! Who is here: the accounts, their sessions, and whose messages are archived.

use super::account::Account;
use super::archived::Archived;
use super::ids::{SessionId, StreamId};
use super::impossible::impossible;
use super::session::Session;
use super::unordered::{ByName, ByNumber};
use crate::wire::Jid;

/// All of them. A session is in the table of its account as long as it is in that of all.
#[derive(Debug, Default)]
pub(super) struct Here {
    /// By localpart.
    accounts: ByName<Account>,
    /// By localpart; also of accounts that were removed. Without an entry: the default.
    archives: ByName<Archived>,
    sessions: ByNumber<SessionId, Session>,
}

impl Here {
    pub(super) fn accounts(&self) -> &ByName<Account> {
        &self.accounts
    }

    pub(super) fn sessions(&self) -> &ByNumber<SessionId, Session> {
        &self.sessions
    }

    /// The account of a localpart.
    pub(super) fn account(&self, local: &str) -> Option<&Account> {
        self.accounts.get(local)
    }

    /// Rosters take no more room than they need: many have grown.
    pub(super) fn fit_rosters(&mut self) {
        self.accounts.for_each(|account| account.roster.fit());
    }

    pub(super) fn account_mut(&mut self, local: &str) -> Option<&mut Account> {
        self.accounts.get_mut(local)
    }

    pub(super) fn session(&self, sid: SessionId) -> Option<&Session> {
        self.sessions.get(&sid)
    }

    pub(super) fn session_mut(&mut self, sid: SessionId) -> Option<&mut Session> {
        self.sessions.get_mut(&sid)
    }

    /// A session, and whose it is.
    pub(super) fn session_and_account(&mut self, sid: SessionId) -> Option<(&mut Session, Option<&mut Account>)> {
        let session = self.sessions.get_mut(&sid)?;
        let account = self.accounts.get_mut(session.local());
        Some((session, account))
    }

    /// What is archived for a localpart; `None`: the default.
    pub(super) fn archived(&self, local: &str) -> Option<&Archived> {
        self.archives.get(local)
    }

    pub(super) fn set_archived(&mut self, local: &str, archived: Archived) {
        self.archives.insert(local.into(), archived);
    }

    /// An account is made, or read.
    pub(super) fn add(&mut self, local: &str, account: Account) {
        if self.accounts.insert(local.into(), account).is_some() {
            impossible("an account is made that is there");
        }
    }

    /// An account is removed; its sessions have left.
    pub(super) fn remove(&mut self, local: &str) -> Option<Account> {
        let account = self.accounts.remove(local)?;
        if !account.sessions.is_empty() {
            impossible("an account is removed that has sessions");
        }
        Some(account)
    }

    /// The session of this stream is here under this full JID, which nobody has. Says whether its account is.
    pub(super) fn enter(&mut self, full: Jid, stream: StreamId) -> Option<SessionId> {
        let Some(account) = self.accounts.get_mut(full.local().unwrap_or_default()) else {
            impossible("an account is gone while a stream binds");
            return None;
        };
        let sid = SessionId::of(stream);
        if account.sessions.insert(full.resource().unwrap_or_default().into(), sid).is_some() {
            impossible("a session is still there when another takes its name");
        }
        if self.sessions.insert(sid, Session::new(full, stream)).is_some() {
            impossible("a stream has bound twice");
        }
        Some(sid)
    }

    /// A session is not here any more.
    pub(super) fn leave(&mut self, sid: SessionId) -> Option<Session> {
        let session = self.sessions.remove(&sid)?;
        let account = self.accounts.get_mut(session.local());
        if account.and_then(|account| account.sessions.remove(session.jid.resource()?)) != Some(sid) {
            impossible("a session leaves that its account does not know");
        }
        Some(session)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use crate::wire::scram::Credentials;

    impl Here {
        /// An account that nobody can log in to.
        pub(in crate::core) fn add_a_test(&mut self, bare: &str) {
            let jid = Jid::parse(bare).unwrap();
            let account = Account::new(jid.clone(), Credentials::fake(&[0; 32], bare, 1));
            self.add(jid.local().unwrap(), account);
        }
    }

    #[test]
    fn a_session_is_in_both_tables_or_in_none() {
        let mut here = Here::default();
        let full = |resource: &str| Jid::parse(&format!("juliet@house.test/{resource}")).unwrap();
        assert_eq!(here.enter(full("balcony"), StreamId(1)), None, "there is no such account");
        assert!(here.sessions().is_empty());
        here.add_a_test("juliet@house.test");
        let one = here.enter(full("balcony"), StreamId(1)).unwrap();
        let two = here.enter(full("chamber"), StreamId(2)).unwrap();
        let sessions = |here: &Here| here.account("juliet").unwrap().sessions.values().copied().collect::<Vec<_>>();
        assert_eq!(sessions(&here), [one, two]);
        assert_eq!(here.session(two).unwrap().jid, full("chamber"));
        assert!(here.session_and_account(one).unwrap().1.is_some());
        assert_eq!(here.leave(one).unwrap().jid, full("balcony"));
        assert!(here.leave(one).is_none(), "once");
        assert_eq!((sessions(&here), here.sessions().len()), (vec![two], 1));
        here.leave(two);
        assert!(here.remove("juliet").is_some() && here.accounts().is_empty());
    }
}
