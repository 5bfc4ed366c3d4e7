"""Converse.js in Chromium without a screen, led through the DevTools protocol: as a person reads and types."""

import asyncio
import collections
import contextlib
import functools
import http.server
import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.parse

import websockets

from house import PASSWORD, PATIENCE

HERE = pathlib.Path(__file__).parent / "web"


class Files(http.server.SimpleHTTPRequestHandler):
    """The page, and the library as it is distributed."""

    def translate_path(self, path):
        if path.startswith("/converse.html"):
            return str(HERE / "converse.html")
        return super().translate_path(path)

    def log_message(self, *_):
        pass


def websocket(way):
    """Where the server, or a way to it, has its WebSocket."""
    return f"wss://{way.domain}:{way.ports['https']}/xmpp-websocket"


def bosh(way):
    return f"https://{way.domain}:{way.ports['https']}/http-bind"


class Chromium:
    """A browser with a profile of its own, which trusts the house's authority; what it opens is a `Page`."""

    def __init__(self, house):
        self.house = house

    def trust(self):
        """As people do who import the authority's file in the browser's settings."""
        database = pathlib.Path(self.profile.name) / ".pki/nssdb"
        database.mkdir(parents=True)
        for words in (["-N", "--empty-password"], ["-A", "-n", "house", "-t", "C,,", "-i", self.house.ca]):
            subprocess.run(["certutil", "-d", f"sql:{database}", *words], check=True, capture_output=True, timeout=PATIENCE)

    async def __aenter__(self):
        dist = pathlib.Path(os.environ["NODE_MODULES"]) / "converse.js/dist"
        self.profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        self.trust()
        words = ["chromium-headless-shell", "--remote-debugging-port=0", f"--user-data-dir={self.profile.name}"]
        # Chromium's own sandbox needs more rights than a container gives; it loads nothing but what lies here.
        words += ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio"]
        # The server is here, whatever host a URL names; the certificate must be that host's all the same. It could have port 443.
        rules = f"MAP {self.house.domain}:443 127.0.0.1:{self.house.ports['https']}, MAP * 127.0.0.1"
        words += [f"--host-resolver-rules={rules}", "--no-proxy-server"]
        words += ["--disable-background-networking", "--window-size=1200,900", "about:blank"]
        self.process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "HOME": self.profile.name},
            # It is a script that starts others: all of them end with it.
            start_new_session=True,
        )
        for line in self.process.stderr:
            if found := re.search(r"DevTools listening on (\S+)", line):
                break
        else:
            raise Exception("Chromium does not start")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=dist))
        threading.Thread(target=self.files.serve_forever, daemon=True).start()
        self.socket = await websockets.connect(found[1], max_size=None)
        self.ids, self.waiting = itertools.count(1), {}
        # What the pages say to nobody.
        self.said = collections.defaultdict(lambda: collections.deque(maxlen=20))
        # What they ask for.
        self.asked = collections.defaultdict(list)
        self.reading = asyncio.create_task(self.read())
        return self

    async def __aexit__(self, *_):
        self.reading.cancel()
        with contextlib.suppress(Exception):
            await self.socket.close()
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.files.shutdown()
        self.profile.cleanup()

    async def read(self):
        async for text in self.socket:
            answer = json.loads(text)
            if future := self.waiting.pop(answer.get("id"), None):
                future.set_result(answer)
            elif answer.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                self.said[answer["sessionId"]].append(text)
            elif answer.get("method") == "Network.requestWillBeSent":
                self.asked[answer["sessionId"]].append(answer["params"]["request"]["url"])

    async def do(self, method, session=None, **params):
        id = next(self.ids)
        self.waiting[id] = asyncio.get_running_loop().create_future()
        message = {"id": id, "method": method, "params": params} | ({"sessionId": session} if session else {})
        await self.socket.send(json.dumps(message))
        answer = await asyncio.wait_for(self.waiting[id], PATIENCE)
        if "error" in answer:
            raise Exception(f"{method}: {answer['error']}")
        return answer["result"]

    async def window(self):
        """The session of a window of its own, which shares nothing with another one."""
        context = (await self.do("Target.createBrowserContext"))["browserContextId"]
        target = (await self.do("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        session = (await self.do("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            await self.do(f"{domain}.enable", session)
        return session

    async def open(self, jid, service=""):
        """A window where this account logs in. `service`: the URL for that, or it finds it by itself."""
        session = await self.window()
        values = urllib.parse.urlencode({"jid": jid, "password": PASSWORD, "service": service})
        await self.do("Page.navigate", session, url=f"http://127.0.0.1:{self.files.server_port}/converse.html?{values}")
        return Page(self, session)


class Page:
    def __init__(self, browser, session):
        self.browser, self.session = browser, session

    async def run(self, script):
        """The value of this expression, or what it promises."""
        answer = await self.browser.do(
            "Runtime.evaluate", self.session, expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise Exception(f"{script}: {json.dumps(answer['exceptionDetails'])[:2000]}")
        return answer["result"].get("value")

    async def until(self, script):
        """Waits until this is true."""
        deadline = time.monotonic() + PATIENCE
        while not (value := await self.run(script)):
            if time.monotonic() > deadline:
                shown, said = await self.run("document.body?.innerText"), "\n".join(self.browser.said[self.session])
                raise Exception(f"this does not come true: {script}\n{said[-8000:]}\n{shown}")
            # The page tells nobody when it changes.
            await asyncio.sleep(0.05)
        return value

    async def online(self):
        await self.until("window.api?.connection?.authenticated() && window.api.user.jid().includes('/')")
        await self.run("api.waitUntil('statusInitialized').then(() => true)")
        return self

    async def enter(self, room, nick, **settings):
        """`settings`: what the room must be like if there is none."""
        wanted = {"nick": nick} | ({"auto_configure": True, "roomconfig": settings} if settings else {})
        await self.run(f"api.rooms.open({json.dumps(room)}, {json.dumps(wanted)}, true).then(() => true)")
        await self.until(f"api.rooms.get({json.dumps(room)}).then(r => r?.session?.get('connection_status') == 5)")

    async def turn_to(self, jid):
        """Opens the chat with somebody, or the room that was entered."""
        kind = "rooms" if "@conference." in jid else "chats"
        await self.run(f"api.{kind}.open({json.dumps(jid)}, {{}}, true).then(() => true)")
        await self.until(f"!!document.querySelector({self.box(jid)} + ' textarea.chat-textarea')")

    def box(self, jid):
        name = "converse-muc" if "@conference." in jid else "converse-chat"
        return json.dumps(f"{name}[jid='{jid}']")

    async def say(self, jid, text):
        """Types it and presses Enter."""
        field = f"document.querySelector({self.box(jid)} + ' textarea.chat-textarea')"
        await self.run(f"{field}.focus()")
        await self.browser.do("Input.insertText", self.session, text=text)
        for type in ("keyDown", "keyUp"):
            key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
            await self.browser.do("Input.dispatchKeyEvent", self.session, type=type, **key)
        await self.until(f"{field}.value == ''")

    async def attach(self, jid, path):
        """Chooses a file from the disk, as behind the paper clip."""
        clip = f"document.querySelector({self.box(jid)} + ' input.fileupload')"
        await self.until(f"!!{clip}")
        found = await self.browser.do("Runtime.evaluate", self.session, expression=clip)
        await self.browser.do("DOM.setFileInputFiles", self.session, objectId=found["result"]["objectId"], files=[str(path)])

    async def picture(self, jid, url):
        """Waits until this picture is drawn in the chat; returns its width and height."""
        find = f"[...document.querySelectorAll({self.box(jid)} + ' .chat-msg img')].find(i => i.src == {json.dumps(url)})"
        # What is out of sight is not loaded.
        size = f"(i => {{ i?.scrollIntoView(); return i?.complete && i.naturalWidth > 0 && [i.naturalWidth, i.naturalHeight] }})({find})"
        return await self.until(size)

    async def hash_of(self, url):
        """The SHA-256 of what a script on the page gets from there, which is another origin to it."""
        get = f"fetch({json.dumps(url)}).then(a => a.arrayBuffer()).then(b => crypto.subtle.digest('SHA-256', b))"
        return await self.run(f"{get}.then(h => [...new Uint8Array(h)].map(n => n.toString(16).padStart(2, '0')).join(''))")

    async def shown(self, jid):
        """What is on the page for this chat, as [nick, text]."""
        lines = f"document.querySelectorAll({self.box(jid)} + ' converse-chat-message .chat-msg')"
        parts = "[m.querySelector('.chat-msg__author')?.innerText.trim(), m.querySelector('.chat-msg__text')?.innerText.trim()]"
        return await self.run(f"[...{lines}].map(m => {parts})")

    async def sees(self, jid, text):
        lines = f"[...document.querySelectorAll({self.box(jid)} + ' .chat-msg__text')]"
        await self.until(f"{lines}.some(e => e.innerText.trim() == {json.dumps(text)})")
