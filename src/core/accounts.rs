//! What is changed of an account: its rows and what is in memory change together.

use super::account::Account;
use super::archived::Archived;
use super::ids::SessionId;
use super::impossible::impossible;
use super::state::State;
use crate::store::{Tree, key};
use crate::wire::{Jid, StanzaError};

impl State {
    /// Stores the account's own row again.
    pub fn write_account(&mut self, local: &str) -> Result<(), StanzaError> {
        let Some(record) = self.here.account(local).map(Account::record) else {
            impossible("an account is stored that is gone");
            return Ok(());
        };
        self.write()?.put(Tree::Account, key::account(local), record);
        Ok(())
    }

    /// An account blocks these, too (XEP-0191 §3.3).
    pub fn block(&mut self, local: &str, jids: &[Jid]) -> Result<(), StanzaError> {
        self.write()?;
        let Some(account) = self.here.account_mut(local) else { return Ok(()) };
        account.blocked.extend(jids.iter().cloned());
        for jid in jids {
            self.write()?.put(Tree::Block, key::named(local, jid.as_str()), [1]);
            self.step();
        }
        Ok(())
    }

    /// An account does not block these any more (XEP-0191 §3.4).
    pub fn unblock<'a>(&mut self, local: &str, jids: impl IntoIterator<Item = &'a Jid>) -> Result<(), StanzaError> {
        self.erase()?;
        for jid in jids {
            if let Some(account) = self.here.account_mut(local) {
                account.blocked.remove(jid);
            }
            self.write()?.delete(Tree::Block, key::named(local, jid.as_str()));
            self.step();
        }
        Ok(())
    }

    /// What is archived for an account from now on (XEP-0441).
    pub fn set_archived(&mut self, local: &str, archived: Archived) -> Result<(), StanzaError> {
        self.write()?.put(Tree::Archive, key::account(local), archived.record());
        self.here.set_archived(local, archived);
        Ok(())
    }

    /// So many messages wait for an account in storage (XEP-0160).
    pub fn set_kept(&mut self, local: &str, kept: usize) {
        if let Some(account) = self.here.account_mut(local) {
            account.kept = u32::try_from(kept).unwrap_or(u32::MAX);
        }
    }

    /// Whoever a session has sent presence (RFC 6121 §4.6) is told of its end by the caller, and not again.
    pub fn forget_directed(&mut self, sid: SessionId, to: &Jid) {
        if let Some(session) = self.here.session_mut(sid) {
            session.directed.remove(to);
        }
    }
}
