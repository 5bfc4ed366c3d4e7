//! The numbers of messages, and how they look outside.
//!
//! A number is the time in microseconds since 1970, or more, so that they grow whatever the clock does. When the clock went back, all
//! that come from there on are ahead of it by so much that they follow the last; that is remembered ([`Skew`]) until the clock has
//! caught up, and tells when a message came: what it is stamped with is right again as soon as the clock is, also if its number is
//! of a year to come. Outside a number is
//! followed by a code over the number and whose archive it is in: nobody can guess an id (XEP-0313 §3), and one that was never
//! given is refused without reading anything.

use super::rows::scan;
use crate::store::record::{Broken, Reader, Writer};
use crate::store::{Batch, Engine as Store, StoreError, Tree};
use crate::wire::stamp;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::hmac;

/// How far numbers are ahead of the clock, from one on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Skew {
    /// The first number.
    from: u64,
    /// How far, in microseconds.
    by: u64,
}

/// Gives numbers, and texts for them.
#[derive(Debug)]
pub(super) struct Numbers {
    key: hmac::Key,
    /// In ascending order; before the first, numbers are what the clock showed.
    skews: Vec<Skew>,
    /// How many of them, from the last on, are not stored yet.
    unwritten: usize,
    /// The first numbers of those that are to be forgotten.
    gone: Vec<u64>,
    /// The last that was given.
    last: u64,
    /// The last that an entry of the log has.
    pub(super) logged: u64,
}

/// Skews that are remembered: a clock that goes back more often has the oldest forgotten, and dates from there are wrong again.
const SKEWS: usize = 4096;
/// Skews that are written or deleted at once.
const SKEWS_AT_ONCE: usize = 20;
/// A clock that went back by less than this, in microseconds, is waited for.
const BACK_US: u64 = 1_000_000;
/// A clock that went ahead by more than this, in microseconds, needs no skew but what it takes to follow the last number.
const AHEAD_US: u64 = 30 * 86_400_000_000;
/// How the keys of skews begin in [`Tree::Meta`]; their first numbers follow, big-endian.
const ROWS: &[u8] = b"clock\0skew\0";
/// Bytes of the code in a text.
const CODE: usize = 10;
/// Bytes of a text, in Base64.
pub(super) const TEXT_BYTES: usize = (8 + CODE) / 3 * 4;
/// Bytes of a pseudonym: nobody can find another JID with the same one.
const PSEUDONYM_BYTES: usize = 24;

impl Numbers {
    pub(super) fn new(secret: &[u8; 32]) -> Numbers {
        // A key of its own: the secret is used for other things, too.
        let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"numbers of messages");
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
        Numbers { key, skews: Vec::new(), unwritten: 0, gone: Vec::new(), last: 0, logged: 0 }
    }

    /// Reads the skews.
    pub(super) fn load(&mut self, engine: &mut dyn Store) -> Result<(), StoreError> {
        scan(engine, Tree::Meta, ROWS, |key, row| {
            let from = key.get(ROWS.len()..).and_then(|from| from.try_into().ok()).map(u64::from_be_bytes);
            let mut r = Reader::new(row)?;
            if r.version != 1 {
                return Err(Broken.into());
            }
            self.skews.push(Skew { from: from.ok_or(Broken)?, by: r.u64()? });
            Ok(())
        })
    }

    /// Adds to a batch what must be stored with the numbers in it.
    pub(super) fn note(&mut self, batch: &mut Batch) {
        if self.unwritten == 0 {
            return;
        }
        let row = |from: u64| [ROWS, &from.to_be_bytes()].concat();
        let first = self.skews.len() - self.unwritten.min(self.skews.len());
        for skew in self.skews.iter().skip(first).take(SKEWS_AT_ONCE) {
            batch.put(Tree::Meta, row(skew.from), Writer::new(1).u64(skew.by).done());
        }
        self.unwritten = self.unwritten.saturating_sub(SKEWS_AT_ONCE);
        let keep = self.gone.len().saturating_sub(SKEWS_AT_ONCE);
        self.gone.drain(keep..).for_each(|from| batch.delete(Tree::Meta, row(from)));
    }

    /// This one was given before.
    pub(super) fn seen(&mut self, number: u64) {
        self.last = self.last.max(number);
    }

    /// The last that was given.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The next one. `time`: milliseconds since 1970.
    pub(super) fn next(&mut self, time: u64) -> u64 {
        let at = time.min(stamp::LAST_MS) * 1000;
        let skew = self.skews.last().map_or(0, |skew| skew.by);
        if skew == 0 && at > self.last {
            self.last = at;
            return at;
        }
        self.next_skewed(at, skew)
    }

    /// The same, while numbers are ahead of the clock, or must be. `at`: microseconds since 1970.
    fn next_skewed(&mut self, at: u64, skew: u64) -> u64 {
        let (next, before) = (self.last.saturating_add(1), self.last.saturating_sub(skew));
        let behind = next.saturating_sub(at.saturating_add(skew));
        let other = at > self.last || behind > BACK_US || at > before.saturating_add(AHEAD_US);
        let by = if other { next.saturating_sub(at) } else { skew };
        self.last = next.max(at.saturating_add(by));
        if by != skew {
            self.skews.push(Skew { from: self.last, by });
            self.unwritten += 1;
            if self.skews.len() > SKEWS {
                self.gone.push(self.skews.remove(0).from);
                self.unwritten = self.unwritten.min(SKEWS);
            }
        }
        self.last
    }

    /// When a number was given, in milliseconds since 1970.
    pub(super) fn stamp(&self, number: u64) -> u64 {
        let n = self.skews.partition_point(|skew| skew.from <= number);
        let by = n.checked_sub(1).map_or(0, |n| self.skews[n].by);
        number.saturating_sub(by) / 1000
    }

    /// The numbers that were given from `start` to `end`, in milliseconds since 1970, both included; in ascending order, none
    /// adjacent. One that is open has no end in numbers.
    pub(super) fn between(&self, start: Option<u64>, end: Option<u64>) -> Vec<(u64, u64)> {
        let mut found: Vec<(u64, u64)> = Vec::new();
        for n in 0..=self.skews.len() {
            let Skew { from, by } = n.checked_sub(1).map_or(Skew { from: 0, by: 0 }, |n| self.skews[n]);
            let to = self.skews.get(n).map_or(u64::MAX, |next| next.from - 1);
            let micros = |ms: u64| ms.saturating_mul(1000).saturating_add(by);
            let from = start.map_or(from, |start| from.max(micros(start)));
            let to = end.map_or(to, |end| to.min(micros(end).saturating_add(999)));
            match found.last_mut() {
                _ if from > to => {}
                Some(last) if last.1.checked_add(1) == Some(from) => last.1 = to,
                _ => found.push((from, to)),
            }
        }
        found
    }

    /// How it looks outside, for what is `owner`'s.
    pub(super) fn text(&self, owner: &str, number: u64) -> String {
        self.write_text(owner, number, &mut [0; TEXT_BYTES]).to_owned()
    }

    /// The same, in `text`: every message is given one or two.
    pub(super) fn write_text<'a>(&self, owner: &str, number: u64, text: &'a mut [u8; TEXT_BYTES]) -> &'a str {
        let mut bytes = [0; 8 + CODE];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes[8..].copy_from_slice(&self.code(owner, number));
        let len = BASE64.encode_slice(bytes, text).unwrap_or_default();
        std::str::from_utf8(&text[..len]).unwrap_or_default()
    }

    /// The number of a text of [`Numbers::text`]; `None`: it is none of this owner's.
    pub(super) fn read(&self, owner: &str, text: &str) -> Option<u64> {
        let bytes = BASE64.decode(text).ok()?;
        let (number, code) = bytes.split_at_checked(8)?;
        let number = u64::from_be_bytes(number.try_into().ok()?);
        (self.code(owner, number) == code).then_some(number)
    }

    /// [`super::State::pseudonym`]
    pub(super) fn pseudonym(&self, place: &str, who: &str, begins: u64) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        // No number and owner read like this: they begin with eight bytes of a number, which are never all 255.
        for part in [&[255; 8][..], place.as_bytes(), &[0], who.as_bytes()] {
            context.update(part);
        }
        // The first who has a name has had the same pseudonym since before there were others.
        if begins > 0 {
            context.update(&[0]);
            context.update(&begins.to_be_bytes());
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
        for wall in [0, 0, 5, 1_700_000_000_001, 1_700_000_000_001, 3, u64::MAX, 0] {
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
