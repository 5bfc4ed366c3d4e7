"""A team of five with two devices each, on five clients that have nothing in common: an evening of theirs, in a minute or two.

Everybody talks in a room and to each other, networks break one after the other while the others go on, and the server is killed.
In the end every device has every message once, and those of the room in the order of the room's archive.

All ten devices are sessions of their own in clients of their own: two programs each, two browser windows for Converse.js. Each has
its own way to the server. Who comes back with stream management (slixmpp, xmpp.js) or asks the archive (Converse.js) has missed
nothing. Two do not have it all on their screen, and it is looked for in the archive: Profanity comes back with stream management,
too, but has forgotten what rooms it was in and throws away what it gets from them until it has entered them again (0.13.1: "Message
received for inactive chat room"); mcabber can do neither, and what it is told of the past it shows, but does not write down.
"""

import asyncio
import contextlib
import json
import re
import subprocess
import time

from converse import Chromium, bosh, websocket
from program import Program, xmpp
from history import bodies, kept
from house import DOMAIN, PASSWORD, PATIENCE, WEB_PORTS, House, Report, equal
from peer import ROOMS, Client
from team import PRIVATE, affiliate, make
from terminal import Relay, Terminal

PEOPLE = "anna", "bela", "clara", "dora", "emil"
ROOM_NICK = "chair"
# Messages of each device in a round, to the room; one more goes to each of the others.
LINES = 2
# A line that a check has made up: who says it, and its number.
LINE = re.compile(r"(?:anna|bela|clara|dora|emil)-[12] \S+ \d+")


class Device:
    """A person's client. `name` is its nick in rooms."""

    # What it does not catch up with when it was away: what the room hears, or what others do.
    loses_room = loses_others = False
    # Whether it notes what it says itself when it says it, and not where the room has put it.
    notes_early = False
    setting = "c2s"

    def __init__(self, house, person, number):
        self.house, self.person, self.number = house, person, number
        self.name, self.jid = f"{person}-{number}", f"{person}@{DOMAIN}"
        self.relay = Relay(house, self.setting)

    async def start(self, stack):
        await stack.enter_async_context(self.relay)

    async def back(self, new):
        """The way is there again; `new`: but the server knows no session."""


class Slixmpp(Device):
    async def start(self, stack):
        await super().start(stack)
        self.lines = []
        self.client = Client(self.relay, self.jid, sm=True)
        self.client.add_filter("in", self.hear)
        await self.client.online()
        await self.client.plugin["xep_0280"].enable()

    def hear(self, stanza):
        if stanza.name == "message":
            for path in ("", "{urn:xmpp:carbons:2}sent", "{urn:xmpp:carbons:2}received"):
                message = stanza.xml.find(f"{path}/{{urn:xmpp:forward:0}}forwarded/{{jabber:client}}message") if path else stanza.xml
                if message is not None and (body := message.findtext("{jabber:client}body")):
                    other = message.get("to" if path.endswith("sent") else "from")
                    self.lines.append((other.partition("/")[0], body))
        return stanza

    async def enter(self, room):
        self.room = room
        await self.client.join(room, self.name)

    async def say(self, to, body):
        if to == self.room:
            await self.client.say_in(to, body)
        else:
            await self.client.say(to, body)
            self.lines.append((to, body))

    async def heard(self, other):
        return [body for who, body in self.lines if who == other and LINE.fullmatch(body)]

    async def back(self, new):
        # `cut` of the relay, seen from here.
        await self.client.next("lost")
        if new:
            await self.client.online()
            await self.client.plugin["xep_0280"].enable()
            await self.client.join(self.room, self.name)
        else:
            await self.client.resume()


class Profanity(Device):
    loses_room = notes_early = True
    # Who asks it whether it is in the room, and how often it came back.
    chair, calls = None, 0

    async def start(self, stack):
        await super().start(stack)
        self.terminal = stack.enter_context(Terminal("profanity"))
        type, sees = self.terminal.type, self.terminal.sees
        await sees("[offline]")
        trusted = self.terminal.home / "trusted"
        trusted.mkdir()
        (trusted / "ca.pem").write_bytes(self.house.ca.read_bytes())
        subprocess.run(["openssl", "rehash", trusted], check=True)
        type(f"/tls certpath set {trusted}")
        await sees("Certificate path set to")
        for words in ("/reconnect 1", "/logging chat on", "/logging group on", "/carbons on"):
            type(words)
        type(f"/connect {self.jid} server 127.0.0.1 port {self.relay.port} tls force")
        await sees("Enter password:")
        type(PASSWORD)
        await sees("[online]")
        # Otherwise the second one enters by itself, with the nick of the first.
        type("/bookmark invites off")

    async def enter(self, room):
        self.room = room
        self.terminal.type(f"/join {room} nick {self.name}")
        await self.terminal.sees("You have joined the room as")

    async def say(self, to, body):
        # In the window of a room, `/msg` is for who is in it.
        self.terminal.type(f"/win {self.room}" if to == self.room else "/win 1")
        self.terminal.type(body if to == self.room else f"/msg {to} {body}")

    async def heard(self, other):
        return LINE.findall(self.log(other))

    def log(self, other):
        """What it has written into its logs, of all days."""
        name = other.replace("@", "_at_")
        files = sorted((self.terminal.home / "data/profanity/chatlogs").glob(f"**/{name}/*.log"))
        return "".join(file.read_text() for file in files)

    async def back(self, new):
        again = "Connection re-established."
        self.terminal.type("/win 1")
        await self.terminal.sees(again)
        # So that it is new there the next time.
        self.terminal.type("/clear")
        await until(lambda: again not in self.terminal.screen(), f"{self.name} does not clear its screen")
        # It enters the room again by itself, and does not say so; there, it hears the one who asks.
        self.calls += 1
        question = f"You with the screen {self.number}, are you back for the {self.calls}. time?"
        for _ in range(10 * PATIENCE):
            await self.chair.say_in(self.room, question)
            if question in self.log(self.room):
                return
            await asyncio.sleep(0.1)
        raise Exception(f"{self.name} is not in the room")


class Converse(Device):
    """The first one on a WebSocket, the second one with BOSH."""

    setting = "https"
    notes_early = True
    chromium = None

    async def start(self, stack):
        await super().start(stack)
        door = websocket if self.number == 1 else bosh
        self.page = await (await Converse.chromium.open(self.jid, door(self.relay))).online()

    async def enter(self, room):
        self.room = room
        await self.page.enter(room, self.name)

    async def say(self, to, body):
        await self.page.turn_to(to)
        await self.page.say(to, body)

    async def heard(self, other):
        """What it knows, in its order; the page shows one chat at a time."""
        kind = "rooms" if other == self.room else "chats"
        got = f"api.{kind}.get({json.dumps(other)}).then(c => c ? c.messages.map(m => m.get('body') ?? '') : [])"
        return [found for body in await self.page.run(got) for found in LINE.findall(body)]

    async def back(self, new):
        await self.page.online()
        await self.page.until(f"api.rooms.get('{self.room}').then(r => r.session.get('connection_status') == 5)")


class XmppJs(Device):
    """The first one by TCP, the second one by a WebSocket."""

    def __init__(self, house, person, number):
        self.setting = "https" if number == 2 else "c2s"
        super().__init__(house, person, number)

    async def start(self, stack):
        await super().start(stack)
        service = websocket(self.relay) if self.setting == "https" else xmpp(self.relay)
        self.program = await stack.enter_async_context(Program(self.house, self.person, service, f"xmppjs-{self.number}"))

    async def enter(self, room):
        self.room = room
        await self.program.enter(room, self.name)

    async def say(self, to, body):
        await self.program.say(to, body, "groupchat" if to == self.room else "chat")

    async def heard(self, other):
        return [body for who, body in self.program.lines if who == other and LINE.fullmatch(body)]

    async def back(self, new):
        if new:
            await self.program.until(lambda: self.program.told.count("joined") == 2, "come back")


class Mcabber(Device):
    loses_room = loses_others = True

    async def start(self, stack):
        await super().start(stack)
        self.terminal = Terminal("mcabber", "-f", "mcabberrc")
        settings = {
            "jid": self.jid, "password": PASSWORD, "server": "127.0.0.1", "port": self.relay.port, "tls": 1, "ssl_ca": self.house.ca,
            "resource": self.name, "carbons": 1, "logging": 1, "log_muc_conf": 1, "logging_dir": self.terminal.home / "log",
            # Lines: all that it ever says of itself stays in sight.
            "log_win_height": 400,
        }
        file = self.terminal.home / "mcabberrc"
        file.write_text("".join(f"set {name} = {value}\n" for name, value in settings.items()))
        file.chmod(0o600)
        self.terminal.words = ("mcabber", "-f", file)
        stack.enter_context(self.terminal)
        await self.terminal.sees("Carbons enabled.")

    async def enter(self, room):
        self.room = room
        self.terminal.type(f"/room join {room} {self.name}")
        await self.terminal.sees(f'You have joined {room} as "{self.name}"')

    async def say(self, to, body):
        self.terminal.type(f"/say_to {to} {body}")

    def log(self, other):
        file = self.terminal.home / "log" / other
        return file.read_text() if file.exists() else ""

    async def heard(self, other):
        return LINE.findall(self.log(other))

    async def back(self, new):
        joined, online = self.log(self.room).count("You have joined as"), self.terminal.screen().count("Carbons enabled.")
        self.terminal.type("/disconnect")
        self.terminal.type("/connect")
        await until(lambda: self.terminal.screen().count("Carbons enabled.") > online, f"{self.name} does not come back")
        self.terminal.type(f"/room join {self.room} {self.name}")
        await until(lambda: self.log(self.room).count("You have joined as") > joined, f"{self.name} is not in the room")


CLIENTS = Slixmpp, Profanity, Converse, XmppJs, Mcabber


async def until(true, otherwise):
    """Waits for what nobody announces."""
    deadline = time.monotonic() + PATIENCE
    while True:
        value = true()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return
        if time.monotonic() > deadline:
            raise Exception(otherwise if isinstance(otherwise, str) else await otherwise())
        await asyncio.sleep(0.05)


class Evening:
    def __init__(self, devices, room):
        self.devices, self.room = devices, room
        self.said, self.missed = {}, {device: set() for device in devices}
        self.number = 0

    def chat_of(self, device, to, sender):
        """Whom this device finds this message with; nobody, where it is not for it."""
        if to == self.room:
            return self.room
        if device.jid == sender.jid:
            return to
        return sender.jid if device.jid == to else None

    async def round(self, name, away=()):
        """All that are there say something to the room and to each other, at the same time; then they all have it."""

        async def speak(device):
            for n in range(LINES):
                await self.say(device, self.room, f"{device.name} {name} {n}")
            for n, person in enumerate(sorted({d.person for d in self.devices} - {device.person}), LINES):
                await self.say(device, f"{person}@{DOMAIN}", f"{device.name} {name} {n}")

        there = [device for device in self.devices if device not in away]
        before = set(self.said)
        await asyncio.gather(*map(speak, there))
        new = set(self.said) - before
        for device in away:
            for body in new:
                if device.loses_room if self.said[body][1] == self.room else device.loses_others:
                    self.missed[device].add(body)
        for device in there:
            await self.has_all(device)

    async def say(self, device, to, body):
        self.said[body] = (device, to)
        await device.say(to, body)

    def chats(self, device):
        """What is meant for it, by chat, in the order in which it was said."""
        chats = {}
        for body, (sender, to) in self.said.items():
            if chat := self.chat_of(device, to, sender):
                chats.setdefault(chat, []).append(body)
        return chats

    async def has_all(self, device):
        for chat, bodies in self.chats(device).items():
            wanted = set(bodies) - self.missed[device]

            async def complete():
                return wanted <= set(await device.heard(chat))

            async def missing():
                return f"{device.name} has not {sorted(wanted - set(await device.heard(chat)))} with {chat}"

            await until(complete, missing)

    async def compare(self, device, order):
        """Nothing twice, nothing that nobody said, and in order."""
        for chat, bodies in self.chats(device).items():
            heard = await device.heard(chat)
            where = f"{device.name}, with {chat}"
            equal(sorted(body for body in set(heard) if heard.count(body) > 1), [], f"{where}, more than once")
            equal(sorted(set(heard) - set(bodies)), [], f"{where}, from nowhere")
            # What it must catch up with; of the rest, what it has.
            equal(sorted(set(bodies) - self.missed[device] - set(heard)), [], f"{where}, missing")
            if chat == self.room:
                own = device.name + " " if device.notes_early else "nobody"
                here, there = [[b for b in list if b in heard and not b.startswith(own)] for list in (heard, order)]
                equal(here, there, f"{where}, order")
            for sender in self.devices:
                of_one = [body for body in heard if body.startswith(sender.name + " ")]
                equal(of_one, [body for body in bodies if body in of_one], f"{where}, order of {sender.name}")


async def main():
    report = Report()
    async with contextlib.AsyncExitStack() as stack:
        house = stack.enter_context(House(ports=WEB_PORTS, more="plain = true\n"))
        Converse.chromium = await stack.enter_async_context(Chromium(house))
        for person in (*PEOPLE, ROOM_NICK):
            house.command("user", "add", f"{person}@{DOMAIN}", "--password-stdin", input=PASSWORD + "\n")
        Profanity.chair = chair = await Client(house, f"{ROOM_NICK}@{DOMAIN}", sm=True).online()
        room = await make(chair, ROOM_NICK, PRIVATE)
        for person in PEOPLE:
            await affiliate(chair, room, f"{person}@{DOMAIN}", "member")
        devices = [kind(house, person, n) for n in (1, 2) for person, kind in zip(PEOPLE, CLIENTS)]
        for device in devices:
            with report.check(f"{device.name}: {type(device).__name__} is in the room"):
                await device.start(stack)
                await device.enter(room)
        evening = Evening(devices, room)
        with report.check("everybody talks"):
            await evening.round("first")
        for kind in CLIENTS:
            device = next(d for d in devices if isinstance(d, kind))
            with report.check(f"{device.name} is away, and comes back"):
                device.relay.close()
                await evening.round(f"without-{device.name}", away=[device])
                device.relay.open.set()
                await device.back(new=False)
                await evening.has_all(device)
        with report.check("the server is killed"):
            # A change is answered when it is stored, and all before it is stored, too.
            await chair.update_roster(f"nobody@{DOMAIN}")
            house.kill()
            for device in devices:
                device.relay.cut()
            chair.abort()
            house.start()
            Profanity.chair = chair = await Client(house, f"{ROOM_NICK}@{DOMAIN}").online()
            await chair.join(room, ROOM_NICK)
            for device in devices:
                await device.back(new=True)
            await evening.round("last")
        order = [body for body in bodies(await kept(chair, jid=room, rsm={"max": 100})) if LINE.fullmatch(body)]
        with report.check("the archive of the room has all once"):
            equal(sorted(order), sorted(body for body, (_, to) in evening.said.items() if to == room))
        for person, device in zip(PEOPLE, devices):
            with report.check(f"the archive of {person} has all once"):
                anybody = await Client(house, device.jid).online()
                got = [body for body in bodies(await kept(anybody, rsm={"max": 100})) if body]
                mine = [b for b, (sender, to) in evening.said.items() if to != room and device.jid in (sender.jid, to)]
                equal(sorted(body for body in got if LINE.fullmatch(body)), sorted(mine))
        for device in devices:
            with report.check(f"{device.name} has all once and in order"):
                await evening.compare(device, order)
    report.end()


asyncio.run(main())
