//! Percent-encoding (RFC 3986 §2.1).

use std::fmt::Write as _;

/// A text with all encoded but what RFC 3986 §2.3 calls unreserved.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(b)),
            // Writing to a string does not fail.
            _ => drop(write!(out, "%{b:02X}")),
        }
    }
    out
}

/// A text decoded, once. `None`: it is wrong, or no UTF-8.
pub fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, behind @ ..] = rest else { return None };
        let digit = |b: u8| char::from(b).to_digit(16);
        bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
        rest = behind;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let text: String = (0..=0x1ff).filter_map(char::from_u32).collect();
        assert_eq!(decoded(&encoded(&text)), Some(text));
        assert_eq!(encoded("a-._~ ü/%"), "a-._~%20%C3%BC%2F%25");
    }
}
