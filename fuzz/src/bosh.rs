//! Requests of BOSH.

use inglenook::web::bosh::{BoshRequest, BoshSession, REQUEST_BYTES, UNREAD_BYTES};
use inglenook::wire::Raw;
use inglenook::wire::framer::END;

/// What a request says is taken or refused, each payload stands for itself then, and its answer comes.
pub fn bosh(input: &[u8]) {
    let Ok(first) = BoshRequest::read(input) else { return };
    let mut session = BoshSession::new("sid".into(), &first, 0);
    let (ticket, _) = session.take(first, 0);
    let mut text = Vec::new();
    session.read(&mut text);
    assert!(text.len() <= 8 * REQUEST_BYTES && session.bytes() <= UNREAD_BYTES);
    for element in text.split(|byte| *byte == END).filter(|element| !element.is_empty()) {
        let element = str::from_utf8(element).expect("text");
        assert!(Raw::document(element).is_ok(), "{element:?}");
    }
    session.late(ticket, 0);
    let answer = session.answer(ticket).expect("an answer");
    let content = str::from_utf8(&answer.content).expect("text");
    assert!(content.is_empty() || Raw::document(content).is_ok() || !content.starts_with('<'));
}
