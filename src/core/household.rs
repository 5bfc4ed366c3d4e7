//! The household (the settings of `[house]`): whoever has an account is everybody's contact, and a member of one room.
//!
//! An account that is made is noted to have both due, in the batch that makes it. Once that is stored it is introduced: to everybody, in
//! batches of a bounded size, the last of which takes the note away; and to the extension that has the room ([`Event::Arrived`]). What a
//! power cut interrupts goes on at the next start. Each account is introduced once: what somebody removes afterwards stays removed.
//!
//! The entries are those of any roster. Only that the house has made one is noted with it ([`Item::house`]): it goes with the account that
//! it is for, and follows its name.
//!
//! Strangers who have registered openly are not of the house: nobody gives them everybody's presence.

use super::admin::words;
use super::event::Event;
use super::invite::BOTH;
use super::promise::Promise;
use super::residents::{HOUSE_CONTACTS, Origin, TOO_MANY, bit};
use super::roster::{self, Item};
use super::settings::{Given, Household};
use super::state::State;
use super::work::{Timer, Work};
use crate::store::{BATCH_OPS, Batch, Engine, Query, StoreError, Tree, key};
use crate::wire::{Jid, StanzaError};

/// What an account is called by others, in bytes.
const CALLED_BYTES: usize = 128;
/// An account is called something else so often at once; it tells everybody.
const CALLS: u64 = 10;
/// And once more after so long, in milliseconds.
const CALL_MS: u64 = 10 * 60_000;
/// After so long an introduction is tried again that could not be stored, in milliseconds.
const AGAIN_MS: u64 = 10 * 60_000;
/// The row of [`Tree::Meta`] that says what this house gives to whoever comes.
const BEGUN: &[u8] = b"house";

/// A name in one line, of the length that a name has; none, if nothing is left.
fn plain(name: &str) -> Option<Box<str>> {
    let words = name.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join(" ");
    let name = &name[..name.floor_char_boundary(CALLED_BYTES)];
    (!name.is_empty()).then(|| name.into())
}

impl State {
    /// What the house is called.
    pub fn house_name(&self) -> String {
        self.settings.household.called(self.domain().domain())
    }

    /// Whether people of the house become each other's contacts, as far as they are not too many.
    fn gives_contacts(&self) -> bool {
        self.residents.begun & bit::CONTACTS != 0 && self.settings.household.contacts != Given::Nowhere
    }

    /// The localpart of the room that everybody in the house belongs to, if there is to be one.
    pub fn house_room(&self) -> Option<&str> {
        let Household { room, room_local, .. } = &self.settings.household;
        (self.residents.begun & bit::ROOM != 0 && *room != Given::Nowhere).then_some(&**room_local)
    }

    /// Whether somebody has an account who was not a stranger when it was made.
    pub fn has_people(&self) -> bool {
        self.here.accounts().any(|account| !self.residents.is_stranger(account.jid.local().unwrap_or_default()))
    }

    /// What everybody in the house has, in words for its owner.
    pub fn house_told(&self) -> String {
        let Household { contacts, room, .. } = &self.settings.household;
        let contacts = match (self.gives_contacts(), *contacts) {
            (true, _) if self.house_is_large() => TOO_MANY.to_owned(),
            (true, _) => "who comes is everybody's contact".to_owned(),
            (false, Given::InNewHouses) => {
                "it had accounts before: `contacts = true` in [house] makes everybody everybody's contact".to_owned()
            }
            (false, _) => "nobody is a contact by itself".to_owned(),
        };
        let room = match (self.house_room(), *room) {
            (Some(local), _) => format!("the room {local} is for all"),
            (None, Given::InNewHouses) => "`room = \"everybody\"` there makes a room for all".to_owned(),
            (None, _) => "there is no room for all".to_owned(),
        };
        format!("{}: {contacts}; {room}", self.house_name())
    }

    /// Whether there are more people in the house than are made each other's contacts.
    pub fn house_is_large(&self) -> bool {
        self.gives_contacts() && self.people().count() > HOUSE_CONTACTS
    }

    /// The localparts of those who belong to the house.
    fn people(&self) -> impl Iterator<Item = &Box<str>> {
        self.here.accounts().iter().map(|(local, _)| local).filter(|local| !self.residents.is_stranger(local))
    }

    /// At the start: decides what is given to whoever comes. In a house that had accounts before, what the settings do not say in so many
    /// words is not; what they say, everybody there is given once.
    pub(super) fn begin_household(&mut self, engine: &mut dyn Engine) -> Result<(), StoreError> {
        let stored = engine.query(&Query::Get(Tree::Meta, BEGUN.into()))?;
        let before = stored.first().and_then(|(_, value)| value.first().copied()).unwrap_or_default();
        let is_new = self.here.accounts().is_empty();
        let Household { contacts, room, .. } = self.settings.household;
        let begins = |bit: u8, given: Given| {
            let now = given == Given::Everywhere || given == Given::InNewHouses && is_new;
            if before & bit == 0 && now { bit } else { 0 }
        };
        let begins = begins(bit::CONTACTS, contacts) | begins(bit::ROOM, room);
        self.residents.begun = before | begins;
        if begins != 0 {
            let mut batch = Batch::default();
            for local in self.people().cloned().collect::<Vec<_>>() {
                let origin = self.residents.origins.entry(local.clone()).or_default();
                origin.contacts |= begins & bit::CONTACTS != 0;
                origin.room |= begins & bit::ROOM != 0;
                batch.put(Tree::House, key::account(&local), origin.record());
                if batch.ops.len() >= BATCH_OPS / 2 {
                    engine.commit(&[std::mem::take(&mut batch)])?;
                }
            }
            // Last: what is interrupted is begun again.
            batch.put(Tree::Meta, BEGUN, [self.residents.begun]);
            engine.commit(&[batch])?;
        }
        if self.residents.next_due().is_some() {
            self.questions.set_timer(0, Timer::Household);
        }
        Ok(())
    }

    /// At the start: those who are to be introduced, and have not said what they call themselves since that is noted.
    pub fn unnamed(&self) -> Vec<Box<str>> {
        let all = self.residents.origins.iter().filter(|(_, origin)| origin.contacts && origin.called.is_none());
        all.map(|(local, _)| local.clone()).collect()
    }

    /// What one of them has said before. It is stored when they are introduced.
    pub fn has_called(&mut self, local: &str, name: &str) {
        if let Some(origin) = self.residents.origins.get_mut(local) {
            origin.called = plain(name);
        }
    }

    // --- who comes ---

    /// What is noted of an account that is made now. `by`: the account that has invited it.
    pub(super) fn origin(&self, by: Option<&Jid>, stranger: bool) -> Origin {
        // Whoever an administrator invites begins a chain of their own.
        let by = by.filter(|by| !self.administers(by)).and_then(|by| self.local(by));
        // Nobody in the house knows whom a stranger brings, either.
        let stranger = stranger || by.is_some_and(|by| self.residents.is_stranger(by));
        let root = by.map(|by| self.residents.root(by).into());
        let made = if root.is_some() { self.time() } else { 0 };
        let (contacts, room) = (!stranger && self.gives_contacts(), !stranger && self.house_room().is_some());
        Origin { root, made, stranger, contacts, room, ..Origin::default() }
    }

    /// An account is made. Storage was asked.
    pub(super) fn moves_in(&mut self, local: &str, origin: Origin) {
        if origin == Origin::default() {
            return;
        }
        let is_due = origin.is_due();
        self.note_origin(local, origin);
        if is_due {
            self.promise(Promise::Introduce(local.into()));
        }
    }

    fn note_origin(&mut self, local: &str, origin: Origin) {
        let batch = self.changes.add();
        if origin == Origin::default() {
            batch.delete(Tree::House, key::account(local));
            self.residents.origins.remove(local);
        } else {
            batch.put(Tree::House, key::account(local), origin.record());
            self.residents.origins.insert(local.into(), origin);
        }
    }

    /// An account that could not be stored was never made.
    pub(super) fn never_arrived(&mut self, local: &str) {
        if self.residents.origins.contains_key(local) {
            self.note_origin(local, Origin::default());
        }
    }

    /// One of those who are to be introduced, as nobody was at the time; the next one in another turn.
    pub(super) fn introduce_next(&mut self) {
        if let Some(local) = self.residents.next_due() {
            self.work.push_back(Work::Introduce(local));
        }
    }

    /// Gives an account what it is to have.
    pub(super) fn introduce(&mut self, local: &str) {
        let Some(origin) = self.residents.origins.get(local).filter(|origin| origin.is_due()).cloned() else { return };
        if self.here.account(local).is_none() {
            return;
        }
        if origin.contacts
            && let Err(e) = self.introduce_to_all(local)
        {
            log::warn!("{local} is not everybody's contact yet: {}", words(e));
            self.questions.set_timer(self.now.mono + AGAIN_MS, Timer::Household);
            return;
        }
        let room = origin.room && self.house_room().is_some();
        self.note_origin(local, Origin { contacts: false, room, ..origin });
        if room && self.residents.housing.insert(local.into()) {
            self.announce(Event::Arrived(local.into()));
        }
        if self.residents.next_due().is_some() {
            self.questions.set_timer(self.now.mono + 1, Timer::Household);
        }
    }

    /// Makes everybody in the house a contact of one of them.
    fn introduce_to_all(&mut self, local: &str) -> Result<(), StanzaError> {
        if !self.gives_contacts() {
            return Ok(());
        }
        if self.house_is_large() {
            if !std::mem::replace(&mut self.residents.said, true) {
                log::warn!("{TOO_MANY}");
            }
            return Ok(());
        }
        let others: Vec<Box<str>> = self.people().filter(|other| ***other != *local).cloned().collect();
        for other in others {
            self.acquaint(local, &other)?;
            self.step();
        }
        Ok(())
    }

    /// Makes two people of the house each other's contacts, unless one of them blocks the other.
    fn acquaint(&mut self, one: &str, other: &str) -> Result<(), StanzaError> {
        let (Some(first), Some(second)) = (self.here.account(one), self.here.account(other)) else { return Ok(()) };
        if first.blocks(&second.jid) || second.blocks(&first.jid) {
            return Ok(());
        }
        let (first, second) = (first.jid.clone(), second.jid.clone());
        match self.befriend(&first, &second) {
            // Whose roster is full has chosen others.
            Err(e) if self.write().is_ok() => {
                log::warn!("{first} and {second} are not each other's contacts: {}", words(e));
                Ok(())
            }
            made => made,
        }
    }

    /// What an account keeps of a contact of this house from now on, whom it is subscribed to both ways.
    pub(super) fn acquaintance(&self, contact: &Jid, before: Item) -> Item {
        let item = Item { listed: true, state: BOTH, request: None, ..before.clone() };
        if !self.gives_contacts() {
            return item;
        }
        let called = || Some(self.called(contact.local().unwrap_or_default()).into());
        let groups = || Box::new([Box::<str>::from(self.house_name())]);
        Item {
            house: before.house || !before.listed,
            name: before.name.or_else(called),
            groups: if before.groups.is_empty() { groups() } else { before.groups },
            ..item
        }
    }

    /// An account is a member of the room, and can find it; or that cannot be.
    pub fn housed(&mut self, local: &str, room: &Jid) {
        if room.local() != self.house_room() {
            return;
        }
        self.residents.housing.remove(local);
        if let Some(origin) = self.residents.origins.get(local).filter(|origin| origin.room).cloned() {
            self.note_origin(local, Origin { room: false, ..origin });
        }
    }

    // --- what they are called ---

    /// What others call an account to whom it has said nothing else.
    pub(super) fn called<'a>(&'a self, local: &'a str) -> &'a str {
        self.residents.origins.get(local).and_then(|origin| origin.called.as_deref()).unwrap_or(local)
    }

    /// An account calls itself so from now on; empty: no more. Who has it in the roster as the house has put it there sees the new name.
    /// Who changes it all the time is called as before.
    ///
    /// # Errors
    /// When that cannot be stored.
    pub fn call(&mut self, local: &str, name: &str) -> Result<(), StanzaError> {
        let before: Box<str> = self.called(local).into();
        let mut origin = self.residents.origins.get(local).cloned().unwrap_or_default();
        origin.called = plain(name);
        let Some(jid) = self.here.account(local).map(|account| account.jid.clone()) else { return Ok(()) };
        if origin.called == self.residents.origins.get(local).and_then(|origin| origin.called.clone()) {
            return Ok(());
        }
        self.write()?;
        if origin.pace.count(self.now.mono, CALLS, CALL_MS) > 0 {
            return Ok(());
        }
        self.note_origin(local, origin);
        let called: Box<str> = self.called(local).into();
        let shows = |item: &Item| item.house && item.name.as_ref() == Some(&before);
        for other in self.house_contacts_of(&jid, shows) {
            let Some(item) = self.here.account(&other).and_then(|a| a.roster.items.get(&jid)).cloned() else {
                continue;
            };
            roster::put(self, &other, &jid, Item { name: Some(called.clone()), ..item }, true)?;
            self.step();
        }
        Ok(())
    }

    /// Who has such an entry for somebody; localparts.
    fn house_contacts_of(&self, jid: &Jid, which: impl Fn(&Item) -> bool) -> Vec<Box<str>> {
        let all = self.here.accounts().matching(|account| account.roster.items.get(jid).is_some_and(&which));
        all.map(|(local, _)| local.clone()).collect()
    }

    // --- who goes ---

    /// An account is being removed, and its sessions are gone: so are the entries that the house has made for it.
    pub(super) fn leaves_household(&mut self, jid: &Jid) {
        for other in self.house_contacts_of(jid, |item| item.house) {
            // Storage was asked when this turn began.
            let _ = roster::put(self, &other, jid, Item::default(), true);
            self.step();
        }
        let local = jid.local().unwrap_or_default();
        for (local, origin) in self.residents.leaves(local, self.time()) {
            self.note_origin(&local, origin);
            self.step();
        }
    }
}
