//! THE OWNER: what whoever runs the box can type.
//!
//! [`setup`] is the way from a program to a house that runs. [`control`] is the way to a server that runs. Its words: [`user`], [`notify`],
//! [`invite`], [`command`], [`status`], [`check`], which also looks at servers from outside ([`observe`]); programs that look after the server
//! read [`metrics`], and [`avahi`] what it tells the network. [`backup`] puts everything into one file,
//! [`restore`] brings it back; [`reset`] moves aside what is there, and [`salvage`] reads what is left of a damaged folder. [`find`] knows which data
//! folder is meant, [`domain`] what it can be called, [`lookup`] whether phones find that, and [`root`] what root is in somebody else's folder.

pub mod avahi;
pub mod backup;
pub mod check;
mod check_report;
pub mod command;
pub mod control;
pub(crate) mod domain;
pub mod find;
pub mod invite;
mod link_base;
pub(crate) mod lookup;
pub(crate) mod metrics;
pub mod notify;
pub mod observe;
pub(in crate::service) mod own_file;
pub mod peer;
pub mod qr;
mod records;
pub mod reset;
pub mod restore;
pub mod root;
pub mod salvage;
pub mod setup;
pub mod status;
pub mod user;
