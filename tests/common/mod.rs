//! What several tests need.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

pub mod binary;
#[cfg(target_os = "linux")]
pub mod disk;
pub mod files;
pub mod http;
pub mod scram;

/// A small generator of numbers, the same every time.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end.max(1)
    }
}

/// Things that are special to XML and to a stanza.
const BITS: &[&str] = &[
    "<",
    ">",
    "/",
    "/>",
    "</",
    "'",
    "\"",
    "=",
    "&",
    ";",
    "&amp;",
    "&#0;",
    "&#65;",
    "&#xD800;",
    "&lt",
    " ",
    "\n",
    "\r\n",
    "\t",
    ":",
    "]]>",
    "<![CDATA[",
    "]]",
    "<!--",
    "-->",
    "<?",
    "?>",
    "<!",
    "<a>",
    "</a>",
    "<a/>",
    "<o:a/>",
    "<p:a/>",
    " xmlns='u'",
    " xmlns=''",
    " xmlns:p='u'",
    " xmlns:p='v'",
    " xmlns:o='u'",
    " xmlns:p=''",
    " xmlns:xml='u'",
    " p:b='1'",
    " o:b='2'",
    " b='1'",
    " b=\"it's\"",
    " xml:lang='x'",
    " id='1'",
    " to='a@b/c'",
    " from=''",
    " type='chat'",
    " type='result'",
    "\0",
    "\u{1}",
    "\u{e9}",
    "\u{fffe}",
    "\u{1f600}",
    "xmlns",
    "xml",
    "<message>",
    "</message>",
    "<presence/>",
    "</stream:stream>",
    "<stream:error/>",
    "jabber:server",
    "jabber:client",
];

/// Changes some bytes.
pub fn mutate(data: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let at = random.below(data.len() + 1);
        let end = (at + random.below(12)).min(data.len());
        match random.below(8) {
            0 => drop(data.drain(at..end)),
            1 => {
                let copy = data[at..end].to_vec();
                let to = random.below(data.len() + 1);
                data.splice(to..to, copy);
            }
            2 => {
                if let Some(b) = data.get_mut(at) {
                    *b = random.below(256) as u8;
                }
            }
            3 => {
                let other = &others[random.below(others.len())];
                let from = random.below(other.len());
                let to = (from + random.below(64)).min(other.len());
                data.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let bit = BITS[random.below(BITS.len())];
                data.splice(at..if random.below(2) == 0 { at } else { end }, bit.bytes());
            }
        }
    }
}
