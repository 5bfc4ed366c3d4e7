//! Ad-hoc commands (XEP-0050, XEP-0133) in the hands of somebody who wants to do harm, or does too much of it.
#![allow(clippy::unwrap_used)]

mod house;

use house::{DOMAIN, House};
use inglenook::core::StreamId;
use inglenook::wire::Jid;
use minidom::Element;
use std::collections::BTreeSet;

const ADMIN: &str = "http://jabber.org/protocol/admin";
const COMMANDS: &str = "http://jabber.org/protocol/commands";
const OWN: &str = "urn:inglenook:commands";

/// A house whose administrator is juliet, and her session.
fn house() -> (House, StreamId) {
    let mut house = House::with(|settings| settings.admins = vec![Jid::parse("juliet@house.test").unwrap()]);
    let juliet = house.login("juliet@house.test/balcony");
    (house, juliet)
}

/// Sends a command and takes the answer.
fn command(house: &mut House, sid: StreamId, attributes: &str, body: &str) -> Element {
    let xml = format!("<command xmlns='{COMMANDS}' {attributes}>{body}</command>");
    house.send(sid, &format!("<iq type='set' id='1' to='{DOMAIN}'>{xml}</iq>"));
    let answer = house.receive(sid).expect("an answer");
    assert_eq!(house.receive(sid), None);
    Element::from_reader_with_prefixes(answer.as_bytes(), "jabber:client".to_owned()).unwrap()
}

/// Begins a command; the session's id.
fn begin(house: &mut House, sid: StreamId, node: &str) -> String {
    let answer = command(house, sid, &format!("node='{node}'"), "");
    let command = answer.get_child("command", COMMANDS).unwrap_or_else(|| panic!("{answer:?}"));
    assert_eq!(command.attr("status"), Some("executing"));
    command.attr("sessionid").unwrap().to_owned()
}

fn submit(house: &mut House, sid: StreamId, node: &str, fields: &str) -> Element {
    let id = begin(house, sid, node);
    let form = format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>");
    command(house, sid, &format!("node='{node}' sessionid='{id}'"), &form)
}

fn has_error(answer: &Element, condition: &str) -> bool {
    let error = answer.get_child("error", "jabber:client");
    error.is_some_and(|error| error.children().any(|child| child.name() == condition))
}

#[test]
fn forms_with_thousands_of_fields() {
    let (mut house, juliet) = house();
    house.account("romeo@house.test");
    let node = format!("{ADMIN}#user-stats");
    // What nobody asked for is not looked at.
    let mut fields = "<field var='accountjid'><value>romeo@house.test</value></field>".to_owned();
    (0..8_000).for_each(|n| fields += &format!("<field var='f{n}'/>"));
    assert_eq!(submit(&mut house, juliet, &node, &fields).attr("type"), Some("result"));
    // As many of one name.
    assert!(has_error(&submit(&mut house, juliet, &node, &"<field var='accountjid'/>".repeat(8_000)), "bad-payload"));
    // As many values of one field.
    let values = format!("<field var='accountjids'>{}</field>", "<value>romeo@house.test</value>".repeat(5_000));
    for node in ["delete-user", "end-user-session"] {
        let answer = submit(&mut house, juliet, &format!("{ADMIN}#{node}"), &values);
        assert!(has_error(&answer, "bad-payload"), "{answer:?}");
    }
    let lines = format!("<field var='accountjids'><value>{}</value></field>", "romeo@house.test\n".repeat(5_000));
    assert!(has_error(&submit(&mut house, juliet, &format!("{ADMIN}#delete-user"), &lines), "bad-payload"));
    assert!(house.state().account(&Jid::parse("romeo@house.test").unwrap()).is_some());
    // A text for everybody, in as many lines.
    for node in ["announce", "set-motd", "edit-motd", "set-welcome"] {
        for var in ["announcement", "motd", "welcome"] {
            let text = format!("<field var='{var}'>{}</field>", "<value>Hark</value>".repeat(5_000));
            assert!(has_error(&submit(&mut house, juliet, &format!("{ADMIN}#{node}"), &text), "bad-payload"));
        }
    }
    // Forms in forms, and a form of garbage.
    let garbage =
        "<x xmlns='jabber:x:data' type='submit'><field var='accountjid'><value><value>x</value></value></field></x>";
    for fields in [garbage, "<field/>", "<field var=''/>", "<item/>", "text"] {
        assert!(has_error(&submit(&mut house, juliet, &node, fields), "bad-payload"), "{fields}");
    }
}

#[test]
fn an_account_begins_only_so_many_commands() {
    let (mut house, juliet) = house();
    let romeo = house.login("romeo@house.test/orchard");
    let node = format!("{OWN}#password");
    let first = begin(&mut house, juliet, &node);
    let ids: Vec<String> = (0..500).map(|_| begin(&mut house, romeo, &node)).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 500);
    let alive = |house: &mut House, sid, id: &str| {
        let answer = command(house, sid, &format!("node='{node}' sessionid='{id}' action='cancel'"), "");
        assert!(answer.attr("type") == Some("result") || has_error(&answer, "session-expired"), "{answer:?}");
        answer.attr("type") == Some("result")
    };
    let left: Vec<bool> = ids.iter().map(|id| alive(&mut house, romeo, id)).collect();
    assert_eq!(left.iter().filter(|alive| **alive).count(), 8);
    assert!(left[492..].iter().all(|alive| *alive), "those that were begun last");
    assert!(alive(&mut house, juliet, &first), "others are not touched");
}

/// What is told of the commands is the same for every node that somebody may not use.
#[test]
fn who_may_not_cannot_tell_what_there_is() {
    let (mut house, _) = house();
    let romeo = house.login("romeo@house.test/orchard");
    let mut answers = BTreeSet::new();
    for node in ["add-user", "set-motd", "get-online-users-num", "shutdown", "nonsense", ""] {
        for action in ["", "action='execute'", "action='complete' sessionid='x'", "action='cancel' sessionid='x'"] {
            let answer = command(&mut house, romeo, &format!("node='{ADMIN}#{node}' {action}"), "");
            assert!(has_error(&answer, "forbidden"), "{node}: {answer:?}");
            answers.insert(String::from(&answer));
        }
        for disco in ["info", "items"] {
            let query = format!("<query xmlns='http://jabber.org/protocol/disco#{disco}' node='{ADMIN}#{node}'/>");
            house.send(romeo, &format!("<iq type='get' id='1' to='{DOMAIN}'>{query}</iq>"));
            answers.insert(house.receive(romeo).unwrap().replacen("<iq ", "<iq xmlns='jabber:client' ", 1));
        }
    }
    // One as the library writes it, and one as it came.
    assert!(answers.len() <= 2 && answers.iter().all(|answer| answer.contains("<forbidden")), "{answers:?}");
}

/// A power cut between an administrator's commands and the disk: what was confirmed is there.
#[test]
fn what_is_confirmed_is_stored() {
    let (mut house, juliet) = house();
    let field = |var: &str, value: &str| format!("<field var='{var}'><value>{value}</value></field>");
    for name in ["benvolio", "mercutio", "rosaline"] {
        let fields = field("accountjid", &format!("{name}@house.test")) + &field("password", name);
        let answer = submit(&mut house, juliet, &format!("{ADMIN}#add-user"), &fields);
        assert_eq!(answer.attr("type"), Some("result"), "{answer:?}");
    }
    let two = "<field var='accountjids'><value>mercutio@house.test</value><value>rosaline@house.test</value></field>";
    assert_eq!(submit(&mut house, juliet, &format!("{ADMIN}#delete-user"), two).attr("type"), Some("result"));
    let motd = field("motd", "A plague on both your houses");
    assert_eq!(submit(&mut house, juliet, &format!("{ADMIN}#set-motd"), &motd).attr("type"), Some("result"));
    house.power_cut();
    let names: Vec<_> = house.state().accounts().iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["benvolio", "juliet"]);
    let benvolio = house.login("benvolio@house.test/orchard");
    house.send(benvolio, "<presence/>");
    assert!(house.receive_all(benvolio).iter().any(|xml| xml.contains("A plague on both your houses")));
    // The name of somebody who is gone is nobody's: who has it next is told again.
    let juliet = house.login("juliet@house.test/balcony");
    let one = field("accountjids", "benvolio@house.test");
    assert_eq!(submit(&mut house, juliet, &format!("{ADMIN}#delete-user"), &one).attr("type"), Some("result"));
    house.power_cut();
    let benvolio = house.login("benvolio@house.test/orchard");
    house.send(benvolio, "<presence/>");
    assert!(house.receive_all(benvolio).iter().any(|xml| xml.contains("A plague on both your houses")));
}

/// Everybody who is online is told, in one turn and many batches.
#[test]
fn a_message_for_many() {
    let (mut house, juliet) = house();
    let people: Vec<StreamId> = (0..300).map(|n| house.login(&format!("user{n}@house.test/x"))).collect();
    for sid in &people {
        house.send(*sid, "<presence/>");
        house.receive_all(*sid);
    }
    let motd = "<field var='motd'><value>Hark</value></field>";
    assert_eq!(submit(&mut house, juliet, &format!("{ADMIN}#set-motd"), motd).attr("type"), Some("result"));
    for sid in people {
        assert!(house.receive(sid).unwrap().contains("<body>Hark</body>"));
        assert_eq!(house.receive(sid), None);
    }
    house.power_cut();
    let somebody = house.login("user7@house.test/x");
    house.send(somebody, "<presence/>");
    assert_eq!(house.receive_all(somebody).len(), 1, "nothing but the own presence");
}
