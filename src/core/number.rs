//! The numbers of messages, and how they look outside.
//!
//! A number is the time in microseconds since 1970, or one more than the last: they grow whatever the clock does. Outside it is
//! followed by a code over the number and whose archive it is in: nobody can guess an id (XEP-0313 §3), and one that was never
//! given is refused without reading anything.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::hmac;

/// Gives numbers, and texts for them.
#[derive(Debug)]
pub(super) struct Numbers {
    key: hmac::Key,
    /// The last that was given.
    last: u64,
    /// The last that an entry of the log has.
    pub(super) logged: u64,
}

/// Bytes of the code in a text.
const CODE: usize = 10;
/// Bytes of a pseudonym: nobody can find another JID with the same one.
const PSEUDONYM_BYTES: usize = 24;

impl Numbers {
    pub(super) fn new(secret: &[u8; 32]) -> Numbers {
        // A key of its own: the secret is used for other things, too.
        let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"numbers of messages");
        Numbers { key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()), last: 0, logged: 0 }
    }

    /// This one was given before.
    pub(super) fn seen(&mut self, number: u64) {
        self.last = self.last.max(number);
    }

    /// The last that was given.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The next one. `wall`: milliseconds since 1970.
    pub(super) fn next(&mut self, wall: u64) -> u64 {
        self.last = wall.saturating_mul(1000).max(self.last.saturating_add(1));
        self.last
    }

    /// How it looks outside, for what is `owner`'s.
    pub(super) fn text(&self, owner: &str, number: u64) -> String {
        let mut bytes = [0; 8 + CODE];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes[8..].copy_from_slice(&self.code(owner, number));
        BASE64.encode(bytes)
    }

    /// The number of a text of [`Numbers::text`]; `None`: it is none of this owner's.
    pub(super) fn read(&self, owner: &str, text: &str) -> Option<u64> {
        let bytes = BASE64.decode(text).ok()?;
        let (number, code) = bytes.split_at_checked(8)?;
        let number = u64::from_be_bytes(number.try_into().ok()?);
        (self.code(owner, number) == code).then_some(number)
    }

    /// [`super::State::pseudonym`]
    pub(super) fn pseudonym(&self, place: &str, who: &str) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        // No number and owner read like this: they begin with eight bytes of a number, which are never all 255.
        for part in [&[255; 8][..], place.as_bytes(), &[0], who.as_bytes()] {
            context.update(part);
        }
        BASE64.encode(&context.sign().as_ref()[..PSEUDONYM_BYTES])
    }

    fn code(&self, owner: &str, number: u64) -> [u8; CODE] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&number.to_be_bytes());
        context.update(owner.as_bytes());
        let tag = context.sign();
        let mut code = [0; CODE];
        code.copy_from_slice(&tag.as_ref()[..CODE]);
        code
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_whatever_the_clock_does() {
        let mut numbers = Numbers::new(&[7; 32]);
        numbers.seen(1_700_000_000_000_000);
        let mut last = numbers.last();
        for wall in [0, 0, 5, 1_700_000_000_001, 1_700_000_000_001, 3, u64::MAX / 1000, 0] {
            let next = numbers.next(wall);
            assert!(next > last, "{wall}");
            last = next;
        }
        assert_eq!(Numbers::new(&[7; 32]).next(1_700_000_000_000), 1_700_000_000_000_000);
    }

    #[test]
    fn a_text_is_one_owners_and_cannot_be_made_up() {
        let numbers = Numbers::new(&[7; 32]);
        for number in [0, 1, 1_700_000_000_000_000, u64::MAX] {
            let text = numbers.text("juliet", number);
            assert_eq!(text.len(), 24);
            assert_eq!(numbers.read("juliet", &text), Some(number));
            assert_eq!(numbers.read("romeo", &text), None);
            assert_ne!(numbers.text("romeo", number), text);
            assert_eq!(Numbers::new(&[8; 32]).read("juliet", &text), None);
            for at in 0..text.len() {
                let mut forged = text.clone().into_bytes();
                forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
                assert_eq!(numbers.read("juliet", std::str::from_utf8(&forged).unwrap()), None, "{at}");
            }
        }
        for none in ["", "AAAA", "not base64!", "1-2"] {
            assert_eq!(numbers.read("juliet", none), None);
        }
    }
}
