//! Streams that are there without anybody who has something to say: to servers whose address the owner has written down. They may have no
//! other way to us than the one that we have made (XEP-0288), so it is made at the start, and again when it is gone.

use super::server::FAILURES_MS;
use crate::core::state::State;
use crate::core::work::Timer;
use crate::wire::{DomainPair, Jid};

/// How long after its end such a stream is made anew, in milliseconds: whoever has ended it may be starting again.
const KEPT_AGAIN_MS: u64 = 1_000;

impl State {
    /// Such streams are looked after then, or before.
    pub(in crate::core) fn keep_lines_at(&mut self, at: u64) {
        if self.settings.federation.kept.is_empty() || self.peers.kept_at.is_some_and(|due| due <= at) {
            return;
        }
        self.peers.kept_at = Some(at);
        self.set_timer(at, Timer::Kept);
    }

    /// What was proved for these pairs has ended.
    pub(super) fn kept_closed(&mut self, pairs: &[DomainPair]) {
        if pairs.iter().any(|pair| self.settings.federation.kept.contains(&pair.theirs)) {
            self.keep_lines_at(self.now.mono + KEPT_AGAIN_MS);
        }
    }

    /// Has those made that are missing: for each of our domains, since their people may want something of each.
    pub(in crate::core) fn keep_lines(&mut self) {
        self.peers.kept_at = None;
        let domains: Vec<Jid> = self.domains().filter_map(|domain| Jid::new(None, domain, None).ok()).collect();
        let federation = &self.settings.federation;
        let kept: Vec<Jid> = federation.kept.iter().filter(|theirs| federation.may(theirs).is_ok()).cloned().collect();
        let mut next = None;
        for theirs in kept.iter().filter(|theirs| !domains.contains(theirs)) {
            for ours in &domains {
                let again = self.keep_line(DomainPair { ours: ours.clone(), theirs: theirs.clone() });
                next = next.into_iter().chain(again).min();
            }
        }
        if let Some(at) = next {
            self.keep_lines_at(at);
        }
    }

    /// Has one made if it is missing. When to look again, if that is known.
    fn keep_line(&mut self, pair: DomainPair) -> Option<u64> {
        let now = self.now.mono;
        let later = now + FAILURES_MS.0;
        let Ok(line) = self.peers.line_for(&pair, now, None) else { return Some(later) };
        if !line.streams.is_empty() || line.dialling.is_some() {
            return None;
        }
        let retry_at = line.retry_at;
        if self.peers.thinking(&pair).is_some() {
            return Some(later);
        }
        if retry_at > now {
            return Some(retry_at);
        }
        let who = pair.ours.domain().to_owned();
        self.dial(&pair, &who).is_err().then_some(later)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::core::{Core, Effect, Federates, Federation, Input, Now, Settings, StreamId};
    use crate::store::memory::Memory;
    use crate::wire::{DomainPair, Jid, Proof, Refusal, Secret};

    fn domain(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    /// A house that knows where its branch is; and at what time something happens there.
    struct House(Core, u64);

    impl House {
        fn new() -> House {
            House(Core::open(settings(&["branch.test"]), [7; 32], Vec::new(), &mut Memory::default()).unwrap(), 0)
        }

        /// What is dialled because of that.
        fn at(&mut self, mono: u64, input: Input) -> Vec<DomainPair> {
            let mut effects = Vec::new();
            self.1 = mono;
            self.0.handle(Now { mono, ..Now::default() }, input, &mut effects);
            let dials = effects.into_iter().filter_map(|effect| match effect {
                Effect::Dial(pair) => Some(pair),
                _ => None,
            });
            dials.collect()
        }

        fn open(&mut self, stream: u64, pair: &DomainPair) -> Vec<DomainPair> {
            let (stream, pair, proof) = (StreamId(stream), pair.clone(), Proof::Pin);
            self.at(self.1, Input::PeerOpen { stream, pair, proof, sends: true, dialled: true, manages: false })
        }
    }

    fn settings(kept: &[&str]) -> Settings {
        let kept: Vec<Jid> = kept.iter().map(|name| domain(name)).collect();
        let mut settings = Settings::new(domain("house.test"));
        settings.components.insert(domain("gateway.house.test"), Secret::new("a very long secret").unwrap());
        settings.federation = Federation { with: Federates::Everybody, kept, ..Federation::default() };
        settings
    }

    #[test]
    fn they_are_there_from_the_start_and_again_when_they_are_gone() {
        let mut house = House::new();
        let dialled = house.at(1_000, Input::Tick);
        assert!(dialled.iter().all(|pair| pair.theirs == domain("branch.test")));
        for ours in ["house.test", "gateway.house.test"] {
            assert_eq!(dialled.iter().filter(|pair| pair.ours == domain(ours)).count(), 1, "{ours} in {dialled:?}");
        }
        assert_eq!(house.at(60_000, Input::Tick), [], "they are being made");
        for (n, pair) in dialled.iter().enumerate() {
            assert_eq!(house.open(n as u64, pair), []);
        }
        assert_eq!(house.at(120_000, Input::Tick), [], "they are there");
        assert_eq!(house.at(120_000, Input::Closed(StreamId(1), false)), [], "not at once");
        assert_eq!(house.at(121_000, Input::Tick), dialled[1..2], "the one that is gone");
        let again = house.at(121_000, Input::PeerRefused(dialled[1].clone(), Refusal::wait("it is away")));
        assert_eq!(again, []);
        assert_eq!(house.at(122_000, Input::Tick), [], "it is left alone for a while");
        assert_eq!(house.at(130_000, Input::Tick), dialled[1..2]);
    }

    #[test]
    fn what_comes_from_there_and_goes_both_ways_is_enough() {
        let mut house = House::new();
        let pair = DomainPair { ours: domain("house.test"), theirs: domain("branch.test") };
        let (stream, proof) = (StreamId(1), Proof::Pin);
        house.0.configure(settings(&[]));
        assert_eq!(house.at(1_000, Input::Tick), []);
        house.at(
            1_000,
            Input::PeerOpen { stream, pair: pair.clone(), proof, sends: true, dialled: false, manages: false },
        );
        house.0.configure(settings(&["branch.test"]));
        let dialled = house.at(1_000, Input::Tick);
        assert!(!dialled.is_empty() && !dialled.contains(&pair), "{dialled:?}");
    }

    #[test]
    fn nobody_is_dialled_who_is_blocked_or_forgotten() {
        let mut house = House::new();
        let mut blocked = settings(&["branch.test", "house.test"]);
        blocked.federation.block = vec![domain("branch.test")];
        house.0.configure(blocked);
        assert_eq!(house.at(1_000, Input::Tick), []);
        house.0.configure(settings(&["branch.test"]));
        let dialled = house.at(2_000, Input::Tick);
        assert!(!dialled.is_empty());
        house.at(2_000, Input::PeerRefused(dialled[0].clone(), Refusal::wait("it is away")));
        house.0.configure(settings(&[]));
        assert_eq!(house.at(600_000, Input::Tick), []);
    }
}
