//! XEP-0363: HTTP File Upload, at the service `upload.DOMAIN`. It says where a file can be put, and to whom; the file itself comes by
//! HTTP, and is none of the core's business.

use super::disco::{self, Identity, Info};
use crate::core::{
    About, CONTENT_TYPE_BYTES, Event, Extension, FILE_NAME_BYTES, Flow, Handled, Job, Slot, SlotRefusal, State,
    UploadPurpose, WantedSlot,
};
use crate::store::{Engine, StoreError};
use crate::wire::xml::escaped;
use crate::wire::{Condition, ErrorType, Jid, Kind, Node, Ns, Stanza, StanzaError, Type, stamp};
use std::collections::BTreeMap;

/// What people read in the list of services.
const TITLE: &str = "HTTP File Upload";

const UPLOAD: &str = "urn:xmpp:http:upload:0";

pub(super) const SUBDOMAIN: &str = "upload";

#[derive(Default)]
pub(super) struct HttpUpload {
    service: Option<Jid>,
    /// The requests whose slots are being made, without what is in them.
    jobs: BTreeMap<Job, Stanza>,
}

fn bad(text: &'static str) -> StanzaError {
    StanzaError::new(Condition::BadRequest).text(text)
}

/// What the service tells of itself (§3). `most`: how large a file may be, in bytes.
fn info(most: u64) -> Info {
    let features = [
        "http://jabber.org/protocol/disco#info",
        "http://jabber.org/protocol/disco#items",
        "urn:xmpp:ping",
        UPLOAD,
        "urn:xmpp:http:upload:purpose:0#message",
        "urn:xmpp:http:upload:purpose:0#ephemeral",
    ];
    let form = [("max-file-size".to_owned(), [most.to_string()].into())];
    Info {
        identities: [Identity { category: "store", ty: "file", lang: "", name: TITLE.into() }].into(),
        features: features.into(),
        forms: [(UPLOAD, form.into())].into(),
    }
}

/// §6
fn too_large(most: u64) -> StanzaError {
    StanzaError::new(Condition::NotAcceptable)
        .text(format!("File too large. The maximum file size is {most} bytes"))
        .app(format!("<file-too-large xmlns='{UPLOAD}'><max-file-size>{most}</max-file-size></file-too-large>"))
}

/// What a file is called. Whatever is in it stands percent-encoded in a URL and in a header field; what no file is called stays out.
fn file_name(request: Node<'_>) -> Result<Box<str>, StanzaError> {
    let name =
        request.attr("filename").filter(|name| !name.is_empty()).ok_or_else(|| bad("the filename is missing"))?;
    let fault = |text: String| Err(StanzaError::new(Condition::NotAcceptable).text(text));
    if name.len() > FILE_NAME_BYTES {
        return fault(format!("the filename has more than {FILE_NAME_BYTES} bytes"));
    }
    // A URL with a segment of dots leads elsewhere (RFC 3986 §5.2.4).
    if name.contains(|c: char| c == '/' || c.is_control()) || matches!(&*name, "." | "..") {
        return fault("the filename has a slash or a control character in it, or is dots alone".into());
    }
    Ok(name.into())
}

/// RFC 9110 §8.3.1, as far as it matters here: it comes back in a header field.
fn content_type(request: Node<'_>) -> Result<Option<Box<str>>, StanzaError> {
    let Some(ty) = request.attr("content-type").filter(|ty| !ty.is_empty()) else { return Ok(None) };
    let fine = ty.len() <= CONTENT_TYPE_BYTES && ty.contains('/') && ty.bytes().all(|b| matches!(b, b' '..=b'~'));
    if fine { Ok(Some(ty.into())) } else { Err(bad("this is no content-type")) }
}

/// §5. `now`: milliseconds since 1970.
fn purpose(request: Node<'_>, now: u64) -> Result<UploadPurpose, StanzaError> {
    let mut purposes = request.children().filter(|child| child.ns() == Ns::UPLOAD_PURPOSE);
    let purpose = purposes.next();
    if purposes.next().is_some() {
        return Err(bad("there is more than one purpose"));
    }
    match purpose.map(|purpose| (purpose.name(), purpose)) {
        None | Some(("message", _)) => Ok(UploadPurpose::Message),
        Some(("ephemeral", purpose)) => {
            let until = purpose.attr("expire-before").and_then(|text| stamp::parse(&text));
            let until = until.ok_or_else(|| bad("an ephemeral file needs the time that it must expire before"))?;
            if until <= now {
                return Err(StanzaError::new(Condition::NotAcceptable).text("the file would have expired already"));
            }
            Ok(UploadPurpose::Ephemeral(until))
        }
        // Better than to promise it, and to delete the file when its time has come.
        Some(_) => Err(StanzaError::new(Condition::FeatureNotImplemented)
            .ty(ErrorType::Modify)
            .text("files are kept for messages, or shorter")),
    }
}

/// What is answered to who gets no slot. `wall`: milliseconds since 1970.
fn refused(refusal: SlotRefusal, wall: u64) -> StanzaError {
    match refusal {
        SlotRefusal::TooLarge(most) => too_large(most),
        SlotRefusal::Later(ms, text) => {
            let stamp = stamp::format(wall.saturating_add(ms));
            let retry = format!("<retry xmlns='{UPLOAD}' stamp='{stamp}'/>");
            StanzaError::new(Condition::ResourceConstraint).text(text).app(retry)
        }
        SlotRefusal::Unavailable(text) => {
            StanzaError::new(Condition::InternalServerError).ty(ErrorType::Wait).text(text)
        }
    }
}

impl HttpUpload {
    /// §4. `most`: how large a file may be, in bytes.
    fn requested(&mut self, st: &mut State, iq: &Stanza, most: u64) -> Handled {
        let Some(owner) = iq.from.as_ref().map(Jid::bare).filter(|from| st.account(from).is_some()) else {
            let text = "only those who have an account here can upload files";
            return Err(StanzaError::new(Condition::Forbidden).text(text));
        };
        let request = iq.child(Ns::UPLOAD, "request").filter(|_| iq.ty == Type::Get);
        let request = request.ok_or_else(|| bad("a slot is asked for with an IQ-get that has a request in it"))?;
        let name = file_name(request)?;
        let size = request.attr("size").and_then(|size| size.trim().parse().ok());
        let size = size.ok_or_else(|| bad("the size in bytes is missing, or not a number"))?;
        let (content_type, purpose) = (content_type(request)?, purpose(request, st.now().wall)?);
        if size > most {
            return Err(too_large(most));
        }
        let job = st.want_slot(WantedSlot { owner, name, size, content_type, purpose });
        let mut asked = iq.clone();
        asked.clear();
        self.jobs.insert(job, asked);
        Ok(Flow::Done)
    }
}

impl Extension for HttpUpload {
    fn about(&self) -> &'static About {
        const ABOUT: About = About::new("XEP-0363", "HTTP File Upload", "1.2.0", "the purposes profile and permanent");
        &ABOUT
    }

    fn load(&mut self, st: &mut State, _engine: &mut dyn Engine) -> Result<(), StoreError> {
        let domain = Jid::parse(&format!("{SUBDOMAIN}.{}", st.domain().domain())).ok();
        self.service = domain.filter(|_| st.settings().upload_bytes.is_some());
        if let Some(service) = &self.service {
            st.serve(service.domain(), TITLE);
        }
        Ok(())
    }

    fn serve(&mut self, st: &mut State, stanza: &mut Stanza) -> Handled {
        let Some(most) = st.settings().upload_bytes.filter(|_| stanza.to == self.service) else {
            return Ok(Flow::Pass);
        };
        if stanza.kind != Kind::Iq {
            return if stanza.kind == Kind::Presence { Ok(Flow::Done) } else { Ok(Flow::Pass) };
        }
        match stanza.children().next().map(Node::ns).filter(|_| matches!(stanza.ty, Type::Get | Type::Set)) {
            Some(Ns::UPLOAD) => self.requested(st, stanza, most),
            Some(Ns::DISCO_INFO | Ns::DISCO_ITEMS) => match disco::query(stanza)? {
                (_, Some(_)) => Err(Condition::ItemNotFound.into()),
                (Ns::DISCO_INFO, None) => st.reply(stanza, info(most).write(None)),
                (_, None) => st.reply(stanza, disco::items(&[], None)),
            },
            Some(Ns::PING) if stanza.ty == Type::Get => st.reply(stanza, ""),
            _ => Ok(Flow::Pass),
        }
    }

    fn slot(&mut self, st: &mut State, job: Job, slot: Result<Slot, SlotRefusal>) {
        let Some(iq) = self.jobs.remove(&job) else { return };
        match slot {
            Ok(Slot { put, get, authorization }) => {
                let slot = format!(
                    "<slot xmlns='{UPLOAD}'><put url='{}'><header name='Authorization'>{}</header></put><get url='{}'/></slot>",
                    escaped(&put),
                    escaped(&authorization),
                    escaped(&get)
                );
                // It always is dealt with.
                let _ = st.reply(&iq, slot);
            }
            Err(refusal) => {
                let wall = st.now().wall;
                st.refuse(&iq, &refused(refusal, wall));
            }
        }
    }

    fn event(&mut self, st: &mut State, event: &Event) {
        if let Event::Removed(local) = event
            && let Ok(account) = Jid::new(Some(local), st.domain().domain(), None)
        {
            st.remove_files(account);
        }
    }
}
