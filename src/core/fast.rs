//! Tokens are used, made and revoked (XEP-0484); what they are is told in [`super::token`].

use super::clock::PLAUSIBLE_MS;
use super::state::State;
use super::token::{AHEAD_MS, CLIENTS, LIFE_MS, ROTATE_MS, Slots, Token, Used};
use crate::store::{Tree, key};
use crate::wire::login::{Client, Ht, Proof, Refused};
use crate::wire::stamp;

impl State {
    /// The time that tokens go by, in milliseconds since 1970.
    fn known_ms(&self) -> u64 {
        let wall = self.now.wall;
        if wall >= PLAUSIBLE_MS { wall } else { wall.max(self.last_mark() / 1000) }
    }

    fn store_token(&mut self, local: &str, client: Client) -> bool {
        let record = self.tokens.get(local, client).map(Slots::record);
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
        let slots = self.tokens.get(local, client).cloned().unwrap_or_default();
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
            self.tokens.remove(local, client);
        } else {
            let slots = self.tokens.slots(local, client);
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
        let mut clients = self.tokens.clients(local);
        clients.retain(|(other, _)| *other != client);
        clients.sort_unstable_by_key(|(other, issued)| (*issued, *other));
        for (oldest, _) in clients.iter().take((clients.len() + 1).saturating_sub(CLIENTS)) {
            self.tokens.remove(local, *oldest);
            self.store_token(local, *oldest);
        }
        let token = Token { secret: self.random(), mechanism, issued: now, expires: now + LIFE_MS, count: None };
        let element = format!(
            "<token xmlns='urn:xmpp:fast:0' token='{}' expiry='{}'/>",
            token.text(),
            stamp::format(token.expires)
        );
        self.tokens.slots(local, client).new = Some(token);
        self.store_token(local, client);
        Some(element)
    }

    /// No token of an account is good any more. The changes of this turn are not refused, or this is done after that was seen.
    pub(super) fn revoke_tokens(&mut self, local: &str) {
        let clients = self.tokens.clients(local);
        for (client, _) in &clients {
            self.tokens.remove(local, *client);
        }
        if !clients.is_empty()
            && let Ok(batch) = self.write()
        {
            batch.delete_all(Tree::Token, key::prefix(local));
        }
    }
}
