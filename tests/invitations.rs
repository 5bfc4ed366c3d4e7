//! Invitations in memory: what an account that is made by one belongs to, and what becomes of one when what it is about is gone. What clients
//! see is in plays; the program and its commands are in `tests/invite.rs`.
#![allow(clippy::unwrap_used)]

mod house;

use house::House;
use inglenook::core::{
    ACCOUNT_INVITATIONS, CHAIN_INVITATIONS, Command, Given, INVITATIONS, InvitationKind, InvitationView, NameFault,
    STRANGERS_INVITATIONS, StreamId, TakeRefusal, WantedInvitation, token_digest,
};
use inglenook::wire::Jid;
use inglenook::wire::scram::Credentials;

const DAY_MS: u64 = 86_400_000;
const ROOM: &str = "garden@conference.house.test";

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

fn wanted(token: &str) -> WantedInvitation {
    WantedInvitation::new(token_digest(token))
}

/// Has the owner invite somebody; the lines that tell of it, or what is wrong.
fn invite(house: &mut House, wanted: WantedInvitation) -> Result<Vec<String>, String> {
    ask(house, Command::Invite(Box::new(wanted)))
}

fn ask(house: &mut House, command: Command) -> Result<Vec<String>, String> {
    house.command(command);
    house.settle();
    house.told.pop().unwrap()
}

fn unknown(house: &mut House, token: &str) {
    assert_eq!(house.invitation(token), Err(TakeRefusal::Unknown), "{token}");
    assert_eq!(house.take(token, "benvolio"), Some(Err(TakeRefusal::Unknown)), "{token}");
}

/// A room of Romeo's that stays.
fn room(house: &mut House) -> StreamId {
    let romeo = house.login("romeo@house.test/orchard");
    house.send(romeo, &format!("<presence to='{ROOM}/Romeo'><x xmlns='http://jabber.org/protocol/muc'/></presence>"));
    house.settle();
    let query = "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>\
                 <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>\
                 <field var='muc#roomconfig_roomname'><value>The &lt;garden&gt;</value></field>\
                 <field var='muc#roomconfig_persistentroom'><value>1</value></field></x></query>";
    house.send(romeo, &format!("<iq type='set' id='c' to='{ROOM}'>{query}</iq>"));
    house.settle();
    house.receive_all(romeo);
    romeo
}

#[test]
fn who_is_invited_into_a_room_is_a_member_and_finds_it() {
    let mut house = House::new();
    let romeo = room(&mut house);
    let wanted = WantedInvitation { room: Some(jid(ROOM)), contacts: vec![jid("romeo@house.test")], ..wanted("abc") };
    invite(&mut house, wanted).unwrap();
    let view = house.invitation("abc").unwrap();
    assert_eq!((view.room, view.inviter), (Some(jid(ROOM)), Some(jid("romeo@house.test"))));
    assert_eq!(house.take("abc", "mercutio"), Some(Ok(jid("mercutio@house.test"))));
    house.power_cut();
    let mercutio = house.login("mercutio@house.test/a");
    let items = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:bookmarks:1'/></pubsub>";
    house.send(mercutio, &format!("<iq type='get' id='b'>{items}</iq>"));
    house.settle();
    let bookmarks = house.receive_all(mercutio).concat();
    for part in [ROOM, "autojoin='true'", "<nick>mercutio</nick>", "name='The &lt;garden&gt;'"] {
        assert!(bookmarks.contains(part), "{part}: {bookmarks}");
    }
    let enter = format!("<presence to='{ROOM}/mercutio'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    house.send(mercutio, &enter);
    house.settle();
    assert!(house.receive_all(mercutio).concat().contains("affiliation='member'"));
    let _ = romeo;
}

#[test]
fn a_room_must_be_there_and_stay() {
    let mut house = House::new();
    let wanted_room = |token| WantedInvitation { room: Some(jid(ROOM)), ..wanted(token) };
    assert!(invite(&mut house, wanted_room("abc")).unwrap_err().contains("there is no room"));
    room(&mut house);
    invite(&mut house, wanted_room("def")).unwrap();
    ask(&mut house, Command::RoomRemove(jid(ROOM))).unwrap();
    assert_eq!(house.invitation("def").unwrap().room, None, "it is still good for an account");
    assert_eq!(house.take("def", "mercutio"), Some(Ok(jid("mercutio@house.test"))));
}

#[test]
fn who_takes_the_first_invitation_administers_the_server_and_nobody_else() {
    let mut house = House::new();
    let first = |token| WantedInvitation { admin: true, first: true, ..wanted(token) };
    invite(&mut house, first("abc")).unwrap();
    // Another start.
    invite(&mut house, first("def")).unwrap();
    unknown(&mut house, "abc");
    assert_eq!(house.take("def", "admin"), Some(Ok(jid("admin@house.test"))), "that name is for such people");
    assert!(house.state().administers(&jid("admin@house.test")));
    house.power_cut();
    assert!(house.state().administers(&jid("admin@house.test")));
    let admin = house.login("admin@house.test/a");
    let command = "<command xmlns='http://jabber.org/protocol/commands' node='urn:xmpp:invite#create-account'/>";
    house.send(admin, &format!("<iq type='set' id='1' to='house.test'>{command}</iq>"));
    house.settle();
    assert!(house.receive_all(admin).concat().contains("executing"));
    ask(&mut house, Command::UserRemove(jid("admin@house.test"))).unwrap();
    assert!(!house.state().administers(&jid("admin@house.test")));
    house.account("admin@house.test");
    house.restart();
    assert!(!house.state().administers(&jid("admin@house.test")), "who has the name next is somebody else");
}

#[test]
fn the_first_invitation_is_dead_once_somebody_administers() {
    let mut house = House::new();
    invite(&mut house, WantedInvitation { admin: true, first: true, ..wanted("abc") }).unwrap();
    house.account("juliet@house.test");
    assert!(house.invitation("abc").is_ok());
    ask(&mut house, Command::UserAdmin(jid("juliet@house.test"), true)).unwrap();
    unknown(&mut house, "abc");
    assert!(ask(&mut house, Command::InvitationList).unwrap().is_empty());
    assert!(ask(&mut house, Command::InvitationRenew([1; 32])).unwrap_err().contains("inglenook invite"));
    let error = invite(&mut house, WantedInvitation { admin: true, first: true, ..wanted("def") }).unwrap_err();
    assert!(error.contains("already"), "{error}");
}

#[test]
fn a_password_is_set_once_by_who_has_the_link() {
    let mut house = House::new();
    let reset = |token| WantedInvitation {
        kind: InvitationKind::Reset,
        name: Some(jid("juliet@house.test")),
        days: 1,
        ..wanted(token)
    };
    assert!(invite(&mut house, reset("abc")).unwrap_err().contains("there is no juliet@house.test"));
    let juliet = house.login("juliet@house.test/balcony");
    let before = house.state().account_of("juliet").unwrap().credentials.clone();
    invite(&mut house, reset("abc")).unwrap();
    invite(&mut house, reset("def")).unwrap();
    unknown(&mut house, "abc");
    let view = house.invitation("def").unwrap();
    assert_eq!((view.kind, view.name.as_deref()), (InvitationKind::Reset, Some("juliet")));
    assert_eq!(house.take("def", "whatever"), Some(Err(TakeRefusal::Unknown)), "it is for no account");
    let taken = house.take_for(InvitationKind::Reset, "def", "whatever");
    assert_eq!(taken, Some(Ok(jid("juliet@house.test"))));
    house.settle();
    assert!(house.is_closed(juliet), "as after every change of the password");
    assert_ne!(house.state().account_of("juliet").unwrap().credentials, before);
    unknown(&mut house, "def");
    // Whose account is gone, of whoever has the name later.
    invite(&mut house, reset("ghi")).unwrap();
    ask(&mut house, Command::UserRemove(jid("juliet@house.test"))).unwrap();
    house.account("juliet@house.test");
    unknown(&mut house, "ghi");
}

#[test]
fn an_account_takes_its_invitations_along() {
    let mut house = House::new();
    let juliet = house.login("juliet@house.test/balcony");
    house.account("romeo@house.test");
    let command = "<command xmlns='http://jabber.org/protocol/commands' node='urn:xmpp:invite#invite'/>";
    house.send(juliet, &format!("<iq type='set' id='1' to='house.test'>{command}</iq>"));
    house.settle();
    let said = house.receive_all(juliet).concat();
    let token = said.split_once("preauth=").unwrap().1.split_once(';').unwrap().0.to_owned();
    assert!(token.len() == 26 && token.bytes().all(|b| b.is_ascii_alphanumeric()), "{token}");
    assert!(said.contains(&format!("xmpp:juliet@house.test?roster;preauth={token};ibr=y")), "{said}");
    let both = vec![jid("juliet@house.test"), jid("romeo@house.test")];
    invite(&mut house, WantedInvitation { contacts: both, ..wanted("abc") }).unwrap();
    assert!(house.invitation(&token).is_ok());
    ask(&mut house, Command::UserRemove(jid("juliet@house.test"))).unwrap();
    unknown(&mut house, &token);
    assert_eq!(house.invitation("abc").unwrap().inviter, Some(jid("romeo@house.test")));
    house.restart();
    unknown(&mut house, &token);
    assert_eq!(house.invitation("abc").unwrap().inviter, Some(jid("romeo@house.test")));
}

#[test]
fn a_name_that_is_kept_is_nobody_elses() {
    let mut house = House::new();
    house.account("juliet@house.test");
    let named = |token, name: &str| WantedInvitation { name: Some(jid(name)), ..wanted(token) };
    assert!(invite(&mut house, named("a", "juliet@house.test")).unwrap_err().contains("is there already"));
    assert!(invite(&mut house, named("a", "romeo@office.test")).unwrap_err().contains("not an address of"));
    let many = WantedInvitation { uses: 2, ..named("a", "mercutio@house.test") };
    assert!(invite(&mut house, many).unwrap_err().contains("one person"));
    let made = invite(&mut house, named("abc", "mercutio@house.test")).unwrap();
    let id = made[0].strip_prefix("made invitation ").unwrap().split(',').next().unwrap().to_owned();
    assert_eq!(made[1], "uri          xmpp:mercutio@house.test?register;preauth=TOKEN");
    assert!(invite(&mut house, named("b", "mercutio@house.test")).unwrap_err().contains("--revoke"));
    invite(&mut house, wanted("def")).unwrap();
    let kept = Some(Err(TakeRefusal::Name(NameFault::Reserved)));
    assert_eq!(house.take("def", "mercutio"), kept);
    assert_eq!(house.take("abc", "benvolio"), kept);
    let keys = house.state().account_of("juliet").unwrap().credentials.clone();
    let add = Command::UserAdd(jid("mercutio@house.test"), keys);
    assert!(ask(&mut house, add.clone()).unwrap_err().contains(&format!("--revoke {id}")));
    ask(&mut house, Command::InvitationRevoke(id.as_str().into())).unwrap();
    assert!(ask(&mut house, Command::InvitationRevoke(id.as_str().into())).is_err());
    unknown(&mut house, "abc");
    ask(&mut house, add).unwrap();
    // Who has a name kept may have any that they could choose; others are not mistaken for somebody.
    for (name, fault) in [
        ("", NameFault::Missing),
        (&"x".repeat(65), NameFault::TooLong),
        ("a b", NameFault::NotAllowed),
        ("a@b", NameFault::NotAllowed),
        ("Juliet", NameFault::Taken),
        ("root", NameFault::Reserved),
        ("julіet", NameFault::Mixed),
        ("ju1iet", NameFault::LookAlike),
        ("juliet\u{3164}", NameFault::Unseen),
        ("\u{115f}juliet", NameFault::Unseen),
        ("juliet\u{17b4}", NameFault::Unseen),
        ("juliet\u{2800}", NameFault::Unseen),
        ("jul\u{b7}liet", NameFault::Unseen),
        ("benvolio\u{1160}", NameFault::Unseen),
        ("ju.liet\u{30fc}", NameFault::LookAlike),
        ("r00t", NameFault::LookAlike),
    ] {
        assert_eq!(house.take("def", name), Some(Err(TakeRefusal::Name(fault))), "{name:?}");
    }
    assert_eq!(house.take("def", "Benvolio"), Some(Ok(jid("benvolio@house.test"))));
}

#[test]
fn so_many_people_as_were_meant() {
    let mut house = House::new();
    invite(&mut house, WantedInvitation { uses: 2, ..wanted("abc") }).unwrap();
    assert!(house.take("abc", "mercutio").unwrap().is_ok());
    house.restart();
    assert!(house.take("abc", "benvolio").unwrap().is_ok());
    unknown(&mut house, "abc");
    // A whole office at once.
    invite(&mut house, WantedInvitation { uses: 60, ..wanted("def") }).unwrap();
    for n in 0..60 {
        let letter = |n: usize| char::from(b"bcdfghkprstz"[n % 12]);
        let name = format!("{}{}", letter(n), letter(n / 12));
        assert!(house.take("def", &name).unwrap().is_ok(), "{name}");
    }
}

/// Whom the settings name may be the first to come.
#[test]
fn an_administrator_of_the_settings_takes_the_first_invitation() {
    let mut house = House::with(|s| s.admins = vec![jid("boss@house.test")]);
    invite(&mut house, WantedInvitation { admin: true, first: true, ..wanted("abc") }).unwrap();
    assert_eq!(house.take("abc", "boss"), Some(Ok(jid("boss@house.test"))));
}

#[test]
fn a_page_that_was_opened_in_time_may_be_sent_a_little_later() {
    let mut house = House::new();
    for token in ["abc", "def"] {
        invite(&mut house, WantedInvitation { days: 1, ..wanted(token) }).unwrap();
    }
    house.pass(DAY_MS - 1000);
    assert!(house.invitation("abc").is_ok());
    house.pass(2000);
    assert_eq!(house.invitation("abc"), Err(TakeRefusal::Unknown));
    assert!(house.take("abc", "mercutio").unwrap().is_ok());
    unknown(&mut house, "def");
}

/// A box without a battery begins in 1970, and learns the time from the network.
#[test]
fn a_clock_that_is_set_ends_no_invitation() {
    let mut house = House::new();
    house.now.wall = 0;
    invite(&mut house, wanted("abc")).unwrap();
    house.now.wall = 1_800_000_000_000;
    let InvitationView { until, .. } = house.invitation("abc").unwrap();
    assert_eq!(until, 1_800_000_000 + 7 * 86_400);
    assert!(house.take("abc", "mercutio").unwrap().is_ok());
}

/// After a start the box's clock is all that there is.
#[test]
fn the_time_is_over_also_after_a_restart() {
    let mut house = House::new();
    invite(&mut house, wanted("abc")).unwrap();
    invite(&mut house, wanted("def")).unwrap();
    house.restart();
    house.now.wall += 7 * DAY_MS - 1000;
    assert!(house.invitation("abc").is_ok());
    house.now.wall += 1000;
    unknown(&mut house, "def");
}

#[test]
fn nobody_is_told_to_be_there_before_it_is_stored() {
    let mut house = House::new();
    invite(&mut house, wanted("abc")).unwrap();
    house.hold = true;
    assert_eq!(house.take("abc", "mercutio"), None);
    house.power_cut();
    house.hold = false;
    assert!(house.state().account(&jid("mercutio@house.test")).is_none());
    assert!(house.take("abc", "mercutio").unwrap().is_ok(), "neither the account nor that the token is spent");
    invite(&mut house, wanted("def")).unwrap();
    house.set_full(true);
    let taken = house.take("def", "benvolio");
    assert!(matches!(&taken, Some(Err(TakeRefusal::NotStored(_)))), "{taken:?}");
    house.set_full(false);
    assert!(house.take("def", "benvolio").is_some());
}

#[test]
fn invitations_are_limited() {
    let mut house = House::new();
    house.account("juliet@house.test");
    let mut made = 0;
    while invite(&mut house, wanted(&format!("t{made}"))).is_ok() {
        made += 1;
    }
    assert_eq!(made, INVITATIONS);
    assert_eq!(ask(&mut house, Command::InvitationList).unwrap().len(), INVITATIONS);
    // Attempts to find out names by one token are, too.
    let mut attempts = 0;
    while house.take("t0", "juliet") == Some(Err(TakeRefusal::Name(NameFault::Taken))) {
        attempts += 1;
    }
    assert_eq!(attempts, 20);
    assert!(matches!(house.take("t0", "mercutio"), Some(Err(TakeRefusal::Later(_)))));
    assert!(house.take("t1", "mercutio").unwrap().is_ok());
    for fault in [
        WantedInvitation { uses: 0, ..wanted("x") },
        WantedInvitation { uses: 1001, ..wanted("x") },
        WantedInvitation { days: 0, ..wanted("x") },
        WantedInvitation { days: 366, ..wanted("x") },
        WantedInvitation { contacts: vec![jid("nobody@house.test")], ..wanted("x") },
    ] {
        invite(&mut house, fault).unwrap_err();
    }
    assert_eq!(ACCOUNT_INVITATIONS, 5);
    house.pass(7 * DAY_MS);
    invite(&mut house, wanted("again")).unwrap();
    assert_eq!(ask(&mut house, Command::InvitationList).unwrap().len(), 1);
}

#[test]
fn tokens_that_are_none_are_told_to_wait() {
    let mut house = House::new();
    invite(&mut house, wanted("abc")).unwrap();
    let mut tries = 0;
    while house.invitation(&format!("no{tries}")) == Err(TakeRefusal::Unknown) {
        tries += 1;
    }
    assert_eq!(tries, 20);
    assert!(matches!(house.invitation("no"), Err(TakeRefusal::Later(_))));
    assert!(house.invitation("abc").is_ok(), "one that is one never waits");
}

#[test]
fn the_newest_gets_another_token() {
    let mut house = House::new();
    invite(&mut house, wanted("abc")).unwrap();
    invite(&mut house, wanted("def")).unwrap();
    let lines = ask(&mut house, Command::InvitationRenew(token_digest("ghi"))).unwrap();
    assert!(lines[2].starts_with("the link of ") && lines[2].ends_with("good for nothing any more"), "{lines:?}");
    unknown(&mut house, "def");
    assert!(house.invitation("abc").is_ok());
    assert!(house.take("ghi", "mercutio").unwrap().is_ok());
    // One for many is in many hands.
    invite(&mut house, WantedInvitation { uses: 3, ..wanted("jkl") }).unwrap();
    let why = ask(&mut house, Command::InvitationRenew(token_digest("mno"))).unwrap_err();
    assert!(why.contains("for 3 people") && why.contains("`inglenook invite`"), "{why}");
    assert!(house.invitation("jkl").is_ok());
}

/// Nothing is remembered of streams that have logged in, or are gone.
#[test]
fn a_stream_holds_an_invitation_until_its_login_or_its_end() {
    let mut house = House::new();
    house.account("juliet@house.test");
    invite(&mut house, wanted("abc")).unwrap();
    let header = "<stream:stream to='house.test' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
    let preauth = "<iq type='set' id='p'><preauth xmlns='urn:xmpp:pars:0' token='abc'/></iq>";
    let plain = "AGp1bGlldABqdWxpZXQ=";
    let rfc6120 = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>");
    let sasl2 = format!(
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>{plain}</initial-response></authenticate>"
    );
    for ends in [Some(rfc6120), Some(sasl2), None] {
        let sid = house.open();
        house.send(sid, header);
        house.send(sid, preauth);
        house.settle();
        assert!(house.state().preauthenticated(sid).is_some());
        match &ends {
            Some(login) => house.send(sid, login),
            None => house.cut(sid),
        }
        house.settle();
        assert!(house.state().preauthenticated(sid).is_none(), "{ends:?}");
        assert!(ends.is_none() || house.receive_all(sid).concat().contains("<success"));
    }
}

/// Nobody comes into an empty house: who administers it is a contact, unless the owner names others. And who removes the last one who does, is told.
#[test]
fn who_administers_is_the_contact_of_whom_the_owner_invites() {
    let mut house = House::with(|s| s.admins = vec![jid("romeo@house.test"), jid("nobody@house.test")]);
    ["romeo@house.test", "juliet@house.test"].iter().for_each(|jid| house.account(jid));
    invite(&mut house, wanted("abc")).unwrap();
    assert_eq!(house.invitation("abc").unwrap().inviter, Some(jid("romeo@house.test")));
    house.take("abc", "mercutio").unwrap().unwrap();
    let mercutio = house.login("mercutio@house.test/a");
    house.send(mercutio, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
    house.settle();
    let roster = house.receive_all(mercutio).concat();
    assert!(roster.contains("jid='romeo@house.test'") && roster.contains("subscription='both'"), "{roster}");
    invite(&mut house, WantedInvitation { contacts: vec![jid("juliet@house.test")], ..wanted("def") }).unwrap();
    assert_eq!(house.invitation("def").unwrap().inviter, Some(jid("juliet@house.test")));
    assert_eq!(ask(&mut house, Command::UserRemove(jid("juliet@house.test"))).unwrap().len(), 1);
    let told = ask(&mut house, Command::UserRemove(jid("romeo@house.test"))).unwrap();
    assert!(told[1].contains("`inglenook user admin NAME`"), "{told:?}");
}

/// A name that looks like none of the others.
fn name(n: usize) -> String {
    let letter = |n: usize| char::from(b"bcdfghkprstz"[n % 12]);
    format!("{}{}{}", letter(n), letter(n / 12), letter(n / 144))
}

/// Has an account invite somebody from an app; the token, or what it is told.
fn invite_from_app(house: &mut House, by: &str) -> Result<String, String> {
    let sid = house.login(&format!("{by}@house.test/invites"));
    invite_on(house, sid)
}

/// The same of who has chosen a password: it is another one then.
fn invite_as(house: &mut House, by: &str) -> Result<String, String> {
    let keys = Credentials::derive(by, b"salt of the tests", 4096).unwrap();
    ask(house, Command::UserPassword(jid(&format!("{by}@house.test")), keys)).unwrap();
    invite_from_app(house, by)
}

fn invite_on(house: &mut House, sid: StreamId) -> Result<String, String> {
    let command = "<command xmlns='http://jabber.org/protocol/commands' node='urn:xmpp:invite#invite'/>";
    house.send(sid, &format!("<iq type='set' id='1' to='house.test'>{command}</iq>"));
    house.settle();
    let said = house.receive_all(sid).concat();
    house.cut(sid);
    let token = said.split_once("preauth=").map(|(_, rest)| rest.split(';').next().unwrap().to_owned());
    token.ok_or(said)
}

/// Who has sent a link to the wrong person takes it back; nobody else's.
#[test]
fn who_has_invited_somebody_can_withdraw_it() {
    let mut house = House::new();
    ["juliet", "romeo"].iter().for_each(|name| house.account(&format!("{name}@house.test")));
    let tokens: Vec<String> = (0..3).map(|_| invite_from_app(&mut house, "juliet").unwrap()).collect();
    let others = invite_from_app(&mut house, "romeo").unwrap();
    let node = "urn:inglenook:commands#withdraw";
    let run = |house: &mut House, sid: StreamId, inside: &str| {
        house.send(sid, &format!("<iq type='set' id='w' to='house.test'>{inside}</iq>"));
        house.settle();
        house.receive_all(sid).concat()
    };
    let begin = format!("<command xmlns='http://jabber.org/protocol/commands' node='{node}'/>");
    let options = |form: &str| -> Vec<String> {
        form.split("<option label='").skip(1).map(|rest| rest.split('\'').next().unwrap().to_owned()).collect()
    };
    let session = |form: &str| form.split_once("sessionid='").unwrap().1.split('\'').next().unwrap().to_owned();
    let choose = |house: &mut House, sid: StreamId, form: &str, values: &[&str]| {
        let values: String = values.iter().map(|value| format!("<value>{value}</value>")).collect();
        let form = format!(
            "<command xmlns='http://jabber.org/protocol/commands' node='{node}' sessionid='{}'><x xmlns='jabber:x:data' \
             type='submit'><field var='invitations'>{values}</field></x></command>",
            session(form)
        );
        run(house, sid, &form)
    };
    let romeo = house.login("romeo@house.test/a");
    let theirs = options(&run(&mut house, romeo, &begin));
    assert_eq!(theirs.len(), 1);
    let juliet = house.login("juliet@house.test/a");
    let form = run(&mut house, juliet, &begin);
    let mine = options(&form);
    assert_eq!(mine.len(), 3, "{form}");
    for wrong in [&[theirs[0].as_str()][..], &["sing"], &[]] {
        let said = choose(&mut house, juliet, &form, wrong);
        assert!(said.contains("bad-payload"), "{wrong:?}: {said}");
    }
    assert!(house.invitation(&others).is_ok());
    let said = choose(&mut house, juliet, &form, &[&mine[0], &mine[2]]);
    assert!(said.contains("status='completed'") && said.contains("withdrawn: 2."), "{said}");
    house.power_cut();
    house.restart();
    let open: Vec<bool> = tokens.iter().map(|token| house.invitation(token).is_ok()).collect();
    assert_eq!(open, [false, true, false]);
}

/// Everybody in `people` invites whom they can, and so do those who come; who has come.
fn crowd(house: &mut House, mut people: Vec<String>, next: &mut usize) -> Vec<String> {
    let mut come = Vec::new();
    while let Some(by) = people.pop() {
        while let Ok(token) = invite_from_app(house, &by) {
            let new = name(*next);
            *next += 1;
            assert!(house.take(&token, &new).unwrap().is_ok(), "{new}");
            people.push(new.clone());
            come.push(new);
        }
    }
    come
}

/// Who has brought nobody in one day can bring no crowd by asking others to.
#[test]
fn a_chain_of_invitations_is_one_of_its_root() {
    let mut house = House::with(|s| s.admins = vec![jid("boss@house.test")]);
    for name in ["boss", "juliet", "romeo"] {
        house.account(&format!("{name}@house.test"));
    }
    let mut next = 0;
    let come = crowd(&mut house, vec!["juliet".into()], &mut next);
    assert_eq!(come.len(), CHAIN_INVITATIONS);
    let why = invite_from_app(&mut house, &come[3]).unwrap_err();
    assert!(why.contains("resource-constraint") && why.contains("again tomorrow"), "{why}");
    // Neither a start nor an end of somebody makes room: not of one in the middle, not of the one at its beginning.
    ask(&mut house, Command::UserRemove(jid(&format!("{}@house.test", come[0])))).unwrap();
    assert!(invite_from_app(&mut house, "juliet").is_err());
    ask(&mut house, Command::UserRemove(jid("juliet@house.test"))).unwrap();
    for by in &come[1..] {
        assert!(invite_from_app(&mut house, by).is_err(), "{by}");
    }
    let before_restart = house.now;
    house.restart();
    assert!(invite_from_app(&mut house, &come[5]).is_ok(), "who was removed is forgotten with the run");
    assert!(house.now.wall == before_restart.wall && invite_from_app(&mut house, &come[6]).is_err());
    // Others are no part of it; nor is whom an administrator has invited.
    assert_eq!(crowd(&mut house, vec!["romeo".into()], &mut next).len(), CHAIN_INVITATIONS);
    let token = invite_from_app(&mut house, "boss").unwrap();
    assert!(house.take(&token, "nurse").unwrap().is_ok());
    assert_eq!(crowd(&mut house, vec!["nurse".into()], &mut next).len(), CHAIN_INVITATIONS);
    for _ in 0..CHAIN_INVITATIONS + 10 {
        assert!(invite_from_app(&mut house, "boss").is_ok());
    }
    house.pass(DAY_MS);
    assert!(invite_from_app(&mut house, &come[6]).is_ok());
}

/// An office of twelve, where one person invites the others, or they each other.
#[test]
fn an_office_is_no_crowd() {
    let mut house = House::new();
    house.account("juliet@house.test");
    let mut people = vec!["juliet".to_owned()];
    for n in 0..11 {
        let by = if n % 3 == 0 { people[n / 2].clone() } else { "juliet".into() };
        let token = invite_from_app(&mut house, &by).unwrap();
        people.push(name(n));
        assert!(house.take(&token, &people[n + 1]).unwrap().is_ok());
    }
}

/// A stream of somebody who has no account, and what is answered to their registration.
fn register(house: &mut House, name: &str) -> String {
    let sid = house.open();
    house.send(sid, "<stream:stream to='house.test' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>");
    house.receive_all(sid);
    let query = format!("<username>{name}</username><password>wherefore art</password>");
    house.send(sid, &format!("<iq type='set' id='r'><query xmlns='jabber:iq:register'>{query}</query></iq>"));
    house.settle();
    let told = house.receive_all(sid).concat();
    house.cut(sid);
    told
}

/// Where strangers make accounts, the house is its owner's still.
#[test]
fn strangers_take_neither_the_house_nor_what_looks_like_it() {
    let mut house = House::with(|s| {
        s.registration = true;
        s.registrations_an_hour = 100;
    });
    invite(&mut house, WantedInvitation { admin: true, first: true, ..wanted("abc") }).unwrap();
    for name in ["admin", "root", "support", "аdmin", "adm1n", "r00t", "ro\u{336}ot", "ηλίас"] {
        let told = register(&mut house, name);
        assert!(told.contains("type='error'") && told.contains("this username"), "{name}: {told}");
    }
    assert!(register(&mut house, "tybalt").contains("type='result'"));
    assert!(register(&mut house, "tyba1t").contains("looks like somebody else"));
    assert!(register(&mut house, "жанна").contains("type='result'"));
    house.restart();
    assert!(house.invitation("abc").is_ok(), "a stranger is not the first in the house");
    assert!(ask(&mut house, Command::InvitationRenew(token_digest("def"))).is_ok());
    assert_eq!(house.take("def", "admin"), Some(Ok(jid("admin@house.test"))));
    assert!(house.state().administers(&jid("admin@house.test")));
    invite(&mut house, WantedInvitation { admin: true, first: true, ..wanted("ghi") }).unwrap_err();
}

/// Whom strangers bring are strangers; and they leave places to those who are none.
#[test]
fn strangers_bring_strangers() {
    let mut house = House::with(|s| {
        (s.registration, s.registrations_an_hour) = (true, 100);
        s.household.contacts = Given::InNewHouses;
    });
    house.account("juliet@house.test");
    assert!(register(&mut house, "tybalt").contains("type='result'"));
    let token = invite_as(&mut house, "tybalt").unwrap();
    assert!(house.take(&token, "paris").unwrap().is_ok());
    assert!(house.state().account_of("paris").unwrap().roster.items.len() == 1, "but of who has invited them");
    assert!(house.state().account_of("juliet").unwrap().roster.items.is_empty());
    for name in ["tybalt", "paris"] {
        let items = &house.state().account_of(name).unwrap().roster.items;
        assert!(
            items.values().all(|item| item.groups.is_empty() && !item.house),
            "they are not of the house: {items:?}"
        );
    }
    let mut open = 0;
    for n in 0..30 {
        assert!(register(&mut house, &name(n)).contains("type='result'"), "{n}");
        while invite_as(&mut house, &name(n)).is_ok() {
            open += 1;
        }
    }
    assert_eq!(open, STRANGERS_INVITATIONS);
    assert!(invite_from_app(&mut house, "juliet").is_ok());
}

/// XEP-0379 §5.2: a link for several people lasts for several people, whatever one of them does.
#[test]
fn nobody_uses_up_a_link_for_many_alone() {
    let mut house = House::new();
    house.account("romeo@house.test");
    let contacts = vec![jid("romeo@house.test")];
    invite(&mut house, WantedInvitation { uses: 3, contacts, ..wanted("abc") }).unwrap();
    let preauth = "<preauth xmlns='urn:xmpp:pars:0' token='abc'/>";
    let asks = |house: &mut House, name: &str, device: usize| {
        let sid = house.login(&format!("{name}@house.test/{device}"));
        house.send(sid, &format!("<presence type='subscribe' to='romeo@house.test'>{preauth}</presence>"));
        house.settle();
        let is_contact =
            house.state().account_of("romeo").unwrap().roster.state(&jid(&format!("{name}@house.test"))).from;
        let remove = "<query xmlns='jabber:iq:roster'><item jid='romeo@house.test' subscription='remove'/></query>";
        house.send(sid, &format!("<iq type='set' id='1'>{remove}</iq>"));
        house.settle();
        house.cut(sid);
        is_contact
    };
    for n in 0..5 {
        assert!(asks(&mut house, "tybalt", n), "{n}");
    }
    house.restart();
    assert!(asks(&mut house, "tybalt", 9));
    assert!(asks(&mut house, "nurse", 0) && asks(&mut house, "benvolio", 0));
    assert!(!asks(&mut house, "paris", 0), "three have used it");
}

#[test]
fn a_password_of_spaces_is_none() {
    use inglenook::core::password_fault;
    for blank in ["        ", "\u{3000}\u{a0}\u{2003}     "] {
        let why = password_fault(blank).unwrap_err();
        assert!(matches!(why, TakeRefusal::Password(why) if why.contains("spaces")), "{blank:?}");
    }
    assert!(password_fault("   a   b").is_ok());
}

/// Who administers is not for good: neither by an invitation, nor by the owner's word.
#[test]
fn administration_is_given_and_taken_back() {
    let mut house = House::with(|s| s.admins = vec![jid("nurse@house.test")]);
    ["juliet@house.test", "nurse@house.test"].iter().for_each(|jid| house.account(jid));
    let set = |house: &mut House, name: &str, admin| {
        ask(house, Command::UserAdmin(jid(&format!("{name}@house.test")), admin))
    };
    assert!(set(&mut house, "paris", true).unwrap_err().contains("there is no paris@house.test"));
    assert!(set(&mut house, "juliet", false).unwrap_err().contains("does not administer"));
    assert!(set(&mut house, "nurse", false).unwrap_err().contains("\"admins\""));
    assert!(set(&mut house, "nurse", true).unwrap_err().contains("already"));
    assert_eq!(set(&mut house, "juliet", true).unwrap(), ["juliet@house.test administers the server from now on"]);
    house.power_cut();
    house.restart();
    assert!(set(&mut house, "juliet", true).unwrap_err().contains("already"), "it is stored");
    assert_eq!(set(&mut house, "juliet", false).unwrap().len(), 1, "the nurse still does");
    house.power_cut();
    house.restart_with(|s| s.admins.clear());
    assert!(set(&mut house, "juliet", false).unwrap_err().contains("does not"), "that is stored, too");
    assert!(set(&mut house, "nurse", false).unwrap_err().contains("does not"));
    set(&mut house, "nurse", true).unwrap();
    assert!(set(&mut house, "nurse", false).unwrap()[1].contains("nobody administers"));
    // Who is invited to, as the owner typed it.
    invite(&mut house, WantedInvitation { admin: true, ..wanted("abc") }).unwrap();
    house.take("abc", "mercutio").unwrap().unwrap();
    set(&mut house, "mercutio", false).unwrap();
    assert!(!house.state().administers(&jid("mercutio@house.test")));
}
