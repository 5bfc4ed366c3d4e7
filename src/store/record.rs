//! How values are written: a version byte, then fields. Integers are little-endian; strings and bytes carry a 32-bit length.

use super::StoreError;

/// Makes an enum whose values have a word on the wire and a number in records, one row each. The numbers are for good: a value that
/// is no longer needed leaves a gap, and a new one gets a number that none ever had.
macro_rules! stored {
    ($($(#[$about:meta])* $vis:vis enum $name:ident {
        $($(#[$meaning:meta])* $value:ident = $number:literal, $word:literal;)*
    })*) => {$(
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        $vis enum $name { $($(#[$meaning])* $value = $number,)* }

        // Not each of them is asked for everything.
        #[allow(dead_code)]
        impl $name {
            /// All of them, as they are declared.
            $vis const ALL: [$name; [$($number),*].len()] = [$($name::$value),*];
            /// All words, in the same order.
            $vis const WORDS: &'static [&'static str] = &[$($word),*];

            /// As it is called on the wire.
            $vis fn as_str(self) -> &'static str {
                match self { $($name::$value => $word,)* }
            }

            /// The one that is called so.
            $vis fn of(word: &str) -> Option<$name> {
                match word {
                    $($word => Some($name::$value),)*
                    _ => None,
                }
            }

            /// What stands for it in a record.
            $vis fn number(self) -> u8 {
                self as u8
            }

            /// The one that a number in a record stands for.
            $vis fn of_number(number: u8) -> Result<$name, $crate::store::record::Broken> {
                match number {
                    $($number => Ok($name::$value),)*
                    _ => Err($crate::store::record::Broken),
                }
            }
        }
    )*};
}
pub(crate) use stored;

/// Writes the fields of one record.
#[derive(Debug)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A record of this version.
    pub fn new(version: u8) -> Writer {
        Writer(vec![version])
    }
    /// The same, with room for so many bytes of fields.
    pub fn with_room(version: u8, bytes: usize) -> Writer {
        let mut record = Vec::with_capacity(bytes.saturating_add(1));
        record.push(version);
        Writer(record)
    }
    /// Appends one byte.
    pub fn u8(mut self, value: u8) -> Writer {
        self.0.push(value);
        self
    }
    /// Appends a byte with these bits, of those that are set.
    pub fn flags(self, flags: &[(u8, bool)]) -> Writer {
        self.u8(flags.iter().filter(|(_, set)| *set).fold(0, |bits, (bit, _)| bits | bit))
    }
    /// Appends a 32-bit number.
    pub fn u32(mut self, value: u32) -> Writer {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    /// Appends a 64-bit number.
    pub fn u64(mut self, value: u64) -> Writer {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    /// Appends bytes.
    pub fn bytes(self, value: &[u8]) -> Writer {
        // No field passes VALUE_BYTES, which is far below 4 GiB.
        let mut this = self.u32(value.len() as u32);
        this.0.extend_from_slice(value);
        this
    }
    /// Appends a string.
    pub fn str(self, value: &str) -> Writer {
        self.bytes(value.as_bytes())
    }
    /// Appends a string that may be absent.
    pub fn opt_str(self, value: Option<&str>) -> Writer {
        match value {
            Some(value) => self.u8(1).str(value),
            None => self.u8(0),
        }
    }
    /// The record, whole.
    pub fn done(self) -> Box<[u8]> {
        self.0.into()
    }
}

/// Reads the fields of one record.
#[derive(Debug)]
pub struct Reader<'a> {
    /// The record's version.
    pub version: u8,
    rest: &'a [u8],
}

/// A record that ends early or holds what it cannot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken;

impl From<Broken> for StoreError {
    fn from(_: Broken) -> StoreError {
        StoreError::Damaged("a record in the database is not readable".into())
    }
}

impl<'a> Reader<'a> {
    /// Begins with a record.
    pub fn new(record: &'a [u8]) -> Result<Reader<'a>, Broken> {
        let (version, rest) = record.split_first().ok_or(Broken)?;
        Ok(Reader { version: *version, rest })
    }
    fn take(&mut self, n: usize) -> Result<&'a [u8], Broken> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(Broken)?;
        self.rest = rest;
        Ok(head)
    }
    /// A byte.
    pub fn u8(&mut self) -> Result<u8, Broken> {
        Ok(self.take(1)?[0])
    }
    /// A 32-bit number.
    pub fn u32(&mut self) -> Result<u32, Broken> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().map_err(|_| Broken)?))
    }
    /// A 64-bit number.
    pub fn u64(&mut self) -> Result<u64, Broken> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().map_err(|_| Broken)?))
    }
    /// Bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], Broken> {
        let n = self.u32()?;
        self.take(n as usize)
    }
    /// A string.
    pub fn str(&mut self) -> Result<&'a str, Broken> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Broken)
    }
    /// A string that may be absent.
    pub fn opt_str(&mut self) -> Result<Option<&'a str>, Broken> {
        match self.u8()? {
            0 => Ok(None),
            1 => Ok(Some(self.str()?)),
            _ => Err(Broken),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sample() -> Box<[u8]> {
        Writer::new(3)
            .u8(7)
            .u32(70_000)
            .u64(u64::MAX)
            .bytes(b"\0\xff")
            .str("Jul\u{ef}a")
            .opt_str(None)
            .opt_str(Some(""))
            .done()
    }

    fn read(record: &[u8]) -> Result<(), Broken> {
        let mut r = Reader::new(record)?;
        assert_eq!(r.version, 3);
        assert_eq!((r.u8()?, r.u32()?, r.u64()?), (7, 70_000, u64::MAX));
        assert_eq!((r.bytes()?, r.str()?), (&b"\0\xff"[..], "Jul\u{ef}a"));
        assert_eq!((r.opt_str()?, r.opt_str()?), (None, Some("")));
        assert_eq!(r.u8(), Err(Broken));
        Ok(())
    }

    #[test]
    fn fields_come_back_in_order() {
        read(&sample()).unwrap();
    }

    #[test]
    fn a_record_that_ends_early_is_broken() {
        let whole = sample();
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), Err(Broken), "{end}");
        }
    }

    #[test]
    fn what_a_field_cannot_hold_is_broken() {
        assert_eq!(Reader::new(&Writer::new(1).bytes(b"\xff").done()).unwrap().str(), Err(Broken));
        assert_eq!(Reader::new(&[1, 2]).unwrap().opt_str(), Err(Broken));
        // A length beyond the end, and one that would overflow.
        assert_eq!(Reader::new(&[1, 5, 0, 0, 0, 9]).unwrap().bytes(), Err(Broken));
        assert_eq!(Reader::new(&[1, 255, 255, 255, 255]).unwrap().bytes(), Err(Broken));
        assert!(matches!(Broken.into(), StoreError::Damaged(_)));
    }
}
