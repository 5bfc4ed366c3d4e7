//! `/upload/ID/NAME`: a file is put there, and had from there (XEP-0363).

use super::{Connection, IDLE_MS, Outcome, SLOWEST_BYTES, now};
use crate::service::disk::files::{Files, PutRefusal, PutRequest, StoredFile, Upload, served_as};
use crate::service::host;
use crate::stream::Mono;
use crate::web::answer::{Answer, CONTINUE, Status, date};
use crate::web::body::{Body, Framed};
use crate::web::percent;
use crate::web::range::Wanted;
use crate::web::request::{Method, Request};
use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes of a file that are in memory at the same time.
const PIECE_BYTES: usize = 64 * 1024;
/// What browsers may do with a file: show it, and nothing in it may do anything.
const POLICY: &str = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; \
                      frame-ancestors 'none'; sandbox";

impl Connection {
    pub(super) async fn file(&mut self, files: &Arc<Files>, request: &Request, rest: &str) -> io::Result<Outcome> {
        let path = rest.split_once('/').and_then(|(id, name)| Some((id.to_owned(), decoded(name)?)));
        let Some((id, name)) = path else { return self.reply(request, web_page(super::nothing())).await };
        match request.method {
            Method::Get | Method::Head => self.give(files, request, id, name).await,
            Method::Put => self.take(files, request, id, name).await,
            // What browsers ask first (Fetch §3.2).
            Method::Options => self.reply(request, web_page(Answer::new(Status::NoContent))).await,
            Method::Post | Method::Other => {
                let answer = Answer::text(Status::MethodNotAllowed, "files are put and had here");
                self.reply(request, web_page(answer.with("Allow", "GET, HEAD, OPTIONS, PUT"))).await
            }
        }
    }

    /// §7: a file comes in.
    async fn take(&mut self, files: &Arc<Files>, request: &Request, id: String, name: String) -> io::Result<Outcome> {
        let refuse = |status, text: String| web_page(Answer::text(status, text));
        let length = match request.framed {
            Framed::Length(length) => length,
            Framed::Nothing => 0,
            Framed::Chunked => {
                let text = "how long the file is has to be told with Content-Length".to_owned();
                return self.reply(request, refuse(Status::LengthRequired, text)).await;
            }
        };
        let expects = match request.expects_continue() {
            Ok(expects) => expects,
            Err(bad) => return self.reply(request, web_page(bad.answer())).await,
        };
        let (token, content_type) =
            (request.bearer().unwrap_or_default().to_owned(), request.field("content-type").map(str::to_owned));
        let (store, begun) = (files.clone(), self.entry.hub.mono());
        let begin = move || {
            let put = PutRequest { id: &id, name: &name, token: &token, length, content_type: content_type.as_deref() };
            store.begin(&put, begun, host::clock())
        };
        let upload = match smol::unblock(begin).await {
            Ok(upload) => upload,
            Err(refusal) => {
                let answer = refuse(status(&refusal), refusal.to_string());
                // RFC 9110 §15.5.2
                let asks = refusal == PutRefusal::Token;
                return self
                    .reply(request, if asks { answer.with("WWW-Authenticate", "Bearer") } else { answer })
                    .await;
            }
        };
        if expects && self.input.is_empty() {
            self.write(CONTINUE.as_bytes()).await?;
        }
        let answer = match self.receive(upload, request.framed, begun).await? {
            Ok(()) => web_page(Answer::new(Status::Created)),
            Err(answer) => {
                self.say(&answer, false, false).await?;
                return Ok(Outcome::Over);
            }
        };
        self.say(&answer, false, request.stays).await?;
        Ok(if request.stays { Outcome::Answered } else { Outcome::Over })
    }

    /// Takes what follows the head of a request into a file. It is on stable storage then; or what to say instead.
    async fn receive(&mut self, upload: Upload, framed: Framed, begun: Mono) -> io::Result<Result<(), Answer>> {
        let fails = |e: io::Error| {
            let (status, text) = match e.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (Status::InsufficientStorage, "the disk is full"),
                _ => (Status::InternalServerError, "the file could not be stored"),
            };
            web_page(Answer::text(status, text))
        };
        let (mut body, mut came, mut last) = (Body::new(framed), 0u64, begun);
        // What has come is written while more comes.
        let mut writing = smol::unblock(move || Ok(upload));
        loop {
            let mut input = self.input.as_slice();
            let mut piece = Vec::new();
            loop {
                match body.next(&mut input) {
                    Ok(Some(more)) => piece.extend_from_slice(more),
                    Ok(None) => break,
                    Err(bad) => return Ok(Err(bad.answer())),
                }
            }
            let taken = self.input.len() - input.len();
            self.input.drain(..taken);
            came += piece.len() as u64;
            if !piece.is_empty() {
                let mut upload = match writing.await {
                    Ok(upload) => upload,
                    Err(e) => return Ok(Err(fails(e))),
                };
                writing = smol::unblock(move || upload.write(&piece).map(|()| upload));
            }
            if body.is_done() {
                let written = writing.await;
                let finished = smol::unblock(move || written.and_then(Upload::finish)).await;
                return Ok(finished.map_err(fails));
            }
            // Who was fast may not be silent for that.
            let slowest = begun + IDLE_MS + came.saturating_mul(1000) / SLOWEST_BYTES;
            self.keeps(2 * PIECE_BYTES)?;
            while self.input.len() < PIECE_BYTES {
                // What is there already is taken at once: one that is behind is not waited for with a piece in hand.
                let ready = self.input.is_empty();
                let late = if ready { slowest.min(last + IDLE_MS) } else { self.entry.hub.mono() };
                let before = self.input.len();
                match self.read(late).await {
                    Ok(1..) if self.input.len() > before => last = self.entry.hub.mono(),
                    Ok(1..) => {}
                    Err(e) if e.kind() == ErrorKind::TimedOut && !ready => break,
                    ended => {
                        let upload = writing.await;
                        smol::unblock(move || drop(upload)).await;
                        return match ended {
                            Err(e) if e.kind() == ErrorKind::TimedOut => {
                                Ok(Err(web_page(Answer::text(Status::RequestTimeout, "the file did not come in time"))))
                            }
                            Err(e) => Err(e),
                            Ok(_) => Err(ErrorKind::UnexpectedEof.into()),
                        };
                    }
                }
            }
        }
    }

    /// A file is asked for.
    async fn give(&mut self, files: &Arc<Files>, request: &Request, id: String, name: String) -> io::Result<Outcome> {
        let store = files.clone();
        let found = smol::unblock(move || store.find(&id, &name, host::clock())).await;
        let Some(stored) = found else { return self.reply(request, web_page(super::nothing())).await };
        let wanted = wanted(request, &stored);
        let is_head = request.method == Method::Head;
        let served = served_as(stored.content_type.as_deref());
        let answer = match wanted {
            Ok(Wanted::Whole) => Answer::new(Status::Ok).with("Content-Type", served.content_type),
            Ok(Wanted::Parts(ref parts)) => match parts[..] {
                [(first, last)] => Answer::new(Status::PartialContent)
                    .with("Content-Type", served.content_type)
                    .with("Content-Range", format!("bytes {first}-{last}/{}", stored.size)),
                _ => Answer::new(Status::PartialContent)
                    .with("Content-Type", format!("multipart/byteranges; boundary={}", boundary(&stored))),
            },
            Ok(Wanted::Nowhere) => Answer::text(Status::RangeNotSatisfiable, "the file is shorter")
                .with("Content-Range", format!("bytes */{}", stored.size)),
            Err(status) => Answer::new(status),
        };
        let answer = match answer.status {
            // They are not the file, and no cache may keep them in its place (RFC 9111 §3).
            Status::PreconditionFailed | Status::RangeNotSatisfiable => web_page(answer),
            _ => described(web_page(answer), &stored, served.inline),
        };
        let parts = match wanted {
            Ok(Wanted::Whole) => vec![(String::new(), 0, stored.size)],
            Ok(Wanted::Parts(parts)) => sections(&parts, stored.size, served.content_type, &boundary(&stored)),
            Ok(Wanted::Nowhere) | Err(_) => return self.reply(request, answer).await,
        };
        let length = parts.iter().map(|(head, _, length)| head.len() as u64 + length).sum();
        let stays = request.stays && request.framed == Framed::Nothing;
        let mut out = Vec::new();
        answer.write_head(length, stays, now(), &mut out);
        self.write(&out).await?;
        let mut stored = stored;
        for (head, first, length) in parts.into_iter().filter(|_| !is_head) {
            self.write(head.as_bytes()).await?;
            stored = self.stream_out(stored, first, length).await?;
        }
        Ok(if stays { Outcome::Answered } else { Outcome::Over })
    }

    /// Writes so many bytes of a file from there on.
    async fn stream_out(&mut self, stored: StoredFile, first: u64, length: u64) -> io::Result<StoredFile> {
        let (mut stored, mut piece, mut at) = (stored, Vec::new(), 0);
        self.keeps(PIECE_BYTES)?;
        while at < length {
            let size = usize::try_from(length - at).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
            let place = stored.offset + first + at;
            (stored, piece) = smol::unblock(move || {
                piece.resize(size, 0);
                stored.file.read_exact_at(&mut piece, place).map(|()| (stored, piece))
            })
            .await?;
            self.write(&piece).await?;
            at += size as u64;
        }
        Ok(stored)
    }
}

/// What of a file is wanted, by its conditions (RFC 9110 §13.2.2).
fn wanted(request: &Request, stored: &StoredFile) -> Result<Wanted, Status> {
    let lists = |field: &str, weak: &str| {
        field == "*" || field.split(',').any(|tag| tag.trim().trim_start_matches(weak) == stored.etag)
    };
    let modified = date(stored.created * 1000);
    if request.field("if-match").is_some_and(|field| !lists(field, "")) {
        return Err(Status::PreconditionFailed);
    }
    match request.field("if-none-match") {
        Some(field) if lists(field, "W/") => return Err(Status::NotModified),
        None if request.field("if-modified-since") == Some(&*modified) => return Err(Status::NotModified),
        _ => {}
    }
    // §13.1.5: a weak one is none.
    let is_same = request.field("if-range").is_none_or(|field| field == stored.etag || field == modified);
    let range = request.field("range").filter(|_| is_same && request.method == Method::Get);
    Ok(range.map_or(Wanted::Whole, |range| Wanted::of(range, stored.size)))
}

/// What separates the parts of an answer with several: it depends on all of the file, so nobody can have written it into one.
fn boundary(stored: &StoredFile) -> String {
    format!("part-{}", stored.etag.trim_matches('"'))
}

/// What stands before each part, where the part begins, and how long it is; and the end (RFC 9110 §14.6).
fn sections(parts: &[(u64, u64)], size: u64, content_type: &str, boundary: &str) -> Vec<(String, u64, u64)> {
    if let [(first, last)] = parts {
        return vec![(String::new(), *first, last - first + 1)];
    }
    let mut sections = Vec::new();
    for (first, last) in parts {
        let mut head = String::new();
        let _ = write!(
            head,
            "\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: bytes {first}-{last}/{size}\r\n\r\n"
        );
        sections.push((head, *first, last - first + 1));
    }
    sections.push((format!("\r\n--{boundary}--\r\n"), 0, 0));
    sections
}

/// With what a browser and a cache should know of a file. It never changes.
fn described(answer: Answer, stored: &StoredFile, inline: bool) -> Answer {
    let shown = if inline { "inline" } else { "attachment" };
    let name = percent::encoded(&stored.name);
    answer
        .with("ETag", stored.etag.clone())
        .with("Last-Modified", date(stored.created * 1000))
        .with("Accept-Ranges", "bytes")
        .with("Cache-Control", cached(stored))
        .with("Content-Disposition", format!("{shown}; filename*=UTF-8''{name}"))
}

/// For how long a cache may keep it: as long as it is there, at most a year (RFC 9111 §5.2.2). It does not change.
fn cached(stored: &StoredFile) -> String {
    let left = stored.until.map_or(u64::MAX, |until| until.saturating_sub(host::clock()));
    format!("private, max-age={}, immutable", left.min(31_536_000))
}

/// With what lets pages of web clients, wherever they are from, put and have files (XEP-0363 §7, Fetch §3.2): who knows the URL may.
fn web_page(answer: Answer) -> Answer {
    let mut answer = answer
        .with("Access-Control-Allow-Origin", "*")
        .with("Access-Control-Allow-Methods", "OPTIONS, HEAD, GET, PUT")
        .with("Access-Control-Allow-Headers", "Authorization, Content-Type, Range")
        .with("Access-Control-Expose-Headers", "Content-Range, ETag")
        .with("Access-Control-Max-Age", "7200")
        .with("Cross-Origin-Resource-Policy", "cross-origin");
    answer.policy = POLICY.into();
    answer
}

fn status(refusal: &PutRefusal) -> Status {
    match refusal {
        PutRefusal::Unknown => Status::NotFound,
        PutRefusal::Token => Status::Unauthorized,
        PutRefusal::Length(_) => Status::BadRequest,
        PutRefusal::ContentType => Status::UnsupportedMediaType,
        PutRefusal::Used => Status::Conflict,
        PutRefusal::Busy => Status::ServiceUnavailable,
        PutRefusal::Full => Status::InsufficientStorage,
        PutRefusal::Fails => Status::InternalServerError,
    }
}

/// A name of a file as it stands in a path, once percent-decoded. What is decoded once is not decoded again, and none has a slash in it.
fn decoded(name: &str) -> Option<String> {
    let name = percent::decoded(name)?;
    (!name.contains(['/', '\0'])).then_some(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_once() {
        for (name, is) in [
            ("a%20b.jpg", Some("a b.jpg")),
            ("%C3%BC.png", Some("ü.png")),
            ("a%252Fb", Some("a%2Fb")),
            ("..", Some("..")),
            ("", Some("")),
            ("a%2Fb", None),
            ("a/b", None),
            ("a%00", None),
            ("a%", None),
            ("a%2", None),
            ("a%zz", None),
            ("%FF", None),
        ] {
            assert_eq!(decoded(name).as_deref(), is, "{name}");
        }
    }

    #[test]
    fn parts_say_where_they_are() {
        assert_eq!(sections(&[(5, 9)], 10, "image/png", "b"), [(String::new(), 5, 5)]);
        let parts = sections(&[(0, 1), (4, 5)], 10, "image/png", "b");
        let heads: String = parts.iter().map(|(head, first, length)| format!("{head}[{first}+{length}]")).collect();
        let border = "b";
        let part = |range: &str| {
            format!("\r\n--{border}\r\nContent-Type: image/png\r\nContent-Range: bytes {range}/10\r\n\r\n")
        };
        assert_eq!(heads, format!("{}[0+2]{}[4+2]\r\n--{border}--\r\n[0+0]", part("0-1"), part("4-5")));
    }
}
