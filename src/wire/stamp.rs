//! Dates and times on the wire (XEP-0082).

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// The last millisecond of the year 9999: XEP-0082's years have four digits.
pub const LAST_MS: u64 = 253_402_300_799_999;

/// Milliseconds since 1970-01-01T00:00:00Z as `2002-09-10T23:08:25.123Z`. What lies behind the year 9999 is its last
/// millisecond.
pub fn format(ms: u64) -> String {
    let ms = ms.min(LAST_MS);
    let (year, month, day) = date(ms / DAY_MS);
    let s = ms % DAY_MS / 1000;
    let (hour, minute, second) = (s / 3600, s / 60 % 60, s % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

/// The reverse, for every form of XEP-0082's DateTime: fractions and zones. `None`: it is none, or before 1970.
/// A fraction is cut after milliseconds; a leap second is read as the second before it.
pub fn parse(text: &str) -> Option<u64> {
    let b = text.as_bytes();
    let number = |at: usize, len: usize| -> Option<u64> {
        b.get(at..at + len)?.iter().try_fold(0, |n, d| d.is_ascii_digit().then(|| n * 10 + u64::from(d - b'0')))
    };
    let sign = |at: usize, c: u8| (b.get(at) == Some(&c)).then_some(());
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    sign(4, b'-').and(sign(7, b'-')).and(sign(10, b'T')).and(sign(13, b':')).and(sign(16, b':'))?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    let mut ms = 0;
    if b.get(at) == Some(&b'.') {
        let digits = b[at + 1..].iter().take_while(|d| d.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        for i in 0..3 {
            ms = ms * 10 + if i < digits { u64::from(b[at + 1 + i] - b'0') } else { 0 };
        }
        at += 1 + digits;
    }
    // Minutes that the zone is ahead of UTC.
    let zone: i64 = match *b.get(at)? {
        b'Z' => {
            at += 1;
            0
        }
        c @ (b'+' | b'-') => {
            let (hours, minutes) = (number(at + 1, 2)?, number(at + 4, 2)?);
            sign(at + 3, b':')?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            at += 6;
            (hours * 60 + minutes) as i64 * if c == b'+' { 1 } else { -1 }
        }
        _ => return None,
    };
    if at != b.len() {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + (hour * 3600 + minute * 60 + second.min(59)) as i64 - zone * 60;
    let ms = u64::try_from(seconds).ok()? * 1000 + ms;
    (ms <= LAST_MS).then_some(ms)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that the leap day is the last.
fn days(year: u64, month: u64, day: u64) -> i64 {
    let year = year as i64 - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month as i64 + 9) % 12) + 2) / 5 + day as i64 - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of a day counted from 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2000-02-29T23:59:59.999Z", 951_868_799_999),
            ("2002-09-10T23:08:25.123Z", 1_031_699_305_123),
            ("2038-01-19T03:14:08.000Z", 2_147_483_648_000),
            ("9999-12-31T23:59:59.999Z", LAST_MS),
        ] {
            assert_eq!(format(ms), text);
            assert_eq!(parse(text), Some(ms));
        }
        assert_eq!(format(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn forms() {
        // The example of XEP-0082 §3.2, in two zones.
        assert_eq!(parse("1969-07-21T02:56:15Z"), None, "before 1970");
        assert_eq!(parse("1969-12-31T19:00:00-05:00"), Some(0));
        assert_eq!(parse("1970-01-01T01:30:00.5+01:30"), Some(500));
        assert_eq!(parse("1970-01-01T00:00:00+00:01"), None);
        for (text, ms) in [("01.1Z", 1100), ("01.12Z", 1120), ("01.1239Z", 1123), ("01.123999999999999999999Z", 1123)] {
            assert_eq!(parse(&format!("1970-01-01T00:00:{text}")), Some(ms));
        }
        assert_eq!(parse("2016-12-31T23:59:60Z"), parse("2016-12-31T23:59:59Z"), "a leap second");
        assert_eq!(parse("9999-12-31T23:59:59-00:01"), None);
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "Z",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00Zx",
            "1970-01-01 00:00:00Z",
            "1970-13-01T00:00:00Z",
            "1970-00-01T00:00:00Z",
            "1970-01-00T00:00:00Z",
            "1970-01-32T00:00:00Z",
            "2001-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2000-04-31T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:60:00Z",
            "1970-01-01T00:00:61Z",
            "1970-01-01T00:00:00+0100",
            "1970-01-01T00:00:00+24:00",
            "1970-01-01T00:00:00+01:60",
            "1970-01-01T00:00:00+01:0",
            "+970-01-01T00:00:00Z",
            "19700101T00:00:00",
            "1970-01-01T00:00:0\u{661}Z",
            "1970-01-01t00:00:00z",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    /// Every day up to the year 2400 has the date that counting gives.
    #[test]
    fn every_day() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for n in 0..157_000u64 {
            assert_eq!(date(n), (year, month, day));
            assert_eq!(days(year, month, day), n as i64);
            assert_eq!(parse(&format(n * DAY_MS + n)), Some(n * DAY_MS + n));
            let leap = year % 4 == 0 && year % 100 != 0 || year % 400 == 0;
            let last = [31, 28 + u64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
            day += 1;
            if day > last {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
    }
}
