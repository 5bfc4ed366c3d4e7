"""A client made of slixmpp, for the checks to play with."""

import asyncio
import logging
import ssl

import slixmpp
from slixmpp.xmlstream import ET
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from house import DOMAIN, PASSWORD, PATIENCE, equal

# What goes wrong is told by the checks; the library tells of every login that is meant to fail.
logging.disable(logging.CRITICAL)

PLUGINS = ["xep_0012", "xep_0030", "xep_0048", "xep_0049", "xep_0054", "xep_0077", "xep_0092", "xep_0191", "xep_0199"]
PLUGINS += ["xep_0202", "xep_0203", "xep_0280", "xep_0313", "xep_0359", "xep_0441"]

ROOMS = f"conference.{DOMAIN}"
MUC = "http://jabber.org/protocol/muc"


def statuses(presence):
    """The codes that a room put into it."""
    return {status.get("code") for status in presence.xml.iter(f"{{{MUC}#user}}status")}


class Client(slixmpp.ClientXMPP):
    """One connection; what arrives waits in queues until it is asked for."""

    def __init__(self, house, jid, password=PASSWORD, direct=False, ca=True, tls_1_2=False, sm=False, notify=()):
        context = ssl.create_default_context(cafile=house.ca if ca else None)
        if tls_1_2:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        super().__init__(jid, password, ssl_context=context, plugin_config={"xep_0077": {"create_account": False}})
        # Subscriptions are answered by the checks.
        self.roster.auto_authorize = None
        self.roster.auto_subscribe = False
        self.enable_direct_tls, self.enable_starttls = direct, not direct
        self.house, self.direct = house, direct
        for plugin in [*PLUGINS, *(["xep_0198"] if sm else []), *(["xep_0115"] if notify else [])]:
            self.register_plugin(plugin)
        # What it wants to hear of, by its capabilities.
        self.notify = list(notify)
        names = "message", "presence", "push", "refused", "ping", "login", "over", "acked", "resumed", "new", "lost"
        names += ("described",)
        self.queues = {name: asyncio.Queue() for name in names}
        for name in ("message", "presence"):
            self.register_handler(
                Callback(f"all {name}s", MatchXPath(f"{{jabber:client}}{name}"), self.note)
            )
        for event, queue in {
            "roster_update": "push",
            "session_start": "login",
            "failed_auth": "refused",
            "ssl_invalid_chain": "refused",
            "connection_failed": "refused",
            "failed_all_auth": "over",
            "session_resumed": "resumed",
            "sm_failed": "new",
            "disconnected": "lost",
        }.items():
            self.add_event_handler(event, self.queues[queue].put_nowait)
        self.add_event_handler("stanza_acked", self.note_acked)
        self.add_filter("out", self.note_pong)

    def note(self, stanza):
        # What an archive answers is collected by the library.
        if stanza.xml.find("{urn:xmpp:mam:2}result") is None:
            self.queues[stanza.name].put_nowait(stanza)

    def note_pong(self, stanza):
        """An answered ping of the server is worth knowing: with it, the client has confirmed what came before. And so is that it
        told what it can: from then on the server knows what it wants to hear of."""
        if isinstance(stanza, slixmpp.Iq) and stanza["type"] == "result":
            if len(stanza.xml) == 0:
                self.queues["ping"].put_nowait(stanza)
            elif stanza.xml.find("{http://jabber.org/protocol/disco#info}query") is not None:
                self.queues["described"].put_nowait(stanza)
        return stanza

    def note_acked(self, stanza):
        if isinstance(stanza, slixmpp.Message):
            self.queues["acked"].put_nowait(stanza["body"])

    def dial(self):
        # Its ports are others after each start.
        self.connect(self.house.address, self.house.ports["c2s_tls" if self.direct else "c2s"])

    async def next(self, queue):
        return await asyncio.wait_for(self.queues[queue].get(), PATIENCE)

    async def hear(self, queue, **wanted):
        """The next one in which these fields have these values; `sender` is `from`."""
        if "sender" in wanted:
            wanted["from"] = wanted.pop("sender")
        while True:
            stanza = await self.next(queue)
            if all(str(stanza[field]) == str(value) for field, value in wanted.items()):
                return stanza

    async def until(self, queue, wanted):
        """The next one for which this is true."""
        while not wanted(stanza := await self.next(queue)):
            pass
        return stanza

    async def ask(self, type, to, xml):
        """A request with this in it; returns the answer."""
        iq = self.make_iq(itype=type, ito=to)
        iq.append(ET.fromstring(xml))
        return await iq.send(timeout=PATIENCE)

    async def join(self, room, nick, history=0, password=None):
        """Enters a room; returns what it was told before anything new: presence, the last one its own, and messages, the last
        one the subject. `history`: so many messages at most."""
        presence = self.make_presence(pto=f"{room}/{nick}")
        secret = f"<password>{password}</password>" if password else ""
        presence.append(ET.fromstring(f"<x xmlns='{MUC}'><history maxstanzas='{history}'/>{secret}</x>"))
        presence.send()
        seen, heard = [], []
        while not seen or "110" not in statuses(seen[-1]):
            seen.append(await self.until("presence", lambda p: p["from"].bare == room))
            if seen[-1]["type"] == "error":
                raise slixmpp.exceptions.IqError(seen[-1])
        while not heard or heard[-1].xml.find("{jabber:client}subject") is None:
            heard.append(await self.until("message", lambda m: m["from"].bare == room))
        return seen, heard

    async def invited(self, room):
        """Waits for an invitation to this room: in a message of somebody's own (XEP-0249), or handed on by the room; returns it."""

        def invites(message):
            direct = message.xml.find("{jabber:x:conference}x")
            mediated = message.xml.find(f"{{{MUC}#user}}x/{{{MUC}#user}}invite")
            return (direct is not None and direct.get("jid") == room) or (mediated is not None and message["from"] == room)

        return await self.until("message", invites)

    async def leave(self, room, nick):
        self.send_presence(pto=f"{room}/{nick}", ptype="unavailable")
        await self.until("presence", lambda p: p["from"] == f"{room}/{nick}" and p["type"] == "unavailable")

    async def online(self, available=True):
        """Logs in; `available`: and sends presence, and has it back."""
        self.dial()
        login, over = asyncio.create_task(self.next("login")), asyncio.create_task(self.next("over"))
        done, waiting = await asyncio.wait({login, over}, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if login not in done:
            raise Exception(f"{self.requested_jid} is not let in")
        login.result()
        await self.get_roster()
        await self.next("push")
        if self.notify:
            for node in self.notify:
                self.plugin["xep_0030"].add_feature(f"{node}+notify")
            # No other client can the same: it is asked.
            self.plugin["xep_0030"].add_feature(f"urn:house:{self.new_id()}")
            await self.plugin["xep_0115"].update_caps(broadcast=False)
        if available:
            self.send_presence()
            await self.hear("presence", sender=self.boundjid)
            if self.notify:
                await self.next("described")
                await self.ask("get", self.boundjid.domain, "<ping xmlns='urn:xmpp:ping'/>")
        return self

    async def refusal(self):
        """Tries to log in; returns why that does not work."""
        self.dial()
        reason = await self.next("refused")
        self.abort()
        self.cancel_connection_attempt()
        return reason

    async def say(self, to, body):
        self.send_message(mto=to, mbody=body, mtype="chat")

    async def say_in(self, room, body):
        self.send_message(mto=room, mbody=body, mtype="groupchat")

    async def hears_only(self, body):
        """This message is the next one: none before it."""
        message = await self.next("message")
        equal(message["body"], body)
        return message

    async def acknowledged(self, number):
        """Waits until the server has answered for so many messages; returns what they say."""
        # The library asks on a way of its own, which overtakes what waits to be sent (slixmpp 1.17.0).
        await self.sent()
        self.plugin["xep_0198"].request_ack()
        return [await self.next("acked") for _ in range(number)]

    async def sent(self):
        """Waits until all that was said is with the operating system."""
        await asyncio.wait_for(self.waiting_queue.join(), PATIENCE)

    async def cut(self):
        """The connection is gone, without an end tag or anything."""
        # What waits to be sent when the connection goes is forgotten by the library, though it could send it after
        # resumption (slixmpp 1.17.0: its filters do not count it any more).
        await self.sent()
        self.abort()
        await self.next("lost")

    async def resume(self):
        """Connects again, and has its old session."""
        before = self.boundjid.full
        self.dial()
        await self.next("resumed")
        equal(self.boundjid.full, before)
