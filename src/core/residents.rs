//! How accounts have come into the house, and what they are still to have there. What is done with that is in [`super::household`].

use super::invitation::DAY_MS;
use super::settings::Household;
use super::throttle::Pace;
use crate::store::StoreError;
use crate::store::record::{Broken, Reader, Writer};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// People who are made each other's contacts, at most: so many entries each of them has, and the square of it the house.
pub const HOUSE_CONTACTS: usize = 200;
/// What the owner is told of a house with more.
pub const TOO_MANY: &str = "there are more than 200 people: who comes is nobody's contact by itself";
const _: () = assert!(HOUSE_CONTACTS == 200);
/// Removed accounts that are remembered for a day.
const LEFT: usize = 1024;
/// Labels that name a service, and not a house.
const SERVICE_LABELS: [&str; 6] = ["chat", "im", "jabber", "talk", "www", "xmpp"];

/// The bits of a record, and of what a house gives.
pub(super) mod bit {
    pub(in crate::core) const CONTACTS: u8 = 1 << 0;
    pub(in crate::core) const ROOM: u8 = 1 << 1;
    pub(in crate::core) const STRANGER: u8 = 1 << 2;
}

/// How an account has come into the house, and what it was given there: its row in [`crate::store::Tree::House`]. One without a row was
/// made by the owner, or before there were such rows, and was given nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Origin {
    /// At whom the chain of invitations from apps begins that it was made by; a localpart.
    pub(super) root: Option<Box<str>>,
    /// When, in milliseconds since 1970; told of those with a root alone.
    pub(super) made: u64,
    /// It was registered openly: nobody knows whose it is.
    pub(super) stranger: bool,
    /// Everybody has become its contact, once.
    pub(super) introduced: bool,
    /// It has become a member of the room, once.
    pub(super) housed: bool,
    /// What it calls itself.
    pub(super) called: Option<Arc<str>>,
    /// What it wants to be called as soon as that may change again; empty: nothing.
    pub(super) wanted: Option<Box<str>>,
    /// How often it calls itself something else: everybody is told.
    pub(super) pace: Pace,
}

impl Origin {
    pub(super) fn record(&self) -> Box<[u8]> {
        let flags = [(bit::CONTACTS, self.introduced), (bit::ROOM, self.housed), (bit::STRANGER, self.stranger)];
        let w = Writer::new(1).flags(&flags).u64(self.made);
        w.opt_str(self.root.as_deref()).opt_str(self.called.as_deref()).opt_str(self.wanted.as_deref()).done()
    }

    fn from_record(record: &[u8]) -> Result<Origin, Broken> {
        let mut r = Reader::new(record)?;
        if r.version != 1 {
            return Err(Broken);
        }
        let flags = r.u8()?;
        Ok(Origin {
            introduced: flags & bit::CONTACTS != 0,
            housed: flags & bit::ROOM != 0,
            stranger: flags & bit::STRANGER != 0,
            made: r.u64()?,
            root: r.opt_str()?.map(Into::into),
            called: r.opt_str()?.map(Into::into),
            wanted: r.opt_str()?.map(Into::into),
            pace: Pace::default(),
        })
    }
}

/// Why nobody is given the room of the house.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoRoom {
    /// It was ended.
    Ended,
    /// Somebody else has made one of its name.
    Taken,
}

/// Somebody who is being introduced.
#[derive(Debug)]
pub(super) struct Introduction {
    pub(super) local: Box<str>,
    /// To whom last, in their order; empty: to nobody yet.
    pub(super) after: Box<str>,
}

/// What is known of all accounts.
#[derive(Debug, Default)]
pub(super) struct Residents {
    /// By localpart.
    pub(super) origins: BTreeMap<Box<str>, Origin>,
    /// What is given to whoever comes, by its bits.
    pub(super) begun: u8,
    /// To whom the room was given in this run: that it is stored is not known yet.
    pub(super) housing: BTreeSet<Box<str>>,
    /// Why there is no room of this name.
    pub(super) no_room: Option<(Box<str>, NoRoom)>,
    /// Who may have something due and waits for it, and who gets it now.
    pub(super) waiting: BTreeSet<Box<str>>,
    pub(super) current: Option<Introduction>,
    /// Who has come while the house was small enough, and is still to be introduced, whoever comes meanwhile.
    pub(super) counted: BTreeSet<Box<str>>,
    /// How many were introduced since rosters were made to fit.
    pub(super) met: usize,
    /// Accounts that were removed within a day after they were made: their roots, and when they were made.
    pub(super) left: VecDeque<(Box<str>, u64)>,
    /// It was said that there are too many people.
    pub(super) said: bool,
}

impl Residents {
    /// A row of [`crate::store::Tree::House`].
    pub(super) fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let local = std::str::from_utf8(key).map_err(|_| Broken)?;
        self.origins.insert(local.into(), Origin::from_record(value)?);
        Ok(())
    }

    /// How many have registered openly.
    pub(super) fn strangers(&self) -> usize {
        self.origins.values().filter(|origin| origin.stranger).count()
    }

    pub(super) fn is_stranger(&self, local: &str) -> bool {
        self.origins.get(local).is_some_and(|origin| origin.stranger)
    }

    /// At whom the chain of invitations begins that an account belongs to: at itself, unless it was invited from an app.
    pub(super) fn root<'a>(&'a self, local: &'a str) -> &'a str {
        self.origins.get(local).and_then(|origin| origin.root.as_deref()).unwrap_or(local)
    }

    /// How many accounts of a chain were made within a day; `now`: in milliseconds since 1970, by a clock that may be set.
    pub(super) fn made_today(&self, root: &str, now: u64) -> usize {
        let is_today = |made: u64| now.abs_diff(made) < DAY_MS;
        let there =
            self.origins.values().filter(|origin| origin.root.as_deref() == Some(root) && is_today(origin.made));
        let left = self.left.iter().filter(|(theirs, made)| **theirs == *root && is_today(*made));
        there.count() + left.count()
    }

    /// An account goes. Who has made it has made it still; whom it has brought belong to the first of them from now on: nobody is the root
    /// of a chain who was not before. Gives those whose rows change.
    pub(super) fn leaves(&mut self, local: &str, now: u64) -> Vec<(Box<str>, Origin)> {
        self.housing.remove(local);
        self.waiting.remove(local);
        self.counted.remove(local);
        if let Some(Origin { root: Some(root), made, .. }) = self.origins.remove(local) {
            self.left.push_back((root, made));
        }
        self.left.retain(|(_, made)| now.abs_diff(*made) < DAY_MS);
        if self.left.len() > LEFT {
            self.left.pop_front();
        }
        let brought = self.origins.iter().filter(|(_, origin)| origin.root.as_deref() == Some(local));
        let brought: Vec<(Box<str>, Origin)> = brought.map(|(local, origin)| (local.clone(), origin.clone())).collect();
        let Some(heir) = brought.first().map(|(local, _)| local.clone()) else { return brought };
        self.left.iter_mut().filter(|(root, _)| **root == *local).for_each(|(root, _)| *root = heir.clone());
        // Its own among them: it was made by the chain, too.
        let of_heir = |(local, origin)| (local, Origin { root: Some(heir.clone()), ..origin });
        brought.into_iter().map(of_heir).collect()
    }
}

impl Household {
    /// What the house is called, which is also the name of a group in rosters. Without a setting: the domain's first label that names
    /// no service, with a capital letter.
    pub fn called(&self, domain: &str) -> String {
        if !self.name.is_empty() {
            return self.name.clone();
        }
        let labels: Vec<&str> = domain.split('.').collect();
        let is_service = |label: &&&str| labels.len() > 2 && SERVICE_LABELS.contains(*label);
        let label = labels.iter().find(|label| !is_service(label)).copied().unwrap_or_default();
        let mut letters = label.chars();
        match letters.next().filter(|first| first.is_alphabetic()) {
            Some(first) => first.to_uppercase().chain(letters).collect(),
            None => "House".into(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_the_one_on_disks() {
        let origin = Origin {
            root: Some("juliet".into()),
            made: 7,
            stranger: true,
            introduced: true,
            housed: true,
            called: Some("Benvolio M.".into()),
            wanted: Some("Ben".into()),
            pace: Pace::default(),
        };
        let record = origin.record();
        assert_eq!(Origin::from_record(&record), Ok(origin.clone()));
        for end in 0..record.len() {
            assert_eq!(Origin::from_record(&record[..end]), Err(Broken), "{end}");
        }
        let plain =
            |introduced, housed, stranger| Origin { introduced, housed, stranger, ..Origin::default() }.record()[1];
        assert_eq!(
            [plain(true, false, false), plain(false, true, false), plain(false, false, true)],
            [0b001, 0b010, 0b100]
        );
        assert!(Origin::from_record(&[2, 0]).is_err(), "of a newer version");
    }

    #[test]
    fn a_house_is_called_as_its_domain() {
        let called = |domain: &str| Household::default().called(domain);
        assert_eq!(called("example.org"), "Example");
        assert_eq!(called("chat.example.org"), "Example");
        assert_eq!(called("chat.local"), "Chat", "the box itself");
        assert_eq!(called("élan.example"), "Élan");
        assert_eq!(called("192.168.1.5"), "House");
        let named = Household { name: "The Capulets".into(), ..Household::default() };
        assert_eq!(named.called("example.org"), "The Capulets");
    }
}
