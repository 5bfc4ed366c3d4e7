//! Notifiers: who may say something by HTTP because they know a token. Each speaks in one room, or to one person.
//!
//! Of a token only its SHA-256 is kept. It is 128 random bits, so no salt is needed, and whoever reads the database can say nothing with it.

use super::ids::Job;
use super::throttle::Pace;
use crate::store::StoreError;
use crate::store::record::{Broken, Reader, Writer};
use crate::wire::Jid;
use std::collections::BTreeMap;

/// Notifiers that there may be.
pub const NOTIFIERS: usize = 128;
/// The longest name of one, in bytes.
pub const NOTIFIER_NAME_BYTES: usize = 64;
/// Notifications that one may send at once.
const AT_ONCE: u64 = 60;
/// After so long it may send another, in milliseconds.
const ANOTHER_MS: u64 = 10_000;

/// The SHA-256 of a token.
pub type TokenDigest = [u8; 32];

/// What is kept of a token.
pub fn token_digest(token: &str) -> TokenDigest {
    let mut digest = TokenDigest::default();
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, token.as_bytes()).as_ref());
    digest
}

/// A notifier as its owner wants it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedNotifier {
    /// What it is called; else after whom it tells.
    pub name: Option<Box<str>>,
    /// A room that it speaks in, or a person that it writes to; a bare JID.
    pub to: Jid,
    /// The account whose messages they are; else they are the server's. Not for rooms.
    pub from: Option<Jid>,
    /// Of the token.
    pub digest: TokenDigest,
}

/// Why a notification is not sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotifyRefusal {
    /// There is no such token.
    Unknown,
    /// Whom it told is no more.
    Gone,
    /// Too often: again in so many milliseconds.
    Later(u64),
    /// Whoever gets it, or the way there, does not take it: why.
    Refused(String),
    /// It cannot be stored now: why.
    NotStored(String),
}

/// The notification that is sent in this turn.
#[derive(Debug)]
pub(super) struct Notification {
    pub(super) job: Job,
    /// The `id` of its message.
    pub(super) id: String,
    pub(super) refused: Option<NotifyRefusal>,
}

/// Who may say something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Notifier {
    pub(super) to: Jid,
    pub(super) from: Option<Jid>,
    digest: TokenDigest,
    /// The room or the account is removed. It stays, so that whoever uses it is told why nobody hears of it.
    gone: bool,
    pace: Pace,
}

impl Notifier {
    pub(super) fn record(&self) -> Box<[u8]> {
        let w = Writer::new(1).str(self.to.as_str()).opt_str(self.from.as_ref().map(Jid::as_str));
        w.bytes(&self.digest).u8(self.gone.into()).done()
    }

    fn from_record(record: &[u8]) -> Result<Notifier, Broken> {
        let mut r = Reader::new(record)?;
        if r.version != 1 {
            return Err(Broken);
        }
        let jid = |text: &str| Jid::parse(text).map_err(|_| Broken);
        Ok(Notifier {
            to: jid(r.str()?)?,
            from: r.opt_str()?.map(jid).transpose()?,
            digest: r.bytes()?.try_into().map_err(|_| Broken)?,
            gone: r.u8()? == 1,
            pace: Pace::default(),
        })
    }
}

/// All of them, by name.
#[derive(Default, Debug)]
pub(super) struct Notifiers {
    all: BTreeMap<Box<str>, Notifier>,
    /// Their names by their tokens.
    names: BTreeMap<TokenDigest, Box<str>>,
}

impl Notifiers {
    /// One row of [`crate::store::Tree::Notifier`].
    pub(super) fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let name = std::str::from_utf8(key).map_err(|_| Broken)?;
        self.insert(name, Notifier::from_record(value)?);
        Ok(())
    }

    fn insert(&mut self, name: &str, notifier: Notifier) {
        self.names.insert(notifier.digest, name.into());
        self.all.insert(name.into(), notifier);
    }

    /// One more. Gives its name.
    ///
    /// # Errors
    /// For its owner: when there are too many, or its name cannot be.
    pub(super) fn add(&mut self, wanted: WantedNotifier) -> Result<Box<str>, String> {
        if self.all.len() >= NOTIFIERS {
            return Err(format!("there are {NOTIFIERS} of them already: `inglenook notify remove NAME` makes room"));
        }
        let name = match wanted.name {
            Some(name) if self.all.contains_key(&name) => {
                return Err(format!("there is a \"{name}\" already: choose another --name, or remove it first"));
            }
            Some(name) => name,
            None => self.free_name(wanted.to.local().unwrap_or_default()),
        };
        let is_fine = |name: &str| name.chars().all(|c| !c.is_whitespace() && !c.is_control());
        if name.is_empty() || name.len() > NOTIFIER_NAME_BYTES || !is_fine(&name) {
            return Err(format!("a --name is one word of at most {NOTIFIER_NAME_BYTES} bytes"));
        }
        let WantedNotifier { to, from, digest, .. } = wanted;
        self.insert(&name, Notifier { to, from, digest, gone: false, pace: Pace::default() });
        Ok(name)
    }

    /// The first of `garden`, `garden-2`, `garden-3` that is free.
    fn free_name(&self, after: &str) -> Box<str> {
        let after = &after[..after.floor_char_boundary(NOTIFIER_NAME_BYTES - 4)];
        let others = (2..).map(|n| format!("{after}-{n}"));
        let mut names = std::iter::once(after.to_owned()).chain(others);
        names.find(|name| !self.all.contains_key(name.as_str())).unwrap_or_default().into()
    }

    /// Its token says nothing any more. Says whether there was one of this name.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.all.remove(name).is_some_and(|notifier| self.names.remove(&notifier.digest).is_some())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Notifier> {
        self.all.get(name)
    }

    /// A room or an account is removed. Gives the names of those that spoke there, or for it.
    pub(super) fn lose(&mut self, jid: &Jid) -> Vec<Box<str>> {
        let theirs = |notifier: &Notifier| notifier.to == *jid || notifier.from.as_ref() == Some(jid);
        let lost = self.all.iter_mut().filter(|(_, notifier)| !notifier.gone && theirs(notifier));
        lost.map(|(name, notifier)| {
            notifier.gone = true;
            name.clone()
        })
        .collect()
    }

    /// The rooms or people of a domain that are told something.
    pub(super) fn told_at(&self, domain: &str) -> Vec<Jid> {
        self.all.values().map(|notifier| &notifier.to).filter(|to| to.domain() == domain).cloned().collect()
    }

    /// The notifier of a token.
    ///
    /// # Errors
    /// When it has none, or one that tells nobody any more.
    pub(super) fn of_token(&self, digest: &TokenDigest) -> Result<&Notifier, NotifyRefusal> {
        let notifier = self.names.get(digest).and_then(|name| self.all.get(name)).ok_or(NotifyRefusal::Unknown)?;
        if notifier.gone { Err(NotifyRefusal::Gone) } else { Ok(notifier) }
    }

    /// Counts a notification. Gives its notifier. `now`: in milliseconds.
    ///
    /// # Errors
    /// The same, or when it sends too many.
    pub(super) fn count(&mut self, digest: &TokenDigest, now: u64) -> Result<&Notifier, NotifyRefusal> {
        self.of_token(digest)?;
        let notifier = self.names.get(digest).and_then(|name| self.all.get_mut(name)).ok_or(NotifyRefusal::Unknown)?;
        match notifier.pace.count(now, AT_ONCE, ANOTHER_MS) {
            0 => Ok(notifier),
            wait => Err(NotifyRefusal::Later(wait)),
        }
    }

    /// A line for a person about each.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |name: &str, Notifier { to, from, gone, .. }: &Notifier| {
            let from = from.as_ref().map(|from| format!("  from {from}")).unwrap_or_default();
            let gone = if *gone { format!("  GONE (inglenook notify remove {name})") } else { String::new() };
            format!("{name}  {to}{from}{gone}")
        };
        self.all.iter().map(|(name, notifier)| line(name, notifier)).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    fn wanted(to: &str, token: u8) -> WantedNotifier {
        WantedNotifier { name: None, to: jid(to), from: None, digest: [token; 32] }
    }

    /// As `printf abc | sha256sum` says it.
    #[test]
    fn a_token_is_kept_as_its_digest() {
        assert_eq!(token_digest("abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
    }

    const GARDEN: &str = "garden@conference.house.test";

    #[test]
    fn rows_come_back_and_are_those_on_disks() {
        for (from, gone) in [(None, false), (Some(jid("nurse@house.test")), true)] {
            let row = Notifier { to: jid("a@b"), from, digest: [7; 32], gone, pace: Pace::default() };
            let record = row.record();
            assert_eq!(Notifier::from_record(&record), Ok(row));
            for end in 0..record.len() {
                assert_eq!(Notifier::from_record(&record[..end]), Err(Broken), "{end}");
            }
            if !gone {
                let bytes = [&[1, 3, 0, 0, 0][..], b"a@b", &[0, 32, 0, 0, 0], &[7; 32], &[0]].concat();
                assert_eq!(*record, bytes);
            }
        }
        assert!(Notifiers::default().load(b"garden", &[2, 0]).is_err(), "of a newer version");
        assert!(Notifiers::default().load(b"\xff", &[]).is_err());
    }

    #[test]
    fn each_has_a_name_of_its_own() {
        let mut all = Notifiers::default();
        for (n, name) in ["garden", "garden-2", "garden-3"].into_iter().enumerate() {
            assert_eq!(&*all.add(wanted(GARDEN, n as u8)).unwrap(), name);
        }
        let named = |name: &str| WantedNotifier { name: Some(name.into()), ..wanted(GARDEN, 9) };
        for name in ["", "a b", "a\nb", "garden", &"x".repeat(NOTIFIER_NAME_BYTES + 1)] {
            assert!(all.add(named(name)).is_err(), "{name:?}");
        }
        let longest = "x".repeat(NOTIFIER_NAME_BYTES);
        assert_eq!(*all.add(named(&longest)).unwrap(), *longest);
        let long = format!("{}@house.test", "ü".repeat(200));
        assert!(all.add(wanted(&long, 10)).is_ok_and(|name| name.starts_with("üü")));
        assert!(all.add(wanted(&long, 11)).is_ok_and(|name| name.ends_with("ü-2")));
        assert!(all.remove("garden-2") && !all.remove("garden-2"));
        assert_eq!(all.of_token(&[1; 32]), Err(NotifyRefusal::Unknown));
        assert_eq!(&*all.add(wanted(GARDEN, 12)).unwrap(), "garden-2");
    }

    #[test]
    fn there_are_only_so_many() {
        let mut all = Notifiers::default();
        for n in 0..NOTIFIERS {
            all.add(wanted(GARDEN, n as u8)).unwrap();
        }
        assert!(all.add(wanted(GARDEN, 255)).unwrap_err().contains("notify remove"));
        all.remove("garden");
        all.add(wanted(GARDEN, 255)).unwrap();
    }

    #[test]
    fn what_is_gone_is_told_and_stays_gone() {
        let mut all = Notifiers::default();
        all.add(wanted(GARDEN, 1)).unwrap();
        all.add(WantedNotifier { from: Some(jid("nurse@house.test")), ..wanted("juliet@house.test", 2) }).unwrap();
        assert!(all.lose(&jid("romeo@house.test")).is_empty());
        assert_eq!(all.lose(&jid("nurse@house.test")), [Box::from("juliet")], "nobody else may write in that name");
        assert_eq!(all.lose(&jid(GARDEN)), [Box::from("garden")]);
        assert!(all.lose(&jid(GARDEN)).is_empty());
        assert_eq!(all.count(&[1; 32], 0), Err(NotifyRefusal::Gone));
        let mut again = Notifiers::default();
        again.load(b"garden", &all.get("garden").unwrap().record()).unwrap();
        assert_eq!(again.of_token(&[1; 32]), Err(NotifyRefusal::Gone));
        assert_eq!(again.lines(), [format!("garden  {GARDEN}  GONE (inglenook notify remove garden)")]);
        assert!(all.lines()[1].starts_with("juliet  juliet@house.test  from nurse@house.test  GONE"));
    }

    #[test]
    fn each_has_a_pace_of_its_own() {
        let mut all = Notifiers::default();
        all.add(wanted(GARDEN, 1)).unwrap();
        all.add(wanted(GARDEN, 2)).unwrap();
        for _ in 0..AT_ONCE {
            assert!(all.count(&[1; 32], 5_000).is_ok());
        }
        assert_eq!(all.count(&[1; 32], 5_300), Err(NotifyRefusal::Later(ANOTHER_MS - 300)));
        assert!(all.count(&[2; 32], 5_300).is_ok());
        assert!(all.count(&[1; 32], 5_000 + ANOTHER_MS).is_ok());
        assert_eq!(all.count(&[1; 32], 5_000 + ANOTHER_MS), Err(NotifyRefusal::Later(ANOTHER_MS)));
    }
}
