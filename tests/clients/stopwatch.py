"""From an empty folder to a message between two accounts that were made by invitation: how many steps, how many characters typed, and
how long by machine. In a network of its own, so that the server runs as it does without a setting."""

import asyncio
import os
import pathlib
import re
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request

import slixmpp
from slixmpp.stanza import StreamFeatures
from slixmpp.xmlstream import ET, ElementBase, register_stanza_plugin
from slixmpp.xmlstream.handler import Waiter
from slixmpp.xmlstream.matcher import MatcherId

from house import PATIENCE, Report, equal

ADDRESS = "10.77.0.1"
# Seconds by machine, from the command to the message.
ALLOWED = 60
OWNER = ("boss", "a long secret one")
GUEST = ("anna", "a long secret two")


class Invited(ElementBase):
    """The stream feature of servers that register people by invitation (XEP-0445 §3)."""

    name, namespace, plugin_attrib = "register", "urn:xmpp:ibr-token:0", "invited"


class App(slixmpp.ClientXMPP):
    """An app that knows the house's authority. `token`: it makes its account by that invitation."""

    def __init__(self, jid, password, ca, token=None):
        context = ssl.create_default_context(cafile=ca)
        super().__init__(jid, password, ssl_context=context)
        for plugin in ("xep_0030", "xep_0004", "xep_0050"):
            self.register_plugin(plugin)
        self.token, self.ready, self.heard = token, asyncio.Event(), asyncio.Queue()
        if token:
            register_stanza_plugin(StreamFeatures, Invited)
            self.register_feature("invited", self.sign_up, restart=False, order=40)
        self.add_event_handler("session_start", self.come)
        self.add_event_handler("message", self.heard.put_nowait)

    async def sign_up(self, _features):
        if self.token is None:
            return False
        token, self.token = self.token, None
        for to, payload in (
            (self.boundjid.host, f"<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>"),
            (None, f"<query xmlns='jabber:iq:register'><username>{self.boundjid.user}</username>"
                   f"<password>{self.password}</password></query>"),
        ):
            iq = self.make_iq_set(ito=to)
            iq.append(ET.fromstring(payload))
            # The library keeps back what is sent before the login.
            answer = Waiter(f"sign up {iq['id']}", MatcherId(iq["id"]))
            self.register_handler(answer)
            self.send_raw(str(iq))
            equal((await answer.wait(PATIENCE))["type"], "result")
        return False

    async def come(self, _event):
        self.send_presence()
        await self.get_roster()
        self.ready.set()

    async def online(self):
        self.connect(ADDRESS, 5222)
        await asyncio.wait_for(self.ready.wait(), PATIENCE)
        return self

    def contacts(self):
        return {jid for jid in self.client_roster if "@" in jid and jid != self.boundjid.bare}


def page(ca, link, name, password):
    """Fills in the form behind an invitation, as a browser does without a script; the address that the page shows then."""
    context = ssl.create_default_context(cafile=ca)
    form = urllib.request.urlopen(link, context=context, timeout=PATIENCE).read().decode()
    assert "<form" in form, form
    fields = urllib.parse.urlencode({"name": name, "password": password, "again": password}).encode()
    origin = "/".join(link.split("/")[:3])
    done = urllib.request.urlopen(urllib.request.Request(link, fields, {"Origin": origin}), context=context, timeout=PATIENCE)
    return re.search(r'class="big"><bdi>([^<]*)', done.read().decode()).group(1)


async def invite(app):
    """What *invite* in an app asks for: the link behind the code that it shows (XEP-0401 §3)."""
    asks = app.plugin["xep_0050"]
    form = await asks.send_command(app.boundjid.host, "urn:xmpp:invite#invite")
    fields = {field.get("var"): field.findtext("{jabber:x:data}value") for field in form.xml.iter("{jabber:x:data}field")}
    return fields["uri"], fields["landing-url"]


def begin(folder):
    """The one command. Gives the process and the owner's link, which stands in the code as well."""
    words = [os.environ["INGLENOOK"], "serve"]
    environment = {name: value for name, value in os.environ.items() if name != "STATE_DIRECTORY"}
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True, env={**environment, "RUST_LOG": "warn"})
    link = None
    for line in process.stdout:
        if line.startswith("for you"):
            link = line.split()[-1]
        if line.startswith("next"):
            return process, link
    raise Exception("it does not start")


async def journey(folder, in_app):
    """`in_app`: the second account is made in an app that registers by the token, else on the page."""
    start = time.monotonic()
    commands, scans, typed = 1, 0, len("inglenook serve")
    process, link = begin(folder)
    try:
        ca = folder / "inglenook-data/cert/ca.crt"
        scans, typed = scans + 1, typed + len(OWNER[0]) + 2 * len(OWNER[1])
        boss = await App(await asyncio.to_thread(page, ca, link, *OWNER), OWNER[1], ca).online()
        uri, link = await invite(boss)
        scans, typed = scans + 1, typed + len(GUEST[0]) + (1 if in_app else 2) * len(GUEST[1])
        if in_app:
            token = re.search(r"[?;]preauth=([^;]*)", uri).group(1)
            anna = await App(f"{GUEST[0]}@{boss.boundjid.host}", GUEST[1], ca, token).online()
        else:
            anna = await App(await asyncio.to_thread(page, ca, link, *GUEST), GUEST[1], ca).online()
        # No address is typed: they are in each other's list.
        equal(anna.contacts(), {boss.boundjid.bare})
        (to,) = anna.contacts()
        anna.send_message(to, "hello", mtype="chat")
        message = await asyncio.wait_for(boss.heard.get(), PATIENCE)
        equal((message["body"], message["from"].bare), ("hello", anna.boundjid.bare))
        took = time.monotonic() - start
        equal(boss.contacts(), {anna.boundjid.bare})
        for app in (boss, anna):
            await app.disconnect()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    way = "in the app" if in_app else "on the page"
    print(f"   {commands} command, {scans} scans, 0 addresses, {typed} characters typed; {took:.1f} s by machine ({way})")
    assert took < ALLOWED, took


async def main():
    report = Report()
    for in_app in (False, True):
        with report.check(f"from an empty folder to a message, the second account made {'in an app' if in_app else 'on a page'}"):
            with tempfile.TemporaryDirectory(prefix="inglenook-") as folder:
                await asyncio.wait_for(journey(pathlib.Path(folder), in_app), 2 * ALLOWED)
    report.end()


asyncio.run(main())
