//! What the owner of the box can do to accounts.

use super::account::Account;
use super::archived::Archived;
use super::effect::Command;
use super::event::Event;
use super::ids::{Job, SessionId};
use super::promise::{CHECK, FULL, Promise, Undo};
use super::residents::Origin;
use super::state::State;
use super::work::{Leaving, Work};
use crate::store::key;
use crate::store::tree::{Removal, Tree};
use crate::wire::scram::Credentials;
use crate::wire::{Jid, Kind, Stanza, StanzaError, StreamCondition, StreamError, Type};

/// Carries out a command; its answer waits until it is stored. `asked`: what an extension answered.
pub(super) fn command(st: &mut State, job: Job, command: Command, asked: Option<Result<Vec<String>, String>>) {
    let reads =
        matches!(command, Command::UserList | Command::RoomList | Command::NotifierList | Command::InvitationList);
    let mut undo = None;
    let answer = match command {
        Command::UserAdd(jid, credentials) => {
            undo = Some(Undo::Added(jid.clone()));
            add(st, &jid, credentials).map(|()| {
                let mut lines = vec![format!("added {jid}")];
                if !st.is_administered() {
                    lines.push(format!(
                        "note         nobody administers the server from an app: `inglenook user admin {}` makes this one",
                        jid.local().unwrap_or_default()
                    ));
                }
                lines
            })
        }
        Command::UserPassword(jid, credentials) => {
            undo = st.account(&jid).map(|account| Undo::Password(jid.clone(), account.credentials.clone()));
            set_credentials(st, &jid, credentials, None).map(|()| vec![format!("changed the password of {jid}")])
        }
        Command::UserList => Ok(st.here.accounts().iter().map(|(_, a)| a.jid.to_string()).collect()),
        Command::UserRemove(jid) => remove(st, &jid, None).map(|()| {
            let mut lines = vec![format!("removed {jid}")];
            lines.extend(last_administrator(st, &jid).filter(|_| st.administers(&jid)));
            lines
        }),
        Command::UserAdmin(jid, admin) => administer(st, &jid, admin),
        Command::RoomList | Command::RoomOwner(..) | Command::RoomRemove(_) => {
            asked.unwrap_or_else(|| Err("there are no rooms on this server".into()))
        }
        // Rooms say whether they are there.
        Command::NotifierAdd(wanted) => match asked.transpose() {
            Ok(room) => st.add_notifier(wanted, room.is_some()),
            Err(why) => Err(why),
        },
        Command::NotifierList => Ok(st.notifiers.lines()),
        Command::NotifierRemove(name) => st.remove_notifier(&name),
        // The same.
        Command::Invite(wanted) => match asked.transpose() {
            Ok(None) if wanted.room.is_some() => Err("there are no rooms on this server".into()),
            Ok(_) => st.invited(&wanted),
            Err(why) => Err(why),
        },
        Command::InvitationList => Ok(st.invitation_lines()),
        Command::InvitationRevoke(name) => st.revoke_invitation(&name),
        Command::InvitationRenew(digest) => st.renew_invitation(digest),
    };
    let answer = answer.map_err(|why| if why == FULL { format!("{why}. {CHECK}") } else { why });
    if answer.is_ok() && !reads {
        // The owner is told when what the change has set off is done, too.
        st.work.push_back(match undo {
            Some(undo) => Work::Promise(Promise::Made(job, answer, undo)),
            None => Work::Tell(job, answer),
        });
    } else {
        st.tell(job, answer, false);
    }
}

/// Makes an account, unless its name is kept for somebody who is invited.
pub(crate) fn add(st: &mut State, jid: &Jid, credentials: Credentials) -> Result<(), String> {
    st.is_kept(jid)?;
    let origin = st.origin(None, false);
    add_with(st, jid, credentials, origin)
}

/// The same for a stranger: nobody in the house knows them.
pub(crate) fn add_stranger(st: &mut State, jid: &Jid, credentials: Credentials) -> Result<(), String> {
    st.is_kept(jid)?;
    let origin = st.origin(None, true);
    add_with(st, jid, credentials, origin)
}

/// The same, whoever the name is kept for.
pub(super) fn add_with(st: &mut State, jid: &Jid, credentials: Credentials, origin: Origin) -> Result<(), String> {
    let Some(local) = st.local(jid).filter(|_| jid.is_bare()) else {
        return Err(format!("{jid} is not an address of {}", st.domain()));
    };
    if st.here.accounts().contains_key(local) {
        return Err(format!("{jid} is there already"));
    }
    let account = Account::new(jid.clone(), credentials);
    store(st, local, &account)?;
    st.here.add(local, account);
    st.moves_in(local, origin);
    Ok(())
}

/// Has an account administer the server, or not any more: lines for the owner.
fn administer(st: &mut State, jid: &Jid, admin: bool) -> Result<Vec<String>, String> {
    let Some(local) = st.account(jid).and(st.local(jid)) else { return Err(format!("there is no {jid}")) };
    let local: Box<[u8]> = local.as_bytes().into();
    match (admin, st.administers(jid)) {
        (true, true) => Err(format!("{jid} administers the server already")),
        (false, false) => Err(format!("{jid} does not administer the server")),
        (false, true) if st.settings().admins.contains(jid) => {
            Err(format!("the setting \"admins\" names {jid}: take it out there"))
        }
        (true, false) => {
            st.write().map_err(words)?;
            st.make_admin(jid);
            Ok(vec![format!("{jid} administers the server from now on")])
        }
        (false, true) => {
            st.write().map_err(words)?.delete(Tree::Admin, local);
            st.granted.remove(jid);
            st.announce(Event::Configured);
            let line = format!("{jid} does not administer the server any more");
            Ok(std::iter::once(line).chain(last_administrator(st, jid)).collect())
        }
    }
}

/// What the owner is told if nobody but this one administers the server.
fn last_administrator(st: &State, gone: &Jid) -> Option<String> {
    let stays = st.administrators().any(|admin| admin != gone && st.account(admin).is_some());
    let told =
        "nobody administers the server from an app any more; `inglenook user admin NAME` makes somebody who does";
    (!stays).then(|| told.into())
}

fn store(st: &mut State, local: &str, account: &Account) -> Result<(), String> {
    st.write().map_err(words)?.put(Tree::Account, key::account(local), account.record());
    Ok(())
}

/// An error, for a person.
pub(crate) fn words(error: StanzaError) -> String {
    error.text.map_or_else(|| error.condition.as_str().to_owned(), |text| text.into_owned())
}

/// Gives an account another password. All its sessions end, as whoever is to be kept out may have one of them; but not that of
/// `by`, who asked for it.
pub(crate) fn set_credentials(
    st: &mut State,
    jid: &Jid,
    credentials: Credentials,
    by: Option<&Jid>,
) -> Result<(), String> {
    let Some(local) = st.account(jid).and(st.local(jid)) else { return Err(format!("there is no {jid}")) };
    st.write().map_err(words)?;
    if let Some(account) = st.here.account_mut(local) {
        account.credentials = credentials;
    }
    st.revoke_tokens(local);
    st.write_account(local).map_err(words)?;
    let stays = by.and_then(|by| st.session_at(by));
    for sid in st.sessions_of(local).into_iter().filter(|sid| Some(*sid) != stays) {
        let changed = StreamError::new(StreamCondition::NotAuthorized).text("the password was changed; log in again");
        st.close(sid, Some(changed));
    }
    Ok(())
}

/// Removes an account: ends its sessions, takes back its subscriptions, deletes all that is stored for it. `request`: what one of
/// its sessions asked for this with; it is answered. The streams end once it is stored.
pub(crate) fn remove(st: &mut State, jid: &Jid, request: Option<&Stanza>) -> Result<(), String> {
    let Some(account) = st.account(jid) else { return Err(format!("there is no {jid}")) };
    let (jid, sessions) = (account.jid.clone(), account.sessions.values().copied().collect::<Vec<_>>());
    st.erase().map_err(words)?;
    let stream = |sid: &SessionId| st.here.session(*sid).and_then(|s| s.stream);
    let streams = sessions.iter().filter_map(stream).collect();
    let asked = |iq: &Stanza| stream(&st.session_at(iq.from.as_ref()?)?);
    let answer = request.and_then(|iq| Some((asked(iq)?, Stanza::result_of(iq, ""))));
    // First: a session that ends stores when its account was last seen, and is seen to leave before its subscriptions end.
    for sid in &sessions {
        st.abandon(*sid);
        st.gone(*sid, false);
    }
    st.work.push_back(Work::Remove(Leaving { jid, streams, answer }));
    Ok(())
}

/// The rest of it, when everybody has seen the sessions leave. What extensions have of it goes next, then [`forgotten`] ends it; the
/// answer is its localpart, if it was there.
pub(super) fn removed(st: &mut State, Leaving { jid, .. }: &Leaving) -> Option<Box<str>> {
    let local = jid.local().unwrap_or_default();
    st.leaves_household(jid);
    // Whatever its own roster says, and whomever they block.
    let others = st.here.accounts().matching(|a| a.roster.state(jid) != Default::default());
    let others: Vec<Jid> = others.map(|(_, a)| a.jid.clone()).collect();
    for other in others {
        for ty in [Type::Unsubscribe, Type::Unsubscribed] {
            let notice = Stanza::new(Kind::Presence, ty).from(jid.clone()).to(other.clone());
            // Storage was asked when this turn began.
            let _ = super::presence::subscription_arrives(st, other.local().unwrap_or_default(), notice);
        }
        st.step();
    }
    let account = st.here.remove(local)?;
    st.lose_notifiers(jid);
    st.lose_invitations(jid);
    st.granted.remove(jid);
    for (contact, item) in account.roster.items.iter().filter(|(contact, _)| contact.domain() != jid.domain()) {
        for ty in item.state.ends() {
            st.send(Stanza::new(Kind::Presence, ty).from(jid.clone()).to(contact.clone()));
        }
    }
    // The log is not touched: whoever has the name later sees nothing of what is in it by now.
    let archived = Archived { begins: st.next_mark(), ..Archived::default() };
    if let Ok(batch) = st.write() {
        batch.put(Tree::Archive, key::account(local), archived.record());
        for tree in Tree::ALL {
            match tree.removal(local) {
                Some(Removal::Prefix(prefix)) => batch.delete_all(tree, prefix),
                Some(Removal::Key(key)) => batch.delete(tree, key),
                None => {}
            }
        }
    }
    st.here.set_archived(local, archived);
    st.revoke_tokens(local);
    Some(local.into())
}

/// The end of it. The account's row goes last: should the power fail before, then nobody is subscribed to a name, and no room or node
/// belongs to one, that somebody else may take.
pub(super) fn forgotten(st: &mut State, Leaving { jid, streams, mut answer }: Leaving) {
    if let Ok(batch) = st.write() {
        batch.delete(Tree::Account, key::account(jid.local().unwrap_or_default()));
    }
    for stream in streams {
        let answer = answer.take_if(|(asked, _)| *asked == stream).map(|(_, answer)| answer);
        let gone = StreamError::new(StreamCondition::NotAuthorized).text("this account was removed");
        st.close_stored(stream, answer, gone);
    }
}
