//! Requests of HTTP, and what follows them.

use inglenook::web::body::{Body, Framed};
use inglenook::web::range::Wanted;
use inglenook::web::request::{HEAD_BYTES, Request};

/// What came on a connection: each request with its content, and whether it ended with what is none. Why it is none may depend on how much of
/// it is there when it is looked at.
#[derive(PartialEq, Default, Debug)]
struct Read {
    requests: Vec<(String, Vec<u8>)>,
    is_bad: bool,
}

fn read(input: &[u8], mut size: impl FnMut() -> usize) -> Read {
    let (mut all, mut came, mut body) = (Read::default(), Vec::new(), Body::new(Framed::Nothing));
    let mut rest = input;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(size().clamp(1, rest.len()));
        rest = behind;
        came.extend_from_slice(piece);
        loop {
            if !body.is_done() {
                let mut left = came.as_slice();
                let is_bad = follows(&mut body, &mut left, &mut all);
                let taken = came.len() - left.len();
                came.drain(..taken);
                if is_bad {
                    return Read { is_bad, ..all };
                }
                if !body.is_done() {
                    assert!(came.is_empty(), "all is taken");
                    break;
                }
            }
            match Request::read(&came) {
                Ok(Some((request, length))) => {
                    assert!(length <= HEAD_BYTES.min(came.len()));
                    came.drain(..length);
                    look_at(&request);
                    body = Body::new(request.framed);
                    all.requests.push((format!("{request:?}"), Vec::new()));
                }
                Ok(None) => break assert!(came.len() < HEAD_BYTES),
                Err(_) => return Read { is_bad: true, ..all },
            }
        }
    }
    all
}

/// Reads what there is of what follows a request; whether it is bad.
fn follows(body: &mut Body, left: &mut &[u8], all: &mut Read) -> bool {
    loop {
        match body.next(left) {
            Ok(Some(piece)) => all.requests.last_mut().expect("it follows one").1.extend_from_slice(piece),
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

/// What is asked of a request is answered without a panic, and its ranges are inside of the file.
fn look_at(request: &Request) {
    let _ = (request.expects_continue(), request.has_token("connection", "upgrade"));
    assert!(request.path == "*" || request.path.starts_with('/'));
    assert!(request.host.bytes().all(|b| !b.is_ascii_whitespace() && !b.is_ascii_uppercase()));
    for size in [0, 1, 10, u64::MAX] {
        if let Wanted::Parts(parts) = Wanted::of(request.field("range").unwrap_or_default(), size) {
            assert!(!parts.is_empty() && parts.iter().all(|(first, last)| first <= last && *last < size));
        }
    }
}

/// What is requested, and what follows it, does not depend on how it is cut.
pub fn http(input: &[u8]) {
    let whole = read(input, || usize::MAX);
    let content: usize = whole.requests.iter().map(|(_, content)| content.len()).sum();
    assert!(content <= input.len());
    assert_eq!(read(input, || 1), whole);
    let mut seed = input.iter().fold(1u64, |hash, b| hash.wrapping_mul(31).wrapping_add(u64::from(*b))) | 1;
    let random = read(input, || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % 16) as usize
    });
    assert_eq!(random, whole);
}
