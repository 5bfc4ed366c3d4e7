//! Inglenook: the XMPP server for small appliances.
//!
//! Modules in layer order; imports only ever go downwards in this list's sense: `wire` knows nobody,
//! `stream` and `store` know `wire`, `core` knows `wire` and `store`, `ext` knows `core` and what it knows,
//! `service` sees all.

pub mod core;
pub mod ext;
pub mod service;
pub mod store;
pub mod stream;
pub mod wire;
