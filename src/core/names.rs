//! Which names people may choose for their accounts.

use std::collections::BTreeSet;

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

/// Letters that look like others, as these: Cyrillic and Greek small ones, some of phonetics, and digits.
const LOOKS_LIKE: [(&str, char); 15] = [
    ("аαɑ", 'a'),
    ("сϲ", 'c'),
    ("еεё", 'e'),
    ("ɡ", 'g'),
    ("һ", 'h'),
    ("іιıɩɪ1lӏ|", 'i'),
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

/// Characters that nobody sees, or that look like a space: what Unicode calls ignorable by default, and blank letters; first and last.
const UNSEEN: [(char, char); 20] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffc}'),
    ('\u{13430}', '\u{1345f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d159}', '\u{1d159}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Dots and strokes that are as easily missed as `.`, `-` and `_`; and those that are letters elsewhere.
const DOTS: &str = "·‧・･⸱ꞏ𐄁ـ";
const STROKES: &str = "ーｰ一";

/// Whether nobody sees a character.
pub(super) fn is_unseen(c: char) -> bool {
    UNSEEN.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// Whether a character only turns or hides others. Joiners and what chooses between forms of a letter or a picture do not: there are
/// languages that need them.
pub(crate) fn is_format(c: char) -> bool {
    is_unseen(c) && !matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

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
    /// It mixes alphabets, or has marks that belong to no letter: nobody reads it as what it is.
    Mixed,
    /// It has characters that nobody sees, or dots in the middle of the line.
    Unseen,
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
            NameFault::Mixed => {
                "this username mixes letters of different alphabets, or has marks that belong to no letter; take those of one"
            }
            NameFault::Unseen => "this username has characters that cannot be seen, or hardly; leave them out",
            NameFault::LookAlike => "this username looks like somebody else's; choose another",
        }
    }
}

/// Whether a name has characters that nobody sees, or dots that are easily missed.
pub(super) fn is_hidden(name: &str) -> bool {
    name.chars().any(|c| is_unseen(c) || DOTS.contains(c))
}

/// What a name looks like, at a glance, in whatever case.
pub(super) fn looks(name: &str) -> String {
    let letter = |c: char| LOOKS_LIKE.iter().find(|(like, _)| like.contains(c)).map_or(c, |(_, letter)| *letter);
    let is_small = |c: char| matches!(c, '.' | '-' | '_') || DOTS.contains(c) || STROKES.contains(c);
    let is_seen = |c: &char| !is_small(*c) && !c.is_whitespace() && !is_unseen(*c);
    let lower = name.chars().flat_map(char::to_lowercase);
    let plain = lower.filter(is_seen).map(letter).collect::<String>();
    plain.replace("rn", "m").replace("vv", "w")
}

/// An alphabet of which letters look like those of another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Script {
    Latin,
    Greek,
    Cyrillic,
    Armenian,
    Georgian,
    Cherokee,
    /// Of China, Japan and Korea, which are written together, and with Latin.
    EastAsian,
    /// All others.
    Other,
}

/// Where the letters of an alphabet are, first and last.
const SCRIPTS: [(Script, char, char); 29] = [
    (Script::Latin, '\0', '\u{2ff}'),
    (Script::Greek, '\u{370}', '\u{3ff}'),
    (Script::Cyrillic, '\u{400}', '\u{52f}'),
    (Script::Armenian, '\u{530}', '\u{58f}'),
    (Script::Georgian, '\u{10a0}', '\u{10ff}'),
    (Script::EastAsian, '\u{1100}', '\u{11ff}'),
    (Script::Cherokee, '\u{13a0}', '\u{13ff}'),
    (Script::Cyrillic, '\u{1c80}', '\u{1c8f}'),
    (Script::Georgian, '\u{1c90}', '\u{1cbf}'),
    (Script::Latin, '\u{1d00}', '\u{1d25}'),
    (Script::Greek, '\u{1d26}', '\u{1d2a}'),
    (Script::Cyrillic, '\u{1d2b}', '\u{1d2b}'),
    (Script::Latin, '\u{1d2c}', '\u{1dbf}'),
    (Script::Latin, '\u{1e00}', '\u{1eff}'),
    (Script::Greek, '\u{1f00}', '\u{1fff}'),
    (Script::Latin, '\u{2071}', '\u{209f}'),
    (Script::Latin, '\u{2c60}', '\u{2c7f}'),
    (Script::Georgian, '\u{2d00}', '\u{2d2f}'),
    (Script::Cyrillic, '\u{2de0}', '\u{2dff}'),
    (Script::EastAsian, '\u{2e80}', '\u{a4cf}'),
    (Script::Cyrillic, '\u{a640}', '\u{a69f}'),
    (Script::Latin, '\u{a720}', '\u{a7ff}'),
    (Script::EastAsian, '\u{a960}', '\u{a97f}'),
    (Script::Latin, '\u{ab30}', '\u{ab6f}'),
    (Script::Cherokee, '\u{ab70}', '\u{abbf}'),
    (Script::EastAsian, '\u{ac00}', '\u{d7ff}'),
    (Script::EastAsian, '\u{f900}', '\u{faff}'),
    (Script::EastAsian, '\u{ff66}', '\u{ffdc}'),
    (Script::EastAsian, '\u{20000}', '\u{3ffff}'),
];

/// Marks that are put onto any letter. Where a letter has one as its own, both are one character in addresses (NFKC); marks without which
/// a language is not written are others.
const MARKS: [(char, char); 6] = [
    ('\u{300}', '\u{36f}'),
    ('\u{483}', '\u{489}'),
    ('\u{1ab0}', '\u{1aff}'),
    ('\u{1dc0}', '\u{1dff}'),
    ('\u{20d0}', '\u{20ff}'),
    ('\u{fe20}', '\u{fe2f}'),
];

/// Whether a name has letters of more than one alphabet, or marks that belong to none.
pub(super) fn is_mixed(name: &str) -> bool {
    let is_mark = |c: char| MARKS.iter().any(|(first, last)| (*first..=*last).contains(&c));
    mixes_alphabets(name) || name.chars().any(is_mark)
}

/// Whether a word has letters of more than one alphabet.
pub(super) fn mixes_alphabets(name: &str) -> bool {
    let of =
        |c: char| SCRIPTS.iter().find(|(_, first, last)| (*first..=*last).contains(&c)).map_or(Script::Other, |s| s.0);
    let scripts: BTreeSet<Script> = name.chars().filter(|c| c.is_alphabetic()).map(of).collect();
    let are_written_together = || scripts.iter().all(|one| matches!(one, Script::Latin | Script::EastAsian));
    scripts.len() > 1 && !are_written_together()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_alphabet() {
        for name in [
            "juliet",
            "müller-5",
            "øyvind",
            "жанна",
            "софія",
            "ηλίας",
            "արամ",
            "თამარ",
            "明",
            "さくら明",
            "kim김",
            "อรุณ",
            "देवी",
            "שרה",
            "يوسف",
            "nguyễn",
            "x2",
            "007",
            "ꮳꮃꭹ",
        ] {
            assert!(!is_mixed(name), "{name}");
        }
        for name in [
            "аdmin",       // Cyrillic а
            "αdmin",       // Greek α
            "juliեt",      // Armenian
            "jꭵliet",      // Cherokee
            "რoot",        // Georgian
            "ηλίас",       // Greek and Cyrillic
            "root\u{5d5}", // Hebrew
            "明а",         // Han and Cyrillic
            "j\u{336}uliet",
            "x\u{20dd}",
            "а\u{488}",
        ] {
            assert!(is_mixed(name), "{name}");
        }
        assert!(
            SCRIPTS.is_sorted_by_key(|(_, first, _)| *first) && SCRIPTS.iter().all(|(_, first, last)| first <= last)
        );
    }

    #[test]
    fn what_nobody_sees_is_no_part_of_a_name() {
        let hides = [
            '\u{3164}',
            '\u{ffa0}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{17b5}',
            '\u{2800}',
            '\u{b7}',
            '\u{30fb}',
            '\u{ff65}',
            '\u{180b}',
            '\u{fe0f}',
            '\u{34f}',
            '\u{ad}',
            '\u{200b}',
            '\u{200d}',
            '\u{202e}',
            '\u{feff}',
            '\u{e0061}',
            '\u{640}',
            '\u{a78f}',
        ];
        for hidden in hides {
            for name in [format!("paul{hidden}"), format!("{hidden}paul"), format!("pa{hidden}ul")] {
                assert!(is_hidden(&name), "{name:?}");
                assert_eq!(looks(&name), "pau1".replace('1', "i"), "{name:?}");
            }
        }
        for name in ["paul", "p.a-u_l", "さくら明", "kim김", "देवी", "ラーメン", "一郎"] {
            assert!(!is_hidden(name), "{name}");
        }
        assert!(UNSEEN.is_sorted() && UNSEEN.iter().all(|(first, last)| first <= last));
    }

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
            ("juliet", "Juliet"),
            ("paul", "paulー"),
        ] {
            assert_eq!(looks(one), looks(other), "{one} {other}");
        }
        for (one, other) in [("anna", "anne"), ("juliet", "julien"), ("bob", "bobby"), ("müller", "muller")] {
            assert_ne!(looks(one), looks(other), "{one} {other}");
        }
    }
}
