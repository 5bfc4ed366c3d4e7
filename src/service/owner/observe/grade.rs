//! Letters: what a test counts, and what all of them come to. The worst counts.

/// How good it is to connect to a server, the best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Letter {
    /// As it should be.
    A,
    /// The same, and one thing could be better.
    AMinus,
    /// As A or A-, for those who have installed the authority, or know the certificate.
    T,
    /// It works, and not everywhere, or with less than there could be.
    B,
    /// Old or open where it should not be.
    C,
    /// Not to be trusted.
    F,
}

impl Letter {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Letter::A => "A",
            Letter::AMinus => "A-",
            Letter::T => "T",
            Letter::B => "B",
            Letter::C => "C",
            Letter::F => "F",
        }
    }

    /// What it means, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Letter::A => "as it should be",
            Letter::AMinus => "good",
            Letter::T => "good, for those who installed the authority",
            Letter::B => "it works, and could be better",
            Letter::C => "too much is old or open",
            Letter::F => "nobody should trust this",
        }
    }
}

/// Whom a test is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Graded {
    /// Apps.
    Clients,
    /// Other servers.
    Servers,
    /// Neither alone: it has no letter.
    House,
}

impl Graded {
    /// In front of what is told, and of the test's id.
    pub fn as_str(self) -> &'static str {
        match self {
            Graded::Clients => "clients",
            Graded::Servers => "servers",
            Graded::House => "house",
        }
    }
}

/// How a test has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TestStatus {
    /// As it should.
    Fine,
    /// With something that the owner should know.
    Note,
    /// With a fault.
    Fault,
    /// It was not made.
    Skipped,
}

impl TestStatus {
    /// For programs.
    pub fn as_str(self) -> &'static str {
        match self {
            TestStatus::Fine => "ok",
            TestStatus::Note => "note",
            TestStatus::Fault => "fault",
            TestStatus::Skipped => "skipped",
        }
    }
}

/// A test that was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Test {
    /// Whom it is about.
    pub side: Graded,
    /// Which it is, for programs: stays the same.
    pub id: &'static str,
    /// What was seen.
    pub what: String,
    /// How it has ended.
    pub status: TestStatus,
    /// The best letter that is left by it.
    pub grade: Option<Letter>,
    /// What to do; empty if nothing is.
    pub fix: String,
}

impl Test {
    /// All is well.
    pub fn fine(side: Graded, id: &'static str, what: impl Into<String>) -> Test {
        Test { side, id, what: what.into(), status: TestStatus::Fine, grade: None, fix: String::new() }
    }

    /// Something that costs nothing.
    pub fn note(side: Graded, id: &'static str, what: impl Into<String>) -> Test {
        Test { status: TestStatus::Note, ..Test::fine(side, id, what) }
    }

    /// What was not tried, and why.
    pub fn skipped(side: Graded, id: &'static str, what: impl Into<String>) -> Test {
        Test { status: TestStatus::Skipped, ..Test::fine(side, id, what) }
    }

    /// A fault, and what it leaves of the grade.
    pub fn fault(
        side: Graded,
        id: &'static str,
        grade: Letter,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Test {
        Test { status: TestStatus::Fault, grade: Some(grade), fix: fix.into(), ..Test::fine(side, id, what) }
    }

    /// For people, without what stands in front of it.
    pub fn told(&self) -> String {
        // What is as it should be in a house needs none.
        let fix = match (self.fix.as_str(), self.grade) {
            ("", _) => String::new(),
            (fix, Some(Letter::T)) => format!(". For more: {fix}"),
            (fix, _) => format!(". Fix: {fix}"),
        };
        format!("{}: {}{fix}", self.side.as_str(), self.what)
    }
}

/// The id of the test that tells which ports were looked at.
pub const REACHED: &str = "reached";

/// The letter of one side; `None`: nothing was tried there, or no port was reached, whatever else is known.
pub fn letter(tests: &[Test], side: Graded) -> Option<Letter> {
    let of_side = tests.iter().filter(|test| test.side == side && test.status != TestStatus::Skipped);
    of_side.clone().next()?;
    let reached = || tests.iter().filter(|test| test.side == side && test.id == REACHED);
    if reached().next().is_some() && reached().all(|test| test.status == TestStatus::Skipped) {
        return None;
    }
    Some(of_side.filter_map(|test| test.grade).max().unwrap_or(Letter::A))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts_of_each_side() {
        let fault = |side, grade| Test::fault(side, "x", grade, "", "");
        let fine = |side| Test::fine(side, REACHED, "");
        use Graded::{Clients, House, Servers};
        use Letter::{A, AMinus, B, C, F, T};
        for (faults, is) in [
            (&[][..], A),
            (&[AMinus], AMinus),
            (&[T], T),
            (&[AMinus, T], T),
            (&[B, T], B),
            (&[T, C, B], C),
            (&[F, T, C], F),
        ] {
            let mut tests = vec![fine(Clients), fine(Servers), fault(House, F), Test::note(Clients, "x", "")];
            tests.extend(faults.iter().map(|grade| fault(Clients, *grade)));
            assert_eq!((letter(&tests, Clients), letter(&tests, Servers)), (Some(is), Some(A)), "{faults:?}");
        }
        assert_eq!(letter(&[Test::skipped(Servers, "x", ""), fine(Clients)], Servers), None);
        // What is known besides is no port.
        let unreached = Test::skipped(Clients, REACHED, "");
        assert_eq!(letter(&[unreached.clone(), Test::fine(Clients, "x", ""), fault(Clients, F)], Clients), None);
        assert_eq!(letter(&[unreached, fine(Clients)], Clients), Some(A));
        assert_eq!(letter(&[], Clients), None);
    }
}
