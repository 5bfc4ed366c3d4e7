//! Whether a file is what was sent: its content against the hash in its header.

use super::header::{FileHeader, HEADER_BYTES};
use ring::digest::{Context, SHA256};

/// Looks at a file as its bytes go by.
pub(crate) struct FileCheck {
    header: Vec<u8>,
    content: Context,
    size: u64,
}

impl Default for FileCheck {
    fn default() -> FileCheck {
        FileCheck { header: Vec::new(), content: Context::new(&SHA256), size: 0 }
    }
}

impl FileCheck {
    /// The next bytes.
    pub(crate) fn see(&mut self, bytes: &[u8]) {
        let missing = (HEADER_BYTES as usize).saturating_sub(self.header.len()).min(bytes.len());
        let (header, content) = bytes.split_at(missing);
        self.header.extend_from_slice(header);
        self.content.update(content);
        self.size += content.len() as u64;
    }

    /// Whether all of it is as it was sent.
    pub(crate) fn found_whole(self) -> bool {
        let header = self.header.as_slice().try_into().ok().and_then(|header| FileHeader::read(header).ok());
        header.is_some_and(|header| header.size == self.size && header.hash == *self.content.finish().as_ref())
    }
}
