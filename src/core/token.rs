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

use super::state::State;
use crate::store::record::{Broken, Reader, Writer};
use crate::store::{StoreError, Tree, key};
use crate::wire::login::{Client, Ht, Proof, Refused};
use crate::wire::stamp;
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
const AHEAD_MS: u64 = DAY_MS;
const DAY_MS: u64 = 86_400_000;
/// A clock that shows less has not been set, in milliseconds since 1970: 2025-01-01.
pub const PLAUSIBLE_MS: u64 = 1_735_689_600_000;

#[derive(Clone, PartialEq, Eq)]
struct Token {
    secret: [u8; 32],
    mechanism: Ht,
    /// Milliseconds since 1970.
    issued: u64,
    expires: u64,
    /// The greatest count of a login with it.
    count: Option<u32>,
}

/// No secrets in logs.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({:?})", self.mechanism)
    }
}

impl Token {
    fn text(&self) -> String {
        STANDARD.encode(self.secret)
    }

    fn sign(&self, what: &str, binding: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.text().as_bytes()));
        context.update(what.as_bytes());
        context.update(binding);
        context.sign()
    }

    /// Whether it is this one that was proven, with the mechanism that it was made for (§3.4).
    fn is(&self, proof: &Proof) -> bool {
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
struct Slots {
    current: Option<Token>,
    new: Option<Token>,
}

impl Slots {
    fn issued(&self) -> u64 {
        self.current.iter().chain(&self.new).map(|token| token.issued).max().unwrap_or_default()
    }

    fn record(&self) -> Box<[u8]> {
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

    /// One row of [`Tree::Token`].
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

impl State {
    /// The time that tokens go by, in milliseconds since 1970.
    fn known_ms(&self) -> u64 {
        let wall = self.now.wall;
        if wall >= PLAUSIBLE_MS { wall } else { wall.max(self.last_mark() / 1000) }
    }

    fn store_token(&mut self, local: &str, client: Client) -> bool {
        let record = self.tokens.0.get(&(local.into(), client)).map(Slots::record);
        let key = key::named(local, &client.to_string());
        let Ok(batch) = self.write() else { return false };
        match record {
            Some(record) => batch.put(Tree::Token, key, record),
            None => batch.delete(Tree::Token, key),
        }
        true
    }

    /// Checks the proof of a token, and notes its use (§3.4 to §3.6).
    pub(super) fn use_token(
        &mut self,
        local: &str,
        client: Client,
        proof: &Proof,
        count: Option<u32>,
        invalidate: bool,
    ) -> Result<Used, Refused> {
        let now = self.known_ms();
        let at = (Box::from(local), client);
        let slots = self.tokens.0.get(&at).cloned().unwrap_or_default();
        // §5.1: the new one first.
        let is_new = slots.new.as_ref().is_some_and(|token| token.is(proof));
        let token = if is_new { slots.new.clone() } else { slots.current.clone().filter(|token| token.is(proof)) };
        let Some(mut token) = token else { return Err(Refused::NotAuthorized) };
        let ahead = now >= PLAUSIBLE_MS && now == self.now.wall && token.issued > now.saturating_add(AHEAD_MS);
        if token.expires <= now || ahead {
            return Err(Refused::Expired);
        }
        if count.is_some() && count <= token.count {
            return Err(Refused::NotAuthorized);
        }
        token.count = count.or(token.count);
        let used = Used {
            answer: token.sign("Responder", &proof.binding).as_ref().into(),
            changed: is_new || invalidate,
            rotate: !invalidate && now.saturating_sub(token.issued) >= ROTATE_MS,
        };
        if invalidate {
            // Before it is taken from memory: who has logged out must not be told so, and come back.
            self.write().map_err(|_| Refused::Trouble)?;
            // The other one is the client's, too.
            self.tokens.0.remove(&at);
        } else {
            let slots = self.tokens.0.entry(at).or_default();
            if is_new {
                slots.new = None;
            }
            slots.current = Some(token);
        }
        let stored = (used.changed || count.is_some()) && self.store_token(local, client);
        Ok(Used { changed: used.changed && stored, ..used })
    }

    /// Makes a token for a client: `<token/>` (§3.3), to be told when it is stored. `None` if it cannot be stored, or the time is
    /// not known.
    pub(super) fn issue_token(&mut self, local: &str, client: Client, mechanism: Ht) -> Option<String> {
        let now = self.known_ms();
        if now < PLAUSIBLE_MS || self.write().is_err() {
            return None;
        }
        let clients = |st: &State| st.tokens.0.range(Tokens::of(local)).map(|((_, c), s)| (*c, s.issued())).collect();
        let mut clients: Vec<(Client, u64)> = clients(self);
        clients.retain(|(other, _)| *other != client);
        clients.sort_unstable_by_key(|(other, issued)| (*issued, *other));
        for (oldest, _) in clients.iter().take((clients.len() + 1).saturating_sub(CLIENTS)) {
            self.tokens.0.remove(&(local.into(), *oldest));
            self.store_token(local, *oldest);
        }
        let token = Token { secret: self.random(), mechanism, issued: now, expires: now + LIFE_MS, count: None };
        let element = format!(
            "<token xmlns='urn:xmpp:fast:0' token='{}' expiry='{}'/>",
            token.text(),
            stamp::format(token.expires)
        );
        self.tokens.0.entry((local.into(), client)).or_default().new = Some(token);
        self.store_token(local, client);
        Some(element)
    }

    /// No token of an account is good any more. The changes of this turn are not refused, or this is done after that was seen.
    pub(super) fn revoke_tokens(&mut self, local: &str) {
        let clients: Vec<_> = self.tokens.0.range(Tokens::of(local)).map(|(key, _)| key.clone()).collect();
        for key in &clients {
            self.tokens.0.remove(key);
        }
        if !clients.is_empty()
            && let Ok(batch) = self.write()
        {
            batch.delete_all(Tree::Token, key::prefix(local));
        }
    }
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
