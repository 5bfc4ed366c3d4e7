//! `/notify/TOKEN`: a program that knows a token says something in a room or to a person. It is answered once that is on stable storage.

use super::{Connection, IDLE_MS, Outcome, now};
use crate::core::{NotifyRefusal, TokenDigest, token_digest};
use crate::web::answer::{Answer, CONTINUE, Status};
use crate::web::body::{Body, Framed};
use crate::web::json::quoted;
use crate::web::notification::{CONTENT_BYTES, Notification};
use crate::web::request::{Method, Request};
use std::io::{self, ErrorKind};

impl Connection {
    pub(super) async fn notify(&mut self, request: &Request, token: &str) -> io::Result<Outcome> {
        if !matches!(request.method, Method::Post | Method::Put) {
            let answer = Answer::text(Status::MethodNotAllowed, "what is to be said is posted here");
            return self.reply(request, answer.with("Allow", "POST, PUT")).await;
        }
        // Whatever is shown costs the same, and what follows it is not read for a stranger.
        let digest = token_digest(token);
        if let Err(refusal) = self.entry.hub.knows_notifier(&digest, self.ip) {
            return self.reply(request, refused(refusal)).await;
        }
        let content = match self.content(request, CONTENT_BYTES).await? {
            Ok(content) => content,
            Err(answer) => {
                self.say(&answer, false, false).await?;
                return Ok(Outcome::Over);
            }
        };
        let answer = match Notification::read(request, &content) {
            Ok(notification) => self.said(digest, &notification.said()).await,
            Err(bad) => bad.answer(),
        };
        self.say(&answer, false, request.stays).await?;
        Ok(if request.stays { Outcome::Answered } else { Outcome::Over })
    }

    async fn said(&self, digest: TokenDigest, text: &str) -> Answer {
        let id = match self.entry.hub.notify(self.entry.share(), digest, text).await {
            Ok(id) => quoted(&id),
            Err(refusal) => return refused(refusal),
        };
        // What ntfy's clients look for; who has no clock says nothing.
        let time = now().map(|ms| format!(",\"time\":{}", ms / 1000)).unwrap_or_default();
        let content = format!("{{\"id\":{id}{time},\"event\":\"message\"}}\n");
        Answer::of(Status::Ok, "application/json", content).with("Cache-Control", "no-store")
    }

    /// All that follows the head of a request, of so many bytes at most; or what to say instead, and nothing else may come then.
    async fn content(&mut self, request: &Request, most: usize) -> io::Result<Result<Vec<u8>, Answer>> {
        let too_large = || Ok(Err(Answer::text(Status::ContentTooLarge, format!("it has at most {most} bytes"))));
        if matches!(request.framed, Framed::Length(length) if length > most as u64) {
            return too_large();
        }
        let expects = match request.expects_continue() {
            Ok(expects) => expects,
            Err(bad) => return Ok(Err(bad.answer())),
        };
        if expects && self.input.is_empty() && request.framed != Framed::Nothing {
            self.write(CONTINUE.as_bytes()).await?;
        }
        let (mut body, mut content) = (Body::new(request.framed), Vec::new());
        let until = self.entry.hub.mono() + IDLE_MS;
        loop {
            let mut input = self.input.as_slice();
            let bad = loop {
                match body.next(&mut input) {
                    Ok(Some(piece)) if content.len() + piece.len() <= most => content.extend_from_slice(piece),
                    Ok(Some(_)) => return too_large(),
                    Ok(None) => break None,
                    Err(bad) => break Some(bad),
                }
            };
            let taken = self.input.len() - input.len();
            self.input.drain(..taken);
            match bad {
                Some(bad) => return Ok(Err(bad.answer())),
                None if body.is_done() => return Ok(Ok(content)),
                None => self.keeps(content.len() + self.input.len())?,
            }
            match self.read(until).await {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::TimedOut => {
                    return Ok(Err(Answer::text(Status::RequestTimeout, "what is to be said did not come in time")));
                }
                Err(e) => return Err(e),
            }
        }
    }
}

fn refused(refusal: NotifyRefusal) -> Answer {
    match refusal {
        NotifyRefusal::Unknown => super::nothing(),
        NotifyRefusal::Gone => Answer::text(
            Status::Gone,
            "the room or the person that this URL was for is no more: its owner can make another",
        ),
        NotifyRefusal::Later(ms) => Answer::text(Status::TooManyRequests, "that was too often; wait a little")
            .with("Retry-After", ms.div_ceil(1000).to_string()),
        NotifyRefusal::Refused(why) => Answer::text(Status::Forbidden, format!("it is not taken there: {why}")),
        NotifyRefusal::NotStored(why) => Answer::text(Status::ServiceUnavailable, why),
    }
}
