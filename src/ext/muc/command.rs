//! What the owner of the box can do to rooms, whatever they are to them: see them, make somebody their owner, and end them.

use super::affiliation::Affiliation;
use super::presence::Notice;
use super::room::Room;
use super::{Muc, admin};
use crate::core::admin::words;
use crate::core::{Command, Event, State};
use crate::wire::Jid;
use crate::wire::typed::shell;

/// What those get who are in a room that is ended.
const ENDED: &str = "<destroy><reason>Whoever runs this server has ended the room.</reason></destroy>";

/// Carries out a command; `None`: it is not about rooms.
pub(super) fn carry_out(muc: &mut Muc, st: &mut State, command: &Command) -> Option<Result<Vec<String>, String>> {
    match command {
        Command::RoomList => Some(Ok(muc.rooms.values().map(|room| line(st, room)).collect())),
        Command::RoomOwner(room, jid) => Some(own(muc, st, room, jid)),
        Command::RoomRemove(room) => Some(remove(muc, st, room)),
        Command::NotifierAdd(wanted) if is_here(muc, &wanted.to) => Some(is_lasting(muc, &wanted.to)),
        Command::Invite(wanted) => wanted.room.as_ref().map(|room| is_lasting(muc, room)),
        _ => None,
    }
}

/// A room, for a person: address, kind, members, owners, name.
fn line(st: &State, room: &Room) -> String {
    let config = &room.config;
    let mut kind = vec![if config.members_only { "group" } else { "channel" }];
    kind.extend((!config.persistent && !room.locked).then_some("for as long as somebody is in it"));
    kind.extend(room.locked.then_some("not configured yet"));
    let count = |affiliation| room.affiliations.values().filter(|known| known.affiliation >= affiliation).count();
    let members = match count(Affiliation::Member) {
        1 => "1 member".to_owned(),
        n => format!("{n} members"),
    };
    let owners = room.affiliations.iter().filter(|(_, known)| known.affiliation == Affiliation::Owner);
    let owners: Vec<&str> = owners.map(|(jid, _)| jid.as_str()).collect();
    let owners = match room.has_owner(st) {
        _ if room.of_house => "of everybody in the house, owned by who administers the server".to_owned(),
        true => format!("owned by {}", owners.join(", ")),
        // Who is on the list has no account.
        false => format!("NO OWNER (make somebody one: inglenook room owner {} NAME)", shell(room.local())),
    };
    let name = match config.name.as_str() {
        "" => String::new(),
        name => format!(", \"{}\"", name.replace(char::is_control, " ")),
    };
    format!("{}  {}, {members}, {owners}{name}", room.jid, kind.join(", "))
}

fn own(muc: &mut Muc, st: &mut State, at: &Jid, jid: &Jid) -> Result<Vec<String>, String> {
    let local = at.local().unwrap_or_default();
    let room = muc.rooms.get(local).ok_or_else(|| missing(at))?;
    if st.account(jid).is_none() {
        return Err(format!("there is no {jid}"));
    }
    if room.known(jid).affiliation == Affiliation::Owner {
        return Ok(vec![format!("{jid} is an owner of {at} already")]);
    }
    st.write().map_err(words)?;
    muc.lend(local);
    if let Some(room) = muc.rooms.get_mut(local) {
        let notice = Notice::default();
        admin::change_affiliation(room, st, jid, Affiliation::Owner, None, &notice).map_err(words)?;
    }
    muc.sweep(st, local);
    Ok(vec![format!("{jid} is an owner of {at} from now on")])
}

fn remove(muc: &mut Muc, st: &mut State, at: &Jid) -> Result<Vec<String>, String> {
    let local = at.local().unwrap_or_default();
    if !muc.rooms.contains_key(local) {
        return Err(missing(at));
    }
    // It makes room.
    st.erase().map_err(words)?;
    muc.destroy(st, local, ENDED).map_err(words)?;
    Ok(vec![format!("removed {at}")])
}

/// Whether an address is one of the rooms'.
fn is_here(muc: &Muc, jid: &Jid) -> bool {
    muc.host.as_ref().is_some_and(|host| host.domain() == jid.domain())
}

/// An account was made by an invitation into a room: it is a member, and can find it. Or says that it is not.
pub(super) fn enroll(muc: &mut Muc, st: &mut State, account: &str, at: &Jid) -> bool {
    let Some(jid) = st.account_of(account).map(|account| account.jid.clone()) else { return false };
    let local = at.local().unwrap_or_default();
    let Some(room) = muc.rooms.get(local).filter(|_| is_here(muc, at)) else { return false };
    let name = Some(room.config.name.as_str()).filter(|name| !name.is_empty()).map(Box::from);
    muc.lend(local);
    let made = muc.rooms.get_mut(local).map(|room| match room.known(&jid).affiliation {
        Affiliation::None => admin::change_affiliation(room, st, &jid, Affiliation::Member, None, &Notice::default()),
        _ => Ok(()),
    });
    muc.sweep(st, local);
    match made {
        Some(Err(e)) => {
            log::warn!("{jid} is no member of {at}, into which they were invited: {}", words(e));
            false
        }
        _ => {
            st.announce(Event::Enrolled { local: account.into(), room: at.clone(), name });
            true
        }
    }
}

/// Whether a room is there for as long as its owner wants.
fn is_lasting(muc: &Muc, at: &Jid) -> Result<Vec<String>, String> {
    match muc.rooms.get(at.local().unwrap_or_default()) {
        None => Err(missing(at)),
        Some(room) if !room.is_stored() => Err(format!(
            "{at} is there only as long as somebody is in it, and then another may have its name: its owner has to make it permanent first"
        )),
        Some(_) => Ok(Vec::new()),
    }
}

fn missing(at: &Jid) -> String {
    format!("there is no room {at}; `inglenook room list` tells those that there are")
}
