//! HTTP without TLS: whoever asks here is led to where there is TLS. All that they are given is what they need to trust that: a browser that
//! does not yet shows none of its pages. Whoever is on the way could change it: so there is the fingerprint, to be compared.

use super::{HEAD_MS, Web, misdirected, now};
use crate::service::hub::Hub;
use crate::service::net::pump::{Entry, HANG_UP_MS, Wait, linger, tune, wait};
use crate::service::net::transport::{Socket, Transport};
use crate::service::share::{Owner, in_turns};
use crate::web::answer::{Answer, Status};
use crate::web::body::Framed;
use crate::web::request::{Method, Request};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::sync::Arc;

/// Answers one request.
pub(in crate::service::net) fn serve(
    hub: Arc<Hub>,
    web: Arc<Web>,
    socket: Socket,
    ip: IpAddr,
) -> impl Future<Output = ()> + Send + 'static {
    let share = hub.shares().share(Owner::Address(crate::core::network(ip)));
    Box::pin(in_turns(share.clone(), async move {
        tune(&socket);
        let entry = Entry::new(hub, share);
        log::debug!("{:?}: connected from {ip}, without TLS", entry.sid);
        answer(&web, &entry, socket).await;
    }))
}

async fn answer(web: &Web, entry: &Entry, mut socket: Socket) {
    let until = entry.hub.mono() + HEAD_MS;
    let mut input = Vec::new();
    let (answer, is_head) = loop {
        match Request::read(&input) {
            Ok(Some((request, _))) => break (led(web, &request), request.method == Method::Head),
            Ok(None) => {}
            Err(bad) => break (bad.answer(), false),
        }
        let read = poll_fn(|cx| socket.poll_read(cx, &mut input));
        match wait(&entry.hub, Some(&entry.outbox), until, read).await {
            Wait::Done(Ok(1..)) => {}
            Wait::Done(Ok(_) | Err(_)) | Wait::Mail => return,
            Wait::Late => break (Answer::text(Status::RequestTimeout, "the request did not come in time"), false),
        }
    };
    let mut out = Vec::new();
    answer.write(is_head, false, now(), &mut out);
    let mut left = out.as_slice();
    let write = async {
        while !left.is_empty() {
            let written = poll_fn(|cx| socket.poll_write(cx, left)).await?;
            left = &left[written..];
        }
        std::io::Result::Ok(())
    };
    if let Wait::Done(Ok(())) = wait(&entry.hub, None, entry.hub.mono() + HANG_UP_MS, write).await {
        linger(&entry.hub, &mut socket).await;
    }
}

/// Where what is asked for is.
fn led(web: &Web, request: &Request) -> Answer {
    let Some(base) = web.base() else { return super::nothing() };
    if !web.is_ours(&request.host) {
        return misdirected();
    }
    // What would follow was said without TLS: it is not to be said again (RFC 9110 §15.4.2).
    if !matches!(request.method, Method::Get | Method::Head) || request.framed != Framed::Nothing {
        return Answer::text(Status::Forbidden, format!("nothing is taken without TLS; it is at {base}"));
    }
    if let Some(answer) = web.public(request, Some(&base)) {
        return answer;
    }
    // `*` is no path.
    let path = if request.path.starts_with('/') { &request.path } else { "/" };
    let query = request.query.as_ref().map_or(String::new(), |query| format!("?{query}"));
    Answer::text(Status::MovedPermanently, "it is where there is TLS")
        .with("Location", format!("{base}{path}{query}"))
        .with("Cache-Control", "no-store")
}
