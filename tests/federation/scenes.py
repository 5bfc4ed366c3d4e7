"""The checks, by scene: each a world of its own. `scenes.py NAME...` plays some of them, without names all."""

import asyncio
import os
import pathlib
import socket
import sys
import time
import traceback

import slixmpp
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

import talk
from authority import CLIENT, SERVER, Authority
from house import PATIENCE, SECRET, equal
from world import Ejabberd, Ours, Prosody, World, timed, until

NOTIFY = [talk.METADATA]


class Scene:
    """One world, and the checks in it. A check that fails is told, and the next one goes on."""

    passed = failed = 0

    def __init__(self, name, world):
        self.name, self.world = name, world

    async def check(self, what, play, patience=3 * PATIENCE):
        name = f"{self.name}: {what}"
        try:
            await asyncio.wait_for(play, patience)
        except Exception:
            traceback.print_exc()
            print(f"FAILED {name}", flush=True)
            Scene.failed += 1
            self.world.failed = True
        else:
            print(f"ok {name}", flush=True)
            Scene.passed += 1
        await self.world.leave()

    async def both(self, ours, theirs, plays=talk.ALL):
        """Two people, and each play in both directions."""
        for play in plays:
            for a_at, b_at in ((ours, theirs), (theirs, ours)):
                where = f"at {type(theirs).__name__} when seen from here" if b_at is theirs else f"here when seen from {type(theirs).__name__}"

                async def played():
                    a = await self.world.enter(a_at, "a", notify=NOTIFY if play is talk.avatar else ())
                    b = await self.world.enter(b_at, "b")
                    await play(a, b)

                await self.check(f"{play.__name__}, {where}", played())


def names(domain, *services):
    return [domain, *(f"{service}.{domain}" for service in services)]


OFFICE, PROSODY, EJABBERD = (
    names("office.test", "conference", "pubsub"),
    names("prosody.test", "conference", "push"),
    names("ejabberd.test", "conference"),
)
STARTTLS, DIRECT = "xmpp-server", "xmpps-server"


def office(world, *usages, ways=(STARTTLS,), federation="policy = 'open'", **options):
    """Ours, with a certificate of the authority."""
    certificate = world.authority.certificate(*OFFICE, usages=usages or (SERVER, CLIENT))
    return Ours(world, "office.test", 2, certificate, federation=federation, ways=ways, **options)


async def tells(server, text, what):
    await until(lambda: text in server.said(), what)


async def prosody(scene, world):
    """Certificates for both uses, STARTTLS, one stream each way."""
    theirs = Prosody(world, "prosody.test", 4, world.authority.certificate(*PROSODY), ways=(STARTTLS,))
    ours = office(world)
    world.start(theirs, ours)
    await scene.both(ours, theirs)

    async def streams():
        # Dialled where SRV says; taken as dialled, not by dialback; never both ways.
        for sign in ("connected to 10.77.0.4:5301 for", "a server has connected", "proved by its certificate"):
            await tells(ours, sign, sign)
        assert "bidi" not in theirs.said() and "dialback" not in ours.said(), "another way was taken"

    await scene.check("STARTTLS, certificates, two streams", streams())


async def prosody_direct(scene, world):
    """Certificates for servers alone, TLS from the first byte, one stream for both ways."""
    certificate = world.authority.certificate(*PROSODY, usages=[SERVER])
    theirs = Prosody(world, "prosody.test", 4, certificate, bidi=True, ways=(DIRECT,))
    ours = office(world, SERVER, ways=(DIRECT,))
    world.start(theirs, ours)
    await scene.both(ours, theirs)

    async def streams():
        await tells(ours, "connected to 10.77.0.4:5302 for office.test and prosody.test", "direct TLS is dialled")
        assert ours.said().count("between office.test and prosody.test, proved by its certificate") == 1, "two streams of one pair"

    await scene.check("direct TLS, certificates for servers alone, one stream", streams())


async def ejabberd(scene, world):
    """Certificates for both uses, STARTTLS."""
    theirs = Ejabberd(world, "ejabberd.test", 5, world.authority.certificate(*EJABBERD))
    ours = office(world)
    world.start(theirs, ours)
    await scene.both(ours, theirs)

    async def streams():
        await tells(ours, "proved by its certificate", "its certificate counts")
        assert "dialback" not in ours.said(), "dialback was used"

    await scene.check("STARTTLS, certificates", streams())


async def bidi(scene, world):
    """One stream for both ways, with STARTTLS, whoever dials. (ejabberd 23.01 cannot do that.)"""
    servers = [Prosody(world, f"{dials}.test", n, world.authority.certificate(f"{dials}.test"), bidi=True) for n, dials in ((4, "us"), (5, "them"))]
    ours = office(world)
    for server in servers:
        server.ways = (STARTTLS,)
    world.start(*servers, ours)
    for theirs in servers:

        async def play():
            a, b = await world.enter(ours, "a"), await world.enter(theirs, "b")
            if theirs.domain == "them.test":
                a, b = b, a
            for one, other in ((a, b), (b, a)):
                await talk.chat(one, other)
            for one, other in ((a, b), (b, a)):
                await talk.presence(one, other)
            streams = ours.said().count(f"between office.test and {theirs.domain}, proved by")
            equal((streams, f"for office.test and {theirs.domain}" in ours.said()), (1, theirs.domain == "us.test"), "streams, dialled by us")

        await scene.check(f"Prosody, {theirs.domain.removesuffix('.test')} who dial", play())


async def ejabberd_old(scene, world):
    """Ours has a certificate for servers alone, as all public ones are: this ejabberd takes no EXTERNAL with it, and asks back."""
    theirs = Ejabberd(world, "ejabberd.test", 5, world.authority.certificate(*EJABBERD))
    ours = office(world, SERVER)
    world.start(theirs, ours)
    await scene.both(ours, theirs, (talk.chat, talk.presence, talk.room, talk.discover))

    async def streams():
        await tells(theirs, "unsupported certificate purpose", "it refuses the certificate")
        await tells(ours, "proved by its certificate", "its certificate counts")
        assert "proved by dialback" not in ours.said(), "its dialback was believed"

    await scene.check("dialback where our certificate is refused", streams())


async def prosody_dialback(scene, world):
    """Neither trusts the other's certificate."""
    theirs = Prosody(world, "prosody.test", 4, world.authority.self_signed(*PROSODY), dialback=True, secure=False)
    ours = Ours(world, "office.test", 2, federation="policy = 'open'\ndialback_for = ['prosody.test']")
    world.start(theirs, ours)
    await scene.both(ours, theirs, (talk.chat, talk.presence, talk.room, talk.discover))
    await scene.check("streams proved by dialback", tells(ours, "proved by dialback", "dialback was used"))


async def ejabberd_dialback(scene, world):
    """The same with ejabberd."""
    theirs = Ejabberd(world, "ejabberd.test", 5, world.authority.self_signed(*EJABBERD), trusted=False)
    ours = Ours(world, "office.test", 2, federation="policy = 'open'\ndialback_for = ['ejabberd.test']")
    world.start(theirs, ours)
    await scene.both(ours, theirs, (talk.chat, talk.presence, talk.room, talk.discover))
    await scene.check("streams proved by dialback", tells(ours, "proved by dialback", "dialback was used"))


async def bounces(client, to, condition, *words, patience=PATIENCE):
    """A message to this address comes back with this error, whose text has these words."""
    await client.say(to, "is anybody there?")
    error = (await asyncio.wait_for(client.hear("message", type="error"), patience))["error"]
    text = error["text"]
    assert error["condition"] == condition and all(word in text for word in words), f"{condition} and {words} wanted: {error}"
    print(f"   {to}: {condition}: {text}", flush=True)


async def no_dialback(scene, world):
    """Where the owner has not said so, nobody proves anything by dialback, in neither direction."""
    prosody = Prosody(world, "prosody.test", 4, world.authority.self_signed(*PROSODY), dialback=True, secure=False)
    ejabberd = Ejabberd(world, "ejabberd.test", 5, world.authority.self_signed(*EJABBERD), trusted=False)
    ours = Ours(world, "office.test", 2, federation="policy = 'open'")
    world.start(prosody, ejabberd, ours)

    async def play(theirs, condition):
        a, b = await world.enter(ours, "a"), await world.enter(theirs, "b")
        await bounces(a, b.boundjid.bare, "remote-server-timeout", f"{theirs.domain} is not who it should be", "signed")
        await bounces(b, a.boundjid.bare, condition)
        assert "proved by" not in ours.said(), "something was proved"

    await scene.check("Prosody", play(prosody, "remote-server-timeout"))
    await scene.check("ejabberd", play(ejabberd, "remote-server-timeout"))


class Push(slixmpp.ComponentXMPP):
    """A service that carries notifications to phones (XEP-0357), at Prosody."""

    def __init__(self, domain):
        super().__init__(domain, SECRET)
        self.requests, self.up = asyncio.Queue(), asyncio.Event()
        self.add_event_handler("session_start", lambda _: self.up.set())
        self.register_handler(Callback("published", MatchXPath("{jabber:component:accept}iq/{%s}pubsub" % talk.PUBSUB), self.take))

    def take(self, iq):
        self.requests.put_nowait(iq)
        iq.reply(clear=True).send()


async def push(scene, world):
    """A phone's push service is at another server."""
    theirs = Prosody(world, "prosody.test", 4, world.authority.certificate(*PROSODY))
    ours = office(world)
    world.start(theirs, ours)

    async def play():
        service = Push("push.prosody.test")
        service.connect(theirs.address, 5347)
        await asyncio.wait_for(service.up.wait(), PATIENCE)
        a, b = await world.enter(ours, "a"), await world.enter(theirs, "b")
        await a.ask("set", None, "<enable xmlns='urn:xmpp:push:0' jid='push.prosody.test' node='node of this app'/>")
        await a.disconnect()
        await until(lambda: ours.said().count("ended (Clean)") > 0, "the phone is gone")
        await b.say(a.boundjid.bare, "wake up")
        got = await asyncio.wait_for(service.requests.get(), PATIENCE)
        equal((str(got["from"]), got.xml.find(f"{{{talk.PUBSUB}}}pubsub/{{{talk.PUBSUB}}}publish").get("node")),
              (ours.domain, "node of this app"))
        await service.disconnect()

    await scene.check("a notification goes to a service at Prosody", play())


def pin(server, address=True):
    """What another one of ours writes down of it."""
    where = f"address = '{server.address}:{server.s2s}'\n" if address else ""
    return f"[[peer]]\ndomain = '{server.domain}'\nkey = '{server.key()}'\n{where}"


def two_of_ours(world, environment=None):
    """Two offices that DNS does not know, with certificates of their own."""
    return [Ours(world, domain, number, ways=(), environment=environment) for domain, number in (("office.test", 2), ("branch.test", 3))]


async def pinned(scene, world):
    """Two of ours that know each other's keys and addresses, and no more: as their owners tell them (`inglenook peer`)."""
    ours, theirs = two_of_ours(world)
    world.start(ours, theirs)
    for one, other in ((ours, theirs), (theirs, ours)):
        line = next(line for line in other.command("peer", "show").splitlines() if "peer add" in line)
        domain, key = line.split("peer add")[1].split()[:2]
        equal((domain, key), (other.domain, other.key()), "what is shown")
        one.command("peer", "add", domain, key, f"{other.address}:{other.s2s}")
    await scene.both(ours, theirs)
    await scene.check("proved by the pinned key", tells(ours, "proved by its pinned key", "the key counts"))


async def nat(scene, world):
    """Of two pinned ones one knows where the other is: what the other has to say goes the same way back."""
    ours, theirs = two_of_ours(world)
    world.start(ours, theirs)
    for one, other in ((ours, theirs), (theirs, ours)):
        one.configure(peers=pin(other, address=one is theirs))
        one.reload()

    async def play():
        a, b = await world.enter(ours, "a"), await world.enter(theirs, "b")
        await talk.chat(b, a)
        await talk.chat(a, b)
        await talk.presence(a, b)
        await talk.room(b, a)
        await talk.room(a, b)
        assert "connected to" not in ours.said(), "it has dialled"

    await scene.check("both directions on what the one behind NAT has dialled", play())

    async def again():
        # Nobody behind NAT says anything; the other side has something to say.
        theirs.kill()
        theirs.start()
        await asyncio.to_thread(theirs.wait)
        a, b = await world.enter(ours, "a"), await world.enter(theirs, "b")
        await talk.room(a, b)
        await talk.chat(a, b)
        # The one that is dialled is away for a while.
        ours.kill()
        await asyncio.sleep(0.5)
        ours.start()
        await asyncio.to_thread(ours.wait)
        c = await world.enter(ours, "c")
        await until(lambda: ours.said().rpartition("Inglenook ")[2].count("proved by its pinned key") >= 3, "it is dialled again", 15)
        await talk.chat(c, b)

    await scene.check("it dials by itself, after a restart of either", again())


async def clocks_in_1970(scene, world):
    """Two boards that have just booted, without a clock."""
    library = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        print("-- clocks_in_1970 is left out: no libfaketime", flush=True)
        return
    environment = {"LD_PRELOAD": str(library), "FAKETIME": f"-{int(time.time()) - 3600}", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
    ours, theirs = two_of_ours(world, environment)
    world.start(ours, theirs)
    for one, other in ((ours, theirs), (theirs, ours)):
        one.configure(peers=pin(other))
        one.reload()
    await scene.both(ours, theirs, (talk.chat, talk.presence, talk.room))


class Talker:
    """Somebody who says one thing after the other, and logs in again whenever the server is gone; their client has asked the server to
    acknowledge (XEP-0198)."""

    def __init__(self, world, server):
        self.world, self.server, self.jid = world, server, server.user("talker")
        self.client, self.said, self.acked, self.heard, self.refused = None, 0, set(), [], set()
        # What was said, by the id that an error has.
        self.ids = {}

    async def talk(self, to, until_done):
        while not until_done.is_set():
            try:
                self.client = await asyncio.wait_for(self.world.enter(self.server, None, jid=self.jid, sm=True), 5)
            except Exception:
                await asyncio.sleep(0.2)
                continue
            while not until_done.is_set() and self.client.queues["lost"].empty():
                self.said += 1
                message = self.client.make_message(mto=to, mbody=f"{self.jid} {self.said}", mtype="chat")
                self.ids[message["id"]] = message["body"]
                message.send()
                await asyncio.sleep(0.03)
                self.collect()
            self.collect()
            if self.client.queues["lost"].empty():
                return
            self.client.abort()

    def collect(self):
        queues = self.client.queues
        while not queues["acked"].empty():
            self.acked.add(queues["acked"].get_nowait())
        while not queues["message"].empty():
            message = queues["message"].get_nowait()
            if message["type"] == "error":
                self.refused.add(self.ids[message["id"]])
            elif message["body"]:
                self.heard.append(message["body"])


async def killed(scene, world):
    """Two people at two of ours chat while each server is killed ten times, or INGLENOOK_KILLS times: nothing is lost, or there twice."""
    kills = int(os.environ.get("INGLENOOK_KILLS", 10))
    ours, theirs = two_of_ours(world)
    world.start(ours, theirs)
    for one, other in ((ours, theirs), (theirs, ours)):
        one.configure(peers=pin(other))
        one.reload()

    async def play():
        done = asyncio.Event()
        talkers = Talker(world, ours), Talker(world, theirs)
        tasks = [asyncio.create_task(one.talk(other.jid, done)) for one, other in (talkers, reversed(talkers))]
        for n in range(2 * kills):
            await asyncio.sleep(0.7 + 0.03 * (n % 20))
            server = (ours, theirs)[n % 2]
            server.kill()
            await asyncio.sleep(0.1)
            server.start()
            await asyncio.to_thread(server.wait)
        # Long enough for a server that is left alone after a failure.
        await asyncio.sleep(8)
        done.set()
        await asyncio.gather(*tasks)
        await asyncio.sleep(1)
        for one in talkers:
            one.collect()
        for one, other in (talkers, reversed(talkers)):
            archived = await bodies_of(other.client)
            arrived = set(archived) | set(other.heard)
            lost = one.acked - arrived - one.refused
            doubled = len(archived) - len(set(archived))
            both = len(arrived & one.refused)
            print(f"   from {one.server.domain}: {one.said} said, {len(one.acked)} acknowledged; {len(arrived)} arrived, "
                  f"{len(one.refused)} came back, {len(lost)} lost, {doubled} twice, {both} both arrived and came back", flush=True)
            assert one.acked and arrived, "nothing was said"
            assert not lost and not both, f"lost: {sorted(lost)[:5]}"
            equal([body for body in archived], sorted(set(archived), key=lambda body: int(body.split()[1])), "order, and nothing twice")

    await scene.check(f"two chat while each server is killed {kills} times", play(), 30 + 9 * kills)


async def bodies_of(client):
    """What others have said to them, of the archive."""
    bodies = []
    async for message in client.plugin["xep_0313"].iterate():
        forwarded = message["mam_result"]["forwarded"]["stanza"]
        if forwarded["from"].bare != client.boundjid.bare and forwarded["body"] and forwarded["type"] != "error":
            bodies.append(forwarded["body"])
    return bodies


async def refused(scene, world):
    """Why not, in words, for each reason there is; as who wants to talk to others, and as whom others want to talk to."""
    stranger = Authority(world.folder / "stranger", "Somebody else")
    wrong = {
        "expired.test": (world.authority.certificate("expired.test", days=(-20, -3)), "expired"),
        "other.test": (world.authority.certificate("somebody.test"), "somebody.test"),
        "unknown.test": (stranger.certificate("unknown.test"), "authority"),
        "blocked.test": (world.authority.certificate("blocked.test"), "blocked"),
    }
    servers = {domain: Prosody(world, domain, n, certificate, secure=False) for n, (domain, (certificate, _)) in enumerate(wrong.items(), 4)}
    for domain, server in servers.items():
        server.ca = wrong[domain][0][0]
    ours = office(world, federation="policy = 'open'\nblock = ['blocked.test']")
    world.resolve(
        "srv-host=_xmpp-server._tcp.nothing.test", "srv-host=_xmpps-server._tcp.nothing.test",
        "host-record=closed.test,10.77.0.1",
        "host-record=deaf.test,10.77.0.9",
        "host-record=mute.test,10.77.0.8",
        "srv-host=_xmpp-server._tcp.lost.test,nowhere.lost.test,5269",
        "host-record=self.test,10.77.0.2",
        "host-record=loop.test,127.0.0.1",
    )
    world.start(*servers.values(), ours)
    # Nobody takes connections out of its queue, which is full.
    deaf = socket.create_server(("10.77.0.9", 5269), backlog=0)
    waiting = [socket.socket() for _ in range(4)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(("10.77.0.9", 5269))
    mute = await asyncio.start_server(lambda reader, writer: asyncio.sleep(60), "10.77.0.8", 5269)
    a = await world.enter(ours, "a")
    timeout, missing, forbidden = "remote-server-timeout", "remote-server-not-found", "not-allowed"

    async def towards():
        for domain, (_, word) in wrong.items():
            await bounces(a, f"b@{domain}", forbidden if word == "blocked" else timeout, domain, word)
        await bounces(a, "b@nothing.test", missing, "nothing.test")
        await bounces(a, "b@unheard.test", missing, "unheard.test", "DNS")
        await bounces(a, "b@lost.test", missing, "nowhere.lost.test")
        await bounces(a, "b@closed.test", timeout, "10.77.0.1", "refuses")
        await bounces(a, "b@self.test", forbidden, "this server itself")
        await bounces(a, "b@loop.test", forbidden, "this box itself")
        with timed("nobody, and a server that answers nothing", 31):
            c = await world.enter(ours, "c")
            one = bounces(a, "b@mute.test", timeout, "mute.test", patience=32)
            await asyncio.gather(one, bounces(c, "b@deaf.test", timeout, "10.77.0.9", "10 s", patience=32))

    await scene.check("from here", towards(), 120)
    mute.close()
    for one in (deaf, *waiting):
        one.close()

    async def again():
        # A server that is not reached is left alone for a while; all are told why.
        a = await world.enter(ours, "a")
        for _ in range(3):
            with timed("the answer", 1):
                await bounces(a, "b@mute.test", timeout, "mute.test")
        # Who comes into a room there is told, too.
        try:
            await a.join("room@conference.unheard.test", "a")
        except IqError as e:
            equal(e.iq["error"]["condition"], missing)
        else:
            raise AssertionError("nobody is there")

    await scene.check("at once, the next time", again())

    async def come():
        for domain, server in servers.items():
            client = await world.enter(server, "b", checks=False)
            await client.say("a@office.test", "let me in")
            error = (await client.hear("message", type="error"))["error"]
            print(f"   {domain} towards us: {error['condition']}: {error['text']}", flush=True)
        assert "proved by" not in ours.said(), "somebody was let in"

    await scene.check("towards us", come())


async def listed(scene, world):
    """Only those that are listed; a reload changes it at once."""
    theirs = Prosody(world, "prosody.test", 4, world.authority.certificate(*PROSODY))
    ours = office(world, federation="policy = 'listed'")
    world.start(theirs, ours)

    async def play():
        a, b = await world.enter(ours, "a"), await world.enter(theirs, "b")
        await bounces(a, b.boundjid.bare, "not-allowed", "prosody.test is not listed")
        await b.say(a.boundjid.bare, "let me in")
        error = (await b.hear("message", type="error"))["error"]
        print(f"   towards us: {error['condition']}: {error['text']}", flush=True)
        ours.configure(federation="policy = 'listed'\nallow = ['prosody.test']")
        ours.reload()
        await talk.chat(a, b)
        await talk.chat(b, a)
        ours.configure(federation="policy = 'open'\nblock = ['prosody.test']")
        ours.reload()
        await bounces(a, b.boundjid.bare, "not-allowed", "blocked")
        await tells(theirs, "policy-violation", "its streams are ended")

    await scene.check("policy listed, allow, then block", play())


async def certificates(scene, world):
    """Certificates of other kinds, all of them good."""
    between = Authority(world.folder / "between", "Between", above=world.authority)
    kinds = {
        "rsa.test": world.authority.certificate("rsa.test", "conference.rsa.test", rsa_bits=2048),
        "chain.test": between.certificate("chain.test", "*.chain.test"),
        "srv.test": world.authority.certificate("srv.test", "conference.srv.test", services=True),
        "bücher.test": world.authority.certificate("xn--bcher-kva.test", "*.xn--bcher-kva.test"),
    }
    servers = [Prosody(world, domain, n, kind, bidi=n % 2 == 0, ways=(STARTTLS, DIRECT)) for n, (domain, kind) in enumerate(kinds.items(), 4)]
    ours = office(world)
    world.start(*servers, ours)
    for server in servers:

        async def play():
            a, b = await world.enter(ours, "a"), await world.enter(server, "b", checks=server.domain != "srv.test")
            await talk.chat(a, b)
            await talk.chat(b, a)
            await talk.room(a, b)
            await talk.room(b, a)
            assert "proved by dialback" not in ours.said()

        await scene.check(server.domain, play())


async def ways(scene, world):
    """The places that DNS names, in their order: those that are dead are passed over."""
    # Only by its own address, of IPv6.
    six = Prosody(world, "six.test", 4, world.authority.certificate("six.test"), ways=())
    # Without SRV, at the usual port of the domain's own address.
    bare = Ejabberd(world, "bare.test", 5, world.authority.certificate("bare.test"))
    bare.ways = ()
    many = Prosody(world, "many.test", 6, world.authority.certificate("many.test"), ways=())
    ours = office(world, ways=())
    world.resolve(
        "host-record=host6.six.test,fd77::4", "srv-host=_xmpp-server._tcp.six.test,host6.six.test,5301,0,5",
        "host-record=bare.test,10.77.0.5",
        # Nobody is at the first, nothing is known of the second, the third speaks no XMPP; then comes the right one.
        "srv-host=_xmpps-server._tcp.many.test,host.many.test,7777,1,5",
        "srv-host=_xmpp-server._tcp.many.test,nowhere.many.test,5301,2,5",
        "srv-host=_xmpps-server._tcp.many.test,host.many.test,53,3,5",
        "srv-host=_xmpp-server._tcp.many.test,host.many.test,5301,4,5",
        "host-record=office.test,10.77.0.2", "host-record=conference.office.test,10.77.0.2",
    )
    world.start(six, bare, many, ours)
    for server in six, bare, many:

        async def play():
            a, b = await world.enter(ours, "a"), await world.enter(server, "b")
            with timed("to find the place", 20):
                await talk.chat(a, b)
            await talk.chat(b, a)

        await scene.check(server.domain, play())


async def flood(scene, world):
    """A thousand messages at once, in both directions, in order; then a hundred requests."""
    theirs = Prosody(world, "prosody.test", 4, world.authority.certificate(*PROSODY), bidi=True)
    ours = office(world)
    world.start(theirs, ours)

    async def play(a, b):
        for n in range(1000):
            await a.say(b.boundjid.full, f"{n}")
        for n in range(1000):
            equal((await b.hear("message"))["body"], f"{n}")
        await asyncio.gather(*(a.ask("get", b.house.domain, "<ping xmlns='urn:xmpp:ping'/>") for _ in range(100)))

    for name, a_at, b_at in (("towards Prosody", ours, theirs), ("from Prosody", theirs, ours)):
        a, b = await world.enter(a_at, "a"), await world.enter(b_at, "b")
        # The streams are there: what waits for one has a limit.
        await talk.chat(a, b)
        await talk.chat(b, a)
        await scene.check(name, play(a, b))


async def restarts(scene, world):
    """The other server ends in order, or is killed, and is there again; and ours."""
    theirs = Prosody(world, "prosody.test", 4, world.authority.certificate(*PROSODY))
    ours = office(world)
    world.start(theirs, ours)

    async def play(end):
        a, b = await world.enter(ours, "a"), await world.enter(theirs, "b")
        await talk.chat(a, b)
        await talk.chat(b, a)
        stays, goes = (a, b) if end is not again else (b, a)
        server, to = goes.house, goes.boundjid.bare
        if end == "kill":
            server.kill()
        else:
            server.process.terminate()
            await asyncio.to_thread(server.process.wait)
        await asyncio.sleep(0.5)
        await stays.say(to, "are you there?")
        error = (await asyncio.wait_for(stays.hear("message", type="error"), 31))["error"]
        print(f"   {error['condition']}: {error['text']}", flush=True)
        server.start()
        await asyncio.to_thread(server.wait)
        goes.abort()
        goes = await world.enter(server, None, jid=to)
        await goes.say(stays.boundjid.bare, "I am back")
        equal((await stays.hear("message", type="chat"))["body"], "I am back")
        # It has come: so it can be reached, whatever was before.
        await stays.say(to, "welcome")
        equal((await goes.until("message", lambda m: m["body"] == "welcome"))["type"], "chat")

    again = object()
    await scene.check("Prosody ends in order", play("end"))
    await scene.check("Prosody is killed", play("kill"))
    await scene.check("ours ends in order", play(again))


SCENES = (prosody, prosody_direct, ejabberd, bidi, ejabberd_old, prosody_dialback, ejabberd_dialback, no_dialback, push, pinned, nat)
SCENES += (clocks_in_1970, killed, refused, listed, certificates, ways, flood, restarts)
SCENES = {scene.__name__: scene for scene in SCENES}


async def main(names):
    for name in names or SCENES:
        with World() as world:
            begin = time.monotonic()
            await SCENES[name](Scene(name, world), world)
            print(f"-- {name} took {time.monotonic() - begin:.0f} s", flush=True)


try:
    asyncio.run(main(sys.argv[1:]))
except Exception:
    traceback.print_exc()
    Scene.failed += 1
print(f"{Scene.passed} passed, {Scene.failed} failed", flush=True)
sys.exit(1 if Scene.failed or not Scene.passed else 0)
