"""What comes by HTTP: curl and slixmpp with files, curl with something to say, a client on a WebSocket, and one on TCP beside it."""

import asyncio
import hashlib
import json
import os
import ssl
from base64 import b64decode, b64encode
from xml.etree import ElementTree

import aiohttp
import websockets
from slixmpp.plugins.xep_0363 import http_upload
from slixmpp.util.sasl.mechanisms import SCRAM

from house import DOMAIN, PASSWORD, PATIENCE, WEB_PORTS, equal
from scene import play

FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
BIND = "urn:ietf:params:xml:ns:xmpp-bind"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 1000


class Near(aiohttp.TCPConnector):
    """Connects to the house, whatever host a URL names; the certificate must be that host's all the same."""

    def __init__(self, house):
        super().__init__(ssl=ssl.create_default_context(cafile=house.ca))
        self.address = house.address

    async def _resolve_host(self, host, port, traces=None):
        return await super()._resolve_host(self.address, port, traces)


def session(house, **options):
    return aiohttp.ClientSession(connector=Near(house), **options)


def trust(house):
    """The library's uploads go where the server is, and trust its authority alone."""
    http_upload.ClientSession = lambda **options: session(house, **options)


async def curl(house, *words, input=b""):
    """Runs curl; returns the status, the fields and the content of the last answer."""
    words = ["--silent", "--show-error", "--include", "--cacert", house.ca, "--connect-to", "::127.0.0.1:", *words]
    process = await asyncio.create_subprocess_exec(
        "curl", *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(input), PATIENCE)
    if process.returncode != 0:
        raise Exception(f"curl {words}: {err.decode()}")
    head, content = "", out
    while not head or head.startswith("HTTP/1.1 100 "):
        head, content = (part if n else part.decode() for n, part in enumerate(content.split(b"\r\n\r\n", 1)))
    status, *fields = head.split("\r\n")
    return int(status.split()[1]), {name.lower(): value for name, value in (f.split(": ", 1) for f in fields)}, content


async def slot(client, name, size, content_type="application/octet-stream"):
    """The URL of a slot, and what curl shows there."""
    plugin = client.plugin["xep_0363"]
    answer = await plugin.request_slot(f"upload.{DOMAIN}", name, size, content_type, timeout=PATIENCE)
    (header,) = answer["http_upload_slot"]["put"]["headers"]
    return answer["http_upload_slot"]["put"]["url"], f"{header['name']}: {header['value']}"


async def enter(scene, *names):
    clients = [await scene.enter(scene.house.user(name)) for name in names]
    for client in clients:
        client.register_plugin("xep_0363")
    return clients


async def a_picture(scene):
    """Somebody uploads it as apps do, and somebody else has it from the URL in a message."""
    romeo, juliet = await enter(scene, "romeo", "juliet")
    trust(scene.house)
    path = scene.house.folder / "rose \N{ROSE} 50%.png"
    path.write_bytes(PICTURE)
    url = await asyncio.wait_for(romeo.plugin["xep_0363"].upload_file(path), PATIENCE)
    await romeo.say(juliet.boundjid.bare, url)
    heard = await juliet.hears_only(url)
    async with session(scene.house) as http, http.get(heard["body"]) as got:
        equal((got.status, got.content_type, await got.read()), (200, "image/png", PICTURE))
        equal(got.content_disposition.filename, path.name)


async def announced(scene):
    (romeo,) = await enter(scene, "romeo")
    info = (await romeo.plugin["xep_0363"].find_upload_service(timeout=PATIENCE))["disco_info"]
    equal([identity[:2] for identity in info["identities"]], [("store", "file")])
    try:
        await romeo.plugin["xep_0363"].upload_file("film.mp4", size=1 << 40, input_file=None or open(os.devnull, "rb"))
    except http_upload.FileTooBig:
        return
    raise Exception("a file that is too big is uploaded")


async def rules_of_uploads(scene):
    house, (romeo,) = scene.house, await enter(scene, "romeo")
    url, shown = await slot(romeo, "a b.txt", 5, "text/plain")
    put = ("--header", shown, "--header", "Content-Type: text/plain")
    for words, status in [
        (("--upload-file", "-", "--header", "Content-Length: 5", "--header", "Transfer-Encoding:"), 401),
        ((*put, "--upload-file", "-"), 411),
        ((*put, "--request", "PUT", "--data-binary", "@-"), 201),
        ((*put, "--request", "PUT", "--data-binary", "@-"), 409),
    ]:
        equal((await curl(house, *words, url, input=b"hello"))[0], status, f"{words}")
    other, shown = await slot(romeo, "b", 6)
    answer, _, _ = await curl(house, "--header", shown, "--request", "PUT", "--data-binary", "@-", other, input=b"hello")
    equal(answer, 400, "another length")
    # Files above 1 MiB wait to be told to go on.
    film = os.urandom(3_000_000)
    large, shown = await slot(romeo, "film.mp4", len(film), "video/mp4")
    (house.folder / "film").write_bytes(film)
    put = ("--header", shown, "--header", "Content-Type: video/mp4", "--expect100-timeout", "30")
    equal((await curl(house, *put, "--upload-file", house.folder / "film", large))[0], 201)
    status, fields, content = await curl(house, large)
    equal((status, fields["content-type"]), (200, "video/mp4"))
    equal(hashlib.sha256(content).digest(), hashlib.sha256(film).digest())
    for part, wanted in [("0-1", film[:2]), ("2999999-", film[-1:]), ("-3", film[-3:])]:
        status, fields, content = await curl(house, "--range", part, large)
        equal((status, content), (206, wanted), part)
    status, fields, content = await curl(house, "--range", "0-1,4-5", url)
    assert status == 206 and fields["content-type"].startswith("multipart/byteranges; "), fields
    status, fields, _ = await curl(house, "--head", url)
    equal((status, fields["content-length"]), (200, "5"))
    unchanged = await curl(house, "--header", f"If-None-Match: {fields['etag']}", url)
    equal((unchanged[0], unchanged[2]), (304, b""))
    status, fields, _ = await curl(house, "--request", "OPTIONS", "--header", "Origin: https://app.example", url)
    equal((status, fields["access-control-allow-origin"]), (204, "*"))
    base = url.split("/upload/")[0]
    for path in ("/upload/../domain", "/upload/%2e%2e/domain", "/upload/%252e%252e%252fdomain/a", "/upload/%00/a"):
        equal((await curl(house, "--path-as-is", base + path))[0], 404, path)
    equal((await curl(house, "--header", "Host: evil.example", base + "/"))[0], 421)


async def said_by_curl(scene):
    """As the command says that it is typed: in a room, and to somebody."""
    house, (romeo,) = scene.house, await enter(scene, "romeo")
    for words, text in [((), "disk full & <hot>"), (("--header", "Title: Backup"), "done")]:
        lines = house.command("notify", "add", romeo.boundjid.bare).splitlines()
        (url,) = [line.split()[1] for line in lines if line.startswith("url ")]
        status, fields, content = await curl(house, *words, "--data", text, url)
        equal((status, fields["content-type"]), (200, "application/json"), content)
        said = f"Backup\n{text}" if words else text
        heard = await romeo.hears_only(said)
        equal((heard["from"].full, heard["id"]), (DOMAIN, json.loads(content)["id"]))
    equal((await curl(house, "--data", "x", url + "x"))[0], 404)
    house.command("notify", "remove", romeo.boundjid.user)
    equal(len(house.command("notify", "list").splitlines()), 1)


class Browser:
    """A client on a WebSocket: elements go as messages (RFC 7395)."""

    def __init__(self, house, jid):
        self.house, self.jid = house, jid

    async def __aenter__(self):
        _, _, meta = await curl(self.house, f"https://{DOMAIN}:{self.house.ports['https']}/.well-known/host-meta")
        links = ElementTree.fromstring(meta).iter("{http://docs.oasis-open.org/ns/xri/xrd-1.0}Link")
        (link,) = (link for link in links if link.get("rel") == "urn:xmpp:alt-connections:websocket")
        context = ssl.create_default_context(cafile=self.house.ca)
        near = {"host": "127.0.0.1", "port": self.house.ports["https"]}
        self.socket = await websockets.connect(link.get("href"), ssl=context, subprotocols=["xmpp"], proxy=None, **near)
        equal(self.socket.subprotocol, "xmpp")
        await self.log_in()
        return self

    async def __aexit__(self, *_):
        await self.say(f"<close xmlns='{FRAMING}'/>")
        equal((await self.hear()).tag, f"{{{FRAMING}}}close")
        await self.socket.close()
        equal(self.socket.close_code, 1000)

    async def say(self, text):
        await self.socket.send(text)

    async def hear(self):
        return ElementTree.fromstring(await asyncio.wait_for(self.socket.recv(), PATIENCE))

    async def hear_of(self, tag):
        """The next element with this tag."""
        while (element := await self.hear()).tag != tag:
            pass
        return element

    async def open(self):
        await self.say(f"<open xmlns='{FRAMING}' to='{DOMAIN}' version='1.0'/>")
        equal((await self.hear()).tag, f"{{{FRAMING}}}open")
        return await self.hear()

    async def log_in(self):
        offered = {mechanism.text for mechanism in (await self.open()).iter(f"{{{SASL}}}mechanism")}
        assert "SCRAM-SHA-256" in offered, offered
        credentials = {"username": self.jid.split("@")[0].encode(), "password": PASSWORD.encode(), "authzid": b"", "channel_binding": b""}
        # As browsers do: they cannot bind to the channel, and say that they cannot.
        scram = SCRAM("SCRAM-SHA-256", credentials, {"encrypted": True, "binding_proposed": True})
        first = b64encode(scram.process()).decode()
        await self.say(f"<auth xmlns='{SASL}' mechanism='SCRAM-SHA-256'>{first}</auth>")
        challenge = await self.hear_of(f"{{{SASL}}}challenge")
        proof = b64encode(scram.process(b64decode(challenge.text))).decode()
        await self.say(f"<response xmlns='{SASL}'>{proof}</response>")
        # It proves that the server knows the password, too.
        scram.process(b64decode((await self.hear_of(f"{{{SASL}}}success")).text))
        await self.open()
        await self.say(f"<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='{BIND}'/></iq>")
        equal((await self.hear_of("{jabber:client}iq")).get("type"), "result")
        await self.say("<presence xmlns='jabber:client'/>")
        await self.hear_of("{jabber:client}presence")


async def chat_with_a_browser(scene):
    (romeo,) = await enter(scene, "romeo")
    async with Browser(scene.house, scene.house.user("juliet")) as juliet:
        await romeo.say(juliet.jid, "She speaks")
        heard = await juliet.hear_of("{jabber:client}message")
        equal((heard.get("from"), heard.findtext("{jabber:client}body")), (romeo.boundjid.full, "She speaks"))
        text = "Ay me \N{ROSE} " + "and all the world " * 2000
        await juliet.say(f"<message xmlns='jabber:client' to='{romeo.boundjid.bare}' type='chat'><body>{text}</body></message>")
        await romeo.hears_only(text)
        # And back, in more than one frame.
        await romeo.say(juliet.jid, text)
        heard = await juliet.hear_of("{jabber:client}message")
        equal(heard.findtext("{jabber:client}body"), text)
        # Whether it is there is asked with a frame, too.
        await asyncio.wait_for(await juliet.socket.ping(), PATIENCE)


async def frames_that_may_not_be(scene):
    async with Browser(scene.house, scene.house.user("juliet")) as juliet:
        await juliet.socket.send(["<message xmlns='jabber:client' ", f"to='{juliet.jid}'><body>in ", "parts</body></message>"])
        heard = await juliet.hear_of("{jabber:client}message")
        equal(heard.findtext("{jabber:client}body"), "in parts")
    other = Browser(scene.house, scene.house.user("romeo"))
    await other.__aenter__()
    await other.socket.send(b"binary")
    await asyncio.wait_for(other.socket.wait_closed(), PATIENCE)
    equal(other.socket.close_code, 1003)


if __name__ == "__main__":
    play(
        [a_picture, announced, rules_of_uploads, said_by_curl, chat_with_a_browser, frames_that_may_not_be],
        ways=(True,),
        ports=WEB_PORTS,
    )
