//! Texts as QR codes in a terminal.

use qrcodegen::{QrCode, QrCodeEcc};

/// White modules around a code, so that it is found (ISO/IEC 18004 §5.3.8 asks for four; phones do with two).
const QUIET: i32 = 2;

/// A text as a QR code, two rows of modules in a line. Light is drawn: most terminals are dark.
pub fn qr_code(text: &str) -> Vec<String> {
    // Longer than any code is no line that somebody types.
    let Ok(code) = QrCode::encode_text(text, QrCodeEcc::Low) else { return Vec::new() };
    let light = &|x: i32, y: i32| !code.get_module(x, y);
    let (from, to) = (-QUIET, code.size() + QUIET);
    (from..to)
        .step_by(2)
        .map(|y| {
            (from..to).map(move |x| match (light(x, y), y + 1 >= to || light(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            })
        })
        .map(Iterator::collect)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_square_and_light_around() {
        let lines = qr_code("inglenook peer add office.test sha256:00");
        assert!(lines.iter().all(|line| line.chars().count() == 2 * lines.len() - 1), "{lines:?}");
        assert!(lines[0].chars().all(|c| c == '█'));
    }
}
