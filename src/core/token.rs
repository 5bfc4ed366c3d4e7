//! Tokens that clients log in with in place of the password (XEP-0484).
//!
//! The proof of a token is an HMAC whose key is the token: whoever checks it has to have it, and nothing that could be stored in its
//! place would be worth less to a thief. So tokens are stored as they are, in the same file as what makes the ids of streams; they
//! are random, good for this server alone, and end with a password, with the account, or by themselves.
//!
//! What changes which tokens are good is on stable storage before a client hears of it. That is seldom: a token that was just used
//! for the first time, or is a day old. The count of logins is stored, but not waited for: it is for logins inside TLS's early data,
//! which are not taken here.
//!
//! The time is the wall clock's, unless that was never set: then it is that of the newest message. So a board without a clock never
//! takes a token for too old that is not, and never for younger than what it knows. No token is made while nothing is known.

use crate::store::record::{Broken, Reader, Writer};
use crate::store::{StoreError, key};
use crate::wire::login::{Client, Ht, Proof};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use subtle::ConstantTimeEq;

/// Clients of one account that have tokens; that which got one longest ago loses it first.
pub const CLIENTS: usize = 16;
/// How long a token is good, in milliseconds.
pub const LIFE_MS: u64 = 21 * DAY_MS;
/// How old one is that is replaced when it is used, in milliseconds.
pub const ROTATE_MS: u64 = DAY_MS;
/// A token of so far in the future was made while the clock was wrong, in milliseconds.
pub(super) const AHEAD_MS: u64 = DAY_MS;
const DAY_MS: u64 = 86_400_000;

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) secret: [u8; 32],
    pub(super) mechanism: Ht,
    /// Milliseconds since 1970.
    pub(super) issued: u64,
    pub(super) expires: u64,
    /// The greatest count of a login with it.
    pub(super) count: Option<u32>,
}

/// No secrets in logs.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({:?})", self.mechanism)
    }
}

impl Token {
    pub(super) fn text(&self) -> String {
        STANDARD.encode(self.secret)
    }

    pub(super) fn sign(&self, what: &str, binding: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.text().as_bytes()));
        context.update(what.as_bytes());
        context.update(binding);
        context.sign()
    }

    /// Whether it is this one that was proven, with the mechanism that it was made for (§3.4).
    pub(super) fn is(&self, proof: &Proof) -> bool {
        let expected = self.sign("Initiator", &proof.binding);
        bool::from(expected.as_ref().ct_eq(&proof.hash)) && self.mechanism == proof.mechanism
    }

    fn write(&self, w: Writer) -> Writer {
        let mechanism = match self.mechanism {
            Ht::None => 0,
            Ht::EndPoint => 1,
            Ht::Exporter => 2,
        };
        let w = w.bytes(&self.secret).u8(mechanism).u64(self.issued).u64(self.expires);
        match self.count {
            Some(count) => w.u8(1).u32(count),
            None => w.u8(0),
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Token, Broken> {
        Ok(Token {
            secret: r.bytes()?.try_into().map_err(|_| Broken)?,
            mechanism: match r.u8()? {
                0 => Ht::None,
                1 => Ht::EndPoint,
                2 => Ht::Exporter,
                _ => return Err(Broken),
            },
            issued: r.u64()?,
            expires: r.u64()?,
            count: if r.u8()? == 1 { Some(r.u32()?) } else { None },
        })
    }
}

/// The tokens of one client: the one in use, and the one that replaces it when it is used (§5.1).
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub(super) struct Slots {
    pub(super) current: Option<Token>,
    pub(super) new: Option<Token>,
}

impl Slots {
    pub(super) fn issued(&self) -> u64 {
        self.current.iter().chain(&self.new).map(|token| token.issued).max().unwrap_or_default()
    }

    pub(super) fn record(&self) -> Box<[u8]> {
        [&self.current, &self.new]
            .into_iter()
            .fold(Writer::new(1), |w, slot| match slot {
                Some(token) => token.write(w.u8(1)),
                None => w.u8(0),
            })
            .done()
    }

    fn from_record(record: &[u8]) -> Result<Slots, Broken> {
        let mut r = Reader::new(record)?;
        if r.version != 1 {
            return Err(Broken);
        }
        let mut slot = || Ok(if r.u8()? == 1 { Some(Token::read(&mut r)?) } else { None });
        Ok(Slots { current: slot()?, new: slot()? })
    }
}

/// All tokens, by localpart and client.
#[derive(Default, Debug)]
pub(super) struct Tokens(BTreeMap<(Box<str>, Client), Slots>);

impl Tokens {
    fn of(local: &str) -> RangeInclusive<(Box<str>, Client)> {
        (local.into(), Client(0))..=(local.into(), Client(u128::MAX))
    }

    /// Those of a client of an account.
    pub(super) fn get(&self, local: &str, client: Client) -> Option<&Slots> {
        self.0.get(&(local.into(), client))
    }

    /// The same, also of one that has none yet.
    pub(super) fn slots(&mut self, local: &str, client: Client) -> &mut Slots {
        self.0.entry((local.into(), client)).or_default()
    }

    /// A client has none any more.
    pub(super) fn remove(&mut self, local: &str, client: Client) {
        self.0.remove(&(local.into(), client));
    }

    /// The clients of an account that have some, and when each got its last.
    pub(super) fn clients(&self, local: &str) -> Vec<(Client, u64)> {
        self.0.range(Tokens::of(local)).map(|((_, client), slots)| (*client, slots.issued())).collect()
    }

    /// One row of [`crate::store::Tree::Token`].
    pub(super) fn load(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let (local, client) = key::split(key).ok_or(Broken)?;
        let client = std::str::from_utf8(client).ok().and_then(|text| u128::from_str_radix(text, 16).ok());
        self.0.insert((local.into(), Client(client.ok_or(Broken)?)), Slots::from_record(value)?);
        Ok(())
    }
}

/// A token that was proven.
pub(super) struct Used {
    /// The answer to its proof.
    pub(super) answer: Box<[u8]>,
    /// Which tokens are good has changed, and is being stored.
    pub(super) changed: bool,
    /// It is old enough to be replaced.
    pub(super) rotate: bool,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn token(mechanism: Ht, count: Option<u32>) -> Token {
        Token { secret: [7; 32], mechanism, issued: 5, expires: 6, count }
    }

    #[test]
    fn records() {
        for slots in [
            Slots::default(),
            Slots { current: Some(token(Ht::None, None)), new: Some(token(Ht::Exporter, Some(u32::MAX))) },
            Slots { current: None, new: Some(token(Ht::EndPoint, Some(0))) },
        ] {
            let record = slots.record();
            assert_eq!(Slots::from_record(&record).unwrap(), slots);
            for end in 0..record.len() {
                assert!(Slots::from_record(&record[..end]).is_err());
            }
        }
        assert!(Slots::from_record(&[2, 0, 0]).is_err());
        let mut tokens = Tokens::default();
        for key in ["romeo", "romeo\0", "romeo\0x"] {
            assert!(tokens.load(key.as_bytes(), &Slots::default().record()).is_err());
        }
    }

    #[test]
    fn mechanisms_are_those_on_disks() {
        for (mechanism, number) in [(Ht::None, 0), (Ht::EndPoint, 1), (Ht::Exporter, 2)] {
            let record = Slots { current: Some(token(mechanism, None)), new: None }.record();
            // Behind the version, that there is one, and its secret.
            assert_eq!(record[2 + 4 + 32], number, "{mechanism:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", token(Ht::None, None)), "Token(None)");
    }

    #[test]
    fn proofs() {
        let binding: Box<[u8]> = (*b"channel").into();
        let sign =
            |text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, STANDARD.encode([7; 32]).as_bytes()), text);
        let proof =
            |mechanism, text: &[u8]| Proof { mechanism, hash: sign(text).as_ref().into(), binding: binding.clone() };
        let token = token(Ht::EndPoint, None);
        assert!(token.is(&proof(Ht::EndPoint, b"Initiatorchannel")));
        assert!(!token.is(&proof(Ht::None, b"Initiatorchannel")) && !token.is(&proof(Ht::EndPoint, b"Initiator")));
        let short = Proof { hash: sign(b"Initiatorchannel").as_ref()[..31].into(), ..proof(Ht::EndPoint, b"") };
        assert!(!token.is(&short));
    }
}
