"""A network of our own: a bridge, at which this process sits, and boxes, each in a namespace with its own name, addresses and /run."""

import contextlib
import os
import pathlib
import signal
import socket
import struct
import subprocess
import tempfile
import time

INGLENOOK = os.environ["INGLENOOK"]
ASKER, ASKER6 = "10.78.0.1", "fd78::1"
# How long anything may take that is not said to take longer, in seconds: a name is probed, announced twice, and asked for.
PATIENCE = 12

AVAHI = """[server]
host-name={name}
use-ipv4=yes
use-ipv6=yes
enable-dbus={dbus}
allow-interfaces={interface}
[publish]
publish-hinfo=no
publish-workstation=no
"""


def sh(*words, **options):
    return subprocess.run(words, check=True, text=True, capture_output=True, **options).stdout


def ip(*words):
    sh("ip", *words)


def until(what, holds, patience=PATIENCE):
    """Waits until something holds, and gives it."""
    end = time.monotonic() + patience
    while True:
        got = holds()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience} s: {what}")
        time.sleep(0.1)


class Lan:
    """The bridge `lan0`, with the asker and their avahi. As a context manager it ends what was started in it."""

    def __init__(self, folder):
        self.folder, self.boxes, self.started = folder, [], []

    def __enter__(self):
        ip("link", "set", "lo", "up")
        ip("link", "add", "lan0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0")
        ip("address", "add", f"{ASKER}/24", "dev", "lan0")
        ip("address", "add", f"{ASKER6}/64", "dev", "lan0", "nodad")
        ip("link", "set", "lan0", "up")
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            process.kill()
            process.wait()

    def start(self, words, log=None, **options):
        out = open(log, "a") if log else subprocess.DEVNULL
        self.started.append(subprocess.Popen(words, stdout=out, stderr=out, **options))
        return self.started[-1]

    def ask_with_avahi(self):
        """The asker's own avahi, by D-Bus, as its tools want it."""
        os.makedirs("/run/dbus", exist_ok=True)
        self.start(["dbus-daemon", "--system", "--nofork", "--nopidfile"], self.folder / "dbus.log")
        until("a bus", lambda: os.path.exists("/run/dbus/system_bus_socket"))
        config = self.folder / "asker.conf"
        config.write_text(AVAHI.format(name="asker", dbus="yes", interface="lan0"))
        self.start(["avahi-daemon", "-f", config, "--no-drop-root", "--no-rlimits"], self.folder / "asker.log")
        until("avahi", lambda: subprocess.run(["avahi-resolve", "-n", "asker.local"], capture_output=True).stdout)


class Box:
    """A box at the bridge: `number` makes its addresses, `host` is its name."""

    def __init__(self, lan, number, host):
        self.lan, self.number, self.host = lan, number, host
        self.address, self.address6 = f"10.78.0.{number}", f"fd78::{number}"
        self.folder = lan.folder / f"box{number}"
        self.folder.mkdir()
        self.port = f"port{number}"
        # Its namespaces live as long as this.
        self.life = lan.start(["unshare", "--net", "--uts", "--mount", "sh", "-c", f"hostname {host} && mount -t tmpfs tmpfs /run && mkdir /run/up && exec sleep infinity"])
        until("namespaces", lambda: os.path.exists(f"/proc/{self.life.pid}/root/run/up"))
        ip("link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns", str(self.life.pid))
        ip("link", "set", self.port, "master", "lan0", "up")
        self.ip("link", "set", "lo", "up")
        self.ip("address", "add", f"{self.address}/24", "dev", "eth0")
        self.ip("address", "add", f"{self.address6}/64", "dev", "eth0", "nodad")
        self.ip("link", "set", "eth0", "up")

    def within(self, *words):
        return ["nsenter", "--target", str(self.life.pid), "--net", "--uts", "--mount", *words]

    def run(self, *words):
        return sh(*self.within(*words))

    def ip(self, *words):
        self.run("ip", *words)

    def serve(self, domain=None, settings="", confined=False):
        """`confined`: as a user who may do nothing, as the unit of systemd has it."""
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        (data / "inglenook.toml").write_text(settings)
        self.log = self.folder / "log"
        self.log.unlink(missing_ok=True)
        more = ["--domain", domain] if domain else []
        user = []
        if confined:
            user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
            for path in (data, data / "inglenook.toml"):
                os.chown(path, 65534, 65534)
        self.server = self.lan.start(self.within(*user, INGLENOOK, "serve", "--data", str(data), *more), self.log)
        until("a server", lambda: "next  " in self.said(), 30)
        return self

    def said(self):
        return self.log.read_text()

    def command(self, *words):
        return self.run(INGLENOOK, *words, "--data", str(self.folder / "data"))

    def mdns(self):
        """What `status` says of it."""
        return next(line.split(None, 1)[1] for line in self.command("status").splitlines() if line.startswith("mdns "))

    def found(self, name):
        return until(f"{self.host} is found as {name}", lambda: self.mdns().startswith(f"found as {name} on eth0"))

    def stop(self):
        self.server.send_signal(signal.SIGTERM)
        assert self.server.wait(15) == 0

    def avahi(self, services=None):
        """avahi on this box, with what it shall tell of."""
        folder = self.folder / "services"
        folder.mkdir()
        if services:
            (folder / "inglenook.service").write_text(services)
        self.run("mount", "--bind", str(folder), "/etc/avahi/services")
        config = self.folder / "avahi.conf"
        config.write_text(AVAHI.format(name=self.host, dbus="no", interface="eth0"))
        self.lan.start(self.within("avahi-daemon", "-f", str(config), "--no-drop-root", "--no-rlimits"), self.folder / "avahi.log")
        until("avahi", lambda: "Server startup complete" in self.avahi_said())

    def avahi_said(self):
        return (self.folder / "avahi.log").read_text()

    def usage(self):
        """Processor time in seconds, and memory of its own in KiB."""
        fields = pathlib.Path(f"/proc/{self.server.pid}/stat").read_text().rpartition(")")[2].split()
        status = pathlib.Path(f"/proc/{self.server.pid}/status").read_text()
        anon = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), anon


def resolve(name, family="-4"):
    """What avahi says of a name, the address alone."""
    done = subprocess.run(["avahi-resolve", family, "-n", name], capture_output=True, text=True)
    return done.stdout.split()[1] if done.stdout.split()[1:] else None


def browse(kind):
    """What avahi finds of a kind: rows of a table, one for each family."""
    rows = sh("avahi-browse", "-rptk", kind).splitlines()
    return [row.split(";") for row in rows if row.startswith("=")]


def name_bytes(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def question(name, kind=1, number=0, top=0):
    return struct.pack(">6H", number, 0, 1, 0, 0, 0) + name_bytes(name) + struct.pack(">2H", kind, top | 1)


@contextlib.contextmanager
def listener(port=5353):
    """A socket of the asker's at the port of everybody, or another one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("", port))
        group = struct.pack("4s4si", socket.inet_aton("224.0.0.251"), socket.inet_aton("0.0.0.0"), socket.if_nametoindex("lan0"))
        one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, group)
        one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
        yield one


GROUP = ("224.0.0.251", 5353)
