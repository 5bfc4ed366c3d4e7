//! `/http-bind`: a client's stream in requests and answers (XEP-0124).

use super::{Connection, Outcome, Web};
use crate::service::hub::Hub;
use crate::service::net::bosh::BoshShared;
use crate::service::net::pump::{Wait, wait};
use crate::stream::Mono;
use crate::web::answer::{Answer, Status};
use crate::web::bosh::{BoshRequest, REQUEST_BYTES, Ticket};
use crate::web::request::{Method, Request};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::task::{Poll, ready};

/// How long what is said at the end is waited for when the server stops, in milliseconds.
const STOP_MS: Mono = 1_000;

impl Connection {
    pub(super) async fn bosh(&mut self, web: &Arc<Web>, request: &Request) -> io::Result<Outcome> {
        match request.method {
            Method::Post => {}
            Method::Options => return self.reply(request, any_page(Answer::new(Status::NoContent))).await,
            _ => {
                let answer =
                    Answer::text(Status::MethodNotAllowed, "there are streams of XMPP here, for clients that use BOSH");
                return self.reply(request, any_page(answer.with("Allow", "OPTIONS, POST"))).await;
            }
        }
        let content = match self.content(request, REQUEST_BYTES).await? {
            Ok(content) => content,
            Err(answer) => {
                self.say(&any_page(answer), false, false).await?;
                return Ok(Outcome::Over);
            }
        };
        let said = match BoshRequest::read(&content) {
            Ok(said) => {
                let session = match &said.sid {
                    Some(sid) => web.bosh.find(sid),
                    None => web.bosh.begin(&self.entry.hub, self.ip, &self.tls, &said),
                };
                session.map(|session| (session, said))
            }
            Err(condition) => Err(condition),
        };
        drop(content);
        let (answer, stays) = match said {
            Ok((session, said)) => self.held(&session, said).await?,
            Err(condition) => (condition.answer(), true),
        };
        let stays = stays && request.stays;
        self.say(&any_page(answer), false, stays).await?;
        Ok(if stays { Outcome::Answered } else { Outcome::Over })
    }

    /// Waits for the answer to a request, and says whether another request may follow. When the client hangs up, the answer is kept for
    /// whoever asks again.
    async fn held(&mut self, session: &BoshShared, said: BoshRequest) -> io::Result<(Answer, bool)> {
        let hub = self.entry.hub.clone();
        let mut said = Some(said);
        let take = poll_fn(|cx| session.poll_take(&mut said, hub.mono(), cx.waker()));
        let (ticket, until) = match wait(&hub, Some(&self.entry.outbox), Mono::MAX, take).await {
            Wait::Done(taken) => taken,
            Wait::Late | Wait::Mail => return Err(ErrorKind::ConnectionAborted.into()),
        };
        let _held = HeldRequest { session, ticket, hub: &hub };
        let (stream, input) = (&mut self.stream, &mut self.input);
        let answer = poll_fn(|cx| {
            if let Poll::Ready(answer) = session.poll_answer(ticket, cx.waker()) {
                return Poll::Ready(Ok(Some(answer)));
            }
            // Whoever asks for something else on this connection does not wait for this.
            while input.is_empty() {
                if ready!(stream.poll_read(cx, input))? == 0 {
                    return Poll::Ready(Err(io::Error::from(ErrorKind::UnexpectedEof)));
                }
            }
            Poll::Ready(Ok(None))
        });
        let mut stays = true;
        let answer = match wait(&hub, Some(&self.entry.outbox), until, answer).await {
            Wait::Done(answer) => answer?,
            Wait::Late => None,
            // The server stops, and the session is told that, too; or somebody needs the room of this connection.
            Wait::Mail => {
                stays = false;
                let last = poll_fn(|cx| session.poll_answer(ticket, cx.waker()));
                match wait(&hub, None, hub.mono() + STOP_MS, last).await {
                    Wait::Done(answer) => Some(answer),
                    Wait::Late | Wait::Mail => None,
                }
            }
        };
        let answer = answer.or_else(|| session.late(ticket, hub.mono()));
        answer.map(|answer| (answer, stays)).ok_or_else(|| ErrorKind::ConnectionAborted.into())
    }
}

/// A request that a connection waits with, however that ends.
struct HeldRequest<'a> {
    session: &'a BoshShared,
    ticket: Ticket,
    hub: &'a Hub,
}

impl Drop for HeldRequest<'_> {
    fn drop(&mut self) {
        self.session.gone(self.ticket, self.hub.mono());
    }
}

/// With what lets pages of web clients, wherever they are from, ask here (Fetch §3.2): they have to log in.
fn any_page(answer: Answer) -> Answer {
    answer
        .with("Access-Control-Allow-Origin", "*")
        .with("Access-Control-Allow-Methods", "OPTIONS, POST")
        .with("Access-Control-Allow-Headers", "Content-Type")
        .with("Access-Control-Max-Age", "7200")
        .with("Cache-Control", "no-store")
        .with("Cross-Origin-Resource-Policy", "cross-origin")
}
