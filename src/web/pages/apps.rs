//! Which apps there are for what a visitor has in hand.

use super::Visitor;
use crate::wire::xml::escaped;
use std::fmt::Write;

/// A system that apps are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum System {
    Ios,
    Android,
    Windows,
    Macos,
    Linux,
}

/// All of them; the last is for who does not say.
pub(super) const SYSTEMS: [System; 5] = [System::Ios, System::Android, System::Windows, System::Macos, System::Linux];

impl System {
    /// As a browser tells it. An iPad says that it is a Mac.
    pub fn of_agent(agent: &str) -> System {
        let known = [
            (System::Ios, &["iPhone", "iPad", "iPod"][..]),
            (System::Android, &["Android"]),
            (System::Windows, &["Windows"]),
            (System::Macos, &["Macintosh", "Mac OS X"]),
        ];
        let named = |names: &[&str]| names.iter().any(|name| agent.contains(name));
        known.iter().find(|(_, names)| named(names)).map_or(System::Linux, |(system, _)| *system)
    }

    /// Whether it is in somebody's hand, with a camera.
    pub fn is_phone(self) -> bool {
        matches!(self, System::Ios | System::Android)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            System::Ios => "iPhone, iPad",
            System::Android => "Android",
            System::Windows => "Windows",
            System::Macos => "macOS",
            System::Linux => "Linux",
        }
    }

    /// What an app and its store are called, and where it is.
    fn apps(self) -> &'static [(&'static str, &'static str)] {
        match self {
            System::Ios => &[
                ("Monal (App Store)", "https://apps.apple.com/app/id317711500"),
                ("Siskin IM (App Store)", "https://apps.apple.com/app/id1153516838"),
            ],
            System::Android => &[
                ("Conversations (Google Play)", "https://play.google.com/store/apps/details?id=eu.siacs.conversations"),
                ("Conversations (F-Droid)", "https://f-droid.org/packages/eu.siacs.conversations/"),
            ],
            System::Windows => &[("Gajim", "https://gajim.org/download/")],
            System::Macos => &[
                ("Monal (App Store)", "https://apps.apple.com/app/id1637078500"),
                ("Beagle IM (App Store)", "https://apps.apple.com/app/id1445349494"),
            ],
            System::Linux => &[("Gajim", "https://gajim.org/download/"), ("Dino", "https://dino.im/")],
        }
    }
}

/// A list of links to the apps for a system. They lead elsewhere, where nothing is told of this page.
pub(super) fn list(system: System) -> String {
    let mut out = String::from("<ul class=\"apps\">\n");
    for (name, url) in system.apps() {
        let _ =
            writeln!(out, "<li><a href=\"{}\" rel=\"noreferrer noopener\">{}</a></li>", escaped(url), escaped(name));
    }
    out + "</ul>\n"
}

/// The apps for all systems but the visitor's, folded.
pub(super) fn others(visitor: &Visitor) -> String {
    let others = SYSTEMS.into_iter().filter(|system| *system != visitor.system);
    let lists: String = others.map(|system| format!("<h2>{}</h2>\n{}", system.name(), list(system))).collect();
    super::folded(visitor.lang.texts().apps_others, &lists)
}
