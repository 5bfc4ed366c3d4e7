//! THE DISK: [`data`] knows what lies where in the data folder, [`storage`] is the one thread that owns the database, [`wear`] counts what is
//! written, [`files`] are what people upload, and a [`container`] is all of it in one file.

pub(crate) mod container;
pub mod data;
pub mod files;
pub(crate) mod storage;
pub(crate) mod wear;
