//! Domain names with other letters than ASCII's, as DNS and certificates have them (RFC 3492, RFC 5890).

/// The longest label, in bytes.
const LABEL_BYTES: usize = 63;

/// A name as DNS and dNSName have it: labels with other letters than ASCII's in their `xn--` form (RFC 5890 §2.3.2.1).
pub(crate) fn a_labels(name: &str) -> String {
    let label = |label: &str| if label.is_ascii() { label.to_owned() } else { format!("xn--{}", encode(label)) };
    name.split('.').map(label).collect::<Vec<_>>().join(".")
}

/// Punycode (RFC 3492 §6.3) of one label; saturates where a label is absurdly long.
fn encode(label: &str) -> String {
    const BASE: u32 = 36;
    let digit = |n: u32| char::from(if n < 26 { b'a' + n as u8 } else { b'0' + (n - 26) as u8 });
    let points: Vec<u32> = label.chars().map(u32::from).collect();
    let mut out: String = label.chars().filter(char::is_ascii).collect();
    let basic = out.len() as u32;
    if basic > 0 {
        out.push('-');
    }
    let (mut at, mut delta, mut bias, mut done) = (128, 0_u32, 72, basic);
    while let Some(next) = points.iter().copied().filter(|p| *p >= at).min() {
        delta = delta.saturating_add((next - at).saturating_mul(done + 1));
        for point in &points {
            if *point < next {
                delta = delta.saturating_add(1);
            } else if *point == next {
                let (mut rest, mut k) = (delta, BASE);
                loop {
                    let threshold = k.saturating_sub(bias).clamp(1, 26);
                    if rest < threshold {
                        break;
                    }
                    out.push(digit(threshold + (rest - threshold) % (BASE - threshold)));
                    rest = (rest - threshold) / (BASE - threshold);
                    k += BASE;
                }
                out.push(digit(rest));
                // RFC 3492 §6.1
                let mut adapted = if done == basic { delta / 700 } else { delta / 2 };
                adapted += adapted / (done + 1);
                bias = 0;
                while adapted > 455 {
                    adapted /= BASE - 1;
                    bias += BASE;
                }
                bias += BASE * adapted / (adapted + 38);
                delta = 0;
                done += 1;
            }
        }
        delta = delta.saturating_add(1);
        at = next + 1;
    }
    out
}

/// Decodes Punycode (RFC 3492 §6.2) of one label.
pub(super) fn decode(code: &str) -> Option<String> {
    if code.len() > LABEL_BYTES {
        return None;
    }
    let (basic, digits) = code.rsplit_once('-').unwrap_or(("", code));
    let mut out: Vec<char> = basic.chars().collect();
    let (mut n, mut i, mut bias) = (128u32, 0u32, 72u32);
    let mut digits = digits.bytes().peekable();
    while digits.peek().is_some() {
        let (old, mut weight, mut k) = (i, 1u32, 36u32);
        loop {
            let digit = match digits.next()? {
                b @ b'a'..=b'z' => b - b'a',
                b @ b'0'..=b'9' => b - b'0' + 26,
                _ => return None,
            } as u32;
            i = i.checked_add(digit.checked_mul(weight)?)?;
            let threshold = k.saturating_sub(bias).clamp(1, 26);
            if digit < threshold {
                break;
            }
            weight = weight.checked_mul(36 - threshold)?;
            k += 36;
        }
        let len = out.len() as u32 + 1;
        // The adaptation of RFC 3492 §6.1.
        let mut delta = (i - old) / if old == 0 { 700 } else { 2 };
        delta += delta / len;
        bias = 0;
        while delta > 455 {
            delta /= 35;
            bias += 36;
        }
        bias += 36 * delta / (delta + 38);
        n = n.checked_add(i / len)?;
        i %= len;
        out.insert(i as usize, char::from_u32(n)?);
        i += 1;
    }
    Some(out.into_iter().collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for label in ["bücher", "straßenbahn", "例え", "испытание", "ü", "a-ü-b"] {
            let written = a_labels(label);
            assert_eq!(decode(written.strip_prefix("xn--").unwrap()).as_deref(), Some(label));
        }
    }
}
