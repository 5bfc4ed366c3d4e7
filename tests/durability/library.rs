//! The same with clients of a library, tokio-xmpp, which does stream management itself: two people, whose connections are cut and
//! whose server is killed.
//!
//! Its `StanzaStream` tells of each stanza whether it was acknowledged, and forgets what was not when it cannot resume: that is
//! sent again here, and may so come after what was still queued in the library. So nothing is said about order. It cannot read a
//! `<failed/>` without `h`, which is what Prosody sends after a kill, and tries to resume for ever: with Prosody only connections
//! are cut.
//!
//! The clients live in a second process of this very program, which trusts the authority in `SSL_CERT_FILE` and connects through a
//! relay that waits for a server to be up.

use crate::common::binary::LONG;
use crate::dice;
use crate::peer::Peer;
use crate::stream::{DOMAIN, PASSWORD};
use futures::StreamExt;
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tokio_xmpp::connect::{DirectTlsServerConnector, DnsConfig};
use tokio_xmpp::jid::Jid;
use tokio_xmpp::parsers::iq::Iq;
use tokio_xmpp::parsers::message::{Lang, Message, MessageType};
use tokio_xmpp::parsers::presence::{Presence, Type};
use tokio_xmpp::parsers::stanza::Stanza;
use tokio_xmpp::stanzastream::{Event, StanzaStage, StanzaState, StanzaStream, StanzaToken, StreamEvent};
use tokio_xmpp::xmlstream::Timeouts;

/// Where the relay listens; only the second process has it.
const RELAY: &str = "INGLENOOK_DURABILITY_RELAY";
/// Messages on their way at once.
const WINDOW: usize = 3;
/// The most messages of one client in a round: a server that does not wait for the disk would be asked for thousands.
const ROUND: u64 = 30;

#[test]
fn clients_of_a_library_lose_nothing() {
    match std::env::var(RELAY) {
        Ok(relay) => clients(&relay),
        Err(_) => server(),
    }
}

// ---- the server's side ----

/// Carries bytes between the clients and the server, whenever there is one.
#[derive(Default)]
struct Relay {
    server: Mutex<Option<SocketAddr>>,
    changed: Condvar,
    open: Mutex<Vec<TcpStream>>,
}

impl Relay {
    fn set(&self, server: Option<SocketAddr>) {
        *self.server.lock().unwrap() = server;
        self.changed.notify_all();
    }

    fn cut(&self) {
        for socket in self.open.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn carry(&self, client: TcpStream) {
        let up = self.changed.wait_while(self.server.lock().unwrap(), |server| server.is_none()).unwrap();
        let to = up.unwrap();
        drop(up);
        let Ok(server) = TcpStream::connect(to) else { return };
        let (mut from_client, mut from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        self.open.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
        let (mut to_client, mut to_server) = (client, server);
        thread::spawn(move || {
            let _ = std::io::copy(&mut from_client, &mut to_server);
            let _ = to_server.shutdown(Shutdown::Both);
        });
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    }
}

fn server() {
    let (seed, rounds) = (crate::setting("INGLENOOK_SEED", 1), crate::setting("INGLENOOK_ROUNDS", 20).div_ceil(4));
    let peer = Peer::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (relay, relayed) = (Arc::new(Relay::default()), listener.local_addr().unwrap().to_string());
    let carrier = relay.clone();
    // It ends with the process.
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let carrier = carrier.clone();
            thread::spawn(move || carrier.carry(client));
        }
    });

    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "library::clients_of_a_library_lose_nothing", "--nocapture", "--test-threads=1"])
        .env(RELAY, relayed)
        .env("SSL_CERT_FILE", peer.authority())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (said, lines) = channel();
    let output = BufReader::new(child.stdout.take().unwrap());
    thread::spawn(move || {
        let lines = output.lines().map_while(Result::ok);
        lines.filter_map(|line| line.strip_prefix("= ").map(str::to_owned)).try_for_each(|line| said.send(line))
    });
    let next = || match lines.recv_timeout(LONG / 2) {
        Ok(line) => line,
        Err(RecvTimeoutError::Timeout) => panic!("the clients get no acknowledgements"),
        Err(RecvTimeoutError::Disconnected) => panic!("the clients have ended"),
    };
    let mut input = child.stdin.take().unwrap();
    let mut server = peer.start(None);
    for round in 1..=rounds {
        while lines.try_recv().is_ok() {}
        writeln!(input, "round").unwrap();
        relay.set(Some(server.address));
        let mut random = dice(seed, round, 15_485_863);
        for _ in 0..1 + random.below(ROUND as usize) {
            assert_eq!(next(), "acked");
        }
        thread::sleep(Duration::from_micros(random.below(120_000) as u64));
        if peer.is_ours() && random.below(3) > 0 {
            server.must_live();
            relay.set(None);
            server.kill();
            server = peer.start(None);
        }
        relay.cut();
    }
    relay.set(Some(server.address));
    writeln!(input, "finish").unwrap();
    let figures = loop {
        let line = next();
        if line != "acked" {
            break line;
        }
    };
    eprintln!("{}, {rounds} losses, clients of tokio-xmpp, seed {seed}: {figures}", peer.name());
    let ended = child.wait().unwrap();
    assert!(ended.success(), "the clients: {ended}");
    assert!(!peer.is_ours() || figures.ends_with(" 0 missing, 0 twice"), "{figures}");
}

// ---- the clients' side ----

fn clients(relay: &str) {
    if let Ok(filter) = std::env::var("RUST_LOG") {
        env_logger::Builder::new().parse_filters(&filter).init();
    }
    tokio_rustls::rustls::crypto::ring::default_provider().install_default().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (orders, finish) = tokio::sync::watch::channel((0, false));
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            orders.send_modify(|(rounds, finish)| if line == "round" { *rounds += 1 } else { *finish = true });
        }
    });
    let (romeo, juliet) = runtime.block_on(async {
        let (romeo, juliet) = (Person::new(relay, "romeo", "juliet"), Person::new(relay, "juliet", "romeo"));
        let (romeo, juliet) = (romeo.live(finish.clone()), juliet.live(finish));
        tokio::join!(romeo, juliet)
    });
    let (mut acked, mut missing, mut twice) = (0, 0, 0);
    for (sender, receiver) in [(&romeo, &juliet), (&juliet, &romeo)] {
        acked += sender.acked;
        missing += (1..=sender.sent).filter(|n| !receiver.seen.contains_key(n)).count();
        twice += receiver.seen.values().map(|copies| copies - 1).sum::<u64>();
    }
    // In a line of its own, and not through the harness.
    let _ = writeln!(std::io::stdout(), "\n= {acked} acknowledged: {missing} missing, {twice} twice");
}

struct Person {
    stream: StanzaStream,
    to: Jid,
    sent: u64,
    acked: u64,
    on_their_way: VecDeque<(u64, StanzaToken)>,
    again: VecDeque<u64>,
    /// How often each message of the other one has come.
    seen: BTreeMap<u64, u64>,
}

impl Person {
    fn new(relay: &str, name: &str, to: &str) -> Person {
        let jid = Jid::new(&format!("{name}@{DOMAIN}/library")).unwrap();
        let timeouts = Timeouts { read_timeout: LONG, response_timeout: LONG };
        let connector = DirectTlsServerConnector::from(DnsConfig::addr(relay));
        let stream = StanzaStream::new_c2s(connector, jid, PASSWORD.to_owned(), timeouts, 16);
        let to = Jid::new(&format!("{to}@{DOMAIN}")).unwrap();
        let (on_their_way, again, seen) = (VecDeque::new(), VecDeque::new(), BTreeMap::new());
        Person { stream, to, sent: 0, acked: 0, on_their_way, again, seen }
    }

    /// Chats until it is told to finish and nothing is on its way any more.
    async fn live(mut self, mut orders: tokio::sync::watch::Receiver<(u64, bool)>) -> Person {
        let mut quiet_since = Instant::now();
        loop {
            let (rounds, finish) = *orders.borrow_and_update();
            while self.on_their_way.len() < WINDOW
                && (!self.again.is_empty() || (self.sent < rounds * ROUND && !finish))
            {
                let number = self.again.pop_front().unwrap_or_else(|| {
                    self.sent += 1;
                    self.sent
                });
                let token = self.stream.send(Box::new(self.message(number).into())).await;
                self.on_their_way.push_back((number, token));
            }
            // Nobody knows here what the other one has sent: a moment without a word is the end.
            if finish && self.on_their_way.is_empty() && quiet_since.elapsed() > Duration::from_secs(3) {
                return self;
            }
            tokio::select! {
                event = self.stream.next() => {
                    quiet_since = Instant::now();
                    self.event(event.expect("the stream is never over")).await;
                }
                state = first(&mut self.on_their_way) => {
                    quiet_since = Instant::now();
                    let (number, _) = self.on_their_way.pop_front().expect("there is a first");
                    if matches!(state, Some(StanzaState::Acked { .. })) {
                        self.acked += 1;
                        let _ = writeln!(std::io::stdout(), "= acked");
                    } else {
                        self.again.push_back(number);
                    }
                }
                // The parent has gone, when nobody can give orders any more.
                changed = orders.changed(), if !finish => changed.expect("the other process lives"),
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    async fn event(&mut self, event: Event) {
        match event {
            Event::Stream(StreamEvent::Reset { .. }) => {
                self.stream.send(Box::new(Presence::new(Type::None).into())).await;
            }
            Event::Stream(_) => {}
            Event::Stanza(Stanza::Iq(Iq::Get { from, id, .. })) => {
                let answer = Iq::Result { from: None, to: from, id, payload: None };
                self.stream.send(Box::new(answer.into())).await;
            }
            Event::Stanza(Stanza::Message(message)) if message.type_ == MessageType::Chat => {
                let body = message.bodies.values().next().expect("a body");
                *self.seen.entry(body.parse().expect("a number")).or_default() += 1;
            }
            Event::Stanza(_) => {}
        }
    }

    fn message(&self, number: u64) -> Message {
        let mut message = Message::new(Some(self.to.clone()));
        message.type_ = MessageType::Chat;
        message.id = Some(tokio_xmpp::parsers::message::Id(format!("library-{number}")));
        message.bodies.insert(Lang::new(), number.to_string());
        message
    }
}

/// What becomes of the first stanza on its way; `None` when the library has forgotten it.
async fn first(on_their_way: &mut VecDeque<(u64, StanzaToken)>) -> Option<StanzaState> {
    match on_their_way.front_mut() {
        Some((_, token)) => token.wait_for(StanzaStage::Acked).await,
        None => std::future::pending().await,
    }
}
