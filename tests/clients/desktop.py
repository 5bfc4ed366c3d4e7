"""Gajim on a screen that nobody sees, led through a plugin of its own (`plugin`): as a person clicks and looks."""

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from house import PASSWORD, PATIENCE

HERE = pathlib.Path(__file__).parent / "plugin"
# The one who owns nothing: Gajim does not run as root.
NOBODY = 65534
# Debian's, which Debian's Gajim is for.
PYTHON = "/usr/bin/python3"


class Gajim:
    """With a home and a screen of its own, logged in to the house's account, and with the house's authority among the trusted ones."""

    def __init__(self, house, jid):
        self.house, self.jid = house, jid
        self.told, self.news = [], asyncio.Event()

    async def __aenter__(self):
        async with contextlib.AsyncExitStack() as stack:
            self.home = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gajim-", ignore_cleanup_errors=True)))
            shutil.copytree(HERE, self.home / "data/gajim/plugins/house", ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(self.house.ca, self.home / "ca.crt")
            screen = await self.start(stack, "Xvfb", "-displayfd", "1", "-screen", "0", "1280x1024x24", "-nolisten", "tcp")
            number = (await asyncio.wait_for(screen.stdout.readline(), PATIENCE)).decode().strip()
            self.own()
            words = [PYTHON, HERE / "settings.py", self.jid, PASSWORD, "127.0.0.1", str(self.house.ports["c2s"])]
            subprocess.run(self.as_nobody(words), check=True, capture_output=True, timeout=PATIENCE, cwd=self.home)
            self.process = await self.start(stack, *self.as_nobody(["gajim"], DISPLAY=f":{number}"), cwd=self.home)
            reading = asyncio.create_task(self.read())
            stack.callback(reading.cancel)
            await self.hears("online")
            self.stack = stack.pop_all()
        return self

    async def __aexit__(self, *_):
        await self.stack.aclose()

    async def start(self, stack, *words, **options):
        process = await asyncio.create_subprocess_exec(
            *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
        )

        async def end():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

        stack.push_async_callback(end)
        return process

    def own(self):
        """Its home belongs to whom it runs as."""
        if os.geteuid() == 0:
            for path in (self.home, *self.home.rglob("*")):
                os.chown(path, NOBODY, NOBODY)

    def as_nobody(self, words, **more):
        where = {name: self.home / name.split("_")[1].lower() for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")}
        environment = {"PATH": "/usr/bin:/bin", "HOME": self.home, "LANG": "C.UTF-8", "HOUSE_CA": self.home / "ca.crt"}
        # Nothing is asked of other programs of the desktop.
        environment |= {**where, "NO_AT_BRIDGE": "1", "GIO_USE_VFS": "local", "PYTHONDONTWRITEBYTECODE": "1", **more}
        words = ["env", "-i", *(f"{name}={value}" for name, value in environment.items()), *words]
        if os.geteuid() == 0:
            words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *words]
        return list(map(str, words))

    async def read(self):
        async for line in self.process.stdout:
            with contextlib.suppress(ValueError):
                line = json.loads(line)
            self.told.append(line)
            self.news.set()

    async def hears(self, name, value=None):
        """Waits until it tells of this; returns what."""

        async def wait():
            while not (found := [t for t in self.told if isinstance(t, dict) and name in t and value in (None, t[name])]):
                self.news.clear()
                await self.news.wait()
            return found[0]

        try:
            return await asyncio.wait_for(wait(), PATIENCE)
        except TimeoutError:
            raise Exception(f"Gajim does not tell of {name} {value}: {self.told[-40:]}") from None

    async def do(self, what, **how):
        self.process.stdin.write(json.dumps({"do": what, **how}).encode() + b"\n")
        await self.process.stdin.drain()

    async def send(self, jid, path):
        """Sends somebody a file."""
        shutil.copy(path, self.home)
        self.own()
        await self.do("send", jid=jid, path=str(self.home / path.name))

    async def picture(self, jid, url):
        """Waits until this picture is drawn in the chat; returns what is known of it."""
        await self.do("look", jid=jid, url=url)
        return await self.hears("shown", url)
