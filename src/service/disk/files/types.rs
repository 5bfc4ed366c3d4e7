//! As what a file is served. Whatever its sender said it is, a browser gets one of these words; and shows by itself only what can do
//! nothing there.

/// What a file is served as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Served {
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// Whether `Content-Disposition` is `inline`; else it is `attachment` (RFC 6266 §4.2).
    pub inline: bool,
}

/// What browsers show. No SVG: it can have scripts in it.
const INLINE: &[&str] = &[
    "audio/aac",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/opus",
    "audio/wav",
    "audio/webm",
    "audio/x-m4a",
    "audio/x-wav",
    "image/apng",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/heic",
    "image/heif",
    "image/jpeg",
    "image/jxl",
    "image/png",
    "image/webp",
    "video/3gpp",
    "video/mp4",
    "video/mpeg",
    "video/ogg",
    "video/quicktime",
    "video/webm",
    "video/x-matroska",
];

const TEXT: &str = "text/plain";

/// What apps want to know to open it with the right program, and browsers are told to save.
const ATTACHED: &[&str] = &["application/pdf", "application/zip"];

/// What else there is.
const OTHER: Served = Served { content_type: "application/octet-stream", inline: false };

/// As what a file with this content type is served; `None`: nobody has said one.
pub fn served_as(content_type: Option<&str>) -> Served {
    let Some(content_type) = content_type else { return OTHER };
    let essence = essence(content_type);
    let known = |list: &'static [&'static str]| list.iter().find(|known| known.eq_ignore_ascii_case(essence));
    if essence.eq_ignore_ascii_case(TEXT) {
        // Without the charset browsers guess one.
        return Served { content_type: "text/plain; charset=utf-8", inline: true };
    }
    match (known(INLINE), known(ATTACHED)) {
        (Some(content_type), _) => Served { content_type, inline: true },
        (_, Some(content_type)) => Served { content_type, inline: false },
        _ => OTHER,
    }
}

/// Type and subtype, without parameters (RFC 9110 §8.3.1).
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Whether two content types are the same, whatever their parameters are.
pub(crate) fn are_same(one: &str, other: &str) -> bool {
    essence(one).eq_ignore_ascii_case(essence(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_nothing_is_shown() {
        for shown in ["image/jpeg", "IMAGE/JPEG", " image/jpeg ; q=1", "video/mp4; codecs=\"avc1\"", "audio/ogg"] {
            assert!(served_as(Some(shown)).inline, "{shown}");
        }
        assert_eq!(served_as(Some("Image/PNG; x=y")).content_type, "image/png");
        assert_eq!(served_as(Some("text/plain")), Served { content_type: "text/plain; charset=utf-8", inline: true });
        for saved in [
            "image/svg+xml",
            "text/html",
            "text/html; image/png",
            "application/xhtml+xml",
            "text/xml",
            "application/xml",
            "text/javascript",
            "multipart/x-mixed-replace",
            "image/*",
            "image/jpeg\r\nx: y",
            "",
        ] {
            assert_eq!(served_as(Some(saved)), OTHER, "{saved}");
        }
        assert_eq!(served_as(None), OTHER);
        assert_eq!(served_as(Some("application/pdf")), Served { content_type: "application/pdf", inline: false });
    }

    #[test]
    fn parameters_make_no_other_type() {
        assert!(are_same("text/plain; charset=utf-8", "Text/Plain"));
        assert!(!are_same("text/plain", "text/html"));
    }
}
