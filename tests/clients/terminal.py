"""A program on a screen of its own, through tmux, and a way to the server that can break."""

import asyncio
import contextlib
import os
import pathlib
import shlex
import subprocess
import tempfile
import time

from house import PATIENCE


class Terminal:
    """A program with a home of its own."""

    def __init__(self, *words):
        self._temporary = tempfile.TemporaryDirectory(prefix="terminal-")
        self.home = pathlib.Path(self._temporary.name)
        self.socket, self.words = self.home / "tmux", words

    def __enter__(self):
        environment = {"HOME": self.home, "LANG": "C.UTF-8"}
        environment |= {"XDG_CONFIG_HOME": self.home / "config", "XDG_DATA_HOME": self.home / "data"}
        words = ["env", *(f"{name}={value}" for name, value in environment.items()), *self.words]
        self.tmux("new-session", "-d", "-x", "160", "-y", "500", shlex.join(map(str, words)))
        return self

    def __exit__(self, *_):
        self.tmux("kill-server")
        self._temporary.cleanup()

    def tmux(self, *words):
        words = ["tmux", "-S", self.socket, "-f", os.devnull, *words]
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def type(self, line):
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")

    async def sees(self, text):
        """Waits until the screen shows a text; returns the screen."""
        deadline = time.monotonic() + PATIENCE
        while (screen := self.screen()).find(text) < 0:
            if time.monotonic() > deadline:
                raise Exception(f"there is no {text!r} on the screen:\n{screen.strip()}")
            # The screen tells nobody when it changes.
            await asyncio.sleep(0.05)
        return screen

    async def clear(self):
        """So that what is seen from now on is new."""
        self.type("/clear")
        deadline = time.monotonic() + PATIENCE
        while len([line for line in self.screen().splitlines() if line.strip()]) > 3:
            if time.monotonic() > deadline:
                raise Exception(f"the screen is not cleared:\n{self.screen()}")
            await asyncio.sleep(0.05)


class Relay:
    """A way to the server that can break, like a radio that loses its network. To clients it looks like the `House`."""

    def __init__(self, house, setting, source=None):
        """`source`: the address that the server takes for the client's."""
        self.house, self.setting = house, setting
        self.source = source and (source, 0)
        self.ca, self.address, self.domain = house.ca, house.address, house.domain
        self.writers, self.open, self.loses = set(), asyncio.Event(), False
        self.open.set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.pass_on, "127.0.0.1")
        self.port = self.server.sockets[0].getsockname()[1]
        self.ports = {self.setting: self.port}
        return self

    async def __aexit__(self, *_):
        self.server.close()
        self.cut()

    async def pass_on(self, reader, writer):
        await self.open.wait()
        try:
            port = self.house.ports[self.setting]
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port, local_addr=self.source)
        except OSError:
            # The server is not there.
            writer.transport.abort()
            return
        self.writers |= {writer, far_writer}
        await asyncio.gather(self.pump(reader, far_writer), self.pump(far_reader, writer))
        self.writers -= {writer, far_writer}

    def close(self):
        """Whoever tries to connect from now on waits until `open` is set."""
        self.open.clear()
        self.cut()

    def lose(self):
        """From now on nothing arrives, and nobody is told, until it is cut."""
        self.loses = True

    def cut(self):
        for writer in self.writers:
            writer.transport.abort()
        self.loses = False

    async def pump(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if not self.loses:
                    writer.write(data)
        writer.transport.abort()
