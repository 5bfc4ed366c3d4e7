//! The room that everybody in the house belongs to (the settings of `[house]`): for its members alone, called as the house. It is made when
//! the first account is to have it, is in nobody's share, and whoever administers the server owns it, as every room
//! ([`super::affiliation`]). Who has ended it has ended it for good: another one is made when the setting names another.

use super::config::RoomConfig;
use super::room::Room;
use super::{HouseRoom, Muc, command};
use crate::core::State;
use crate::core::admin::words;
use crate::store::record::{Reader, Writer};
use crate::store::{Engine, Query, StoreError, Tree};
use crate::wire::{Jid, StanzaError};

/// The row of [`Tree::Meta`] with the room that was made last, and whether it is there.
const ROW: &[u8] = b"house room";

impl HouseRoom {
    fn store(&self, st: &mut State) -> Result<(), StanzaError> {
        let record = Writer::new(1).str(&self.local).u8(u8::from(self.is_ended)).done();
        st.write()?.put(Tree::Meta, ROW, record);
        Ok(())
    }
}

impl Muc {
    /// Reads which one it is; the rooms are read.
    pub(super) fn load_house(&mut self, engine: &mut dyn Engine) -> Result<(), StoreError> {
        if let Some((_, value)) = engine.query(&Query::Get(Tree::Meta, ROW.into()))?.first() {
            let mut r = Reader::new(value)?;
            self.house = HouseRoom { local: r.str()?.into(), is_ended: r.u8()? != 0, said: false };
        }
        if let Some(room) = self.rooms.get_mut(&self.house.local).filter(|_| !self.house.is_ended) {
            room.of_house = true;
        }
        Ok(())
    }

    /// An account is to belong to it: it is made, if it was not yet.
    pub(super) fn house_arrived(&mut self, st: &mut State, account: &str) {
        let (Some(local), Some(host)) = (st.house_room().map(Box::<str>::from), self.host.clone()) else { return };
        let Ok(at) = Jid::new(Some(&local), host.domain(), None) else { return };
        let why = match self.rooms.get(&local) {
            Some(room) if room.of_house => None,
            Some(_) => Some(format!("{at} is somebody else's: the setting \"room\" of [house] names another one")),
            None if self.house.is_ended && self.house.local == local => Some(format!("{at} was ended")),
            None => self.make_house(st, &at).err().map(|e| format!("{at} cannot be made: {}", words(e))),
        };
        let Some(why) = why else { return command::enroll(self, st, account, &at) };
        if !std::mem::replace(&mut self.house.said, true) {
            log::warn!("there is no room for everybody: {why}");
        }
        st.housed(account, &at);
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
        // What was one before is a room like others from now on.
        if let Some(before) = self.rooms.get_mut(&self.house.local).filter(|_| *self.house.local != *local) {
            before.of_house = false;
        }
        self.house = HouseRoom { local: local.into(), ..HouseRoom::default() };
        log::info!("{at} is made for everybody in the house");
        self.house.store(st)
    }

    /// It is gone. Storage was asked.
    pub(super) fn house_ended(&mut self, st: &mut State, local: &str) {
        if *self.house.local == *local {
            self.house.is_ended = true;
            let _ = self.house.store(st);
        }
    }
}
