//! Questions to whoever sits at the terminal.

use crate::service::{Failure, Result};
use crate::wire::typed::visible;
use std::io::{BufRead, Read, Write};

/// The longest answer that is read, in bytes.
const ANSWER_BYTES: u64 = 4096;

/// Where questions are put, and where answers come from.
pub struct Talk<'a> {
    out: &'a mut dyn Write,
    answers: &'a mut dyn BufRead,
}

impl<'a> Talk<'a> {
    /// Of a terminal, or of what stands for one.
    pub fn new(out: &'a mut dyn Write, answers: &'a mut dyn BufRead) -> Talk<'a> {
        Talk { out, answers }
    }

    /// A line for the person. Nobody there to read it is no failure.
    pub fn say(&mut self, line: &str) {
        let _ = writeln!(self.out, "{}", visible(line)).and_then(|()| self.out.flush());
    }

    /// The answer to a question; an empty one means what stands in brackets.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn ask(&mut self, question: &str, usual: &str) -> Result<String> {
        loop {
            let _ = write!(self.out, "{} [{}] ", visible(question), visible(usual)).and_then(|()| self.out.flush());
            let read =
                self.line().map_err(|e| Failure(format!("the answer cannot be read from standard input: {e}.")))?;
            let Some(line) = read else { return Err(Failure::new("there is no answer: standard input has ended.")) };
            match line.as_deref().map(str::trim) {
                Some("") => return Ok(usual.to_owned()),
                Some(answer) => return Ok(answer.to_owned()),
                None => self.say("That is too long, or no text. Another, please."),
            }
        }
    }

    /// A whole line; inside: one that is too long is none, nor is what is not UTF-8. `None`: there are no more.
    fn line(&mut self) -> std::io::Result<Option<Option<String>>> {
        let mut line = Vec::new();
        if Read::take(&mut *self.answers, ANSWER_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let is_whole = line.ends_with(b"\n") || (line.len() as u64) < ANSWER_BYTES;
        let mut rest = Vec::new();
        while !is_whole && Read::take(&mut *self.answers, ANSWER_BYTES).read_until(b'\n', &mut rest)? > 0 {
            if rest.ends_with(b"\n") {
                break;
            }
            rest.clear();
        }
        Ok(Some(String::from_utf8(line).ok().filter(|_| is_whole)))
    }

    /// Yes or no.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn is_wanted(&mut self, question: &str) -> Result<bool> {
        loop {
            match self.ask(question, "yes")?.to_lowercase().as_str() {
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => self.say("Please type yes or no."),
            }
        }
    }
}
