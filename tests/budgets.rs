//! What things may cost, as far as it does not depend on time: memory of an idle session, allocations of a message. A number
//! here is what was measured, with a little room: whoever passes it has made something dearer, and should know.
#![allow(clippy::unwrap_used)]

use inglenook::core::{Command, Core, Effect, Given, HOUSE_CONTACTS, Input, Now, Settings, StreamId};
use inglenook::service::driver::Driver;
use inglenook::service::tls;
use inglenook::store::memory::Memory;
use inglenook::stream::c2s::C2s;
use inglenook::wire::framer::{Frame, Framer, Limits};
use inglenook::wire::scram::Credentials;
use inglenook::wire::{Jid, Scope, Stanza};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const NOW: Now = Now { mono: 1_000, wall: 1_767_225_600_000 };

fn house() -> Driver<Memory> {
    let mut engine = Memory::default();
    let settings = Settings::new(Jid::parse("house.test").unwrap());
    let core = Core::open(settings, [1; 32], inglenook::ext::all(), &mut engine).unwrap();
    Driver { core, engine }
}

fn session(house: &mut Driver<Memory>, keys: &Credentials, n: u64) {
    let jid = Jid::parse(&format!("user{n}@house.test")).unwrap();
    house.command(NOW, Command::UserAdd(jid.clone(), keys.clone())).unwrap();
    let effects = house.handle(NOW, Input::Bind(StreamId(n), jid, Some("phone".into()))).unwrap();
    assert!(matches!(effects[..], [Effect::Bound(_, Ok(_)), ..]));
    let presence = parse("<presence/>");
    house.handle(NOW, Input::Stanza(StreamId(n), presence)).unwrap();
}

fn parse(xml: &str) -> Stanza {
    Stanza::parse(xml, Scope::client()).unwrap().unwrap()
}

/// 200 people are each other's contacts: what one entry of a roster takes, of 39,800; when they came one after the other, and read again.
fn everybody_in_a_house(keys: &Credentials) {
    const PEOPLE: usize = HOUSE_CONTACTS;
    let mut settings = Settings::new(Jid::parse("house.test").unwrap());
    let mut engine = Memory::default();
    let mut open = |engine: &mut Memory, contacts: Given| {
        settings.household.contacts = contacts;
        Core::open(settings.clone(), [1; 32], inglenook::ext::all(), engine).unwrap()
    };
    let core = open(&mut engine, Given::InNewHouses);
    let mut house = Driver { core, engine };
    for n in 0..PEOPLE {
        let jid = Jid::parse(&format!("user{n}@house.test")).unwrap();
        house.command(NOW, Command::UserAdd(jid, keys.clone())).unwrap();
    }
    let known = |core: &Core| core.state().accounts().sum(|account| account.roster.items.len());
    let entries = PEOPLE * (PEOPLE - 1);
    assert_eq!(known(&house.core), entries);
    let Driver { core, mut engine } = house;
    // An account: its credentials, and what is known of it.
    let accounts = PEOPLE * 1_000;
    let with = dhat::HeapStats::get().curr_bytes;
    drop(core);
    let without = dhat::HeapStats::get().curr_bytes;
    let an_entry = (with - without).saturating_sub(accounts) / entries;
    assert!(an_entry <= 95, "{an_entry} bytes of heap for a contact");
    let core = open(&mut engine, Given::InNewHouses);
    assert_eq!(known(&core), entries);
    let an_entry = (dhat::HeapStats::get().curr_bytes - without).saturating_sub(accounts) / entries;
    assert!(an_entry <= 95, "{an_entry} bytes of heap for a contact that was read");
}

/// All in one test: the counter of the heap is one for the whole program, and a second test would run beside.
#[test]
fn the_heap() {
    sizes();
    let _profiler = dhat::Profiler::builder().testing().build();
    let keys = Credentials::derive("secret", b"salt of the test", 4096).unwrap();
    streams_between_servers();
    everybody_in_a_house(&keys);
    let mut house = house();

    // An available session in the core, with the account it belongs to: credentials of 200 bytes, an empty roster, a presence.
    let before = dhat::HeapStats::get().curr_bytes;
    for n in 0..500 {
        session(&mut house, &keys, n);
    }
    let stored: usize = 500 * 420;
    let a_session = (dhat::HeapStats::get().curr_bytes - before).saturating_sub(stored) / 500;
    assert!(a_session <= 1_300, "{a_session} bytes of heap for an account and its session");

    // A message of 273 bytes from the wire to the wire.
    let body = "x".repeat(160);
    let wire = format!(
        "<message to='user1@house.test' type='chat' id='b7fc6b4e-d19b-4b25'><body>{body}</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>"
    );
    let limits = Limits { element_bytes: 262_144, depth: 64, elements: 8192, attributes: 64 };
    let mut framer = Framer::new(limits);
    let header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
    assert!(matches!(framer.next(&mut header.as_bytes()), Ok(Some(Frame::Open(_)))));
    let scope = Scope::client();
    let mut out = String::with_capacity(4096);
    let mut effects = Vec::with_capacity(16);
    let mut forward = |wire: &str| {
        let mut input = wire.as_bytes();
        let Ok(Some(Frame::Element(xml))) = framer.next(&mut input) else { panic!("a whole element") };
        let stanza = Stanza::parse(xml, scope).unwrap().unwrap();
        house.core.handle(NOW, Input::Stanza(StreamId(0), stanza), &mut effects);
        out.clear();
        let mut sent = 0;
        for effect in effects.drain(..) {
            if let Effect::Send(sid, stanza) = effect {
                assert_eq!(sid, StreamId(1));
                stanza.write(None, &mut out);
                sent += 1;
            }
        }
        assert_eq!(sent, 1);
    };
    // One that is not archived, and one that is, on both sides.
    let forgotten = wire.replace("</message>", "<no-store xmlns='urn:xmpp:hints'/></message>");
    for (wire, budget) in [(&forgotten, 9), (&wire, 22)] {
        forward(wire);
        let before = dhat::HeapStats::get().total_blocks;
        for _ in 0..100 {
            forward(wire);
        }
        let allocations = (dhat::HeapStats::get().total_blocks - before) / 100;
        assert!(allocations <= budget, "{allocations} allocations for a message");
    }

    // What is said in a room of 300, archived: a delivery.
    let mut say = |sid: u64, wire: &str| {
        house.core.handle(NOW, Input::Stanza(StreamId(sid), parse(wire)), &mut effects);
        effects.drain(..).filter(|effect| matches!(effect, Effect::Send(..))).count()
    };
    let enter = "<presence to='hall@conference.house.test/NICK'><x xmlns='http://jabber.org/protocol/muc'><history maxchars='0'/></x></presence>";
    say(0, &enter.replace("NICK", "n0"));
    let open = "<iq type='set' id='1' to='hall@conference.house.test'><query xmlns='http://jabber.org/protocol/muc#owner'>\
                <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>\
                <field var='muc#roomconfig_membersonly'><value>0</value></field></x></query></iq>";
    say(0, open);
    for n in 1..300 {
        say(n, &enter.replace("NICK", &format!("n{n}")));
    }
    let wire = wire.replace("user1@house.test", "hall@conference.house.test").replace("chat'", "groupchat'");
    assert_eq!(say(7, &wire), 300);
    let before = dhat::HeapStats::get().total_blocks;
    for _ in 0..10 {
        assert_eq!(say(7, &wire), 300);
    }
    let allocations = (dhat::HeapStats::get().total_blocks - before) as f64 / 3000.0;
    assert!(allocations <= 0.2, "{allocations} allocations for a delivery in a room");

    // A stanza that waits in many outboxes shares its bytes.
    let stanza = parse(&wire);
    let before = dhat::HeapStats::get().curr_bytes;
    let copies: Vec<Stanza> = (0..1000).map(|_| stanza.clone()).collect();
    let a_copy = (dhat::HeapStats::get().curr_bytes - before) / copies.len();
    assert!(a_copy <= 160, "{a_copy} bytes for one more receiver of a message");
}

fn sizes() {
    assert!(size_of::<Stanza>() <= 72, "{}", size_of::<Stanza>());
    assert!(size_of::<C2s>() <= 208, "{}", size_of::<C2s>());
    assert!(size_of::<Jid>() <= 24, "{}", size_of::<Jid>());
}

/// An idle stream between two servers, at either end: its keys, and the certificates that the peer has shown.
fn streams_between_servers() {
    const PAIRS: usize = 50;
    let authority = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&authority).unwrap().pem();
    let issuer = rcgen::Issuer::new(params, authority);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["house.test".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let (chain, key) = (leaf.pem() + &ca, key.serialize_pem());
    let acceptor = tls::Acceptor::new(chain.as_bytes(), key.as_bytes()).unwrap();
    let connector = acceptor.connector();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let pair = || {
        let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, theirs) =
            (smol::Async::new(socket).unwrap(), smol::Async::new(listener.accept().unwrap().0).unwrap());
        let connect = connector.connect(ours, "house.test", false);
        let (ours, theirs) = smol::block_on(smol::future::zip(connect, acceptor.accept(theirs, tls::Profile::Server)));
        (ours.unwrap().0, theirs.unwrap().0)
    };
    // What a thread has once.
    drop(pair());
    let (outgoing, incoming): (Vec<_>, Vec<_>) = (0..PAIRS).map(|_| pair()).unzip();
    let bytes = || dhat::HeapStats::get().curr_bytes;
    let all = bytes();
    drop(incoming);
    let without_incoming = bytes();
    drop(outgoing);
    for (what, size) in [("incoming", all - without_incoming), ("outgoing", without_incoming - bytes())] {
        let size = size / PAIRS;
        assert!(size <= 6_000, "{size} bytes of heap for an idle {what} stream");
    }
}
