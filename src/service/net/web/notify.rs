//! `/notify/TOKEN`: a program that knows a token says something in a room or to a person. It is answered once that is on stable storage.

use super::{Connection, Outcome, now};
use crate::core::{NotifyRefusal, TokenDigest, token_digest};
use crate::web::answer::{Answer, Status};
use crate::web::json::quoted;
use crate::web::notification::{CONTENT_BYTES, Notification};
use crate::web::request::{Method, Request};
use std::io;

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
