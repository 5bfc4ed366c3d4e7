//! Which names people may choose for their accounts.

/// The longest name that somebody can choose, in bytes.
pub const NAME_BYTES: usize = 64;

/// Names that people believe (RFC 2142, and what else looks like whoever runs the server): only who becomes an administrator takes one.
pub(super) const TRUSTED: [&str; 14] = [
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
pub(super) fn looks(name: &str) -> String {
    let letter = |c: char| LOOKS_LIKE.iter().find(|(like, _)| like.contains(c)).map_or(c, |(_, letter)| *letter);
    let plain = name.chars().filter(|c| !matches!(c, '.' | '-' | '_')).map(letter).collect::<String>();
    plain.replace("rn", "m").replace("vv", "w")
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
