//! What follows the head of a request, if all of it is wanted at once.

use super::{Connection, HEAD_MS, SLOWEST_BYTES};
use crate::web::answer::{Answer, CONTINUE, Status};
use crate::web::body::{Body, Framed};
use crate::web::request::Request;
use std::io::{self, ErrorKind};

impl Connection {
    /// All of it, of so many bytes at most; or what to say instead, and nothing else may come then.
    pub(super) async fn content(&mut self, request: &Request, most: usize) -> io::Result<Result<Vec<u8>, Answer>> {
        let too_large = || Ok(Err(Answer::text(Status::ContentTooLarge, format!("it has at most {most} bytes"))));
        if matches!(request.framed, Framed::Length(length) if length > most as u64) {
            return too_large();
        }
        match request.expects_continue() {
            Ok(true) if self.input.is_empty() && request.framed != Framed::Nothing => {
                self.write(CONTINUE.as_bytes()).await?;
            }
            Ok(_) => {}
            Err(bad) => return Ok(Err(bad.answer())),
        }
        let (mut body, mut content, begun) = (Body::new(request.framed), Vec::new(), self.entry.hub.mono());
        loop {
            let mut input = self.input.as_slice();
            loop {
                match body.next(&mut input) {
                    Ok(Some(piece)) if content.len() + piece.len() > most => return too_large(),
                    Ok(Some(piece)) => content.extend_from_slice(piece),
                    Ok(None) => break,
                    Err(bad) => return Ok(Err(bad.answer())),
                }
            }
            let taken = self.input.len() - input.len();
            self.input.drain(..taken);
            self.keeps(content.len() + self.input.len())?;
            if body.is_done() {
                return Ok(Ok(content));
            }
            let slowest = begun + HEAD_MS + content.len() as u64 * 1000 / SLOWEST_BYTES;
            match self.read(slowest).await {
                Ok(1..) => {}
                Ok(_) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(e) if e.kind() == ErrorKind::TimedOut => {
                    let late = "what follows the head of the request did not come in time";
                    return Ok(Err(Answer::text(Status::RequestTimeout, late)));
                }
                Err(e) => return Err(e),
            }
        }
    }
}
