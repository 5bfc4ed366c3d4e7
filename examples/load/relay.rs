//! The ceiling: a server that does nothing but TLS. It does not read what it passes on.

use super::net::Net;
use super::split::attribute;
use super::{Result, Target};
use argh::FromArgs;
use async_rustls::rustls::ServerConfig;
use async_rustls::rustls::crypto::ring;
use async_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Be a server that only passes on what it gets, between pairs of clients (and to all of a room); runs until it is ended. Clients are
/// `load --relay`.
#[derive(FromArgs)]
#[argh(subcommand, name = "relay")]
pub struct Relay {}

/// Where what a client says goes.
#[derive(Clone, Copy)]
enum To {
    Nobody,
    /// The other of the pair: their numbers differ in the last bit.
    User(usize),
    Room,
}

impl Relay {
    pub fn run(&self, net: &mut Net, target: &Target) -> Result<()> {
        let provider = Arc::new(ring::default_provider());
        let own = rcgen::generate_simple_self_signed([target.domain.clone()])?;
        let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key.into())?;
        let listener = TcpListener::bind(target.address)?;
        println!("listening at {}", listener.local_addr()?);
        net.listen(listener, config)?;
        let mut to: Vec<To> = Vec::new();
        let mut users: HashMap<usize, usize> = HashMap::new();
        let mut room: Vec<usize> = Vec::new();
        loop {
            net.turn(Instant::now() + Duration::from_secs(3600), &mut |net, id, unit| {
                if to.len() <= id {
                    to.resize(id + 1, To::Nobody);
                }
                if unit.is_empty() || unit == b"</stream:stream>" {
                    net.drop(id);
                    room.retain(|one| *one != id);
                } else if unit.starts_with(b"<hello") {
                    let user: usize = attribute(unit, "user").unwrap_or_default().parse()?;
                    if attribute(unit, "to") == Some("room") {
                        to[id] = To::Room;
                        room.push(id);
                    } else {
                        to[id] = To::User(user ^ 1);
                        users.insert(user, id);
                    }
                    net.send(id, b"<hello/>");
                } else {
                    match to[id] {
                        To::Nobody => {}
                        To::User(user) => {
                            if let Some(other) = users.get(&user) {
                                net.send(*other, unit);
                            }
                        }
                        To::Room => room.iter().for_each(|one| net.send(*one, unit)),
                    }
                }
                Ok(())
            })?;
        }
    }
}
