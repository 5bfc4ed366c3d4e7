//! EXTENSIONS: one file each. The list is the pipeline: hooks run in its order, top to bottom.

use crate::core::Extension;

mod archive;
mod blocking;
mod caps;
mod carbons;
mod chat_states;
mod commands;
mod component;
mod contacts;
mod delay;
mod disco;
mod form;
mod hints;
mod last;
mod offline;
mod ping;
mod private;
mod register;
mod roster;
mod rsm;
mod session;
mod stanza_id;
mod stream_management;
pub mod table;
mod time;
mod vcard;
mod version;

/// All extensions, in order. `blocking` sees everything before anybody else does; `offline` last, when it is sure that a message
/// goes on. What is forged is cut before `archive` sees a message, and `carbons` copies it with the id that it gave.
#[rustfmt::skip]
pub fn all() -> Vec<Box<dyn Extension>> {
    vec![
        Box::new(blocking::Blocking::default()),
        Box::new(roster::Roster),
        Box::new(session::Session),
        Box::new(stream_management::StreamManagement),
        Box::new(register::Register::default()),
        Box::new(commands::Commands::default()),
        Box::new(commands::Administration),
        Box::new(component::Component),
        Box::new(disco::Disco),
        Box::new(contacts::Contacts),
        Box::new(caps::Caps),
        Box::new(last::Last),
        Box::new(version::Version),
        Box::new(time::Time),
        Box::new(ping::Ping),
        Box::new(vcard::Vcard::default()),
        Box::new(private::Private::default()),
        Box::new(delay::Delay),
        Box::new(stanza_id::StanzaId),
        Box::new(hints::Hints),
        Box::new(chat_states::ChatStates),
        Box::new(rsm::ResultSets),
        Box::new(archive::Order),
        Box::new(archive::Preferences),
        Box::new(archive::Archive::default()),
        Box::new(carbons::Carbons::default()),
        Box::new(offline::Offline::default()),
    ]
}
