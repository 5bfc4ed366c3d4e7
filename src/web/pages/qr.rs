//! QR codes as drawings in a page (ISO/IEC 18004).

use crate::wire::xml::escaped;
use qrcodegen::{QrCode, QrCodeEcc};
use std::fmt::Write;

/// Light modules around a code (§5.3.8).
const QUIET: i32 = 4;

/// The code of a text, with what it is called for those who do not see it. Nothing, if no code is so long.
pub(super) fn drawn(text: &str, label: &str) -> String {
    let Ok(code) = QrCode::encode_text(text, QrCodeEcc::Medium) else { return String::new() };
    let size = code.size() + 2 * QUIET;
    let mut path = String::new();
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let dark = (x..code.size()).take_while(|x| code.get_module(*x, y)).count() as i32;
            if dark > 0 {
                // A line of modules, to the right, down, and back.
                let _ = write!(path, "M{},{}h{dark}v1h-{dark}", x + QUIET, y + QUIET);
            }
            x += dark.max(1);
        }
    }
    // Dark on light in any scheme of colours: some readers know nothing else.
    format!(
        "<svg class=\"qr\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {size} {size}\" shape-rendering=\"crispEdges\">\
         <path fill=\"#fff\" d=\"M0,0h{size}v{size}H0\"/><path d=\"{path}\"/></svg>\n",
        escaped(label)
    )
}
