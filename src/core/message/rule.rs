//! Where a stanza goes: RFC 6121 §8 as one table, and what is asked of every stanza before.

use crate::wire::{Condition, Kind, Stanza, StanzaError, Type};

/// Whom a stanza to one of our accounts is addressed to (RFC 6121 §8.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum To {
    /// §8.5.1: there is no such account.
    NoUser,
    /// §8.5.2.1: the bare JID, and somebody is there to take it.
    BareOnline,
    /// §8.5.2.2: the bare JID, and nobody is.
    BareOffline,
    /// §8.5.3.1: a full JID that is connected.
    Full,
    /// §8.5.3.2: a full JID that is not.
    FullGone,
}

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rule {
    /// Nothing, and nobody is told.
    Ignore,
    /// `service-unavailable` to the sender, unless it is itself an answer.
    Refuse,
    /// To the addressed session.
    Session,
    /// To all available sessions whose priority is not negative (messages).
    Receivers,
    /// To all available sessions (presence).
    Available,
    /// Kept until somebody comes, if an extension does that; else refused.
    Keep,
    /// As if it were addressed to the bare JID.
    AsBare,
    /// The server answers for the account (IQ to a bare JID, RFC 6120 §10.3.3). For one that does not exist, it answers as for
    /// one that shows nothing to a stranger: with an error of the same kind, `service-unavailable` where nothing else is asked
    /// for (RFC 6121 §8.5.1).
    Server,
    /// The subscription state machine (RFC 6121 §3).
    Subscription,
    /// The answer to a probe (RFC 6121 §4.3.2).
    Probe,
}

/// RFC 6121 §8.5, the table of rules.
///
/// Where the RFC leaves a choice: a chat or normal message to the bare JID goes to every session that takes messages (§8.5.2.1.1
/// allows that or the "most available" one), so that a client without carbons misses nothing; and a message to nobody is refused
/// rather than dropped in silence, so that its sender knows. The error of a presence to the bare JID answers a request for a
/// subscription, which is sent from there: all available sessions see it.
#[rustfmt::skip]
pub(super) fn rule(kind: Kind, ty: Type, to: To) -> Rule {
    use Rule::*;
    //                                       NoUser   BareOnline    BareOffline   Full          FullGone
    let row = match (kind, ty) {
        (Kind::Message, Type::Error)     => [Ignore,  Ignore,       Ignore,       Session,      Ignore],
        (Kind::Message, Type::Chat)      => [Refuse,  Receivers,    Keep,         Session,      AsBare],
        (Kind::Message, Type::Groupchat) => [Refuse,  Refuse,       Refuse,       Session,      Refuse],
        (Kind::Message, Type::Headline)  => [Refuse,  Receivers,    Ignore,       Session,      Ignore],
        (Kind::Message, _)               => [Refuse,  Receivers,    Keep,         Session,      Refuse],
        (Kind::Presence, Type::None | Type::Unavailable)
                                         => [Ignore,  Available,    Ignore,       Session,      Ignore],
        (Kind::Presence, Type::Subscribe | Type::Subscribed | Type::Unsubscribe | Type::Unsubscribed)
                                         => [Ignore,  Subscription, Subscription, Subscription, Subscription],
        (Kind::Presence, Type::Probe)    => [Probe,   Probe,        Probe,        Probe,        Probe],
        (Kind::Presence, _)              => [Ignore,  Available,    Ignore,       Session,      Ignore],
        (Kind::Iq, Type::Get | Type::Set)
                                         => [Server,  Server,       Server,       Session,      Refuse],
        (Kind::Iq, _)                    => [Ignore,  Ignore,       Ignore,       Session,      Ignore],
    };
    row[to as usize]
}

pub(in crate::core) fn is_subscription(ty: Type) -> bool {
    matches!(ty, Type::Subscribe | Type::Subscribed | Type::Unsubscribe | Type::Unsubscribed)
}

/// What is asked of every stanza that comes in: an address (RFC 6120 §8.1.1), and the form of an IQ.
pub(in crate::core) fn well_formed(stanza: &Stanza) -> Result<(), StanzaError> {
    if stanza.bad_to {
        return Err(StanzaError::new(Condition::JidMalformed).text("the address in 'to' is not a JID"));
    }
    if stanza.kind == Kind::Iq { well_formed_iq(stanza) } else { Ok(()) }
}

/// RFC 6120 §8.2.3
fn well_formed_iq(iq: &Stanza) -> Result<(), StanzaError> {
    let bad = |text: &'static str| Err(StanzaError::new(Condition::BadRequest).text(text));
    if iq.id().is_none() {
        return bad("an IQ has an id");
    }
    let mut children = iq.children();
    match (iq.ty, children.next(), children.next()) {
        (Type::Get | Type::Set, Some(_), None) | (Type::Result, _, None) | (Type::Error, ..) => Ok(()),
        (Type::Get | Type::Set, ..) => bad("a request has exactly one child element"),
        (Type::Result, ..) => bad("a result has at most one child element"),
        _ => bad("the type of an IQ is get, set, result or error"),
    }
}
