//! Stream management with other servers, turn by turn.
#![allow(clippy::unwrap_used)]

use super::session::PEER_UNACKNOWLEDGED_BYTES;
use super::*;
use crate::core::{Core, Effect, Federates, Input, Now, Settings, StreamId};
use crate::store::memory::Memory;
use crate::wire::{Condition, DomainPair, Jid, Kind, Manage, ManageAnswer, Proof, Refusal, Stanza, StreamError, Type};

const THERE: StreamId = StreamId(1);

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

fn pair(theirs: &str) -> DomainPair {
    DomainPair { ours: jid("house.test"), theirs: jid(theirs) }
}

fn message(id: usize, bytes: usize) -> Stanza {
    let body = format!("<body>{}</body>", "x".repeat(bytes));
    Stanza::new(Kind::Message, Type::Chat).with_id(&id.to_string()).with(body)
}

struct House {
    core: Core,
    now: u64,
    /// Batches that are handed to storage.
    sealed: u64,
}

impl House {
    fn new() -> House {
        let mut settings = Settings::new(jid("house.test"));
        settings.federation.with = Federates::Everybody;
        let mut core = Core::open(settings, [7; 32], Vec::new(), &mut Memory::default()).unwrap();
        core.state.here.add_a_test("juliet@house.test");
        House { core, now: 1_000, sealed: 0 }
    }

    fn tell(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.core.handle(Now { mono: self.now, wall: self.now }, input, &mut effects);
        let commits = effects.iter().filter(|effect| matches!(effect, Effect::Commit(..))).count();
        self.sealed += commits as u64;
        effects
    }

    /// All that was handed to storage is stored.
    fn store(&mut self) -> Vec<Effect> {
        self.tell(Input::Committed(self.sealed))
    }

    /// A server has dialled us.
    fn come(&mut self, stream: StreamId, theirs: &str) {
        let proof = Proof::Certificate;
        let input = Input::PeerOpen { stream, pair: pair(theirs), proof, sends: true, dialled: false, manages: true };
        self.tell(input);
    }

    /// The same, and it wants stream management. Its id.
    fn come_managed(&mut self, stream: StreamId, theirs: &str) -> String {
        self.come(stream, theirs);
        let effects = self.tell(Input::Enable(stream, true, None));
        let id = effects.iter().find_map(|effect| match effect {
            Effect::Manage(_, Manage::Enabled { id: Some(id), .. }) => Some(id.clone()),
            _ => None,
        });
        id.unwrap()
    }

    /// Somebody here says something to somebody there.
    fn say(&mut self, stanza: Stanza, theirs: &str) -> Vec<Effect> {
        let stanza = stanza.from(jid("juliet@house.test/home")).to(jid(&format!("romeo@{theirs}")));
        self.core.state.send(stanza);
        self.tell(Input::Tick)
    }

    /// Somebody there says something that is stored here.
    fn hear(&mut self, stream: StreamId, theirs: &str) -> Vec<Effect> {
        let asks = Stanza::new(Kind::Presence, Type::Subscribe).to(jid("juliet@house.test"));
        self.tell(Input::Stanza(stream, asks.from(jid(&format!("romeo@{theirs}")))))
    }

    /// The same as [`House::tell`], and all is stored.
    fn tell_stored(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = self.tell(input);
        effects.append(&mut self.store());
        effects
    }

    fn sessions(&self) -> usize {
        self.core.state.peers.sessions.len()
    }
}

fn managed(effects: &[Effect]) -> Vec<&Manage> {
    effects.iter().filter_map(|e| if let Effect::Manage(_, said) = e { Some(said) } else { None }).collect()
}

fn sent(effects: &[Effect]) -> Vec<String> {
    let id = |effect: &Effect| match effect {
        Effect::Send(_, stanza) => Some(stanza.id()?.into_owned()),
        _ => None,
    };
    effects.iter().filter_map(id).collect()
}

fn closed(effects: &[Effect]) -> Option<&StreamError> {
    effects.iter().find_map(|e| if let Effect::Close(_, Some(error)) = e { Some(error) } else { None })
}

#[test]
fn an_acknowledgement_is_a_promise() {
    let mut house = House::new();
    house.come_managed(THERE, "there.test");
    house.hear(THERE, "there.test");
    assert_eq!(managed(&house.tell(Input::Acknowledge(THERE))), [&Manage::Ack(0); 0], "it is not stored");
    assert_eq!(managed(&house.store()), [&Manage::Ack(1)]);
    assert_eq!(managed(&house.tell(Input::Acknowledge(THERE))), [&Manage::Ack(1)], "nothing is new");
}

#[test]
fn what_is_not_acknowledged_is_said_on_the_next_stream_and_first() {
    let mut house = House::new();
    let id = house.come_managed(THERE, "there.test");
    for n in 1..=3 {
        assert_eq!(sent(&house.say(message(n, 10), "there.test")), [n.to_string()]);
    }
    house.tell(Input::Acknowledged(THERE, 1));
    let effects = house.tell(Input::Closed(THERE, false));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Dial(_))), "{effects:?}");
    assert_eq!(sent(&house.say(message(4, 10), "there.test")), [""; 0], "it waits behind the others");
    house.come(StreamId(2), "there.test");
    let effects = house.tell_stored(Input::PeerResume(StreamId(2), id, 2));
    assert!(matches!(managed(&effects)[..], [Manage::Resumed { h: 0, .. }, Manage::Request]), "{effects:?}");
    assert_eq!(sent(&effects), ["3"], "it had the second");
    assert_eq!(sent(&house.store()), ["4"], "that it is said is noted first");
}

#[test]
fn nobody_carries_on_what_is_not_theirs() {
    let mut house = House::new();
    let id = house.come_managed(THERE, "there.test");
    house.say(message(1, 10), "there.test");
    for (stream, theirs, id) in [(2, "thief.test", id.as_str()), (3, "there.test", "guessed"), (4, "x.there.test", &id)]
    {
        house.come(StreamId(stream), theirs);
        let effects = house.tell_stored(Input::PeerResume(StreamId(stream), id.to_owned(), 0));
        let failed = Manage::Failed { condition: Condition::ItemNotFound, handled: None };
        assert_eq!((managed(&effects), sent(&effects)), (vec![&failed], vec![]), "{theirs}");
    }
    assert_eq!(sent(&house.say(message(2, 10), "there.test")), ["2"], "the stream is as it was");
}

#[test]
fn both_sides_may_ask_for_it_at_once() {
    let mut house = House::new();
    let id = house.come_managed(THERE, "there.test");
    house.say(message(1, 10), "there.test");
    house.tell(Input::Closed(THERE, false));
    let proof = Proof::Certificate;
    let (two, three) = (StreamId(2), StreamId(3));
    let open =
        Input::PeerOpen { stream: two, pair: pair("there.test"), proof, sends: true, dialled: true, manages: true };
    let asked = house.tell_stored(open);
    assert!(matches!(managed(&asked)[..], [Manage::Resume { h: 0, .. }]), "{asked:?}");
    house.come(three, "there.test");
    let effects = house.tell_stored(Input::PeerResume(three, id, 1));
    assert!(matches!(managed(&effects)[..], [Manage::Failed { handled: Some(0), .. }]), "{effects:?}");
    let effects = house.tell(Input::PeerManaged(two, ManageAnswer::Failed(Some(1))));
    assert_eq!((managed(&effects), sent(&effects)), (vec![&Manage::Enable], vec![]), "it has the first: {effects:?}");
}

#[test]
fn another_key_ends_what_was_proved_by_the_one_before() {
    let mut house = House::new();
    let pinned = |key: Option<u8>| {
        let mut settings = Settings::new(jid("house.test"));
        settings.federation.with = Federates::Everybody;
        settings.federation.pinned = key.map(|key| (jid("there.test"), [key; 32])).into_iter().collect();
        settings
    };
    for (stream, key, is_ended) in
        [(1, None, false), (2, Some(1), true), (3, Some(1), false), (4, Some(2), true), (5, None, true)]
    {
        let (stream, other) = (StreamId(stream), StreamId(stream + 100));
        house.come_managed(stream, "rooms.there.test");
        house.come_managed(other, "other.test");
        let ended: Vec<StreamId> = house.core.configure(pinned(key)).into_iter().map(|(stream, _)| stream).collect();
        assert_eq!((ended.contains(&stream), ended.contains(&other)), (is_ended, false), "{stream:?}");
        house.tell(Input::Closed(stream, false));
        house.tell(Input::Closed(other, false));
    }
}

#[test]
fn a_server_that_has_forgotten_what_was_before_is_not_waited_for_long() {
    let mut house = House::new();
    house.come_managed(THERE, "there.test");
    assert_eq!(sent(&house.say(message(1, 10), "there.test")), ["1"]);
    house.tell(Input::Closed(THERE, false));
    let dialled = Input::PeerRefused(pair("there.test"), Refusal::wait("nobody reaches it"));
    house.tell(dialled);
    house.come(StreamId(2), "there.test");
    house.tell(Input::Enable(StreamId(2), true, None));
    assert_eq!(sent(&house.say(message(2, 10), "there.test")), [""; 0], "it may still be asked how much it has");
    house.now += 10_000;
    let mut effects = house.tell(Input::Tick);
    effects.extend(house.store());
    effects.extend(house.store());
    assert_eq!(sent(&effects), ["2"], "{effects:?}");
}

#[test]
fn who_says_to_have_more_than_was_sent_is_told() {
    let mut house = House::new();
    let (proof, two) = (Proof::Certificate, StreamId(2));
    let id = house.come_managed(THERE, "there.test");
    house.say(message(1, 10), "there.test");
    house.tell(Input::Closed(THERE, false));
    let open =
        Input::PeerOpen { stream: two, pair: pair("there.test"), proof, sends: true, dialled: true, manages: true };
    let asked = house.tell_stored(open);
    assert!(matches!(managed(&asked)[..], [Manage::Resume { .. }]), "{asked:?} {id}");
    let effects = house.tell(Input::PeerManaged(two, ManageAnswer::Resumed(4_000_000_000)));
    assert!(format!("{:?}", closed(&effects)).contains("handled-count-too-high"), "{effects:?}");
    assert_eq!((sent(&effects), house.core.state.peers.unacknowledged), (vec![], 0));
}

#[test]
fn one_site_leaves_lines_and_dials_to_the_others() {
    let mut house = House::new();
    let proof = Proof::Certificate;
    let come = |house: &mut House, n: u64, theirs: &str, sends| {
        let (stream, pair) = (StreamId(n), pair(theirs));
        house.tell(Input::PeerOpen { stream, pair, proof, sends, dialled: false, manages: false });
    };
    for n in 0..2_000 {
        come(&mut house, n, &format!("s{n}.evil.test"), true);
    }
    assert_eq!(house.core.state.peers.lines().count(), PEER_LINES / 4);
    come(&mut house, 3_000, "good.test", true);
    assert_eq!(sent(&house.say(message(1, 10), "good.test")), ["1"]);
    // Nobody here has said what nobody here answers.
    let mut dials = 0;
    for n in 0..200 {
        let theirs = format!("t{n}.iago.test");
        come(&mut house, 4_000 + n, &theirs, false);
        let stanza = message(1, 10).from(jid(&format!("iago@{theirs}"))).to(jid(&format!("nobody{n}@house.test")));
        let effects = house.tell(Input::Stanza(StreamId(4_000 + n), stanza));
        dials += effects.iter().filter(|effect| matches!(effect, Effect::Dial(_))).count();
    }
    assert_eq!(dials, 16, "a quarter of all");
    let effects = house.say(message(2, 10), "elsewhere.test");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Dial(_))), "{effects:?}");
}

/// A peer that reads and never acknowledges.
#[test]
fn what_is_on_its_way_has_a_limit() {
    let mut house = House::new();
    house.come_managed(THERE, "there.test");
    let (mut said, mut n) = (0, 0);
    let refused = loop {
        n += 1;
        let effects = house.say(message(n, 10_000), "there.test");
        said += sent(&effects).len();
        if house.core.state.peers.lines().next().unwrap().outbox.len() + said < n {
            break n;
        }
    };
    assert!(said * 10_000 <= PEER_UNACKNOWLEDGED_BYTES && (said + 2) * 10_500 > PEER_UNACKNOWLEDGED_BYTES, "{said}");
    assert!((refused - said) * 10_000 <= PEER_OUTBOX_BYTES + 10_000, "{refused}");
    assert!(house.core.state.peers.unacknowledged <= PEER_UNACKNOWLEDGED_BYTES);
    // Presence goes on as far as somebody counts it, and none of it is kept.
    let effects = house.tell_stored(Input::Acknowledged(THERE, said as u32));
    assert_eq!(sent(&effects).len() + said + 1, refused, "what waited is said");
    house.now += 60_000;
    let effects = house.tell(Input::Tick);
    assert!(closed(&effects).is_some_and(|error| error.to_string().contains("connection-timeout")), "{effects:?}");
}

#[test]
fn a_burst_of_presence_is_said_though_not_kept() {
    let mut house = House::new();
    house.come_managed(THERE, "there.test");
    let burst = 5_000;
    for n in 0..burst {
        let presence = Stanza::new(Kind::Presence, Type::None)
            .with_id(&n.to_string())
            .with(format!("<status>{}</status>", "x".repeat(400)));
        assert_eq!(sent(&house.say(presence, "there.test")), [n.to_string()]);
    }
    assert!(house.core.state.peers.unacknowledged <= PEER_UNACKNOWLEDGED_BYTES);
    house.tell(Input::Acknowledged(THERE, burst));
    assert_eq!(house.core.state.peers.unacknowledged, 0);
}

#[test]
fn who_acknowledges_too_much_is_told() {
    let mut house = House::new();
    house.come_managed(THERE, "there.test");
    house.say(message(1, 10), "there.test");
    let effects = house.tell(Input::Acknowledged(THERE, 2));
    assert!(format!("{:?}", closed(&effects)).contains("handled-count-too-high"), "{effects:?}");
}

#[test]
fn servers_that_come_and_go_are_remembered_up_to_a_limit() {
    let mut house = House::new();
    for n in 0..2 * PEER_SESSIONS as u64 {
        let theirs = format!("s{n}.test");
        house.come_managed(StreamId(n), &theirs);
        house.tell(Input::Closed(StreamId(n), false));
    }
    assert_eq!(house.sessions(), PEER_SESSIONS);
    house.now += 2 * PEER_RESUME_MS;
    house.tell(Input::Tick);
    assert_eq!((house.sessions(), house.core.state.peers.carries.len()), (0, 0));
}

#[test]
fn who_has_no_stream_management_is_spoken_to_as_ever() {
    let mut house = House::new();
    house.come(THERE, "there.test");
    assert_eq!(sent(&house.say(message(1, 10), "there.test")), [""; 0], "it may still ask for it");
    let effects = house.hear(THERE, "there.test");
    assert_eq!(sent(&effects), ["1"], "it does not");
    assert_eq!(sent(&house.say(message(2, 10), "there.test")), ["2"]);
    assert_eq!(house.core.state.peers.unacknowledged, 0);
}
