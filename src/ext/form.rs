//! XEP-0004 and XEP-0068: forms that clients fill in, or read.

use crate::wire::xml::escaped;
use crate::wire::{Condition, Node, Ns, StanzaError};
use std::collections::BTreeMap;

fn bad(text: &'static str) -> StanzaError {
    StanzaError::new(Condition::BadRequest).text(text)
}

/// The values of each field of the form in an element, which must be of this type; without the type itself. `None`: there is no
/// form. What has no value, or an empty one, is there without values (XEP-0004 §3.6).
///
/// # Errors
/// `bad-request` for a form of another type or with a field twice, and for two forms.
pub(super) fn submitted(within: Node<'_>, form_type: &str) -> Result<Option<Submitted>, StanzaError> {
    let mut forms = within.children().filter(|c| c.is(Ns::DATA_FORM, "x"));
    let Some(form) = forms.next() else { return Ok(None) };
    if forms.next().is_some() {
        return Err(bad("there is more than one form"));
    }
    if form.attr("type").as_deref() != Some("submit") {
        return Err(bad("the type of a form that is filled in is 'submit'"));
    }
    let mut fields = fields(form)?;
    fields.values_mut().for_each(|values| values.retain(|value| !value.is_empty()));
    let named = fields.remove("FORM_TYPE").is_some_and(|values| values == [form_type]);
    if named { Ok(Some(fields)) } else { Err(bad("the form is not of the type that belongs here")) }
}

/// The same of the form of a command, with the empty values, too. Whoever has the command's session knows what it is for: it needs
/// no type, and `cancel` is understood as `submit` (XEP-0050 §3.5.1).
///
/// # Errors
/// `bad-request` for a form of another type or with a field twice, and for two forms.
pub(super) fn of_command(within: Node<'_>) -> Result<Submitted, StanzaError> {
    let mut forms = within.children().filter(|c| c.is(Ns::DATA_FORM, "x"));
    let Some(form) = forms.next() else { return Ok(Submitted::new()) };
    if forms.next().is_some() || !matches!(form.attr("type").as_deref(), Some("submit" | "cancel")) {
        return Err(bad("this is not one form that is filled in"));
    }
    fields(form)
}

/// The values of each field of a form, its type among them, and the empty values, too.
///
/// # Errors
/// `bad-request` for one with a field twice, or without a name.
pub(super) fn fields(form: Node<'_>) -> Result<Submitted, StanzaError> {
    let mut fields = Submitted::new();
    for field in form.children().filter(|c| c.is(Ns::DATA_FORM, "field")) {
        let Some(var) = field.attr("var") else {
            // §3.2: only text for people has no name.
            if field.attr("type").as_deref() == Some("fixed") {
                continue;
            }
            return Err(bad("a field of the form has no name"));
        };
        let values = field.children().filter(|c| c.is(Ns::DATA_FORM, "value")).map(|v| v.text().into_owned());
        if fields.insert(var.into_owned(), values.collect()).is_some() {
            return Err(bad("a field stands twice in the form"));
        }
    }
    Ok(fields)
}

/// The type of a field that an entity tells of itself (XEP-0128), as the registry of its form has it: XEP-0157 §4, XEP-0045 §16.5.4,
/// XEP-0486 §3.1, XEP-0060 §16.4.3.
pub(super) fn registered(form_type: &str, var: &str) -> &'static str {
    match (form_type, var) {
        ("http://jabber.org/network/serverinfo", _) => "list-multi",
        (_, "muc#roominfo_contactjid" | "pubsub#contact" | "pubsub#owner" | "pubsub#publisher") => "jid-multi",
        (_, "pubsub#creator") => "jid-single",
        (_, "muc#roominfo_subjectmod" | "muc#roomconfig_changesubject" | "muc#roomconfig_allowinvites") => "boolean",
        (_, "muc#roomconfig_membersonly" | "muc#roomconfig_moderatedroom") => "boolean",
        (_, "muc#roominfo_avatarhash") => "text-multi",
        (_, "pubsub#language" | "pubsub#access_model" | "pubsub#publish_model") => "list-single",
        (_, "muc#roomconfig_allowpm") => "list-single",
        _ => "text-single",
    }
}

/// A form to be filled in, or to be read.
pub(super) struct Form(String);

/// A field of one.
#[derive(Default)]
pub(super) struct Field<'a> {
    pub var: &'a str,
    /// What it takes (XEP-0004 §3.3).
    pub ty: &'a str,
    /// For a person.
    pub label: &'a str,
    /// Whether it must be filled in.
    pub required: bool,
    /// What is in it.
    pub values: Vec<&'a str>,
    /// What can be chosen.
    pub options: Vec<&'a str>,
}

impl Form {
    /// One to be filled in. `form_type`: empty for none (XEP-0068).
    pub(super) fn to_fill(form_type: &str, title: &str, instructions: &str) -> Form {
        let mut xml = String::from("<x xmlns='jabber:x:data' type='form'>");
        for (name, text) in [("title", title), ("instructions", instructions)] {
            xml += &format!("<{name}>{}</{name}>", escaped(text));
        }
        Form(xml).typed(form_type)
    }

    /// One to be read.
    pub(super) fn result(form_type: &str) -> Form {
        Form("<x xmlns='jabber:x:data' type='result'>".to_owned()).typed(form_type)
    }

    fn typed(self, form_type: &str) -> Form {
        match form_type {
            "" => self,
            ty => self.field(&Field { var: "FORM_TYPE", ty: "hidden", values: vec![ty], ..Field::default() }),
        }
    }

    /// The same with one more field.
    pub(super) fn field(mut self, field: &Field<'_>) -> Form {
        let xml = &mut self.0;
        xml.push_str("<field");
        for (name, value) in [("var", field.var), ("type", field.ty), ("label", field.label)] {
            if !value.is_empty() {
                *xml += &format!(" {name}='{}'", escaped(value));
            }
        }
        xml.push('>');
        if field.required {
            xml.push_str("<required/>");
        }
        field.values.iter().for_each(|value| *xml += &format!("<value>{}</value>", escaped(value)));
        let option = |value| format!("<option label='{0}'><value>{0}</value></option>", escaped(value));
        field.options.iter().for_each(|value| *xml += &option(value));
        xml.push_str("</field>");
        self
    }

    /// It as XML.
    pub(super) fn xml(self) -> String {
        self.0 + "</x>"
    }
}

/// The fields of a form and the values of each.
pub(super) type Submitted = BTreeMap<String, Vec<String>>;

/// The value of a field that has at most one; takes it out.
///
/// # Errors
/// `bad-request` for more than one.
pub(super) fn single(fields: &mut Submitted, var: &str) -> Result<Option<String>, StanzaError> {
    let mut values = fields.remove(var).unwrap_or_default().into_iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(bad("a field has more than one value")),
    }
}

/// The same of a field that says yes or no (XEP-0004 §3.3).
///
/// # Errors
/// `bad-request` for anything else.
pub(super) fn boolean(fields: &mut Submitted, var: &str) -> Result<Option<bool>, StanzaError> {
    match single(fields, var)?.as_deref() {
        None => Ok(None),
        Some("1" | "true") => Ok(Some(true)),
        Some("0" | "false") => Ok(Some(false)),
        Some(_) => Err(bad("a field is neither true nor false")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::Scope;
    use crate::wire::xml::Raw;

    fn read(forms: &str) -> Result<Option<Submitted>, StanzaError> {
        let raw = Raw::parse(&format!("<query xmlns='urn:x'>{forms}</query>"), Scope::client()).unwrap();
        submitted(raw.root(), "urn:x")
    }

    fn form(fields: &str) -> String {
        let ty = "<field var='FORM_TYPE'><value>urn:x</value></field>";
        format!("<x xmlns='jabber:x:data' type='submit'>{ty}{fields}</x>")
    }

    #[test]
    fn what_is_filled_in() {
        assert_eq!(read("").unwrap(), None);
        assert_eq!(read(&form("")).unwrap(), Some(Submitted::new()));
        let mut fields = read(&form(
            "<field type='fixed'><value>Hark</value></field><field var='a'><value>1 &lt; 2</value></field>\
             <field var='b' type='text-multi'><value>x</value><value/><value>y</value></field><field var='c'/>\
             <field var='d'><value/></field><field var='e'><value>1</value></field><field var='f'><value>false</value></field>",
        ))
        .unwrap()
        .unwrap();
        assert_eq!(single(&mut fields, "a").unwrap().as_deref(), Some("1 < 2"));
        assert!(!fields.contains_key("a"));
        assert_eq!(fields["b"], ["x", "y"]);
        assert!(single(&mut fields.clone(), "b").is_err());
        for none in ["c", "d", "unheard-of"] {
            assert_eq!(single(&mut fields, none).unwrap(), None);
        }
        assert_eq!(boolean(&mut fields, "e").unwrap(), Some(true));
        assert_eq!(boolean(&mut fields, "f").unwrap(), Some(false));
        assert_eq!(boolean(&mut fields, "f").unwrap(), None);
        assert!(boolean(&mut read(&form("<field var='e'><value>yes</value></field>")).unwrap().unwrap(), "e").is_err());
    }

    #[test]
    fn what_is_no_form() {
        for wrong in [
            form("").replace("submit", "form"),
            form("").replace("type='submit'", ""),
            form("").replace("urn:x", "urn:y"),
            form("<field var='FORM_TYPE'><value>urn:x</value></field>"),
            form("<field var='a'/><field var='a'/>"),
            form("<field><value>1</value></field>"),
            format!("{0}{0}", form("")),
            "<x xmlns='jabber:x:data' type='submit'/>".into(),
        ] {
            assert_eq!(read(&wrong).unwrap_err().condition, Condition::BadRequest, "{wrong}");
        }
    }
}
