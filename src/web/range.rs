//! Parts of something that are asked for (RFC 9110 §14).

/// Parts that are given in one answer; who asks for more gets all.
pub const RANGES: usize = 16;

/// What is to be given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// All of it.
    Whole,
    /// From the first to the last byte, both included; more than one in one answer.
    Parts(Vec<(u64, u64)>),
    /// Nothing of it is there.
    Nowhere,
}

impl Wanted {
    /// By the field `Range`, of something with so many bytes. A field that is none asks for all (§14.2); so does one with so many parts, or
    /// parts that overlap so, that the answer would be longer than all (§14.2 allows that).
    pub fn of(field: &str, size: u64) -> Wanted {
        let Some(list) =
            field.trim().get(..6).filter(|unit| unit.eq_ignore_ascii_case("bytes=")).map(|_| &field.trim()[6..])
        else {
            return Wanted::Whole;
        };
        let (mut parts, mut count) = (Vec::new(), 0);
        for spec in list.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty()) {
            count += 1;
            let Some(part) = part(spec, size) else { return Wanted::Whole };
            if count > RANGES {
                return Wanted::Whole;
            }
            parts.extend(part);
        }
        if count == 0 {
            return Wanted::Whole;
        }
        let bytes: u64 = parts.iter().fold(0, |sum, (first, last)| sum.saturating_add(last - first + 1));
        match parts.len() {
            0 => Wanted::Nowhere,
            2.. if bytes > size => Wanted::Whole,
            _ => Wanted::Parts(parts),
        }
    }
}

/// One part; nothing inside, if it is none of what is there. `None`: it cannot be read.
fn part(spec: &str, size: u64) -> Option<Option<(u64, u64)>> {
    let number = |text: &str| match !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // One that is too long to be read is behind all that there is.
        true => Some(text.parse().unwrap_or(u64::MAX)),
        false => None,
    };
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let length = number(last)?.min(size);
        return Some((length > 0).then(|| (size - length, size - 1)));
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some((first < size).then(|| (first, last.min(size - 1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read() {
        let parts = |list: &[(u64, u64)]| Wanted::Parts(list.to_vec());
        for (field, size, wanted) in [
            // What an iPhone asks for first, and then.
            ("bytes=0-1", 10, parts(&[(0, 1)])),
            ("bytes=0-", 10, parts(&[(0, 9)])),
            ("bytes=0-9", 10, parts(&[(0, 9)])),
            ("bytes=5-", 10, parts(&[(5, 9)])),
            ("bytes=-3", 10, parts(&[(7, 9)])),
            ("bytes=-30", 10, parts(&[(0, 9)])),
            ("BYTES=0-99999999999999999999999", 10, parts(&[(0, 9)])),
            ("bytes=0-1,4-5", 10, parts(&[(0, 1), (4, 5)])),
            ("bytes= 0-1 , ,\t4-5,", 10, parts(&[(0, 1), (4, 5)])),
            ("bytes=0-1,20-30", 10, parts(&[(0, 1)])),
            ("bytes=10-", 10, Wanted::Nowhere),
            ("bytes=-0", 10, Wanted::Nowhere),
            ("bytes=0-0", 0, Wanted::Nowhere),
            ("bytes=-1", 0, Wanted::Nowhere),
            ("bytes=0-9,0-9", 10, Wanted::Whole),
            ("bytes=5-4", 10, Wanted::Whole),
            ("bytes=a-b", 10, Wanted::Whole),
            ("bytes=0", 10, Wanted::Whole),
            ("bytes=+1-2", 10, Wanted::Whole),
            ("bytes=", 10, Wanted::Whole),
            ("bytes=-", 10, Wanted::Whole),
            ("items=0-1", 10, Wanted::Whole),
            ("", 10, Wanted::Whole),
        ] {
            assert_eq!(Wanted::of(field, size), wanted, "{field} of {size}");
        }
        let many = |n: usize| Wanted::of(&format!("bytes={}", "0-0,".repeat(n)), 1000);
        assert_eq!(
            (many(RANGES), many(RANGES + 1), many(1000)),
            (parts(&[(0, 0); RANGES]), Wanted::Whole, Wanted::Whole)
        );
    }
}
