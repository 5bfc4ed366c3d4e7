//! CONNECTIONS: from the port to the core.
//!
//! [`listeners`] says what is listened for, and [`listen`] does it; [`gate`] counts who comes. [`c2s`] takes a client's connection through STARTTLS ([`starttls`]) and TLS's handshake, [`s2s`]
//! one of another server or one to it, which [`dial`] has reached, [`component`] one of a component. Then it is one value, a [`pump::Pump`]: between the bytes of a [`transport`] and the core, through a [`link`], which is
//! the stream with what it asks of the core and is answered. Another kind of peer is another link; another way that bytes go, another
//! transport.

mod bosh;
pub(crate) mod c2s;
mod component;
pub(crate) mod dial;
mod direct;
pub(crate) mod gate;
pub mod link;
pub(crate) mod listen;
pub(crate) mod listeners;
pub(crate) mod pump;
pub(crate) mod s2s;
mod starttls;
pub(crate) mod transport;
pub(crate) mod web;
pub mod websocket;
