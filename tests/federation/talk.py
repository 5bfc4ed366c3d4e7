"""What two people at two servers do, whichever server is ours: each play has an `a` at one and a `b` at the other, and is given twice,
the other way round the second time."""

import base64
import hashlib

from slixmpp.xmlstream import ET

from house import equal
from peer import MUC, statuses

AVATAR, METADATA = "urn:xmpp:avatar:data", "urn:xmpp:avatar:metadata"
PUBSUB, DATA, MAM = "http://jabber.org/protocol/pubsub", "jabber:x:data", "urn:xmpp:mam:2"
DISCO = "http://jabber.org/protocol/disco"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
PNG_ID = hashlib.sha1(base64.b64decode(PNG)).hexdigest()
rooms = iter(range(1000))


async def chat(a, b):
    """Fifty in order, with what a message may have in it, and one that is long."""
    for n in range(50):
        message = a.make_message(mto=b.boundjid.full, mbody=f"{n} <&> ‘ü’ 🌻", mtype="chat")
        message["id"] = f"id-{n}"
        message.append(ET.fromstring("<a xmlns='urn:house:a'><b xmlns=''><c xmlns='jabber:client'>&lt;</c></b></a>"))
        message.send()
    for n in range(50):
        message = await b.hear("message", type="chat")
        equal((message["body"], message["id"]), (f"{n} <&> ‘ü’ 🌻", f"id-{n}"))
        equal(message["from"], a.boundjid)
        assert message.xml.find("{urn:house:a}a/b/{jabber:client}c") is not None, message
    long = "long " * 20_000
    await a.say(b.boundjid.bare, long)
    equal((await b.hear("message", type="chat"))["body"], long)


async def presence(a, b):
    """A sees B from the subscription on, until it ends; whoever comes later sees who is there."""
    a.send_presence_subscription(b.boundjid.bare)
    await b.hear("presence", type="subscribe", sender=a.boundjid.bare)
    b.send_presence_subscription(a.boundjid.bare, ptype="subscribed")
    await a.hear("presence", type="subscribed", sender=b.boundjid.bare)
    await a.hear("presence", type="available", sender=b.boundjid)
    b.send_presence(pshow="away", pstatus="at lunch")
    equal((await a.hear("presence", type="away", sender=b.boundjid))["status"], "at lunch")
    a.send_presence(ptype="unavailable")
    a.send_presence()
    await a.hear("presence", type="away", sender=b.boundjid)
    b.send_presence(ptype="unavailable")
    await a.hear("presence", type="unavailable", sender=b.boundjid)
    b.send_presence()
    await a.hear("presence", type="available", sender=b.boundjid)
    a.send_presence_subscription(b.boundjid.bare, ptype="unsubscribe")
    await b.hear("presence", type="unsubscribe", sender=a.boundjid.bare)
    if b.house.says_goodbye:
        await a.hear("presence", type="unavailable", sender=b.boundjid)


async def make_room(owner, service):
    """A new room, where everybody may come in; returns its address."""
    room = f"room{next(rooms)}@{service}"
    seen, _ = await owner.join(room, "owner")
    assert {"110", "201"} <= statuses(seen[-1]), seen[-1]
    fields = {"FORM_TYPE": f"{MUC}#roomconfig", "muc#roomconfig_membersonly": "0", "muc#roomconfig_persistentroom": "1"}
    fields |= {"muc#roomconfig_enablearchiving": "1", "mam": "1", "muc#roomconfig_moderatedroom": "0"}
    config = await owner.ask("get", room, f"<query xmlns='{MUC}#owner'/>")
    known = {field.get("var") for field in config.xml.iter(f"{{{DATA}}}field")}
    lines = "".join(f"<field var='{name}'><value>{value}</value></field>" for name, value in fields.items() if name in known)
    form = f"<x xmlns='{DATA}' type='submit'>{lines}</x>"
    await owner.ask("set", room, f"<query xmlns='{MUC}#owner'>{form}</query>")
    return room


async def room(a, b):
    """A comes into a room of B's, they talk, A leaves, comes back and has the history; then reads the archive."""
    place = await make_room(b, b.house.rooms)
    seen, _ = await a.join(place, "guest")
    # The room itself may say something, too.
    equal({p["from"].resource for p in seen} - {""}, {"owner", "guest"})
    await b.hear("presence", sender=f"{place}/guest", type="available")
    for speaker, nick, body in ((a, "guest", "good evening"), (b, "owner", "sit down")):
        await speaker.say_in(place, body)
        for hearer in (a, b):
            equal((await hearer.hear("message", type="groupchat", sender=f"{place}/{nick}"))["body"], body)
    await a.leave(place, "guest")
    await b.hear("presence", sender=f"{place}/guest", type="unavailable")
    await b.say_in(place, "gone already")
    await b.hear("message", type="groupchat", body="gone already")
    _, heard = await a.join(place, "guest", history=10)
    equal([m["body"] for m in heard if m["body"]], ["good evening", "sit down", "gone already"])
    # The archive is read in the room, by somebody elsewhere.
    results = []
    catch = lambda s: results.append(s) or s  # noqa: E731
    a.add_filter("in", catch)
    answer = await a.ask("set", place, f"<query xmlns='{MAM}' queryid='q'/>")
    a.del_filter("in", catch)
    bodies = [body.text for s in results if s.xml.find(f"{{{MAM}}}result") is not None for body in s.xml.iter("{jabber:client}body")]
    equal(bodies, ["good evening", "sit down", "gone already"])
    equal(answer.xml.find(f"{{{MAM}}}fin").get("complete"), "true")
    # Said to one person in the room alone.
    await a.say(f"{place}/owner", "between us")
    equal((await b.hear("message", type="chat", sender=f"{place}/guest"))["body"], "between us")
    # Whoever is gone is told that the other went.
    await a.leave(place, "guest")
    await b.hear("presence", sender=f"{place}/guest", type="unavailable")


async def avatar(a, b):
    """B's new picture comes to A, whose presence says that it wants it (XEP-0163 §4.3.2), and can be fetched (XEP-0084)."""
    for asks, agrees in ((a, b), (b, a)):
        asks.send_presence_subscription(agrees.boundjid.bare)
        await agrees.hear("presence", type="subscribe", sender=asks.boundjid.bare)
        agrees.send_presence_subscription(asks.boundjid.bare, ptype="subscribed")
        await asks.hear("presence", type="available", sender=agrees.boundjid)
    # Asked by B's server what it can.
    await a.next("described")
    await publish(b, AVATAR, PNG_ID, f"<data xmlns='{AVATAR}'>{PNG}</data>")
    info = f"<info bytes='{len(base64.b64decode(PNG))}' id='{PNG_ID}' type='image/png'/>"
    await publish(b, METADATA, PNG_ID, f"<metadata xmlns='{METADATA}'>{info}</metadata>")
    event = f"{{{PUBSUB}#event}}event/{{{PUBSUB}#event}}items[@node='{METADATA}']"
    news = await a.until("message", lambda m: m.xml.find(event) is not None)
    equal(news["from"].bare, b.boundjid.bare)
    await fetch_avatar(a, b)


async def fetch_avatar(a, b):
    got = await a.ask("get", b.boundjid.bare, f"<pubsub xmlns='{PUBSUB}'><items node='{AVATAR}'/></pubsub>")
    equal(next(got.xml.iter(f"{{{AVATAR}}}data")).text.strip(), PNG)


async def publish(client, node, id, payload):
    item = f"<pubsub xmlns='{PUBSUB}'><publish node='{node}'><item id='{id}'>{payload}</item></publish></pubsub>"
    await client.ask("set", client.boundjid.bare, item)


async def card(a, b):
    await b.ask("set", None, "<vCard xmlns='vcard-temp'><FN>Nurse</FN></vCard>")
    got = await a.ask("get", b.boundjid.bare, "<vCard xmlns='vcard-temp'/>")
    equal(got.xml.find("{vcard-temp}vCard/{vcard-temp}FN").text, "Nurse")


async def discover(a, b):
    """The other server, its services and a client there say what they are; and what nobody knows is an error."""
    service = b.house.rooms
    items = await a.ask("get", b.house.domain, f"<query xmlns='{DISCO}#items'/>")
    assert service in {item.get("jid") for item in items.xml.iter(f"{{{DISCO}#items}}item")}, items
    for jid, feature in ((b.house.domain, f"{DISCO}#info"), (service, MUC), (b.boundjid.full, f"{DISCO}#info")):
        info = await a.ask("get", jid, f"<query xmlns='{DISCO}#info'/>")
        assert feature in {f.get("var") for f in info.xml.iter(f"{{{DISCO}#info}}feature")}, info
    await a.ask("get", b.house.domain, "<ping xmlns='urn:xmpp:ping'/>")
    await a.ask("get", b.boundjid.full, "<ping xmlns='urn:xmpp:ping'/>")
    await fails(a.ask("get", b.house.domain, "<query xmlns='urn:house:unknown'/>"), "service-unavailable", "feature-not-implemented")
    await fails(a.ask("get", f"nobody@{b.house.domain}", "<query xmlns='urn:house:unknown'/>"), "service-unavailable")
    await fails(a.ask("get", f"{b.boundjid.bare}/nowhere", "<ping xmlns='urn:xmpp:ping'/>"), "service-unavailable")
    await fails(a.ask("get", f"nothing@{service}", f"<query xmlns='{DISCO}#info'/>"), "item-not-found")
    await a.say(f"nobody@{b.house.domain}", "hello?")
    bounced = await a.hear("message", type="error")
    equal((str(bounced["from"]), bounced["error"]["condition"]), (f"nobody@{b.house.domain}", "service-unavailable"))


async def fails(request, *conditions):
    """This request is answered with one of these errors; returns its text."""
    from slixmpp.exceptions import IqError

    try:
        await request
    except IqError as e:
        assert e.condition in conditions, f"{conditions} wanted: {e.iq}"
        return e.iq["error"]["text"]
    raise AssertionError(f"no error, {conditions} wanted")


ALL = (chat, presence, room, avatar, card, discover)
