//! Whose rows and whose archive: what the disk calls accounts, rooms and services, which share its trees and its log.

use std::borrow::Borrow;
use std::ops::Deref;

/// How the names begin that are no account's: no localpart has an `@` (RFC 7622 §3.3.1).
const NO_ACCOUNT: char = '@';

/// Who owns rows of a tree or an archive of the log. It reads as what the disk calls it, which is the first part of
/// [keys](super::key) and the owner in [queries](super::Query).
///
/// A room and a service may be called the same: no tree has rows of both.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Whose(Box<str>);

impl Whose {
    /// How the keys of all begin that are no accounts.
    pub const NO_ACCOUNTS: &[u8] = b"@";

    /// The account of this localpart.
    pub fn account(local: &str) -> Whose {
        Whose(local.into())
    }

    /// The room of this localpart.
    pub fn room(local: &str) -> Whose {
        Whose(format!("{NO_ACCOUNT}{local}").into())
    }

    /// A service of ours, by a name for the disk.
    pub fn service(name: &str) -> Whose {
        Whose(format!("{NO_ACCOUNT}{name}").into())
    }

    /// Who is called so on the disk.
    pub fn stored(name: &str) -> Whose {
        Whose(name.into())
    }

    /// Whether it is an account.
    pub fn is_account(&self) -> bool {
        !self.0.starts_with(NO_ACCOUNT)
    }

    /// The localpart of the room that is called so in a tree that has rows of accounts and rooms.
    pub fn stored_room(name: &[u8]) -> Option<&str> {
        std::str::from_utf8(name).ok()?.strip_prefix(NO_ACCOUNT)
    }
}

impl Deref for Whose {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Whose {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<Whose> for Box<str> {
    fn from(owner: Whose) -> Box<str> {
        owner.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_disks_stay() {
        let names = [Whose::account("juliet"), Whose::room("garden"), Whose::service("pubsub")];
        assert_eq!(names.each_ref().map(|owner| &**owner), ["juliet", "@garden", "@pubsub"]);
        assert_eq!(names.each_ref().map(Whose::is_account), [true, false, false]);
        assert_eq!(
            names.each_ref().map(|owner| Whose::stored_room(owner.as_bytes())),
            [None, Some("garden"), Some("pubsub")]
        );
        assert!(names.iter().all(|owner| owner.as_bytes().starts_with(Whose::NO_ACCOUNTS) != owner.is_account()));
        assert_eq!(Whose::stored("@garden"), Whose::room("garden"));
    }
}
