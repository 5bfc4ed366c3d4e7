"""The checks, by scene: each a network of its own. `scenes.py NAME...` plays some of them, without names all."""

import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

from zeroconf import IPVersion, ServiceBrowser, ServiceListener, Zeroconf

from lan import ASKER, GROUP, PATIENCE, Box, Lan, browse, ip, listener, question, resolve, until

APPS = ["_xmpp-client._tcp", "_xmpps-client._tcp", "_https._tcp"]


class Seen(ServiceListener):
    """What zeroconf says comes and goes."""

    def __init__(self):
        self.there, self.gone = set(), set()

    def add_service(self, zeroconf, kind, name):
        self.there.add(name)

    def update_service(self, zeroconf, kind, name):
        pass

    def remove_service(self, zeroconf, kind, name):
        self.there.discard(name)
        self.gone.add(name)


def web_port(box):
    return next(line.split()[1].rpartition(":")[2] for line in box.said().splitlines() if " https " in line)


def found(lan):
    """avahi's tools and zeroconf find the box, its services with their ports, by both families; SIGTERM takes it all back."""
    box = Box(lan, 11, "box").serve(domain="chat.example", settings='[listen]\nc2s = ["[::]:15222"]\n', confined=True)
    box.found("box.local")
    assert until("the name", lambda: resolve("box.local")) == box.address
    assert until("the name", lambda: resolve("box.local", "-6")) == box.address6
    # IPv6 takes a moment longer: an address is not used before nobody else has it (RFC 4862 §5.4).
    both = lambda rows: len({row[2] for row in rows}) == 2 and rows
    rows = until("a service, by both", lambda: both(browse("_https._tcp")))
    for row in rows:
        assert row[3].replace("\\032", " ").replace("\\.", ".") == "Chat of chat.example", row
        assert row[6] == "box.local" and row[8] == web_port(box) and '"path=/"' in row[9], row
        assert row[7] in (box.address, box.address6), row
    assert {row[8] for row in browse("_xmpp-client._tcp")} == {"15222"}
    assert not browse("_xmpp-server._tcp"), "no other server is talked to"

    seen, zeroconf = Seen(), Zeroconf(interfaces=[ASKER], ip_version=IPVersion.V4Only)
    try:
        for kind in APPS:
            ServiceBrowser(zeroconf, f"{kind}.local.", seen)
        until("three services", lambda: len(seen.there) == 3)
        info = zeroconf.get_service_info("_https._tcp.local.", "Chat of chat.example._https._tcp.local.")
        assert info.server == "box.local." and info.port == int(web_port(box)), info
        assert info.properties == {b"path": b"/"} and box.address in info.parsed_addresses(), info
        with listener() as heard:
            box.stop()
            goodbye = receive(heard, lambda packet: b"\x03box\x05local" in packet)
            assert goodbye and b"\x00\x00\x00\x00\x00\x04" + socket.inet_aton(box.address) in goodbye, "the address has TTL 0"
        until("no services", lambda: len(seen.gone) == 3 and not seen.there, 3)
    finally:
        zeroconf.close()


def receive(socket, fits, patience=5):
    socket.settimeout(patience)
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            packet = socket.recv(9000)
        except TimeoutError:
            return None
        if fits(packet):
            return packet


def old_resolvers(lan):
    """A question from another port gets an answer of DNS, for a short time; one from another network none."""
    box = Box(lan, 12, "box").serve(domain="house.local")
    box.found("box.local")
    # The domain is a name of the network, too, and that is what apps look up.
    for name in ("box.local", "house.local"):
        with listener(0) as one:
            one.sendto(question(name, number=0x1234), GROUP)
            answer = receive(one, lambda packet: packet[:2] == b"\x12\x34")
            assert answer and answer[2] & 0x80 and question(name)[12:] in answer, name
            # An A record of class IN, without the bit of multicast DNS, for ten seconds.
            assert b"\x00\x01\x00\x01\x00\x00\x00\x0a\x00\x04" + socket.inet_aton(box.address) in answer, name
    ip("address", "add", "10.99.0.1/24", "dev", "lan0")
    with listener(0) as one:
        far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        far.bind(("10.99.0.1", 0))
        far.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.99.0.1"))
        box.ip("route", "add", "10.99.0.0/24", "dev", "eth0")
        far.sendto(question("box.local", number=0x4321), GROUP)
        assert receive(far, lambda packet: True, 2) is None
    box.stop()


def two(lan):
    """Two boxes with one name: the second gets another, and its owner is told."""
    one = Box(lan, 13, "box").serve()
    one.found("box.local")
    other = Box(lan, 14, "box").serve(domain="other.example")
    other.found("box-2.local")
    assert until("the first", lambda: resolve("box.local")) == one.address
    assert until("the second", lambda: resolve("box-2.local")) == other.address
    assert "box.local is another box, this one is box-2.local" in other.said(), other.said()
    assert "another box" not in one.said(), one.said()
    check = subprocess.run(other.within(os.environ["INGLENOOK"], "check", "--data", str(other.folder / "data")), capture_output=True, text=True).stdout
    assert "note   mdns: found as box-2.local" in check, check
    # What it has to offer leads to its own name.
    rows = until("its service", lambda: [row for row in browse("_https._tcp") if "other.example" in row[3].replace("\\.", ".")])
    assert {row[6] for row in rows} == {"box-2.local"}, rows
    for box in (one, other):
        box.stop()


def together(lan):
    """Three boxes with one name that start in the same moment end with three names."""
    boxes = [Box(lan, number, "box") for number in (15, 16, 17)]
    threads = [threading.Thread(target=box.serve) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = sorted(until("a name", lambda: box.mdns().startswith("found as ") and box.mdns().split()[2], 30) for box in boxes)
    time.sleep(3)
    names = sorted(box.mdns().split()[2] for box in boxes)
    assert len(set(names)) == 3 and "box.local" in names, names
    for box in boxes:
        assert until("its address", lambda: resolve(box.mdns().split()[2])) == box.address
        box.stop()


def changes(lan):
    """Addresses that come and go are told in time; a cable is pulled and put back."""
    box = Box(lan, 18, "box").serve()
    box.found("box.local")
    with listener() as heard:
        began = time.monotonic()
        box.ip("address", "add", "10.78.0.118/24", "dev", "eth0")
        assert receive(heard, lambda packet: packet[2] & 0x80 and socket.inet_aton("10.78.0.118") in packet, 35)
        print(f"   an address was told after {time.monotonic() - began:.1f} s", flush=True)
        box.ip("address", "delete", "10.78.0.118/24", "dev", "eth0")
        gone = b"\x00\x00\x00\x00\x00\x04" + socket.inet_aton("10.78.0.118")
        assert receive(heard, lambda packet: gone in packet, 35)
        ip("link", "set", box.port, "down")
        until("nobody is there", lambda: "no network" in box.mdns(), 35)
        ip("link", "set", box.port, "up")
        probe = lambda packet: not packet[2] & 0x80 and b"\x03box\x05local" in packet and packet[8:10] != b"\0\0"
        assert receive(heard, probe, 35), "the name is probed again"
    box.found("box.local")
    assert until("the name", lambda: resolve("box.local")) == box.address
    box.stop()


def beside_avahi(lan):
    """Beside avahi nothing is said for the host, which keeps its name; avahi tells of the server by the file for it."""
    box = Box(lan, 19, "box")
    data = box.folder / "data"
    data.mkdir()
    # The file before the server runs: what the settings say.
    (data / "inglenook.toml").write_text('domain = "chat.example"\n[listen]\nhttps = ["[::]:8443"]\n')
    box.avahi(box.command("config", "--avahi"))
    box.serve(settings=(data / "inglenook.toml").read_text())
    until("it is told", lambda: "avahi answers for this box, and tells of this server" in box.said())
    assert "avahi answers for this box" in box.mdns(), box.mdns()
    rows = until("a service", lambda: browse("_https._tcp"))
    assert {(row[6], row[8]) for row in rows} == {("box.local", "8443")}, rows
    assert until("the name", lambda: resolve("box.local")) == box.address
    sockets = pathlib.Path(f"/proc/{box.server.pid}/net/udp").read_text()
    assert sockets.count(":14E9") == 1, "avahi alone has the port"
    box.stop()
    # By force: its services are told of, and the name stays avahi's.
    box.serve(settings='domain = "chat.example"\nmdns = "on"\n[listen]\nhttps = ["[::]:8443"]\n')
    until("services", lambda: "another program answers for this box" in box.mdns())
    until("two of the kind", lambda: len({row[3] for row in browse("_xmpp-client._tcp")}) == 2)
    time.sleep(3)
    assert resolve("box.local") == box.address and not resolve("box-2.local")
    assert "conflict" not in box.avahi_said().lower() and "box-2" not in box.avahi_said(), box.avahi_said()
    box.stop()
    assert resolve("box.local") == box.address


def avahi_comes_and_goes(lan):
    """avahi is started and ends while the server runs: the name is its, and then ours again."""
    box = Box(lan, 20, "box").serve()
    box.found("box.local")
    box.avahi()
    avahi = lan.started[-1]
    until("avahi has it", lambda: box.mdns().startswith("avahi answers for this box. It tells of this server, too, after `inglenook config"), 40)
    time.sleep(3)
    assert "box-2" not in box.avahi_said(), box.avahi_said()
    assert until("the name", lambda: resolve("box.local")) == box.address
    avahi.terminate()
    avahi.wait()
    until("it is ours", lambda: box.mdns().startswith("found as box.local"), 50)
    box.stop()


def floods(lan):
    """Packets of all sorts, and too many of them: the server goes on, and what it costs."""
    quiet = Box(lan, 21, "quiet").serve(settings='mdns = "off"\n')
    box = Box(lan, 22, "box").serve()
    box.found("box.local")
    # What asking costs, both have paid.
    for one in (quiet, box) * 20:
        one.mdns()
    time.sleep(3)
    print(f"   memory of its own: {box.usage()[1]} KiB, without {quiet.usage()[1]} KiB", flush=True)
    with listener(0) as one:
        cpu, begun = box.usage()[0], time.monotonic()
        for n in range(10_000):
            one.sendto(question(("box.local", "nobody.local", "_https._tcp.local")[n % 3], (1, 28, 12)[n % 3], number=n), GROUP)
            while n / 1000 > time.monotonic() - begun:
                time.sleep(0.001)
        taken = box.usage()[0] - cpu
        print(f"   10,000 questions in {time.monotonic() - begun:.1f} s: {taken:.2f} s of processor time", flush=True)
    dice = random.Random(7)
    with listener() as one:
        good = question("box.local")
        for n in range(1500):
            packet = bytearray(good + dice.randbytes(dice.randrange(200)))
            for _ in range(dice.randrange(8)):
                packet[dice.randrange(len(packet))] = dice.randrange(256)
            one.sendto(bytes(packet), GROUP)
            time.sleep(0.001)
        assert until("the name", lambda: resolve("box.local")) == box.address
        # Ten times what is listened to.
        cpu = box.usage()[0]
        for _ in range(30_000):
            one.sendto(good, GROUP)
        taken = box.usage()[0] - cpu
    print(f"   30,000 questions as fast as it goes: {taken:.2f} s of processor time", flush=True)
    print(f"   memory of its own after that: {box.usage()[1]} KiB", flush=True)
    time.sleep(7)
    with listener(0) as one:
        one.sendto(question("box.local", number=7), GROUP)
        assert receive(one, lambda packet: packet[:2] == b"\0\x07")
    box.stop()
    quiet.stop()


ALL = [found, old_resolvers, two, together, changes, beside_avahi, avahi_comes_and_goes, floods]


def main(names):
    failed = 0
    with tempfile.TemporaryDirectory(prefix="mdns-") as folder, Lan(pathlib.Path(folder)) as lan:
        os.chmod(folder, 0o711)
        lan.ask_with_avahi()
        for scene in ALL:
            if names and scene.__name__ not in names:
                continue
            begun, word = time.monotonic(), "ok"
            try:
                scene(lan)
            except Exception:
                failed, word = failed + 1, "FAILED"
                traceback.print_exc()
                for log in sorted(pathlib.Path(folder).glob("box*/*log")):
                    print(f"---- {log.parent.name}/{log.name}\n{log.read_text()[-3000:]}", flush=True)
            print(f"{word} {scene.__name__}: {scene.__doc__} ({time.monotonic() - begun:.0f} s)", flush=True)
            for process in lan.started[2:]:
                process.kill()
                process.wait()
            del lan.started[2:]
            # What was taken back is forgotten a second later (RFC 6762 §10.1).
            time.sleep(2)
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
