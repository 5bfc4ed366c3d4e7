//! The pages of the house: `/` and `/trust` for everybody, `/invite/TOKEN` and `/reset/TOKEN` for who was given one. What they say is in
//! [`pages`].

use super::taken::Begun;
use super::{Connection, Outcome, Web};
use crate::core::{InvitationKind, InvitationView, NameFault, TakeRefusal, TokenDigest, token_digest};
use crate::stream::Mono;
use crate::web::answer::{Answer, Status};
use crate::web::form::{FORM_BYTES, FormFields, is_form, is_from_here};
use crate::web::pages::{self, Authority, Done, Fault, Form, House, Invitation, Purpose, Remark, Visitor, Vouched};
use crate::web::percent::{decoded, encoded};
use crate::web::request::{Method, Request};
use crate::wire::Jid;
use crate::wire::punycode::a_labels;
use crate::wire::scram::{CHOSEN_PASSWORD_BYTES, allowed, is_blank, long_enough};
use std::io;
use std::sync::Arc;

impl Web {
    /// What may be had without a token; nothing, if there is nothing there. `on`: where the visitor goes on from here, if they are not there:
    /// then all they see is how to trust that.
    pub(super) fn public(&self, request: &Request, on: Option<&str>) -> Option<Answer> {
        let (house, visitor) = (self.house(), visitor(request));
        let own = match &house.vouched {
            Vouched::Itself(authority) => Some(authority),
            Vouched::World | Vouched::Owner => None,
        };
        let answer = match request.path.as_str() {
            // Where nothing has to be done before, they go on at once.
            "/" | "/trust" if on.is_some() && own.is_none() => return None,
            "/" if on.is_none() => shown(Status::Ok, &visitor, pages::start(&house, &visitor)),
            "/" | "/trust" => shown(Status::Ok, &visitor, pages::trust(&house, &visitor, on)),
            path => file(&house, own?, path.strip_prefix("/trust/")?, &visitor)?.with("Cache-Control", "no-store"),
        };
        let reads = matches!(request.method, Method::Get | Method::Head);
        Some(if reads { answer } else { not_allowed("this can only be read", "GET, HEAD") })
    }
}

/// The authority, in one of its forms.
fn file(house: &House, authority: &Authority, name: &str, visitor: &Visitor) -> Option<Answer> {
    Some(match name {
        "inglenook.mobileconfig" => {
            let profile = pages::profile(house, authority, visitor.lang);
            Answer::of(Status::Ok, "application/x-apple-aspen-config", profile)
        }
        "ca.crt" => Answer::of_bytes(Status::Ok, "application/x-x509-ca-cert", authority.der.clone().into()),
        "ca.pem" => Answer::of(Status::Ok, "application/x-pem-file", authority.pem.clone()),
        _ => return None,
    })
}

fn visitor(request: &Request) -> Visitor {
    Visitor::new(request.query.as_deref(), request.field("accept-language"), request.field("user-agent"))
}

/// A page as an answer.
fn shown(status: Status, visitor: &Visitor, page: String) -> Answer {
    let mut answer = Answer::of(status, "text/html; charset=utf-8", page)
        .with("Content-Language", visitor.lang.texts().code)
        .with("Vary", "Accept-Language, User-Agent")
        .with("Cache-Control", "no-store")
        .with("X-Robots-Tag", "noindex");
    answer.policy = pages::POLICY.as_str().into();
    answer
}

fn not_allowed(why: &str, allow: &'static str) -> Answer {
    Answer::text(Status::MethodNotAllowed, why).with("Allow", allow)
}

/// Whose link it is, and for whom its page is made.
struct Link<'a> {
    web: &'a Web,
    house: Arc<House>,
    domain: Jid,
    visitor: Visitor,
    purpose: Purpose,
    token: &'a str,
    /// Of both.
    digest: TokenDigest,
}

impl Connection {
    /// `/invite/TOKEN` and `/reset/TOKEN`.
    pub(super) async fn link(
        &mut self,
        web: &Web,
        request: &Request,
        purpose: Purpose,
        token: &str,
    ) -> io::Result<Outcome> {
        let (house, visitor) = (web.house(), visitor(request));
        // On its way through mail and chat it may have been encoded.
        let token = &decoded(token).unwrap_or_default();
        let domain = self.entry.hub.terms().domain.clone();
        let link =
            Link { web, house, domain, visitor, purpose, token, digest: token_digest(&format!("{purpose:?}/{token}")) };
        match request.method {
            Method::Get | Method::Head => {
                let answer = match self.view(&link) {
                    Ok(view) => link.page(Status::Ok, Some(&view), &Form::default()),
                    Err(refusal) => link.refused(refusal, self.entry.hub.mono(), false),
                };
                self.reply(request, answer).await
            }
            Method::Post => self.sent(&link, request).await,
            _ => {
                let answer = not_allowed("this is a page with a form", "GET, HEAD, POST");
                self.reply(request, answer).await
            }
        }
    }

    /// What the link is, if it is for what its page is for.
    fn view(&self, link: &Link<'_>) -> Result<InvitationView, TakeRefusal> {
        let view = self.entry.hub.invitation(link.token, self.ip)?;
        if view.kind == kind(link.purpose) { Ok(view) } else { Err(TakeRefusal::Unknown) }
    }

    /// A form was sent.
    async fn sent(&mut self, link: &Link<'_>, request: &Request) -> io::Result<Outcome> {
        let refused = match (is_from_here(request), is_form(request)) {
            (false, _) => Some((Status::Forbidden, Remark::Foreign)),
            (_, false) => Some((Status::UnsupportedMediaType, Remark::Bad)),
            _ => None,
        };
        if let Some((status, remark)) = refused {
            return self.reply(request, link.remark(status, remark)).await;
        }
        let content = match self.content(request, FORM_BYTES).await? {
            Ok(content) => content,
            Err(mut answer) => {
                if answer.status == Status::ContentTooLarge {
                    answer = link.remark(answer.status, Remark::Bad);
                }
                self.say(&answer, false, false).await?;
                return Ok(Outcome::Over);
            }
        };
        let answer = match FormFields::read(&content) {
            Some(fields) => self.taken(link, &fields).await,
            None => link.remark(Status::BadRequest, Remark::Bad),
        };
        self.say(&answer, false, request.stays).await?;
        Ok(if request.stays { Outcome::Answered } else { Outcome::Over })
    }

    /// Does what the form asks for, once.
    async fn taken(&mut self, link: &Link<'_>, fields: &FormFields) -> Answer {
        let field = |name| fields.get(name).unwrap_or_default();
        let (name, password) = (link.name(field("name")), field("password"));
        let mut faults = Vec::new();
        if name.is_empty() && link.purpose == Purpose::Account {
            faults.push(Fault::NoName);
        }
        faults.extend(password_fault(password));
        // Whoever types it once, or shows it while it is typed, sends no second one.
        if faults.is_empty() && fields.get("again").is_some_and(|again| again != password) {
            faults.push(Fault::Again);
        }
        if !faults.is_empty() {
            return match self.view(link) {
                Ok(view) => link.page(Status::UnprocessableContent, Some(&view), &Form { name, faults: &faults }),
                Err(refusal) => link.refused(refusal, self.entry.hub.mono(), true),
            };
        }
        let (form, taken) = (token_digest(&[link.token, name, password].join("\0")), &link.web.taken);
        let first = loop {
            match taken.begin(link.digest, form, self.entry.hub.mono()) {
                Begun::First(first) => break first,
                // It ends, and says nothing.
                Begun::Second(settled) => drop(settled.recv().await),
                Begun::Made(account) => return link.done(Status::Ok, &account, true),
            }
        };
        let kind = kind(link.purpose);
        let done = self.entry.hub.take_invitation(link.token, self.ip, kind, (name, password)).await;
        taken.end(&form, done.as_ref().ok());
        drop(first);
        let fault = match done {
            Ok(account) => return link.done(Status::Ok, &account, false),
            Err(TakeRefusal::Name(fault)) => name_fault(fault),
            Err(TakeRefusal::Password(_)) => Fault::PasswordOdd,
            Err(refusal) => return link.refused(refusal, self.entry.hub.mono(), true),
        };
        // Its time may be over by now, and the form still good.
        let view = self.view(link).ok();
        link.page(Status::UnprocessableContent, view.as_ref(), &Form { name, faults: &[fault] })
    }
}

impl Link<'_> {
    /// A name as it was meant: many type their whole address.
    fn name<'a>(&self, typed: &'a str) -> &'a str {
        let typed = typed.trim();
        match typed.rsplit_once('@') {
            Some((name, domain)) if domain.eq_ignore_ascii_case(&self.house.name) => name,
            _ => typed,
        }
    }

    /// The page with the form. `view`: what is known of it.
    fn page(&self, status: Status, view: Option<&InvitationView>, form: &Form<'_>) -> Answer {
        let prefix = match self.purpose {
            Purpose::Account => "invite",
            Purpose::Reset => "reset",
        };
        let url = format!("{}/{prefix}/{}", self.web.base().unwrap_or_default(), encoded(self.token));
        // One whose time is over cannot be told from one that there never was.
        let name =
            view.map_or_else(|| Some(form.name).filter(|_| self.purpose == Purpose::Reset), |v| v.name.as_deref());
        let uri = view.and_then(|view| view.uri(&self.domain, self.token));
        let until = view.map_or(String::new(), |view| crate::wire::stamp::format(view.until.saturating_mul(1000)));
        let invitation = Invitation {
            purpose: self.purpose,
            inviter: view.and_then(|view| view.inviter.as_ref()).map(Jid::as_str),
            name,
            room: view.and_then(|view| view.room.as_ref()).map(Jid::as_str),
            until: until.get(..10).unwrap_or_default(),
            url: &url,
            uri: &uri.unwrap_or_default(),
        };
        shown(status, &self.visitor, pages::invitation(&self.house, &self.visitor, &invitation, form))
    }

    /// Where the server is, for apps that do not find it by the domain.
    fn server(&self) -> Option<(String, u16)> {
        let base = self.web.base()?;
        let host = base.strip_prefix("https://")?;
        let port = |(host, port): (&str, &str)| port.parse::<u16>().is_ok().then(|| host.to_owned());
        let host = host.rsplit_once(':').and_then(port).unwrap_or_else(|| host.to_owned());
        let is_found = host.eq_ignore_ascii_case(&a_labels(&self.house.name));
        self.house.port.filter(|_| !is_found).map(|port| (host, port))
    }

    fn done(&self, status: Status, account: &Jid, again: bool) -> Answer {
        let done = match (self.purpose, again) {
            (Purpose::Account, false) => Done::Made,
            (Purpose::Account, true) => Done::MadeBefore,
            (Purpose::Reset, _) => Done::Reset,
        };
        let page = pages::done(&self.house, &self.visitor, done, (account.as_str(), &address(account)), self.server());
        shown(status, &self.visitor, page)
    }

    fn remark(&self, status: Status, remark: Remark) -> Answer {
        shown(status, &self.visitor, pages::remark(&self.house, &self.visitor, remark))
    }

    /// `typed`: somebody wants something with it, and has not just opened it once more.
    fn refused(&self, refusal: TakeRefusal, now: Mono, typed: bool) -> Answer {
        match refusal {
            TakeRefusal::Unknown => match self.web.taken.by(&self.digest, now) {
                // With what is typed now nothing was made; and whose account it was is nobody else's business.
                Some(_) if typed => self.remark(Status::Gone, Remark::Gone),
                Some(account) => self.done(Status::Gone, &account, true),
                None => self.remark(Status::NotFound, Remark::Gone),
            },
            TakeRefusal::Later(ms) => self
                .remark(Status::TooManyRequests, Remark::Later(ms))
                .with("Retry-After", ms.div_ceil(1000).to_string()),
            TakeRefusal::Name(_) | TakeRefusal::Password(_) => self.remark(Status::BadRequest, Remark::Bad),
            TakeRefusal::NotStored(why) => {
                log::warn!("an invitation could not be taken: {why}");
                self.remark(Status::ServiceUnavailable, Remark::NotStored)
            }
        }
    }
}

fn kind(purpose: Purpose) -> InvitationKind {
    match purpose {
        Purpose::Account => InvitationKind::Account,
        Purpose::Reset => InvitationKind::Reset,
    }
}

/// An address as a link (RFC 5122 §2.2).
fn address(jid: &Jid) -> String {
    match jid.local() {
        Some(local) => format!("xmpp:{}@{}", encoded(local), jid.domain()),
        None => format!("xmpp:{}", jid.domain()),
    }
}

fn password_fault(password: &str) -> Option<Fault> {
    if is_blank(password) {
        return Some(Fault::PasswordBlank);
    }
    if long_enough(password).is_err() {
        return Some(Fault::PasswordShort);
    }
    let is_long = password.len() > CHOSEN_PASSWORD_BYTES;
    is_long.then_some(Fault::PasswordLong).or(allowed(password).is_err().then_some(Fault::PasswordOdd))
}

fn name_fault(fault: NameFault) -> Fault {
    match fault {
        NameFault::Missing => Fault::NoName,
        NameFault::TooLong => Fault::NameLong,
        NameFault::NotAllowed | NameFault::Unseen => Fault::NameOdd,
        NameFault::Taken => Fault::NameTaken,
        NameFault::Reserved => Fault::NameKept,
        NameFault::LookAlike => Fault::NameAlike,
        NameFault::Mixed => Fault::NameMixed,
    }
}
