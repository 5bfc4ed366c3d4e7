//! The rooms that everybody in the house belongs to (the settings of `[house]`): for members alone, called as the house. The one that the
//! setting names is made when the first account is to have it, is in nobody's share, and whoever administers the server owns it, as every
//! room ([`super::affiliation`]); so it stays when the setting names another. One that was ended is ended for good, and its name is kept:
//! the apps of those who belonged to it may still enter it by themselves, and are not to be anybody's guests.

use super::config::RoomConfig;
use super::room::Room;
use super::{Muc, command};
use crate::core::admin::words;
use crate::core::{Event, NoRoom, State};
use crate::store::record::{Reader, Writer};
use crate::store::{Engine, Query, StoreError, Tree};
use crate::wire::{Jid, StanzaError};

/// The row of [`Tree::Meta`] with all of them that ever were, and which were ended. The owner alone makes it grow, by hand.
const ROW: &[u8] = b"house room";

impl Muc {
    /// Reads which they are; the rooms are read.
    pub(super) fn load_house(&mut self, engine: &mut dyn Engine) -> Result<(), StoreError> {
        if let Some((_, value)) = engine.query(&Query::Get(Tree::Meta, ROW.into()))?.first() {
            let mut r = Reader::new(value)?;
            for _ in 0..r.u32()? {
                let (local, is_ended) = (r.str()?.into(), r.u8()? != 0);
                self.house.insert(local, is_ended);
            }
        }
        for (local, _) in self.house.iter().filter(|(_, is_ended)| !**is_ended) {
            if let Some(room) = self.rooms.get_mut(local) {
                room.of_house = true;
            }
        }
        Ok(())
    }

    fn store_house(&self, st: &mut State) -> Result<(), StanzaError> {
        let w = Writer::new(1).u32(self.house.len() as u32);
        let w = self.house.iter().fold(w, |w, (local, is_ended)| w.str(local).u8(u8::from(*is_ended)));
        st.write()?.put(Tree::Meta, ROW, w.done());
        Ok(())
    }

    /// Whether only who administers the server makes a room of this name: people's apps enter it by themselves, or will.
    pub(super) fn is_kept_for_house(&self, st: &State, local: &str) -> bool {
        self.house.contains_key(local) || st.house_room() == Some(local)
    }

    /// Says whether everybody can be given the room that the settings name.
    pub(super) fn look_at_house(&self, st: &mut State) {
        let Some(local) = st.house_room() else { return };
        let no = match self.rooms.get(local) {
            Some(room) if room.of_house => None,
            Some(_) => Some(NoRoom::Taken),
            None => self.house.get(local).filter(|is_ended| **is_ended).map(|_| NoRoom::Ended),
        };
        st.set_no_room(no);
    }

    /// An account is to belong to it: it is made, if it was not yet.
    pub(super) fn house_arrived(&mut self, st: &mut State, account: &str) {
        let (Some(local), Some(host)) = (st.house_room().map(Box::<str>::from), self.host.clone()) else {
            return st.not_housed(account, false);
        };
        let Ok(at) = Jid::new(Some(&local), host.domain(), None) else { return };
        self.look_at_house(st);
        let is_ended = self.house.get(&local).is_some_and(|is_ended| *is_ended);
        match self.rooms.get(&local) {
            Some(room) if room.of_house => {}
            None if !is_ended => {
                if let Err(e) = self.make_house(st, &at) {
                    log::warn!("{at} cannot be made for everybody yet: {}", words(e));
                    return st.not_housed(account, true);
                }
            }
            _ => return st.not_housed(account, false),
        }
        if !command::enroll(self, st, account, &at) {
            st.not_housed(account, true);
        }
    }

    fn make_house(&mut self, st: &mut State, at: &Jid) -> Result<(), StanzaError> {
        st.write()?;
        let local = at.local().unwrap_or_default();
        let room = Room::of_house(at.clone(), st.next_mark());
        self.rooms.insert(local.into(), room);
        self.enroll(local);
        self.lend(local);
        let config = RoomConfig { name: st.house_name(), ..RoomConfig::default() };
        if let Some(room) = self.rooms.get_mut(local)
            && let Err(e) = room.configure(st, config)
        {
            self.rooms.remove(local).iter().for_each(|room| self.strike(room));
            return Err(e);
        }
        self.settle(st, local);
        self.house.insert(local.into(), false);
        log::info!("{at} is made for everybody in the house");
        self.store_house(st)
    }

    /// A room is gone. Storage was asked. Whom the house has given it loses the bookmark, too.
    pub(super) fn house_ended(&mut self, st: &mut State, room: &Room) {
        if room.of_house {
            self.house.insert(room.local().into(), true);
            let _ = self.store_house(st);
            st.announce(Event::HouseEnded(room.jid.clone()));
        }
        self.look_at_house(st);
    }
}
