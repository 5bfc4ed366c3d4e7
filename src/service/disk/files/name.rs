//! What nobody can guess: the ids of files and the tokens of their slots, 128 bits each; and the URLs that they stand in.

use crate::web::percent::encoded;
use std::fmt;
use std::fmt::Write as _;
use subtle::ConstantTimeEq;

/// Characters of one: 5 bits each.
const CHARS: usize = 26;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The id of a file: its name on the disk, and in its URL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct FileId(u128);

impl FileId {
    pub(crate) fn new(random: u128) -> FileId {
        FileId(random)
    }

    /// Nothing but what [`FileId`] writes is one: it becomes the name of a file.
    pub(crate) fn parse(text: &str) -> Option<FileId> {
        if text.len() != CHARS {
            return None;
        }
        let mut id = 0u128;
        for c in text.bytes() {
            let five = ALPHABET.iter().position(|of| *of == c)?;
            id = id.checked_mul(32)?.checked_add(five as u128)?;
        }
        Some(FileId(id))
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..CHARS).rev().try_for_each(|n| f.write_char(ALPHABET[(self.0 >> (5 * n)) as usize & 31] as char))
    }
}

/// What the sender of a file shows (RFC 6750 §2.1).
#[derive(Clone)]
pub(crate) struct SlotToken(String);

impl SlotToken {
    pub(crate) fn new(random: u128) -> SlotToken {
        SlotToken(FileId(random).to_string())
    }

    /// Whether it is this one, in a time that tells nothing of where they differ.
    pub(crate) fn is(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }

    /// The value of the field `Authorization`.
    pub(crate) fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

// It never reaches a log.
impl fmt::Debug for SlotToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlotToken")
    }
}

/// Where a file is put and had.
pub(crate) fn url(base: &str, id: FileId, name: &str) -> String {
    format!("{base}/upload/{id}/{}", encoded(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_what_it_is_written_as_and_nothing_else() {
        for id in [0, 1, 31, 1 << 64, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let text = FileId::new(id).to_string();
            assert_eq!((text.len(), FileId::parse(&text)), (CHARS, Some(FileId(id))), "{text}");
            assert_eq!(FileId::parse(&text.to_uppercase()), None);
            assert_eq!(FileId::parse(&text[1..]), None);
            assert_eq!(FileId::parse(&format!("{text}a")), None);
        }
        assert_eq!(FileId::parse(&"7".repeat(CHARS)), None, "more than 128 bits");
        for wrong in
            ["..", "", "../../../../../../../../aa", "aaaaaaaaaaaaaaaaaaaaaaa.part", "\u{e9}aaaaaaaaaaaaaaaaaaaaaaaa"]
        {
            assert_eq!(FileId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_token_is_the_same_to_the_last_character() {
        let (token, shown) = (SlotToken::new(77), FileId::new(77).to_string());
        assert!(token.is(&shown));
        assert_eq!(token.authorization(), format!("Bearer {shown}"));
        for wrong in ["", &shown[..25], &format!("{shown}a"), &FileId::new(78).to_string(), &token.authorization()] {
            assert!(!token.is(wrong), "{wrong}");
        }
        assert!(!format!("{token:?}").contains(&shown), "tokens are not shown");
    }

    /// XEP-0363 §4: what is not ASCII MUST be percent-encoded.
    #[test]
    fn a_url_has_the_name_encoded() {
        let id = FileId::new(0);
        let of = |name| url("https://house.test:5443", id, name);
        assert_eq!(of("a-b_c.d~1.JPG"), format!("https://house.test:5443/upload/{id}/a-b_c.d~1.JPG"));
        assert!(of("tr\u{e8}s cool.jpg").ends_with("/tr%C3%A8s%20cool.jpg"));
        assert!(of("50%?#&'\"<>\\+.gif").ends_with("/50%25%3F%23%26%27%22%3C%3E%5C%2B.gif"));
    }
}
