//! THE WORLD: the only place with sockets, clock, threads, randomness and files.
//!
//! [`serve`] puts the parts together. [`net`] accepts connections and carries each through [`tls`] and its stream; [`dns`] says where other servers are, and by [`mdns`] the network at hand finds this one; [`hub`] holds the core
//! and carries out what it wants, and [`share`] sees that nobody takes what others need. [`disk`] keeps all that is stored, and [`cert`] makes and
//! keeps certificates. [`config`] reads the settings, and [`owner`] is what the owner of the box can type. [`logging`] is how they hear of the server,
//! [`manager`] how systemd does, and [`host`] what the box is. [`driver`] is a core with nothing around it.

pub(crate) mod cert;
pub mod config;
pub(crate) mod counters;
pub mod disk;
pub mod dns;
pub mod driver;
pub(crate) mod federation;
pub(crate) mod first;
pub(crate) mod host;
pub(crate) mod hub;
pub mod logging;
pub mod manager;
pub mod mdns;
pub mod net;
pub mod owner;
mod patient;
pub mod serve;
pub mod share;
pub mod tls;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// Takes a lock. A panic of who had it, which only tests survive, does not take what is behind it along.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
