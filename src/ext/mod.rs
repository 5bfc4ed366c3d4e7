//! EXTENSIONS: one file each. The list is the pipeline: hooks run in its order, top to bottom.

use crate::core::Extension;

mod archive;
mod avatar;
mod blocking;
mod bookmarks;
mod caps;
mod carbons;
mod chat_states;
mod commands;
mod contacts;
mod csi;
mod delay;
mod disco;
mod displayed;
mod form;
mod hints;
mod last;
mod muc;
mod offline;
mod ping;
mod private;
mod pubsub;
mod push;
mod register;
mod roster;
mod rsm;
mod session;
mod stanza_id;
mod stream_management;
pub mod table;
mod time;
mod upload;
mod vcard;
mod version;

/// The names below the domain that the server's own services have.
pub const SERVICES: [&str; 3] = [muc::SUBDOMAIN, pubsub::SUBDOMAIN, UPLOAD];
/// That of the service for files, which is there if files can be uploaded.
pub const UPLOAD: &str = upload::SUBDOMAIN;

/// All extensions, in order. `blocking` sees everything before anybody else does; `offline` last, when it is sure that a message
/// goes on; `pubsub` sees what is asked of its nodes before `disco` answers for the rest. What is forged is cut before `archive` sees a message, and `carbons` copies it with the id that it gave.
#[rustfmt::skip]
pub fn all() -> Vec<Box<dyn Extension>> {
    vec![
        Box::new(blocking::Blocking::default()),
        Box::new(roster::Roster),
        Box::new(session::SessionEstablishment),
        Box::new(stream_management::StreamManagement),
        Box::new(register::Register::default()),
        Box::new(commands::Commands::default()),
        Box::new(pubsub::PubSub::default()),
        Box::new(disco::Disco),
        Box::new(contacts::Contacts),
        Box::new(caps::Caps),
        Box::new(last::Last),
        Box::new(version::Version),
        Box::new(time::Time),
        Box::new(ping::Ping),
        Box::new(avatar::Avatars::default()),
        Box::new(vcard::Vcard::default()),
        Box::new(bookmarks::Bookmarks::default()),
        Box::new(displayed::Displayed),
        Box::new(private::Private::default()),
        Box::new(delay::Delay),
        Box::new(stanza_id::StanzaId),
        Box::new(hints::Hints),
        Box::new(chat_states::ChatStates),
        Box::new(csi::ClientState),
        Box::new(rsm::ResultSets),
        Box::new(archive::Archive::default()),
        Box::new(carbons::Carbons::default()),
        Box::new(push::Push::default()),
        Box::new(offline::Offline::default()),
        Box::new(muc::Muc::default()),
        Box::new(upload::HttpUpload::default()),
    ]
}
