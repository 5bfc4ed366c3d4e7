//! The household (the settings of `[house]`): whoever has an account is everybody's contact, and a member of one room.
//!
//! Each account is given both once, and a row says what it was given: what somebody removes afterwards stays removed, and whoever has not
//! had it yet gets it as soon as it can be had. An account that is made is introduced once it is stored: to everybody, in parts of a
//! bounded size, each when the one before is stored, the last of which notes it; and to the extension that has the room
//! ([`Event::Arrived`]). What a power cut interrupts begins anew at the next start: whoever is a contact already is left alone.
//!
//! The entries are those of any roster. Only that the house has made one is noted with it ([`Item::house`]): it goes with the account that
//! it is for, and follows its name.
//!
//! Strangers who have registered openly are not of the house: nobody gives them everybody's presence.

use super::admin::words;
use super::event::Event;
use super::invite::BOTH;
use super::names::{TRUSTED, is_format, is_unseen, looks, mixes_alphabets};
use super::promise::Promise;
use super::residents::{HOUSE_CONTACTS, Introduction, NoRoom, Origin, TOO_MANY, bit};
use super::roster::{self, Item};
use super::settings::{Given, Household};
use super::state::State;
use super::work::Timer;
use crate::store::{Batch, Engine, Query, StoreError, Tree, key};
use crate::wire::{Jid, StanzaError};
use std::sync::Arc;

/// What an account is called by others, in bytes.
const CALLED_BYTES: usize = 128;
/// An account is called something else so often at once; it tells everybody.
const CALLS: u64 = 10;
/// And once more after so long, in milliseconds.
const CALL_MS: u64 = 10 * 60_000;
/// After so long an introduction is tried again that could not be stored, in milliseconds.
const AGAIN_MS: u64 = 10 * 60_000;
/// To so many people somebody is introduced at once; then others have their turn.
const PART: usize = 100;
/// When so many were introduced, all rosters are made to fit.
const FIT: usize = 10;
/// The row of [`Tree::Meta`] that says what this house gives to whoever comes.
const BEGUN: &[u8] = b"house";

/// A name in one line, of the length that a name has, without what turns or hides letters; none, if nothing is left to be seen.
fn plain(name: &str) -> Option<Box<str>> {
    let name: String = name.chars().filter(|c| !is_format(*c)).collect();
    let words = name.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join(" ");
    let name = &name[..name.floor_char_boundary(CALLED_BYTES)];
    (!name.chars().all(|c| is_unseen(c) || c == ' ')).then(|| name.into())
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
        let contacts = match (self.gives_contacts(), self.settings.household.contacts) {
            (true, _) if self.house_is_large() => TOO_MANY.to_owned(),
            (true, _) => "who comes is everybody's contact".to_owned(),
            (false, Given::InNewHouses) => {
                "it had accounts before: `contacts = true` in [house] makes everybody everybody's contact".to_owned()
            }
            (false, _) => "nobody is a contact by itself".to_owned(),
        };
        format!("{}: {contacts}; {}", self.house_name(), self.room_told())
    }

    fn room_told(&self) -> String {
        match (self.house_room(), self.settings.household.room) {
            (Some(local), _) if self.no_room() == Some(NoRoom::Ended) => {
                format!("the room {local} was ended: another name for `room` in [house] makes another one")
            }
            (Some(local), _) if self.no_room() == Some(NoRoom::Taken) => {
                format!("the room {local} is somebody else's: another name for `room` in [house] makes one for all")
            }
            (Some(local), _) => format!("the room {local} is for all"),
            (None, Given::InNewHouses) => "`room = \"everybody\"` there makes a room for all".to_owned(),
            (None, _) => "there is no room for all".to_owned(),
        }
    }

    /// Whether there are more people in the house than are made each other's contacts.
    pub fn house_is_large(&self) -> bool {
        self.gives_contacts() && self.here.accounts().len() > HOUSE_CONTACTS + self.residents.strangers()
    }

    /// The localparts of those who belong to the house.
    fn people(&self) -> impl Iterator<Item = &Box<str>> {
        self.here.accounts().iter().map(|(local, _)| local).filter(|local| !self.residents.is_stranger(local))
    }

    /// At the start: decides what is given to whoever comes. In a house that had accounts before, what the settings do not say in so many
    /// words is not; what they say, everybody there is given who has not had it yet.
    pub(super) fn begin_household(&mut self, engine: &mut dyn Engine) -> Result<(), StoreError> {
        let stored = engine.query(&Query::Get(Tree::Meta, BEGUN.into()))?;
        let before = stored.first().and_then(|(_, value)| value.first().copied()).unwrap_or_default();
        let is_new = self.here.accounts().is_empty();
        let Household { contacts, room, .. } = self.settings.household;
        let begins = |bit: u8, given: Given| {
            let now = given == Given::Everywhere || given == Given::InNewHouses && is_new;
            if now { bit } else { 0 }
        };
        self.residents.begun = before | begins(bit::CONTACTS, contacts) | begins(bit::ROOM, room);
        if self.residents.begun != before {
            let mut batch = Batch::default();
            batch.put(Tree::Meta, BEGUN, [self.residents.begun]);
            engine.commit(&[batch])?;
        }
        for (local, _) in self.residents.origins.iter().filter(|(_, origin)| origin.wanted.is_some()) {
            self.questions.set_timer(0, Timer::Called(local.clone()));
        }
        self.look_again();
        Ok(())
    }

    /// At the start: those who are to be introduced, and have not said what they call themselves since that is noted.
    pub fn unnamed(&self) -> Vec<Box<str>> {
        let is_called = |local: &str| self.residents.origins.get(local).is_some_and(|origin| origin.called.is_some());
        if !self.gives_contacts() {
            return Vec::new();
        }
        self.people().filter(|local| !self.has_had(local).0 && !is_called(local)).cloned().collect()
    }

    /// What one of them has said before. It is stored when they are introduced.
    pub fn has_called(&mut self, local: &str, name: &str) {
        let called = plain(name).filter(|name| !self.is_of_another(local, name));
        if called.is_some() {
            self.residents.origins.entry(local.into()).or_default().called = called.map(Into::into);
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
        Origin { root, made, stranger, ..Origin::default() }
    }

    /// An account is made. Storage was asked.
    pub(super) fn moves_in(&mut self, local: &str, origin: Origin) {
        let stranger = origin.stranger;
        if origin != Origin::default() {
            self.note_origin(local, origin);
        }
        if !stranger && self.gives_contacts() && !self.house_is_large() {
            self.residents.counted.insert(local.into());
        }
        if !stranger && (self.gives_contacts() || self.house_room().is_some()) {
            self.promise(Promise::Introduce(local.into()));
        }
        // A name that was nobody's until now: who is called that is no more.
        let shown = looks(local);
        let called = self.residents.origins.iter().filter(|(other, origin)| {
            ***other != *local && origin.called.as_deref().is_some_and(|called| looks(called) == shown)
        });
        for other in called.map(|(other, _)| other.clone()).collect::<Vec<_>>() {
            let _ = self.rename(&other, None);
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

    /// Notes something of one who is there.
    fn renote(&mut self, local: &str, change: impl FnOnce(&mut Origin)) {
        let mut origin = self.residents.origins.get(local).cloned().unwrap_or_default();
        change(&mut origin);
        self.note_origin(local, origin);
    }

    /// An account that could not be stored was never made.
    pub(super) fn never_arrived(&mut self, local: &str) {
        self.residents.counted.remove(local);
        if self.residents.origins.contains_key(local) {
            self.note_origin(local, Origin::default());
        }
    }

    /// Whether somebody was introduced, and is in the room.
    fn has_had(&self, local: &str) -> (bool, bool) {
        self.residents.origins.get(local).map_or((false, false), |origin| (origin.introduced, origin.housed))
    }

    /// What somebody of the house is to have and can be given now: contacts, and the room. `large`: whether the house is.
    fn due(&self, local: &str, large: bool) -> (bool, bool) {
        let (introduced, housed) = self.has_had(local);
        let contacts = !introduced && self.gives_contacts() && (!large || self.residents.counted.contains(local));
        let is_there = self.house_room().is_some() && self.no_room().is_none();
        (contacts, !housed && is_there && !self.residents.housing.contains(local))
    }

    /// It may be that more can be given than before: whoever has not had it gets it soon.
    pub(super) fn look_again(&mut self) {
        self.questions.set_timer(self.now.mono, Timer::Household);
    }

    /// The same, now.
    pub(super) fn introduce_all(&mut self) {
        let large = self.house_is_large();
        let is_due = |local: &str| self.due(local, large) != (false, false);
        let due: Vec<Box<str>> = self.people().filter(|local| is_due(local)).cloned().collect();
        self.residents.waiting.extend(due);
        self.introduce_next();
    }

    /// One after the other, each when what was done before is stored.
    fn introduce_next(&mut self) {
        if self.residents.current.is_none()
            && let Some(local) = self.residents.waiting.pop_first()
        {
            self.residents.current = Some(Introduction { local: local.clone(), after: Box::default() });
            self.promise(Promise::Introduce(local));
        } else if self.residents.current.is_none() && self.residents.met >= FIT {
            self.residents.met = 0;
            self.here.fit_rosters();
        }
    }

    /// Gives an account what it is to have, or a part of it.
    pub(super) fn introduce(&mut self, local: &str) {
        let current = match self.residents.current.take() {
            Some(current) if *current.local == *local => current,
            Some(another) => {
                self.residents.current = Some(another);
                self.residents.waiting.insert(local.into());
                return;
            }
            None => Introduction { local: local.into(), after: Box::default() },
        };
        match self.introduce_part(&current) {
            Ok(None) => self.introduce_next(),
            Ok(Some(after)) => {
                self.residents.current = Some(Introduction { after, ..current });
                self.promise(Promise::Introduce(local.into()));
            }
            Err(e) => {
                log::warn!("{local} is not everybody's contact yet: {}", words(e));
                self.residents.waiting.insert(local.into());
                self.questions.set_timer(self.now.mono + AGAIN_MS, Timer::Household);
            }
        }
    }

    /// Makes some in the house contacts of one of them, and gives the last; behind the last of all gives the rest.
    fn introduce_part(
        &mut self,
        Introduction { local, after }: &Introduction,
    ) -> Result<Option<Box<str>>, StanzaError> {
        if self.here.account(local).is_none() || self.residents.is_stranger(local) {
            return Ok(None);
        }
        let large = self.house_is_large();
        let (contacts, room) = self.due(local, large);
        if large && !contacts && !self.has_had(local).0 && !std::mem::replace(&mut self.residents.said, true) {
            log::warn!("{TOO_MANY}");
        }
        if contacts {
            // Behind who made it large nobody comes any more.
            let is_one = |other: &str| !large || self.has_had(other).0 || self.residents.counted.contains(other);
            let others = self.people().filter(|other| **other > *after && *other != local && is_one(other));
            let others: Vec<Box<str>> = others.take(PART + 1).cloned().collect();
            for other in others.iter().take(PART) {
                self.acquaint(local, other)?;
                self.step();
            }
            if others.len() > PART {
                return Ok(others.into_iter().nth(PART - 1));
            }
            self.renote(local, |origin| origin.introduced = true);
            self.residents.counted.remove(local);
            self.residents.met += 1;
        }
        if room && self.residents.housing.insert(local.clone()) {
            self.announce(Event::Arrived(local.clone()));
        }
        Ok(None)
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
    pub(super) fn acquaintance(&self, own: &Jid, contact: &Jid, before: Item) -> Item {
        let item = Item { listed: true, state: BOTH, request: None, ..before.clone() };
        let is_stranger = |jid: &Jid| self.residents.is_stranger(jid.local().unwrap_or_default());
        if !self.gives_contacts() || is_stranger(own) || is_stranger(contact) {
            return item;
        }
        let called = || Some(self.called(contact.local().unwrap_or_default()));
        let groups = || Arc::new(vec![Box::<str>::from(self.house_name())]);
        Item {
            house: before.house || !before.listed,
            name: before.name.or_else(called),
            groups: if before.groups.is_empty() { groups() } else { before.groups },
            ..item
        }
    }

    // --- the room ---

    /// Why nobody is given the room that the settings name.
    fn no_room(&self) -> Option<NoRoom> {
        let of_it = |(local, _): &&(Box<str>, NoRoom)| self.house_room() == Some(local);
        self.residents.no_room.as_ref().filter(of_it).map(|(_, why)| *why)
    }

    /// Whether the room that the settings name can be given, as who has the rooms knows: `no`, why not.
    pub fn set_no_room(&mut self, no: Option<NoRoom>) {
        if no == self.no_room() {
            return;
        }
        self.residents.no_room = self.house_room().map(Box::from).zip(no);
        match no {
            Some(_) => log::warn!("{}", self.room_told()),
            None => self.look_again(),
        }
    }

    /// An account is a member of the room, and can find it.
    pub fn housed(&mut self, local: &str, room: &Jid) {
        self.residents.housing.remove(local);
        if room.local() == self.house_room() && self.here.account(local).is_some() {
            self.renote(local, |origin| origin.housed = true);
        }
    }

    /// It is none now. `wait`: until that is tried again, in milliseconds.
    pub fn not_housed(&mut self, local: &str, wait: bool) {
        self.residents.housing.remove(local);
        if wait {
            self.questions.set_timer(self.now.mono + AGAIN_MS, Timer::Household);
        }
    }

    /// Who has been given a room of the house; localparts.
    pub fn housed_people(&self) -> Vec<Box<str>> {
        let housed = self.residents.origins.iter().filter(|(_, origin)| origin.housed).map(|(local, _)| local);
        housed.chain(&self.residents.housing).cloned().collect()
    }

    // --- what they are called ---

    /// What others call an account to whom it has said nothing else.
    pub(super) fn called(&self, local: &str) -> Arc<str> {
        let called = self.residents.origins.get(local).and_then(|origin| origin.called.clone());
        called.unwrap_or_else(|| local.into())
    }

    /// Whether a name looks like that of somebody else in the house, or of who runs the server; or may look like anything.
    fn is_of_another(&self, local: &str, name: &str) -> bool {
        let shown = looks(name);
        let alike = |other: &str| looks(other) == shown;
        let is_alike = |other: &str| other != local && (alike(other) || alike(&self.called(other)));
        name.split(' ').any(mixes_alphabets)
            || self.here.accounts().any(|account| is_alike(account.jid.local().unwrap_or_default()))
            || TRUSTED.into_iter().any(alike)
    }

    /// An account calls itself so from now on; empty: no more. Who has it in the roster as the house has put it there sees the new name.
    /// Who changes it all the time is called as before until it may change again.
    ///
    /// # Errors
    /// When that cannot be stored.
    pub fn call(&mut self, local: &str, name: &str) -> Result<(), StanzaError> {
        if self.here.account(local).is_none() {
            return Ok(());
        }
        let name = plain(name);
        let mut origin = self.residents.origins.get(local).cloned().unwrap_or_default();
        if origin.wanted.as_deref().or(origin.called.as_deref()).unwrap_or_default()
            == name.as_deref().unwrap_or_default()
        {
            return Ok(());
        }
        self.write()?;
        let wait = origin.pace.count(self.now.mono, CALLS, CALL_MS);
        if wait == 0 {
            self.renote(local, |noted| (noted.pace, noted.wanted) = (origin.pace, None));
            return self.rename(local, name);
        }
        if origin.wanted.is_none() {
            self.questions.set_timer(self.now.mono + wait, Timer::Called(local.into()));
        }
        self.renote(local, |noted| noted.wanted = Some(name.unwrap_or_default()));
        Ok(())
    }

    /// It may change again: an account is called what it wanted last.
    pub(super) fn call_again(&mut self, local: &str) {
        let Some(wanted) = self.residents.origins.get(local).and_then(|origin| origin.wanted.clone()) else { return };
        if self.write().is_err() {
            return self.questions.set_timer(self.now.mono + AGAIN_MS, Timer::Called(local.into()));
        }
        let now = self.now.mono;
        self.renote(local, |origin| {
            origin.pace.count(now, CALLS, CALL_MS);
            origin.wanted = None;
        });
        let _ = self.rename(local, plain(&wanted));
    }

    /// Others call an account so from now on, unless that is somebody else's name.
    fn rename(&mut self, local: &str, name: Option<Box<str>>) -> Result<(), StanzaError> {
        let before = self.called(local);
        let name = name.filter(|name| !self.is_of_another(local, name));
        self.renote(local, |origin| origin.called = name.map(Into::into));
        let called = self.called(local);
        let Some(jid) = self.here.account(local).map(|account| account.jid.clone()).filter(|_| called != before) else {
            return Ok(());
        };
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
        // There may be few enough again.
        self.questions.set_timer(self.now.mono + 1, Timer::Household);
    }
}
