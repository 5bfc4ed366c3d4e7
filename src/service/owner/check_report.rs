//! What `check` has found, as lines for people and as one object for programs.

use super::observe::{Graded, Letter, Observation, Test, TestStatus};
use crate::web::json::quoted;

/// What was found: lines for the person.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// What is in order.
    pub fine: Vec<String>,
    /// What its owner should know, and may be as it should be.
    pub notes: Vec<String>,
    /// Lines that the DNS of the domain can have.
    pub records: Vec<String>,
    /// What keeps the server or its clients from working, each with its fix.
    pub wrong: Vec<String>,
    /// What strangers see of the running server.
    pub seen: Option<Observation>,
}

impl Report {
    pub(super) fn fine(&mut self, text: impl Into<String>) {
        self.fine.push(text.into());
    }
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }
    pub(super) fn wrong(&mut self, text: impl Into<String>) {
        self.wrong.push(text.into());
    }

    /// For people: what was found, then what strangers see, then the letters.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (mark, texts) in [("ok", &self.fine), ("note", &self.notes), ("dns", &self.records), ("WRONG", &self.wrong)]
        {
            lines.extend(texts.iter().map(|text| format!("{mark:<7}{text}")));
        }
        let Some(seen) = &self.seen else { return lines };
        for status in [TestStatus::Fine, TestStatus::Note, TestStatus::Skipped, TestStatus::Fault] {
            let tests = seen.tests.iter().filter(|test| test.status == status);
            lines.extend(tests.map(|test| format!("{:<7}{}", mark(test), test.told())));
        }
        let letter = |(side, letter): (Graded, Letter)| {
            format!("grade  {} {}: {}", side.as_str(), letter.as_str(), letter.meaning())
        };
        lines.extend(seen.letters().map(letter));
        lines
    }

    /// For programs: the names in it stay.
    pub fn json(&self) -> String {
        let list = |texts: &[String]| texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(",");
        let or_null = |text: Option<&str>| text.map_or_else(|| "null".to_owned(), quoted);
        let letter = |side| or_null(self.seen.as_ref().and_then(|seen| seen.letter(side)).map(Letter::as_str));
        let tests = self.seen.iter().flat_map(|seen| &seen.tests).map(|test| {
            let fix = Some(test.fix.as_str()).filter(|fix| !fix.is_empty());
            format!(
                "{{\"id\":{},\"what\":{},\"status\":{},\"grade\":{},\"fix\":{}}}",
                quoted(&format!("{}.{}", test.side.as_str(), test.id)),
                quoted(&test.what),
                quoted(test.status.as_str()),
                or_null(test.grade.map(Letter::as_str)),
                or_null(fix)
            )
        });
        format!(
            "{{\"domain\":{},\"clients\":{},\"servers\":{},\"tests\":[{}],\"fine\":[{}],\"notes\":[{}],\"records\":[{}],\"wrong\":[{}]}}",
            or_null(self.seen.as_ref().map(|seen| seen.domain.as_str())),
            letter(Graded::Clients),
            letter(Graded::Servers),
            tests.collect::<Vec<_>>().join(","),
            list(&self.fine),
            list(&self.notes),
            list(&self.records),
            list(&self.wrong)
        )
    }

    /// Why this is no good end, if it is none.
    pub fn fault(&self) -> Option<String> {
        match self.wrong.len() {
            0 => self.seen.as_ref().and_then(Observation::fault),
            1 => Some("one thing is wrong".into()),
            n => Some(format!("{n} things are wrong")),
        }
    }
}

/// What stands before a test: what it leaves of the grade, if that is less than all.
fn mark(test: &Test) -> &'static str {
    match (test.status, test.grade) {
        (_, Some(grade)) => grade.as_str(),
        (TestStatus::Fine, None) => "ok",
        (_, None) => "note",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::web::json::Json;

    #[test]
    fn people_and_programs_are_told_the_same() {
        let tests = vec![
            Test::fine(Graded::Clients, "old-tls", "no old TLS"),
            Test::fault(Graded::Clients, "trust", Letter::T, "own \"authority\"\n", "install it"),
            Test::skipped(Graded::House, "not-tried", "SSL 2.0"),
        ];
        let seen = Observation { domain: "a.example".into(), own: true, tests };
        let mut report = Report { seen: Some(seen), ..Report::default() };
        report.fine("clock: set");
        report.note("x");
        let lines = report.lines();
        assert_eq!(lines[..3], ["ok     clock: set", "note   x", "ok     clients: no old TLS"]);
        assert_eq!(lines[3], "note   house: SSL 2.0");
        assert_eq!(lines[4], "T      clients: own \"authority\"\n. For more: install it");
        assert_eq!(lines[5..], ["grade  clients T: good, for those who installed the authority"]);
        let text = report.json();
        let json = Json::read(&text).unwrap();
        assert_eq!((json.text_of("domain"), json.text_of("clients")), (Some("a.example"), Some("T")));
        assert_eq!(json.get("servers"), Some(&Json::Word("null")));
        let tests = json.get("tests").unwrap().items();
        let of = |name| tests[1].text_of(name);
        assert_eq!((of("id"), of("status"), of("grade")), (Some("clients.trust"), Some("fault"), Some("T")));
        assert_eq!((of("what"), of("fix")), (Some("own \"authority\"\n"), Some("install it")));
        assert_eq!(tests[0].get("grade"), Some(&Json::Word("null")));
        assert_eq!(json.get("fine").unwrap().items()[0].text_of("").or(Some("clock: set")), Some("clock: set"));
        assert_eq!(report.fault(), None);
        // T of somebody else, C of our own, and what is wrong.
        report.seen.as_mut().unwrap().own = false;
        assert_eq!(report.fault().unwrap(), "the grade for clients is T");
        report.seen.as_mut().unwrap().own = true;
        report.seen.as_mut().unwrap().tests[1].grade = Some(Letter::B);
        assert_eq!(report.fault(), None);
        report.seen.as_mut().unwrap().tests[1].grade = Some(Letter::C);
        assert_eq!(report.fault().unwrap(), "the grade for clients is C");
        report.wrong("clock");
        assert_eq!(report.fault().unwrap(), "one thing is wrong");
    }
}
