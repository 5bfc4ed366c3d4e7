//! Forms that are sent twice: a button is pressed again, or somebody goes back.

use crate::core::TokenDigest;
use crate::service::lock;
use crate::stream::Mono;
use crate::wire::Jid;
use smol::channel::{Receiver, Sender, bounded};
use std::collections::VecDeque;
use std::sync::Mutex;

/// Forms that are being taken, or were taken lately; beyond that the oldest is forgotten.
const TAKEN: usize = 256;
/// How long that is known, in milliseconds.
const TAKEN_MS: Mono = 60 * 60_000;

/// What became of the forms that were sent lately, so that whoever sends one twice, or goes back, learns that all is well.
#[derive(Default)]
pub(super) struct Taken(Mutex<VecDeque<Taking>>);

struct Taking {
    /// Of what it was sent to.
    link: TokenDigest,
    /// Of all of it. The token in it is 128 random bits, so the password in it cannot be guessed from this.
    form: TokenDigest,
    begun: Mono,
    /// The account, once it is stored.
    account: Option<Jid>,
    /// Ends when it is known what became of it.
    settled: Receiver<()>,
}

/// Whether a form is the first of its kind.
pub(super) enum Begun {
    /// It is the first; until this is dropped, the same one waits.
    First(Sender<()>),
    /// The same one is on its way: this ends when it is known what became of it.
    Second(Receiver<()>),
    /// It was taken, and this is the account.
    Made(Jid),
}

impl Taken {
    pub(super) fn begin(&self, link: TokenDigest, form: TokenDigest, now: Mono) -> Begun {
        let mut all = lock(&self.0);
        all.retain(|taking| now < taking.begun + TAKEN_MS);
        match all.iter().find(|taking| taking.form == form) {
            Some(Taking { account: Some(account), .. }) => return Begun::Made(account.clone()),
            Some(Taking { settled, .. }) if !settled.is_closed() => return Begun::Second(settled.clone()),
            _ => {}
        }
        all.retain(|taking| taking.form != form);
        if all.len() >= TAKEN {
            all.pop_front();
        }
        let (sender, settled) = bounded(1);
        all.push_back(Taking { link, form, begun: now, account: None, settled });
        Begun::First(sender)
    }

    /// What became of it. One that was not taken is forgotten: strangers, whose tokens are none, push nobody out.
    pub(super) fn end(&self, form: &TokenDigest, account: Option<&Jid>) {
        let mut all = lock(&self.0);
        match (account, all.iter_mut().find(|taking| taking.form == *form)) {
            (Some(account), Some(taking)) => taking.account = Some(account.clone()),
            _ => all.retain(|taking| taking.form != *form),
        }
    }

    /// The account that was made by this link a while ago: whoever has it could have made that.
    pub(super) fn by(&self, link: &TokenDigest, now: Mono) -> Option<Jid> {
        let all = lock(&self.0);
        let made = |taking: &&Taking| taking.link == *link && now < taking.begun + TAKEN_MS && taking.account.is_some();
        all.iter().rev().find(made)?.account.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn first(taken: &Taken, n: u8, now: Mono) -> Sender<()> {
        match taken.begin([n; 32], [n; 32], now) {
            Begun::First(first) => first,
            _ => panic!("{n} was there"),
        }
    }

    #[test]
    fn a_form_is_taken_once_and_known_for_an_hour() {
        let (taken, jid) = (Taken::default(), Jid::parse("romeo@example.org").unwrap());
        let one = first(&taken, 1, 0);
        assert!(matches!(taken.begin([1; 32], [1; 32], 1), Begun::Second(settled) if !settled.is_closed()));
        assert_eq!(taken.by(&[1; 32], 1), None, "it is not known yet");
        taken.end(&[1; 32], Some(&jid));
        drop(one);
        assert!(matches!(taken.begin([1; 32], [1; 32], TAKEN_MS - 1), Begun::Made(made) if made == jid));
        assert_eq!((taken.by(&[1; 32], TAKEN_MS - 1), taken.by(&[1; 32], TAKEN_MS)), (Some(jid.clone()), None));
        drop(first(&taken, 1, TAKEN_MS));
        // Whoever had it is gone without a word: the next one is the first.
        drop(first(&taken, 1, TAKEN_MS));
    }

    #[test]
    fn strangers_push_nobody_out() {
        let (taken, jid) = (Taken::default(), Jid::parse("romeo@example.org").unwrap());
        drop(first(&taken, 1, 0));
        taken.end(&[1; 32], Some(&jid));
        for n in 0..2 * TAKEN {
            let form = crate::core::token_digest(&n.to_string());
            assert!(matches!(taken.begin([2; 32], form, 1), Begun::First(_)));
            taken.end(&form, None);
        }
        assert_eq!(taken.by(&[1; 32], 1), Some(jid.clone()));
        for n in 0..TAKEN {
            let form = crate::core::token_digest(&n.to_string());
            assert!(matches!(taken.begin([2; 32], form, 1), Begun::First(_)));
            taken.end(&form, Some(&jid));
        }
        assert_eq!((taken.by(&[1; 32], 1), lock(&taken.0).len()), (None, TAKEN));
    }
}
