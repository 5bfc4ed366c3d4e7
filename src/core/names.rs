//! Which names people may choose for their accounts.

use super::state::State;
use crate::wire::Jid;

/// The longest name that somebody can choose, in bytes.
pub const NAME_BYTES: usize = 64;

/// Names that people believe (RFC 2142, and what else looks like whoever runs the server): only who becomes an administrator takes one.
const TRUSTED: [&str; 14] = [
    "abuse",
    "admin",
    "administrator",
    "hostmaster",
    "info",
    "inglenook",
    "noc",
    "operator",
    "postmaster",
    "root",
    "security",
    "support",
    "system",
    "webmaster",
];

/// Letters that look like others, as these: Cyrillic and Greek small ones, and digits.
const LOOKS_LIKE: [(&str, char); 14] = [
    ("аα", 'a'),
    ("сϲ", 'c'),
    ("еεё", 'e'),
    ("һ", 'h'),
    ("іιı1lӏ|", 'i'),
    ("јϳ", 'j'),
    ("к", 'k'),
    ("п", 'n'),
    ("оοо0", 'o'),
    ("рρ", 'p'),
    ("ѕ5", 's'),
    ("υц", 'u'),
    ("ν", 'v'),
    ("хχ", 'x'),
];

/// Why a name cannot be chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameFault {
    /// There is none.
    Missing,
    /// It is longer than [`NAME_BYTES`].
    TooLong,
    /// It cannot be the first part of an address (RFC 7622 §3.3).
    NotAllowed,
    /// Somebody has it.
    Taken,
    /// It is kept for who runs the server, or for somebody else who is invited; or another one is kept for this invitation.
    Reserved,
    /// It looks like the name of somebody else.
    LookAlike,
}

impl NameFault {
    /// For a person, in English.
    pub fn words(self) -> &'static str {
        match self {
            NameFault::Missing => "a username is needed",
            NameFault::TooLong => "the username is too long",
            NameFault::NotAllowed => "this cannot be a username",
            NameFault::Taken => "this username is taken",
            NameFault::Reserved => "this username is kept for somebody else",
            NameFault::LookAlike => "this username looks like somebody else's; choose another",
        }
    }
}

/// What a name looks like, at a glance.
fn looks(name: &str) -> String {
    let letter = |c: char| LOOKS_LIKE.iter().find(|(like, _)| like.contains(c)).map_or(c, |(_, letter)| *letter);
    let plain = name.chars().filter(|c| !matches!(c, '.' | '-' | '_')).map(letter).collect::<String>();
    plain.replace("rn", "m").replace("vv", "w")
}

impl State {
    /// The address of somebody who chooses this name.
    ///
    /// # Errors
    /// What cannot be, whoever has it.
    pub(super) fn named(&self, name: &str) -> Result<Jid, NameFault> {
        match name.len() {
            0 => return Err(NameFault::Missing),
            n if n > NAME_BYTES => return Err(NameFault::TooLong),
            _ => {}
        }
        let jid = Jid::new(Some(name), self.domain().domain(), None).map_err(|_| NameFault::NotAllowed)?;
        match jid.local() {
            Some(local) if local.len() <= NAME_BYTES => Ok(jid),
            Some(_) => Err(NameFault::TooLong),
            None => Err(NameFault::NotAllowed),
        }
    }

    /// Whether somebody may choose this address who will not administer the server: nobody has it, nobody is believed for it, and it
    /// does not look like somebody's.
    pub(super) fn may_choose(&self, jid: &Jid) -> Result<(), NameFault> {
        let local = jid.local().unwrap_or_default();
        if self.account(jid).is_some() {
            return Err(NameFault::Taken);
        }
        // Who has the name of an administrator is one, whether it has an account yet, no more, or still.
        if self.administers(jid) || TRUSTED.contains(&local) {
            return Err(NameFault::Reserved);
        }
        let looks_like = looks(local);
        let alike = |other: &str| looks(other) == looks_like;
        match self.accounts().any(|account| alike(account.jid.local().unwrap_or_default()))
            || TRUSTED.into_iter().any(alike)
        {
            true => Err(NameFault::LookAlike),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_alike_is_alike() {
        for (one, other) in [
            ("juliet", "ju1iet"),
            ("juliet", "julіet"),
            ("paul", "раul"),
            ("bob", "b0b"),
            ("anna.b", "annab"),
            ("tom", "torn"),
            ("william", "vvilliam"),
        ] {
            assert_eq!(looks(one), looks(other), "{one} {other}");
        }
        for (one, other) in [("anna", "anne"), ("juliet", "julien"), ("bob", "bobby"), ("müller", "muller")] {
            assert_ne!(looks(one), looks(other), "{one} {other}");
        }
    }
}
