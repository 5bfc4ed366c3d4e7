//! Dates and times on the wire (XEP-0082).

/// Milliseconds since 1970-01-01T00:00:00Z as `2002-09-10T23:08:25.123Z`.
pub fn format(ms: u64) -> String {
    let _ = ms;
    todo!()
}

/// The reverse, for every form of XEP-0082's DateTime: fractions and zones. `None`: it is none, or before 1970.
pub fn parse(text: &str) -> Option<u64> {
    let _ = text;
    todo!()
}
