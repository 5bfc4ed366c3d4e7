//! What of an account's messages is archived, and from where on the archive of its name is its own (XEP-0313, XEP-0441).

use super::roster::Roster;
use crate::store::record::{Broken, Reader, Writer, stored};
use crate::wire::Jid;
use std::collections::BTreeSet;

stored! {
    /// Whose messages are archived if they are on no list (XEP-0441 §2.1.1).
    #[derive(Default)]
    pub enum Policy {
        /// Everybody's.
        #[default]
        Always = 0, "always";
        /// Nobody's.
        Never = 1, "never";
        /// Those of whom is in the roster.
        Roster = 2, "roster";
    }
}

/// One account's row in [`crate::store::Tree::Archive`]. It outlives the account: an account that takes its name later sees
/// nothing of what was archived before.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Archived {
    /// The first number of the log that may be in its archive.
    pub begins: u64,
    /// What is done about those on no list.
    pub policy: Policy,
    /// Those whose messages are archived.
    pub always: BTreeSet<Jid>,
    /// Those whose messages are not.
    pub never: BTreeSet<Jid>,
}

impl Archived {
    /// Whether messages to and from this address are archived (XEP-0441 §2.3.1): an entry of its full JID goes before one of its
    /// bare JID, and those before the policy.
    pub fn wants<'a>(&self, roster: impl FnOnce() -> Option<&'a Roster>, other: &Jid) -> bool {
        let listed = !self.never.is_empty() || !self.always.is_empty();
        for jid in [other.as_str(), other.bare_str()].into_iter().filter(|_| listed) {
            if self.never.contains(jid) {
                return false;
            }
            if self.always.contains(jid) {
                return true;
            }
        }
        match self.policy {
            Policy::Always => true,
            Policy::Never => false,
            Policy::Roster => {
                roster().is_some_and(|roster| roster.items.get(other.bare_str()).is_some_and(|item| item.listed))
            }
        }
    }

    /// Its row.
    pub fn record(&self) -> Box<[u8]> {
        let list =
            |w: Writer, list: &BTreeSet<Jid>| list.iter().fold(w.u32(list.len() as u32), |w, jid| w.str(jid.as_str()));
        let w = Writer::new(1).u64(self.begins).u8(self.policy.number());
        list(list(w, &self.always), &self.never).done()
    }

    /// Reads such a row.
    pub fn from_record(record: &[u8]) -> Result<Archived, Broken> {
        let mut r = Reader::new(record)?;
        if r.version != 1 {
            return Err(Broken);
        }
        let begins = r.u64()?;
        let policy = Policy::of_number(r.u8()?)?;
        let list = |r: &mut Reader<'_>| {
            (0..r.u32()?).map(|_| Jid::parse(r.str()?).map_err(|_| Broken)).collect::<Result<_, _>>()
        };
        Ok(Archived { begins, policy, always: list(&mut r)?, never: list(&mut r)? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::roster::Item;

    fn jids(list: &[&str]) -> BTreeSet<Jid> {
        list.iter().map(|text| Jid::parse(text).unwrap()).collect()
    }

    #[test]
    fn a_row_comes_back() {
        for (policy, always, never) in [
            (Policy::Always, &["a@b"][..], &["c", "d@e/f"][..]),
            (Policy::Never, &[], &[]),
            (Policy::Roster, &[], &["x"]),
        ] {
            let row = Archived { begins: u64::MAX, policy, always: jids(always), never: jids(never) };
            let record = row.record();
            assert_eq!(Archived::from_record(&record), Ok(row));
            for end in 0..record.len() {
                assert_eq!(Archived::from_record(&record[..end]), Err(Broken), "{end}");
            }
        }
        assert_eq!(Archived::from_record(&Archived::default().record()), Ok(Archived::default()));
        let mut odd = Archived::default().record();
        odd[9] = 3;
        assert_eq!(Archived::from_record(&odd), Err(Broken), "an unknown policy");
        odd[0] = 2;
        assert_eq!(Archived::from_record(&odd), Err(Broken), "a newer version");
    }

    #[test]
    fn a_row_is_the_one_on_disks() {
        for (policy, number) in [(Policy::Always, 0), (Policy::Never, 1), (Policy::Roster, 2)] {
            let row = Archived { begins: 7, policy, always: jids(&["a@b"]), never: BTreeSet::new() };
            let bytes = [1, 7, 0, 0, 0, 0, 0, 0, 0, number, 1, 0, 0, 0, 3, 0, 0, 0, b'a', b'@', b'b', 0, 0, 0, 0];
            assert_eq!(*row.record(), bytes, "{policy:?}");
            assert_eq!(Archived::from_record(&bytes), Ok(row));
        }
    }

    /// XEP-0441 §2.3.1
    #[test]
    fn whom_an_entry_means() {
        let mut roster = Roster::default();
        roster.items.insert(Jid::parse("nurse@house.test").unwrap(), Item { listed: true, ..Item::default() });
        roster.items.insert(Jid::parse("iago@house.test").unwrap(), Item::default());
        let always = jids(&["romeo@house.test", "paris@house.test/tomb"]);
        let never = jids(&["romeo@house.test/banished", "paris@house.test", "tybalt@house.test"]);
        for (other, listed) in [
            ("romeo@house.test", Some(true)),
            ("romeo@house.test/orchard", Some(true)),
            ("romeo@house.test/banished", Some(false)),
            ("paris@house.test", Some(false)),
            ("paris@house.test/tomb", Some(true)),
            ("tybalt@house.test/sword", Some(false)),
            ("nurse@house.test/house", None),
            ("iago@house.test", None),
        ] {
            for policy in Policy::ALL {
                let archived = Archived { begins: 0, policy, always: always.clone(), never: never.clone() };
                let by_policy = match policy {
                    Policy::Always => true,
                    Policy::Never => false,
                    // RFC 6121 §3.1.3: who only asked is not in the roster.
                    Policy::Roster => other.starts_with("nurse"),
                };
                let other = Jid::parse(other).unwrap();
                assert_eq!(archived.wants(|| Some(&roster), &other), listed.unwrap_or(by_policy), "{other} {policy:?}");
            }
        }
    }
}
