//! Stanza errors (RFC 6120 §8.3) and stream errors (RFC 6120 §4.9): who is at fault and what to do about it.

use std::borrow::Cow;
use std::fmt;

macro_rules! conditions {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $name:ident = $wire:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $type { $($(#[$vdoc])* #[doc = concat!("`", $wire, "`")] $name,)* }
        impl $type {
            /// The element's name on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$name => $wire,)* }
            }
        }
    };
}

conditions! {
    /// The defined conditions of RFC 6120 §8.3.3.
    Condition {
        BadRequest = "bad-request",
        Conflict = "conflict",
        FeatureNotImplemented = "feature-not-implemented",
        Forbidden = "forbidden",
        Gone = "gone",
        InternalServerError = "internal-server-error",
        ItemNotFound = "item-not-found",
        JidMalformed = "jid-malformed",
        NotAcceptable = "not-acceptable",
        NotAllowed = "not-allowed",
        NotAuthorized = "not-authorized",
        PolicyViolation = "policy-violation",
        RecipientUnavailable = "recipient-unavailable",
        Redirect = "redirect",
        RegistrationRequired = "registration-required",
        RemoteConnectionFailed = "remote-connection-failed",
        RemoteServerNotFound = "remote-server-not-found",
        RemoteServerTimeout = "remote-server-timeout",
        ResourceConstraint = "resource-constraint",
        ServiceUnavailable = "service-unavailable",
        SubscriptionRequired = "subscription-required",
        UndefinedCondition = "undefined-condition",
        UnexpectedRequest = "unexpected-request",
    }
}

conditions! {
    /// What the sender should do (RFC 6120 §8.3.2).
    ErrorType {
        Auth = "auth",
        Cancel = "cancel",
        Continue = "continue",
        Modify = "modify",
        Wait = "wait",
    }
}

conditions! {
    /// The defined conditions of RFC 6120 §4.9.3.
    StreamCondition {
        BadFormat = "bad-format",
        BadNamespacePrefix = "bad-namespace-prefix",
        Conflict = "conflict",
        ConnectionTimeout = "connection-timeout",
        HostGone = "host-gone",
        HostUnknown = "host-unknown",
        ImproperAddressing = "improper-addressing",
        InternalServerError = "internal-server-error",
        InvalidFrom = "invalid-from",
        InvalidNamespace = "invalid-namespace",
        InvalidXml = "invalid-xml",
        NotAuthorized = "not-authorized",
        NotWellFormed = "not-well-formed",
        PolicyViolation = "policy-violation",
        RemoteConnectionFailed = "remote-connection-failed",
        Reset = "reset",
        ResourceConstraint = "resource-constraint",
        RestrictedXml = "restricted-xml",
        SystemShutdown = "system-shutdown",
        UndefinedCondition = "undefined-condition",
        UnsupportedEncoding = "unsupported-encoding",
        UnsupportedFeature = "unsupported-feature",
        UnsupportedStanzaType = "unsupported-stanza-type",
        UnsupportedVersion = "unsupported-version",
    }
}

impl Condition {
    /// The error type that RFC 6120 §8.3.3 recommends with the condition.
    pub fn usual_type(self) -> ErrorType {
        use Condition::*;
        match self {
            BadRequest | JidMalformed | NotAcceptable | PolicyViolation | Redirect => ErrorType::Modify,
            Forbidden | NotAuthorized | RegistrationRequired | SubscriptionRequired => ErrorType::Auth,
            RecipientUnavailable | RemoteServerTimeout | ResourceConstraint | UnexpectedRequest => ErrorType::Wait,
            _ => ErrorType::Cancel,
        }
    }
}

/// A stanza error: the answer to one stanza; the stream lives on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StanzaError {
    /// What the sender should do.
    pub ty: ErrorType,
    /// The defined condition.
    pub condition: Condition,
    /// Words for a person, in English.
    pub text: Option<Cow<'static, str>>,
    /// An application-specific condition: one element with its namespace, as XML.
    pub app: Option<Cow<'static, str>>,
}

impl StanzaError {
    /// The condition with the type that usually goes with it.
    pub fn new(condition: Condition) -> StanzaError {
        StanzaError { ty: condition.usual_type(), condition, text: None, app: None }
    }

    /// The same with another type.
    pub fn ty(mut self, ty: ErrorType) -> StanzaError {
        self.ty = ty;
        self
    }

    /// The same with words for a person.
    pub fn text(mut self, text: impl Into<Cow<'static, str>>) -> StanzaError {
        self.text = Some(text.into());
        self
    }

    /// The same with an application-specific condition, one element as XML.
    pub fn app(mut self, xml: impl Into<Cow<'static, str>>) -> StanzaError {
        self.app = Some(xml.into());
        self
    }

    /// Appends `<error type='…'>…</error>` (RFC 6120 §8.3.1).
    pub fn write(&self, out: &mut String) {
        out.push_str("<error type='");
        out.push_str(self.ty.as_str());
        out.push_str("'><");
        out.push_str(self.condition.as_str());
        out.push_str(" xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>");
        if let Some(text) = &self.text {
            out.push_str("<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>");
            super::xml::escape(text, out);
            out.push_str("</text>");
        }
        if let Some(app) = &self.app {
            out.push_str(app);
        }
        out.push_str("</error>");
    }
}

impl From<Condition> for StanzaError {
    fn from(condition: Condition) -> StanzaError {
        StanzaError::new(condition)
    }
}

/// A stream error: it ends the stream (RFC 6120 §4.9.1.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamError {
    /// The defined condition.
    pub condition: StreamCondition,
    /// Words for a person, in English.
    pub text: Option<Cow<'static, str>>,
    /// An application-specific condition, one element as XML.
    pub app: Option<Box<str>>,
}

impl StreamError {
    /// The bare condition.
    pub fn new(condition: StreamCondition) -> StreamError {
        StreamError { condition, text: None, app: None }
    }

    /// The same with an application-specific condition, one element as XML.
    pub fn app(mut self, xml: impl Into<Box<str>>) -> StreamError {
        self.app = Some(xml.into());
        self
    }

    /// The same with words for a person.
    pub fn text(mut self, text: impl Into<Cow<'static, str>>) -> StreamError {
        self.text = Some(text.into());
        self
    }

    /// Appends `<stream:error>…</stream:error>` (RFC 6120 §4.9.2).
    pub fn write(&self, out: &mut String) {
        self.write_behind("<stream:error>", out);
    }

    /// The same, where no stream declares the prefix (RFC 7395 §3.3.3).
    pub fn write_alone(&self, out: &mut String) {
        self.write_behind("<stream:error xmlns:stream='http://etherx.jabber.org/streams'>", out);
    }

    fn write_behind(&self, start: &str, out: &mut String) {
        out.push_str(start);
        out.push('<');
        out.push_str(self.condition.as_str());
        out.push_str(" xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>");
        if let Some(text) = &self.text {
            out.push_str("<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>");
            super::xml::escape(text, out);
            out.push_str("</text>");
        }
        if let Some(app) = &self.app {
            out.push_str(app);
        }
        out.push_str("</stream:error>");
    }
}

impl From<StreamCondition> for StreamError {
    fn from(condition: StreamCondition) -> StreamError {
        StreamError::new(condition)
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.condition.as_str())?;
        match &self.text {
            Some(text) => write!(f, " ({text})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StreamError {}

impl fmt::Display for StanzaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.condition.as_str())?;
        match &self.text {
            Some(text) => write!(f, " ({text})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StanzaError {}
