//! The trees, one row each: number, name, and whose its rows are.
//!
//! A tree's number stands in the frames of the log, in backups, beside the names of large values and in the sum of what is counted;
//! its name is what sled knows it by. Both are for good: a tree that is no longer needed keeps its row, and a new one gets the next
//! number. 13 is not free: the engine's own tree has it (`trees.rs`).

use super::{Bytes, key};

/// Whose the rows of a tree are: what becomes of them with an account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owned {
    /// They are not an account's. What names an account there, the extension removes that wrote it.
    No,
    /// They are the accounts: the row of one goes behind all that mentions it.
    Itself,
    /// One row an account, under [`key::account`]. It goes with the account.
    Row,
    /// Any number of them, under keys that begin with [`key::prefix`]. They go with the account.
    Rows,
    /// One row an account, under [`key::account`]. It stays, for whoever has the name later.
    Outlives,
}

/// What removes the rows of an account from a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Removal {
    /// The row of this key alone.
    Key(Bytes),
    /// All rows whose keys begin so.
    Prefix(Bytes),
}

macro_rules! trees {
    ($($(#[$doc:meta])* $tree:ident = $number:literal, $name:literal, $owned:ident;)*) => {
        /// The trees: one kind of record each; [`key`] says what the keys are.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Tree { $($(#[$doc])* $tree = $number,)* }

        impl Tree {
            /// All of them, in the order of their numbers.
            pub const ALL: [Tree; [$($number),*].len()] = [$(Tree::$tree),*];

            /// What stands for it on the disk.
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The tree that a number stands for; none: it was written by a newer version, or is damaged.
            pub const fn of_number(number: u8) -> Option<Tree> {
                match number {
                    $($number => Some(Tree::$tree),)*
                    _ => None,
                }
            }

            /// What it is called in the database.
            pub const fn name(self) -> &'static str {
                match self { $(Tree::$tree => $name,)* }
            }

            /// Whose its rows are.
            pub const fn owned(self) -> Owned {
                match self { $(Tree::$tree => Owned::$owned,)* }
            }
        }
    };
}

trees! {
    /// One row each: schema version, domain, the server's secret, rows of work to be resumed.
    Meta = 0, "meta", No;
    /// localpart -> credentials and what belongs to the account itself.
    Account = 1, "account", Itself;
    /// localpart, contact's bare JID -> roster item or pending subscription request.
    Roster = 2, "roster", Rows;
    /// localpart, JID -> a blocked address.
    Block = 3, "block", Rows;
    /// localpart, namespace and name -> private XML.
    Private = 4, "private", Rows;
    /// localpart -> vcard-temp. Also of rooms.
    Vcard = 5, "vcard", Row;
    /// localpart, number -> an offline message.
    Offline = 6, "offline", Rows;
    /// localpart -> what is archived for it (XEP-0441), and from where on its archive begins.
    Archive = 7, "archive", Outlives;
    /// localpart of a room, what -> its configuration, its subject, an affiliation.
    Room = 8, "room", No;
    /// localpart or service, node -> a publish-subscribe node's configuration, affiliations and subscriptions.
    Node = 9, "node", Rows;
    /// localpart or service, node, number -> an item of a node.
    Item = 10, "item", Rows;
    /// localpart, service and node -> where an account wants to have push notifications sent.
    Push = 11, "push", Rows;
    /// localpart, number -> a token that a client may log in with.
    Token = 12, "token", Rows;
    /// name -> who may say something by HTTP, because they know a token.
    Notifier = 14, "notifier", No;
    /// SHA-256 of a token -> an invitation.
    Invitation = 15, "invitation", No;
    /// localpart -> that it administers the server, whatever the settings say.
    Admin = 16, "admin", Row;
    /// localpart -> how the account has come into the house, and what it is still to have there.
    House = 17, "house", Row;
}

impl Tree {
    /// What removes the rows that go with an account.
    pub fn removal(self, local: &str) -> Option<Removal> {
        match self.owned() {
            Owned::Row => Some(Removal::Key(key::account(local))),
            Owned::Rows => Some(Removal::Prefix(key::prefix(local))),
            Owned::No | Owned::Itself | Owned::Outlives => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What disks have. A line may be added here, and none changed.
    const ON_DISKS: [(Tree, u8, &str, Owned); 17] = [
        (Tree::Meta, 0, "meta", Owned::No),
        (Tree::Account, 1, "account", Owned::Itself),
        (Tree::Roster, 2, "roster", Owned::Rows),
        (Tree::Block, 3, "block", Owned::Rows),
        (Tree::Private, 4, "private", Owned::Rows),
        (Tree::Vcard, 5, "vcard", Owned::Row),
        (Tree::Offline, 6, "offline", Owned::Rows),
        (Tree::Archive, 7, "archive", Owned::Outlives),
        (Tree::Room, 8, "room", Owned::No),
        (Tree::Node, 9, "node", Owned::Rows),
        (Tree::Item, 10, "item", Owned::Rows),
        (Tree::Push, 11, "push", Owned::Rows),
        (Tree::Token, 12, "token", Owned::Rows),
        (Tree::Notifier, 14, "notifier", Owned::No),
        (Tree::Invitation, 15, "invitation", Owned::No),
        (Tree::Admin, 16, "admin", Owned::Row),
        (Tree::House, 17, "house", Owned::Row),
    ];

    #[test]
    fn numbers_and_names_are_those_on_disks() {
        assert_eq!(Tree::ALL.map(|tree| (tree, tree.number(), tree.name(), tree.owned())), ON_DISKS);
        for number in 0..=u8::MAX {
            let known = ON_DISKS.iter().find(|row| row.1 == number).map(|row| row.0);
            assert_eq!(Tree::of_number(number), known, "{number}");
        }
    }

    #[test]
    fn an_account_takes_its_own_rows_along() {
        assert_eq!(Tree::Vcard.removal("juliet"), Some(Removal::Key((*b"juliet").into())));
        assert_eq!(Tree::Item.removal("juliet"), Some(Removal::Prefix((*b"juliet\0").into())));
        assert_eq!((Tree::Meta.removal("juliet"), Tree::Archive.removal("juliet")), (None, None));
    }
}
