//! CONNECTIONS: from the port to the core.
//!
//! [`listeners`] says what is listened for, and [`listen`] does it. [`c2s`] takes a client's connection through STARTTLS and TLS's handshake, [`component`] one of
//! a component. Then it is one value, a [`pump::Pump`]: between the bytes of a [`transport`] and the core, through a [`link`], which is
//! the stream with what it asks of the core and is answered. [`dial`] makes connections to other servers. Another kind of peer is another link; another way that bytes go, another
//! transport.

pub mod c2s;
mod component;
pub mod dial;
pub mod link;
pub mod listen;
pub mod listeners;
pub mod pump;
pub mod transport;
