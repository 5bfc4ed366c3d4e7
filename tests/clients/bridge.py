"""XMPP over WebSocket (RFC 7395) on the one side, the server's direct TLS on the other, for clients that live in a browser."""

import asyncio
import contextlib
import ssl
import xml.etree.ElementTree as ET

import websockets
from slixmpp.xmlstream.tostring import tostring

from house import DOMAIN

FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"
STREAM = "http://etherx.jabber.org/streams"
HEADER = f"<stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' xmlns:stream='{STREAM}'>"


class Bridge:
    """Each WebSocket has a connection to the server; where one ends, the other ends."""

    def __init__(self, house):
        self.house = house

    async def __aenter__(self):
        self.server = await websockets.serve(self.cross, "127.0.0.1", 0, subprotocols=["xmpp"], compression=None)
        self.address = f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def cross(self, web):
        context = ssl.create_default_context(cafile=self.house.ca)
        try:
            port = self.house.ports["c2s_tls"]
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=DOMAIN)
        except OSError:
            # The server is not there; the client tries again later.
            return
        ways = [asyncio.create_task(way) for way in (self.up(web, writer), self.down(web, reader))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await asyncio.gather(*ways)
            writer.transport.abort()
            await web.close()

    async def up(self, web, writer):
        async for frame in web:
            root = ET.fromstring(frame)
            if root.tag == f"{{{FRAMING}}}open":
                # A stream begins, perhaps on top of another one.
                self_parser = ET.XMLPullParser(("start", "end"))
                web.parser, web.depth = self_parser, 0
                frame = HEADER
            elif root.tag == f"{{{FRAMING}}}close":
                frame = "</stream:stream>"
            writer.write(frame.encode())
            await writer.drain()

    async def down(self, web, reader):
        while data := await reader.read(65536):
            web.parser.feed(data)
            for event, element in web.parser.read_events():
                web.depth += 1 if event == "start" else -1
                if event == "start" and web.depth == 1:
                    names = "".join(f" {name}='{element.get(name)}'" for name in ("id", "from", "version"))
                    await web.send(f"<open xmlns='{FRAMING}'{names}/>")
                elif event == "end" and web.depth == 1:
                    await web.send(tostring(element))
                elif event == "end" and web.depth == 0:
                    await web.send(f"<close xmlns='{FRAMING}'/>")
                    return
