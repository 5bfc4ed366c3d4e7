//! THE WORLD: the only place with sockets, clock, threads, randomness and files.
//!
//! [`serve`] puts the parts together: [`net`] accepts connections and carries each through [`tls`] and its
//! stream, [`hub`] holds the core and carries out what it wants, [`share`] sees that nobody takes what others need, [`storage`] is
//! the one thread that owns the database.
//! [`config`] reads the settings, [`data`] knows what lies where, [`find`] which folder is meant, [`domain`] what it can be called,
//! [`lookup`] whether phones find that, [`cert`] makes and keeps certificates, [`admin`] is the
//! owner's way in: to [`user`], [`status`], which asks [`wear`] what was written, and [`backup`]. What that makes, a
//! [`container`], [`restore`] reads; [`reset`] moves aside what was there; [`salvage`] reads what is left of a damaged folder. [`manager`] is how systemd hears of the server, [`logging`] how the owner does, and [`owner`]
//! what root is in somebody else's data folder, [`words`] what
//! was meant by a word that is none of ours.

pub mod admin;
pub mod backup;
pub mod cert;
pub mod check;
pub mod command;
pub mod config;
pub mod container;
pub mod data;
pub mod domain;
pub mod driver;
pub mod find;
pub mod host;
pub mod hub;
pub mod logging;
pub mod lookup;
pub mod manager;
pub mod net;
pub mod owner;
mod patient;
pub mod reset;
pub mod restore;
pub mod salvage;
pub mod serve;
pub mod share;
pub mod status;
pub mod storage;
pub mod tls;
mod unread;
pub mod user;
pub mod wear;
pub mod words;

use crate::core::share::Shared;
use std::fmt;

/// What is shared by connections and by the disk, for the table in `src/lib.rs`.
pub fn shared() -> impl Iterator<Item = &'static Shared> {
    share::SHARED.iter().chain([&net::listen::SHARED])
}

/// Why a command failed, for the person who typed it: what is wrong, whose fault it is, what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure(pub String);

impl Failure {
    /// From words.
    pub fn new(text: impl Into<String>) -> Failure {
        Failure(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl From<crate::store::StoreError> for Failure {
    fn from(error: crate::store::StoreError) -> Failure {
        Failure(error.to_string())
    }
}

/// What most of this layer's functions return.
pub type Result<T> = std::result::Result<T, Failure>;

/// Unpredictable bytes from the system.
///
/// # Errors
/// When the system has no randomness to give, nothing safe can be done.
pub fn random() -> Result<[u8; 32]> {
    ring::rand::generate::<[u8; 32]>(&ring::rand::SystemRandom::new())
        .map(|bytes| bytes.expose())
        .map_err(|_| Failure::new("the operating system gives no random numbers (getrandom failed)"))
}
