//! The record at the beginning of a file.
//!
//! ```text
//! 0   "INGLEUPL"
//! 8   CRC-32 of the record, little-endian
//! 12  length of the record, 32 bits, little-endian
//! 16  the record, with its version in front (store::record)
//!     zeros up to HEADER_BYTES, then the content
//! ```

use crate::core::{CONTENT_TYPE_BYTES, FILE_NAME_BYTES};
use crate::store::record::{Broken, Reader, Writer};

/// What comes before the content, in bytes: a page, so that the content begins with one.
pub const HEADER_BYTES: u64 = 4096;

const MAGIC: &[u8; 8] = b"INGLEUPL";
const VERSION: u8 = 1;
/// Where the record begins.
const RECORD: usize = 16;
/// The longest bare JID: two parts of 1023 bytes each (RFC 7622 §3.1).
const OWNER_BYTES: usize = 2 * 1023 + 1;

// All that a record can hold fits.
const _: () = assert!(RECORD + 256 + OWNER_BYTES + FILE_NAME_BYTES + CONTENT_TYPE_BYTES <= HEADER_BYTES as usize);

/// What a file says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FileHeader {
    /// Greater than that of all files that were there before: the order holds whatever the clock does.
    pub number: u64,
    /// The bare JID of whose it is.
    pub owner: Box<str>,
    pub name: Box<str>,
    pub content_type: Option<Box<str>>,
    /// Length of the content, in bytes.
    pub size: u64,
    /// When it came, in seconds since 1970, as the box believed.
    pub created: u64,
    /// When it must be gone, in seconds since 1970; `None`: nobody has said (XEP-0363 §5.3).
    pub until: Option<u64>,
    /// SHA-256 of the content.
    pub hash: [u8; 32],
}

/// Why a header cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HeaderFault {
    /// It is none.
    Damaged,
    /// It is of a version that is not known here.
    Newer,
}

impl From<Broken> for HeaderFault {
    fn from(_: Broken) -> HeaderFault {
        HeaderFault::Damaged
    }
}

impl FileHeader {
    pub(crate) fn write(&self) -> Vec<u8> {
        let record = Writer::new(VERSION)
            .u64(self.number)
            .str(&self.owner)
            .str(&self.name)
            .opt_str(self.content_type.as_deref())
            .u64(self.size)
            .u64(self.created)
            .u64(self.until.unwrap_or(0))
            .bytes(&self.hash)
            .done();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(crc32fast::hash(&record).to_le_bytes());
        bytes.extend((record.len() as u32).to_le_bytes());
        bytes.extend(record);
        bytes.resize(HEADER_BYTES as usize, 0);
        bytes
    }

    pub(crate) fn read(bytes: &[u8; HEADER_BYTES as usize]) -> Result<FileHeader, HeaderFault> {
        let number = |at: usize| bytes[at..at + 4].iter().rev().fold(0, |n, b| n << 8 | u32::from(*b));
        let (check, length) = (number(8), number(12) as usize);
        let record = bytes[RECORD..].get(..length).filter(|_| bytes.starts_with(MAGIC)).ok_or(HeaderFault::Damaged)?;
        if crc32fast::hash(record) != check {
            return Err(HeaderFault::Damaged);
        }
        let mut r = Reader::new(record)?;
        if r.version > VERSION {
            return Err(HeaderFault::Newer);
        }
        Ok(FileHeader {
            number: r.u64()?,
            owner: r.str()?.into(),
            name: r.str()?.into(),
            content_type: r.opt_str()?.map(Into::into),
            size: r.u64()?,
            created: r.u64()?,
            until: Some(r.u64()?).filter(|until| *until > 0),
            hash: r.bytes()?.try_into().map_err(|_| HeaderFault::Damaged)?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<FileHeader, HeaderFault> {
        FileHeader::read(bytes.try_into().unwrap())
    }

    fn sample() -> FileHeader {
        FileHeader {
            number: 7,
            owner: "juliet@house.test".into(),
            name: "tr\u{e8}s cool.jpg".into(),
            content_type: Some("image/jpeg".into()),
            size: 23_456,
            created: 1_800_000_000,
            until: Some(1_800_000_100),
            hash: [9; 32],
        }
    }

    #[test]
    fn a_header_comes_back() {
        let longest = FileHeader {
            owner: "o".repeat(OWNER_BYTES).into(),
            name: "n".repeat(FILE_NAME_BYTES).into(),
            content_type: Some("c".repeat(CONTENT_TYPE_BYTES).into()),
            ..sample()
        };
        for header in [sample(), longest, FileHeader { content_type: None, until: None, ..sample() }] {
            let bytes = header.write();
            assert_eq!((bytes.len() as u64, read(&bytes)), (HEADER_BYTES, Ok(header)));
        }
    }

    #[test]
    fn no_bit_of_it_can_change_unseen() {
        let bytes = sample().write();
        let end = RECORD + u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
        for at in 0..end {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0x40;
            assert_eq!(read(&wrong), Err(HeaderFault::Damaged), "{at}");
        }
        assert_eq!(read(&[0; HEADER_BYTES as usize]), Err(HeaderFault::Damaged), "what a power cut may leave");
    }

    #[test]
    fn what_a_newer_version_wrote_is_told_from_damage() {
        let mut bytes = sample().write();
        bytes[RECORD] = VERSION + 1;
        let end = RECORD + u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
        let check = crc32fast::hash(&bytes[RECORD..end]);
        bytes[8..12].copy_from_slice(&check.to_le_bytes());
        assert_eq!(read(&bytes), Err(HeaderFault::Newer));
    }
}
