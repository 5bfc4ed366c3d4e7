//! EXTENSIONS: one file each. The list is the pipeline: hooks run in its order, top to bottom.

use crate::core::Extension;

mod caps;
mod contacts;
mod disco;
mod last;
mod ping;
mod private;
mod roster;
mod session;
pub mod table;
mod time;
mod vcard;
mod version;

/// All extensions, in order.
pub fn all() -> Vec<Box<dyn Extension>> {
    vec![
        Box::new(roster::Roster),
        Box::new(session::Session),
        Box::new(disco::Disco),
        Box::new(contacts::Contacts),
        Box::new(caps::Caps),
        Box::new(last::Last),
        Box::new(version::Version),
        Box::new(time::Time),
        Box::new(ping::Ping),
        Box::new(vcard::Vcard::default()),
        Box::new(private::Private::default()),
    ]
}
