//! A bot that says what it hears: an ordinary XMPP client, here on the library tokio-xmpp.
//!
//! ```sh
//! inglenook user add bot@house.local
//! SSL_CERT_FILE=inglenook-data/cert/ca.crt cargo run --example bot -- bot@house.local PASSWORD
//! ```
//!
//! `SSL_CERT_FILE` makes it trust the house's own authority; with a certificate that the system trusts it is not needed. Where
//! no name service knows the domain, a third argument says where the server is: `127.0.0.1:5222`. Why it cannot log in is told
//! with `RUST_LOG=info`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use futures::StreamExt;
use std::process::ExitCode;
use tokio_xmpp::connect::{DnsConfig, StartTlsServerConnector};
use tokio_xmpp::jid::Jid;
use tokio_xmpp::parsers::iq::Iq;
use tokio_xmpp::parsers::message::{Lang, Message, MessageType};
use tokio_xmpp::parsers::ping::Ping;
use tokio_xmpp::parsers::presence::{Presence, Type as PresenceType};
use tokio_xmpp::parsers::stanza::Stanza;
use tokio_xmpp::parsers::stanza_error::{DefinedCondition, ErrorType, StanzaError};
use tokio_xmpp::rustls::crypto::ring;
use tokio_xmpp::stanzastream::{Event, StanzaStream, StreamEvent};
use tokio_xmpp::xmlstream::Timeouts;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(jid), Some(password)) = (arguments.first().and_then(|j| Jid::new(j).ok()), arguments.get(1)) else {
        eprintln!("usage: bot JID PASSWORD [ADDRESS:PORT]");
        return ExitCode::from(2);
    };
    env_logger::init();
    let _ = ring::default_provider().install_default();
    let server = match arguments.get(2) {
        Some(address) => DnsConfig::addr(address),
        None => DnsConfig::srv_default_client(jid.domain().as_str()),
    };
    // It connects again by itself whenever the line is cut.
    let connector = StartTlsServerConnector::from(server);
    let mut stream = StanzaStream::new_c2s(connector, jid, password.clone(), Timeouts::default(), 16);
    while let Some(event) = stream.next().await {
        let answer: Option<Stanza> = match event {
            Event::Stream(StreamEvent::Reset { bound_jid, .. }) => {
                println!("here as {bound_jid}");
                Some(Presence::new(PresenceType::None).into())
            }
            Event::Stream(StreamEvent::Suspended) => {
                println!("away, and trying to come back");
                None
            }
            Event::Stream(StreamEvent::Resumed) => None,
            Event::Stanza(Stanza::Message(message)) => echo(&message).map(Into::into),
            Event::Stanza(Stanza::Presence(presence)) => befriend(&presence).map(Into::into),
            // A request must be answered, also one that is not understood (RFC 6120 §8.2.3): the server asks with a ping
            // whether what it had kept has arrived.
            Event::Stanza(Stanza::Iq(Iq::Get { from, id, payload, .. })) => Some(match Ping::try_from(payload) {
                Ok(_) => Iq::Result { from: None, to: from, id, payload: None }.into(),
                Err(_) => not_understood(from, id).into(),
            }),
            Event::Stanza(Stanza::Iq(Iq::Set { from, id, .. })) => Some(not_understood(from, id).into()),
            Event::Stanza(Stanza::Iq(_)) => None,
        };
        if let Some(answer) = answer {
            stream.send(Box::new(answer)).await;
        }
    }
    ExitCode::SUCCESS
}

/// The same words back, but never to an error: two bots must not shout at each other.
fn echo(message: &Message) -> Option<Message> {
    let body = message.bodies.values().next()?;
    if message.type_ != MessageType::Chat && message.type_ != MessageType::Normal {
        return None;
    }
    let mut answer = Message::new(Some(message.from.clone()?));
    answer.type_ = MessageType::Chat;
    answer.bodies.insert(Lang::new(), body.clone());
    Some(answer)
}

/// Whoever wants to see the bot may.
fn befriend(presence: &Presence) -> Option<Presence> {
    let asks = presence.type_ == PresenceType::Subscribe;
    asks.then(|| Presence::new(PresenceType::Subscribed).with_to(presence.from.clone().expect("the server stamps it")))
}

fn not_understood(to: Option<Jid>, id: String) -> Iq {
    let error = StanzaError::new(ErrorType::Cancel, DefinedCondition::ServiceUnavailable, "en", "");
    Iq::Error { from: None, to, id, error, payload: None }
}
