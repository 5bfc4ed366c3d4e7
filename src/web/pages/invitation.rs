//! An invitation: what it is, the app that opens it, and the form. A link for another password is the same with less around.

use super::start::trust_link;
use super::{House, System, Texts, Visitor, Vouched, apps, fill, page, paragraph, plain, qr, section};
use crate::wire::scram::{CHOSEN_PASSWORD_BYTES, PASSWORD_CHARS};
use crate::wire::xml::escaped;
use std::fmt::Write;

/// What a link is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A new account.
    Account,
    /// Another password.
    Reset,
}

/// What a page tells to who has the link.
#[derive(Clone, Debug)]
pub struct Invitation<'a> {
    /// What it is for.
    pub purpose: Purpose,
    /// Who invites: a bare JID.
    pub inviter: Option<&'a str>,
    /// The name that is chosen already.
    pub name: Option<&'a str>,
    /// The room that one will be in: a bare JID.
    pub room: Option<&'a str>,
    /// The last day, as `2026-12-07`; empty, if that is not known.
    pub until: &'a str,
    /// This page.
    pub url: &'a str,
    /// What an app opens.
    pub uri: &'a str,
}

/// What of a form is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Fault {
    NoName,
    NameTaken,
    NameOdd,
    NameLong,
    NameKept,
    NameAlike,
    /// It mixes alphabets.
    NameMixed,
    PasswordShort,
    PasswordLong,
    PasswordOdd,
    /// It is of spaces alone.
    PasswordBlank,
    /// The password is not the same twice.
    Again,
}

/// Where a fault is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Password,
    Again,
}

impl Fault {
    fn field(self) -> Field {
        match self {
            Fault::NoName
            | Fault::NameTaken
            | Fault::NameOdd
            | Fault::NameLong
            | Fault::NameKept
            | Fault::NameAlike
            | Fault::NameMixed => Field::Name,
            Fault::PasswordShort | Fault::PasswordLong | Fault::PasswordOdd | Fault::PasswordBlank => Field::Password,
            Fault::Again => Field::Again,
        }
    }

    /// In words, as HTML.
    fn told(self, texts: &Texts) -> String {
        let text = match self {
            Fault::NoName => texts.fault_no_name,
            Fault::NameTaken => texts.fault_name_taken,
            Fault::NameOdd => texts.fault_name_odd,
            Fault::NameLong => texts.fault_name_long,
            Fault::NameKept => texts.fault_name_kept,
            Fault::NameAlike => texts.fault_name_alike,
            Fault::NameMixed => texts.fault_name_mixed,
            Fault::PasswordShort => texts.fault_password_short,
            Fault::PasswordLong => texts.fault_password_long,
            Fault::PasswordOdd => texts.fault_password_odd,
            Fault::PasswordBlank => texts.fault_password_blank,
            Fault::Again => texts.fault_again,
        };
        fill(text, &[("least", &PASSWORD_CHARS.to_string()), ("most", &CHOSEN_PASSWORD_BYTES.to_string())])
    }
}

/// What was typed, and what is wrong with it. The password is never shown again.
#[derive(Clone, Default, Debug)]
pub struct Form<'a> {
    /// The name that was typed.
    pub name: &'a str,
    /// Of each field at most one.
    pub faults: &'a [Fault],
}

/// The page of a link.
pub fn invitation(house: &House, visitor: &Visitor, invitation: &Invitation<'_>, form: &Form<'_>) -> String {
    let texts = visitor.lang.texts();
    let fields = fields(house, texts, invitation, form);
    let alert = alert(texts, form);
    if invitation.purpose == Purpose::Reset {
        let who = format!("{}@{}", invitation.name.unwrap_or_default(), house.name);
        let main =
            format!("{alert}<p>{}</p>\n<section>\n{fields}</section>\n", fill(texts.reset_text, &[("who", &who)]));
        return page(house, visitor, texts.reset_title, true, &main);
    }
    let named = [
        ("who", invitation.inviter.unwrap_or_default()),
        ("house", house.called.as_str()),
        ("room", invitation.room.unwrap_or_default()),
        ("day", invitation.until),
    ];
    let title = plain(if invitation.inviter.is_some() { texts.invited_by } else { texts.invited }, &named);
    let about = match invitation.until {
        "" => String::new(),
        _ => format!("<p>{}</p>\n", fill(texts.invited_until, &named)),
    };
    let room = invitation.room.map_or(String::new(), |_| format!("<p>{}</p>\n", fill(texts.invited_room, &named)));
    let form = section(texts.form_title, &(paragraph(texts.form_text) + &fields));
    let ways = match (alert.is_empty(), visitor.system.is_phone()) {
        // Who has filled it in goes on with that.
        (false, _) => form,
        (true, true) => app(house, visitor, invitation, texts.phone_title) + &form,
        (true, false) => code(texts, invitation) + &form + &app(house, visitor, invitation, texts.computer_title),
    };
    let main = format!("{alert}{room}{ways}{}{about}", apps::others(visitor));
    page(house, visitor, &title, true, &main)
}

/// The steps with an app on what the visitor has in hand.
fn app(house: &House, visitor: &Visitor, invitation: &Invitation<'_>, title: &str) -> String {
    let texts = visitor.lang.texts();
    let mut steps = format!("<ol>\n<li>{}\n{}</li>\n", escaped(texts.app_get), apps::list(visitor.system));
    if matches!(house.vouched, Vouched::Itself(_)) {
        // Conversations asks, and needs nothing else.
        let text = if visitor.system == System::Android { texts.app_asks } else { texts.app_trust };
        let _ = write!(steps, "<li>{}\n{}</li>\n", escaped(text), trust_link(visitor));
    }
    let _ = write!(
        steps,
        "<li><a class=\"go\" href=\"{}\">{}</a>\n<p class=\"hint\">{}</p></li>\n</ol>\n",
        escaped(invitation.uri),
        escaped(texts.app_open),
        escaped(texts.app_hint)
    );
    section(title, &steps)
}

/// The way to the phone.
fn code(texts: &Texts, invitation: &Invitation<'_>) -> String {
    let drawn = qr::drawn(invitation.url, texts.code_label);
    section(texts.code_title, &(paragraph(texts.code_text) + &drawn))
}

/// What is wrong, before all else.
fn alert(texts: &Texts, form: &Form<'_>) -> String {
    if form.faults.is_empty() {
        return String::new();
    }
    let list: String = form.faults.iter().map(|fault| format!("<li>{}</li>\n", fault.told(texts))).collect();
    format!("<section role=\"alert\">\n<h2>{}</h2>\n<ul>\n{list}</ul>\n</section>\n", escaped(texts.fault_title))
}

/// The form. Whoever sends it shows the secret of its address, which no other page knows: that is its token against forgery.
fn fields(house: &House, texts: &Texts, invitation: &Invitation<'_>, form: &Form<'_>) -> String {
    let named = |name: &str| format!("{name}@{}", house.name);
    let mut out = String::from("<form method=\"post\">\n");
    match (invitation.purpose, invitation.name) {
        (Purpose::Account, None) => {
            let hint = fill(texts.name_hint, &[("address", &named(texts.start_name))]);
            let input = format!(
                "type=\"text\" inputmode=\"text\" autocomplete=\"username\" autocapitalize=\"none\" autocorrect=\"off\" \
                 spellcheck=\"false\" value=\"{}\"",
                escaped(form.name)
            );
            out += &field(texts, form, Field::Name, texts.name_label, &hint, &input);
        }
        (purpose, name) => {
            let address = named(name.unwrap_or_default());
            if purpose == Purpose::Account {
                let _ = writeln!(out, "<p>{}</p>", fill(texts.name_is, &[("address", &address)]));
                let taken = form.faults.iter().find(|fault| fault.field() == Field::Name);
                out += &taken.map_or(String::new(), |fault| format!("<p class=\"bad\">{}</p>\n", fault.told(texts)));
            }
            // For who keeps passwords: whose this one is.
            let _ = writeln!(
                out,
                "<input type=\"hidden\" name=\"name\" autocomplete=\"username\" value=\"{}\"/>",
                escaped(name.unwrap_or_default())
            );
        }
    }
    let secret = format!("type=\"password\" autocomplete=\"new-password\" minlength=\"{PASSWORD_CHARS}\"");
    let hint = fill(texts.password_hint, &[("least", &PASSWORD_CHARS.to_string())]);
    out += &field(texts, form, Field::Password, texts.password_label, &hint, &secret);
    out += &field(texts, form, Field::Again, texts.again_label, "", &secret);
    let button = if invitation.purpose == Purpose::Account { texts.make_button } else { texts.reset_button };
    let _ = write!(out, "<button type=\"submit\">{}</button>\n</form>\n", escaped(button));
    out
}

/// A field with its label, its hint and what is wrong with it. `hint`: HTML; `input`: attributes.
fn field(texts: &Texts, form: &Form<'_>, field: Field, label: &str, hint: &str, input: &str) -> String {
    let name = match field {
        Field::Name => "name",
        Field::Password => "password",
        Field::Again => "again",
    };
    let fault = form.faults.iter().find(|fault| fault.field() == field);
    let mut out = format!("<label for=\"{name}\">{}</label>\n", escaped(label));
    let mut described = Vec::new();
    if !hint.is_empty() {
        described.push(format!("{name}-hint"));
        let _ = writeln!(out, "<p class=\"hint\" id=\"{name}-hint\">{hint}</p>");
    }
    if let Some(fault) = fault {
        described.push(format!("{name}-bad"));
        let _ = writeln!(out, "<p class=\"bad\" id=\"{name}-bad\">{}</p>", fault.told(texts));
    }
    let mut more = if fault.is_some() { " aria-invalid=\"true\"".to_owned() } else { String::new() };
    if !described.is_empty() {
        let _ = write!(more, " aria-describedby=\"{}\"", described.join(" "));
    }
    let _ = writeln!(out, "<input id=\"{name}\" name=\"{name}\" {input} required=\"\"{more}/>");
    out
}

/// What has become of a form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// There is an account now.
    Made,
    /// It was made before.
    MadeBefore,
    /// It has another password.
    Reset,
}

/// The account is there. `address`: its bare JID; `uri`: what an app opens.
pub fn done(
    house: &House,
    visitor: &Visitor,
    done: Done,
    (address, uri): (&str, &str),
    server: Option<(String, u16)>,
) -> String {
    let texts = visitor.lang.texts();
    let (title, text) = match done {
        Done::Made => (texts.done_title, texts.done_text),
        Done::MadeBefore => (texts.again_title, texts.again_text),
        Done::Reset => (texts.reset_done_title, texts.reset_done_text),
    };
    let open = format!("<p><a class=\"go\" href=\"{}\">{}</a></p>\n", escaped(uri), escaped(texts.done_open));
    let told = match done {
        Done::Made => paragraph(texts.done_password),
        Done::MadeBefore | Done::Reset => String::new(),
    };
    let server = server.map_or(String::new(), |(host, port)| {
        let named = [("server", host.as_str()), ("port", &port.to_string())];
        format!("<p>{}</p>\n", fill(texts.done_server, &named))
    });
    let address = format!("<p class=\"big\"><bdi>{}</bdi></p>\n", escaped(address));
    let code = paragraph(texts.done_code_text) + &qr::drawn(uri, texts.done_code_label);
    let mut main =
        format!("<section>\n{}{address}{open}{told}{server}</section>\n<section>\n{code}</section>\n", paragraph(text));
    if done != Done::Reset {
        main += &section(texts.apps_title, &(paragraph(texts.apps_text) + &apps::list(visitor.system)));
        main += &apps::others(visitor);
        if matches!(house.vouched, Vouched::Itself(_)) {
            main += &section(texts.trust_title, &(paragraph(texts.trust_text) + &trust_link(visitor)));
        }
    }
    page(house, visitor, title, false, &main)
}
