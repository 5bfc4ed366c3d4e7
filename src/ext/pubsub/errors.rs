//! The conditions of `http://jabber.org/protocol/pubsub#errors`, each with the stanza error that goes with it.

use crate::wire::{Condition, ErrorType, StanzaError};

macro_rules! app {
    ($name:literal) => {
        concat!("<", $name, " xmlns='http://jabber.org/protocol/pubsub#errors'/>")
    };
}

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $condition:ident, $ty:ident, $app:literal;)*) => {
        $($(#[$doc])* pub(super) fn $name() -> StanzaError {
            StanzaError::new(Condition::$condition).ty(ErrorType::$ty).app(app!($app))
        })*
    };
}

errors! {
    /// §6.1.3.1
    invalid_jid = BadRequest, Modify, "invalid-jid";
    /// §6.1.3.2, §6.5.9.6; and what a stranger hears of an account whatever there is.
    presence_required = NotAuthorized, Auth, "presence-subscription-required";
    /// §6.1.3.3, §6.5.9.7
    not_in_group = NotAuthorized, Auth, "not-in-roster-group";
    /// §6.1.3.4, §6.5.9.8
    closed = NotAllowed, Cancel, "closed-node";
    /// §6.1.3.7
    pending = NotAuthorized, Auth, "pending-subscription";
    /// §6.1.3.9
    too_many_subscriptions = PolicyViolation, Wait, "too-many-subscriptions";
    /// §6.2.3.2
    no_subscriber = UnexpectedRequest, Cancel, "not-subscribed";
    /// §6.5.9.3
    not_subscribed = NotAuthorized, Auth, "not-subscribed";
    /// §7.1.3.4
    node_full = Conflict, Cancel, "node-full";
    /// §7.1.3.5
    too_big = NotAcceptable, Modify, "payload-too-big";
    /// §7.1.3.6
    invalid_payload = BadRequest, Modify, "invalid-payload";
    /// §7.1.3.7, §7.2.3.4
    item_required = BadRequest, Modify, "item-required";
    /// §7.1.3.7
    payload_required = BadRequest, Modify, "payload-required";
    /// §7.1.3.7
    item_forbidden = BadRequest, Modify, "item-forbidden";
    /// §7.1.5
    precondition = Conflict, Cancel, "precondition-not-met";
    /// §7.2.3.3, §8.2.3.3
    node_required = BadRequest, Modify, "nodeid-required";
    /// §8.1.2
    access_model = NotAcceptable, Modify, "unsupported-access-model";
    too_many_nodes = ResourceConstraint, Wait, "max-nodes-exceeded";
}

macro_rules! unsupported {
    ($feature:literal) => {
        $crate::wire::StanzaError::new($crate::wire::Condition::FeatureNotImplemented).app(concat!(
            "<unsupported xmlns='http://jabber.org/protocol/pubsub#errors' feature='",
            $feature,
            "'/>"
        ))
    };
}
pub(super) use unsupported;

/// The node does not exist (§11).
pub(super) fn no_node() -> StanzaError {
    Condition::ItemNotFound.into()
}

pub(super) fn bad(text: &'static str) -> StanzaError {
    StanzaError::new(Condition::BadRequest).text(text)
}
