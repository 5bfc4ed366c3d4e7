//! Frames of WebSockets.

use inglenook::web::frames::{Frames, FramesEnd, MESSAGE_BYTES, TextFrames, WRITE_BYTES};
use inglenook::wire::framer::END;

/// What came out of frames: whole messages, what is to be sent, and how it ended.
#[derive(PartialEq, Debug)]
struct Read {
    text: Vec<u8>,
    answers: Vec<u8>,
    end: Option<FramesEnd>,
}

fn read(input: &[u8], mut size: impl FnMut() -> usize) -> Read {
    let (mut frames, mut text, mut answers, mut end) = (Frames::default(), Vec::new(), Vec::new(), None);
    let mut rest = input;
    while end.is_none() && !rest.is_empty() {
        let (piece, behind) = rest.split_at(size().clamp(1, rest.len()));
        rest = behind;
        end = frames.read(piece, &mut text, &mut answers).err();
    }
    assert!(text.len() <= input.len());
    // How much comes of a message that goes wrong depends on the pieces.
    text.truncate(text.iter().rposition(|byte| *byte == END).map_or(0, |at| at + 1));
    Read { text, answers, end }
}

/// What frames say does not depend on how they are cut, each message is text, and reads the same when a client sends it back.
pub fn frames(input: &[u8]) {
    let whole = read(input, || usize::MAX);
    assert_eq!(read(input, || 1), whole);
    let mut seed = input.iter().fold(1u64, |hash, b| hash.wrapping_mul(31).wrapping_add(u64::from(*b))) | 1;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % 16) as usize
    };
    assert_eq!(read(input, &mut random), whole);
    for message in whole.text.split(|byte| *byte == END) {
        assert!(message.len() as u64 <= MESSAGE_BYTES && str::from_utf8(message).is_ok());
    }
    assert_eq!(whole.end.is_some(), closes(&whole.answers));

    let (mut writer, mut rest, mut sent) = (TextFrames::default(), &whole.text[..], Vec::new());
    while !rest.is_empty() {
        let mut frames = Vec::new();
        let given = rest.len().min(1 + random() * 7);
        let taken = writer.write(&rest[..given], &mut frames);
        assert!(taken > 0 && frames.len() <= WRITE_BYTES);
        rest = &rest[taken..];
        sent.extend(masked(&frames));
    }
    assert_eq!(read(&sent, || usize::MAX), Read { text: whole.text, answers: Vec::new(), end: None });
}

/// The frames of a server: the first two bytes of each, and its payload.
fn each<'a>(mut frames: &'a [u8], mut what: impl FnMut([u8; 2], &'a [u8])) {
    while let [first, second, rest @ ..] = frames {
        let (len, rest) = match (second, rest) {
            (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
            _ => (usize::from(*second), rest),
        };
        what([*first, *second], &rest[..len]);
        frames = &rest[len..];
    }
}

/// Whether there is a Close frame. It is the last, and the others are Pong frames.
fn closes(answers: &[u8]) -> bool {
    let mut closed = false;
    each(answers, |[first, second], _| {
        assert!(!closed && second <= 125 && matches!(first, 0x88 | 0x8a));
        closed = first == 0x88;
    });
    closed
}

/// The same frames as a client sends them; the mask is all zeros.
fn masked(frames: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    each(frames, |[first, second], payload| {
        out.extend([first, second | 0x80]);
        if second == 126 {
            out.extend((payload.len() as u16).to_be_bytes());
        }
        out.extend([0; 4]);
        out.extend_from_slice(payload);
    });
    out
}
