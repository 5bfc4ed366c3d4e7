"""A client made of xmpp.js (`web/xmppjs.js`), in a process of its own."""

import asyncio
import contextlib
import json
import os
import pathlib
import subprocess

from house import PASSWORD, PATIENCE


def xmpp(way):
    """Where the server, or a way to it, has TCP."""
    return f"xmpp://127.0.0.1:{way.ports['c2s']}"


class Program:
    """`lines` is what it heard and said, as (with whom, text); `told` has what happened to it."""

    def __init__(self, house, name, service, resource="xmppjs"):
        self.house, self.name, self.service, self.resource = house, name, service, resource
        self.lines, self.told = [], []
        # Set whenever there is something new in these.
        self.news = asyncio.Event()

    async def __aenter__(self):
        script = pathlib.Path(os.environ["NODE_MODULES"]).parent / "xmppjs.js"
        # Node.js 20 has WebSockets if it is told so; newer ones have them anyway.
        words = ["node", "--experimental-websocket", "--no-warnings", script]
        words += [self.service, self.house.domain, self.name, PASSWORD, self.resource]
        self.process = await asyncio.create_subprocess_exec(
            *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "NODE_EXTRA_CA_CERTS": str(self.house.ca)}
        )
        self.reading = asyncio.create_task(self.read())
        try:
            await self.until(lambda: "online" in self.told, "come online")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_):
        self.reading.cancel()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def read(self):
        async for line in self.process.stdout:
            told = json.loads(line)
            if "body" in told:
                self.lines.append((told["with"], told["body"]))
            else:
                self.told += told
            self.news.set()

    async def until(self, true, what):
        """Waits until this is true of what it has told."""

        async def wait():
            while not true():
                self.news.clear()
                await self.news.wait()

        try:
            await asyncio.wait_for(wait(), PATIENCE)
        except TimeoutError:
            raise Exception(f"{self.name} does not {what}: {self.told}, {self.lines}") from None

    async def tell(self, **what):
        self.process.stdin.write(json.dumps(what).encode() + b"\n")
        await self.process.stdin.drain()

    async def enter(self, room, nick):
        await self.tell(enter=f"{room}/{nick}")
        await self.until(lambda: "joined" in self.told, "enter the room")

    async def say(self, to, body, type="chat"):
        await self.tell(to=to, type=type, text=body)
        # A room sends it back.
        if type == "chat":
            self.lines.append((to, body))

    def texts(self, other):
        return [body for who, body in self.lines if who == other]

    async def hears(self, other, text):
        await self.until(lambda: text in self.texts(other), f"hear {text!r}")
