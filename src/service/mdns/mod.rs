//! Found in the network at hand: a responder of multicast DNS (RFC 6762) that tells of the services here (RFC 6763).

mod claims;
pub mod packet;
pub mod responder;

pub use self::claims::{Offer, Wanted};
