//! What the owner of the box can do to accounts.

use super::account::Account;
use super::effect::{Command, Job};
use super::hook::Event;
use super::state::{State, Work};
use crate::store::{Tree, key};
use crate::wire::scram::Credentials;
use crate::wire::{Jid, Kind, Stanza, StanzaError, StreamCondition, StreamError, Type};

/// Carries out a command; its answer waits until it is stored.
pub(super) fn command(st: &mut State, job: Job, command: Command) {
    let reads = matches!(command, Command::UserList);
    let answer = match command {
        Command::UserAdd(jid, credentials) => add(st, &jid, credentials).map(|()| vec![format!("added {jid}")]),
        Command::UserPassword(jid, credentials) => {
            set_credentials(st, &jid, credentials).map(|()| vec![format!("changed the password of {jid}")])
        }
        Command::UserList => Ok(st.accounts.values().map(|a| a.jid.to_string()).collect()),
        Command::UserRemove(jid) => remove(st, &jid, None).map(|()| vec![format!("removed {jid}")]),
    };
    let changed = answer.is_ok() && !reads;
    st.tell(job, answer, changed);
}

/// Makes an account.
pub fn add(st: &mut State, jid: &Jid, credentials: Credentials) -> Result<(), String> {
    let Some(local) = st.local(jid).filter(|_| jid.is_bare()) else {
        return Err(format!("{jid} is not an address of {}", st.domain()));
    };
    if st.accounts.contains_key(local) {
        return Err(format!("{jid} is there already"));
    }
    let account = Account::new(jid.clone(), credentials);
    store(st, local, &account)?;
    st.accounts.insert(local.into(), account);
    Ok(())
}

fn store(st: &mut State, local: &str, account: &Account) -> Result<(), String> {
    st.write().map_err(words)?.put(Tree::Account, key::account(local), account.record());
    Ok(())
}

fn words(error: StanzaError) -> String {
    error.text.map_or_else(|| error.condition.as_str().to_owned(), |text| text.into_owned())
}

/// Gives an account another password.
pub fn set_credentials(st: &mut State, jid: &Jid, credentials: Credentials) -> Result<(), String> {
    let Some(local) = st.account(jid).and(st.local(jid)) else { return Err(format!("there is no {jid}")) };
    st.write().map_err(words)?;
    if let Some(account) = st.accounts.get_mut(local) {
        account.credentials = credentials;
    }
    st.write_account(local).map_err(words)
}

/// Removes an account: ends its sessions, takes back its subscriptions, deletes all that is stored for it. `request`: what one of
/// its sessions asked for this with; it is answered. The streams end once it is stored.
pub fn remove(st: &mut State, jid: &Jid, request: Option<&Stanza>) -> Result<(), String> {
    let Some(local) = st.account(jid).and(st.local(jid)) else { return Err(format!("there is no {jid}")) };
    st.write().map_err(words)?;
    // First: a session that ends stores when its account was last seen.
    let asking = request.and_then(|iq| st.session_at(iq.from.as_ref()?));
    let sessions = st.sessions_of(local);
    for sid in &sessions {
        super::presence::gone(st, *sid, false);
    }
    let batch = st.write().map_err(words)?;
    for tree in [Tree::Roster, Tree::Block, Tree::Private, Tree::Offline] {
        batch.delete_all(tree, key::prefix(local));
    }
    batch.delete(Tree::Vcard, key::account(local));
    batch.delete(Tree::Account, key::account(local));
    for sid in sessions {
        let answer = request.filter(|_| asking == Some(sid)).map(|iq| Stanza::result_of(iq, ""));
        let gone = StreamError::new(StreamCondition::NotAuthorized).text("this account was removed");
        st.close_stored(sid, answer, gone);
    }
    let Some(account) = st.accounts.remove(local) else { return Ok(()) };
    for (contact, item) in &account.roster.items {
        let notices = [
            (item.state.to || item.state.ask, Type::Unsubscribe),
            (item.state.from || item.state.pending, Type::Unsubscribed),
        ];
        for (due, ty) in notices {
            if due {
                st.send(Stanza::new(Kind::Presence, ty).from(account.jid.clone()).to(contact.clone()));
            }
        }
    }
    st.work.push_back(Work::Event(Event::Removed(local.into())));
    Ok(())
}
