"""Servers with addresses of their own, in the network namespace that `run` makes, and the DNS that knows them."""

import asyncio
import contextlib
import hashlib
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from cryptography import x509
from cryptography.hazmat.primitives import serialization

import house
from authority import Authority
from house import PASSWORD, PATIENCE
from peer import Client

DNS = "10.77.0.1"
# What a server has at its own address.
PORTS = {"c2s": 5222, "c2s_tls": 5223}


class World:
    """A folder with an authority, a DNS, and servers; as a context manager it ends what it started, and after a failure tells what
    the servers have said."""

    def __init__(self):
        self._temporary = tempfile.TemporaryDirectory(prefix="federation-")
        self.folder = pathlib.Path(self._temporary.name)
        self.authority = Authority(self.folder / "authority")
        self.servers, self.records, self.clients = [], [], []
        self.dns, self.failed = None, False

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for server in self.servers:
            server.kill()
        if self.dns:
            self.dns.kill()
            self.dns.wait()
        if kind is not None or self.failed:
            for server in self.servers:
                print(f"---- {server.domain}\n{server.tail()}", file=sys.stderr, flush=True)
        self._temporary.cleanup()

    def start(self, *servers):
        """The DNS with what they say of themselves, then the servers."""
        self.servers += servers
        self.resolve()
        for server in servers:
            server.start()
        for server in servers:
            server.wait()

    def resolve(self, *more):
        """The DNS begins anew, with `more` that it knows."""
        if self.dns:
            self.dns.kill()
            self.dns.wait()
        self.records += more
        lines = ["no-resolv", "no-hosts", "user=root", f"listen-address={DNS}", "bind-interfaces", "local=/#/", "keep-in-foreground"]
        lines += [line for server in self.servers for line in server.records()] + self.records
        config = self.folder / "dnsmasq.conf"
        config.write_text("\n".join(lines) + "\n")
        log = open(self.folder / "dnsmasq.log", "a")
        self.dns = subprocess.Popen(["dnsmasq", "-C", config, "--pid-file"], stdout=log, stderr=log)
        reachable(DNS, 53, self.dns)

    async def enter(self, server, name, jid=None, checks=True, **options):
        """Somebody new at this server, or who has this address, logged in; `checks`: who sees to it that it is this server."""
        client = Client(server, jid or server.user(name), **options)
        if not checks:
            client.ssl_context.check_hostname, client.ssl_context.verify_mode = False, ssl.CERT_NONE
        self.clients.append(client)
        return await client.online()

    async def leave(self):
        """Everybody logs out."""
        for client in self.clients:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(client.disconnect(), 5)
            client.abort()
        self.clients.clear()


def reachable(address, port, process, patience=PATIENCE):
    """Waits until something listens there."""
    deadline = time.monotonic() + patience
    while True:
        try:
            socket.create_connection((address, port)).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Exception(f"nothing listens at {address} port {port}")
            time.sleep(0.02)


class Server:
    """What all kinds have in common."""

    # Its services, names in front of the domain.
    services = ("conference",)
    # Where others connect to: the port with STARTTLS and the one with TLS from the first byte.
    s2s, s2s_tls = 5269, 5270
    # Whether it tells those who end a subscription that they see nobody any more (RFC 6121 §3.3.3).
    says_goodbye = True

    def __init__(self, world, domain, number, ways=("xmpp-server", "xmpps-server")):
        """`ways`: those that DNS knows."""
        self.world, self.domain, self.address, self.ways = world, domain, f"10.77.0.{number}", ways
        self.address_6 = f"fd77::{number}"
        self.ports, self.folder = PORTS, world.folder / domain
        self.folder.mkdir()
        self.log = self.folder / "log"
        # For those who log in here.
        self.ca = world.authority.file
        self.process, self.users = None, 0

    @property
    def rooms(self):
        return f"conference.{self.domain}"

    def records(self):
        """What DNS says: the host has another name than the domain."""
        domain = self.domain.encode("idna").decode()
        yield f"host-record=host.{domain},{self.address}"
        for service in ("", *(f"{service}." for service in self.services)):
            name = service + domain
            for way in self.ways:
                port = self.s2s_tls if way == "xmpps-server" else self.s2s
                yield f"srv-host=_{way}._tcp.{name},host.{domain},{port},0,5"

    def spawn(self, *words, **options):
        out = open(self.folder / "out", "a")
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, **options)

    def wait(self):
        reachable(self.address, self.ports["c2s"], self.process)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def user(self, name):
        self.users += 1
        jid = f"{name}{self.users}@{self.domain}"
        self.account(jid)
        return jid

    def account(self, jid):
        """Makes it, if it must be made."""

    def said(self):
        """All that it has logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines=60):
        text = (self.folder / "out").read_text(errors="replace") if (self.folder / "out").exists() else ""
        return "\n".join([*text.splitlines()[-10:], *self.said().splitlines()[-lines:]])


class Ours(Server):
    """The binary under test."""

    services = ("conference", "pubsub")

    def __init__(self, world, domain, number, certificate=None, settings="", federation="", peers="", environment=None, **options):
        """`certificate`: one that is installed, else its own; the others are text of the settings."""
        super().__init__(world, domain, number, **options)
        self.binary, self.environment = os.environ["INGLENOOK"], environment or {}
        self.log = self.folder / "out"
        self.settings, self.federation, self.peers = settings, federation, peers
        self.configure()
        self.certificate = certificate
        if not certificate:
            self.ca = self.folder / "cert/ca.crt"

    def configure(self, **changes):
        """Writes the settings, some of them others than before."""
        for name, value in changes.items():
            setattr(self, name, value)
        listen = {**self.ports, "s2s": self.s2s, "s2s_tls": self.s2s_tls}
        listen = "".join(f"{name} = ['{self.address}:{port}']\n" for name, port in listen.items())
        federation = f"ca_file = '{self.world.authority.file}'\n{self.federation}"
        text = f"domain = '{self.domain}'\nscram_iterations = 4096\n{self.settings}\n[house]\ncontacts = false\nroom = false\n[listen]\n{listen}component = []\nhttps = []\n"
        (self.folder / "inglenook.toml").write_text(f"{text}[federation]\n{federation}\n{self.peers}\n")

    def start(self):
        environment = {**os.environ, "RUST_LOG": "debug", **self.environment}
        self.spawn(self.binary, "serve", "--data", self.folder, env=environment)

    def wait(self):
        super().wait()
        if self.certificate:
            # Once: it stays.
            self.command("cert", "install", *self.certificate)
            self.certificate = None

    def command(self, *words, input=None):
        words = [self.binary, *words, "--data", self.folder]
        done = subprocess.run(words, input=input, capture_output=True, text=True, timeout=PATIENCE, env={**os.environ, **self.environment})
        if done.returncode != 0:
            raise Exception(f"{words}: {done.stderr}")
        return done.stdout

    def reload(self):
        """Reads the settings anew."""
        before = self.said().count("reloaded the settings")
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while self.said().count("reloaded the settings") == before:
            assert time.monotonic() < deadline, "the settings are not read again"
            time.sleep(0.02)

    def account(self, jid):
        self.command("user", "add", jid, "--password-stdin", input=PASSWORD + "\n")

    def key(self):
        """What others pin."""
        certificate = (self.folder / "cert/server.crt").read_bytes()
        public = x509.load_pem_x509_certificate(certificate).public_key()
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return f"sha256:{hashlib.sha256(der).hexdigest()}"

    def tail(self, lines=80):
        return "\n".join(self.said().splitlines()[-lines:])


PROSODY = """
pidfile = "{folder}/pid"
data_path = "{folder}/data"
run_as_root = true
log = {{ debug = "{log}" }}
interfaces = {{ "{address}", "{address_6}" }}
c2s_ports = {{ {c2s} }}
c2s_direct_tls_ports = {{ {c2s_tls} }}
s2s_ports = {{ {s2s} }}
s2s_direct_tls_ports = {{ {s2s_tls} }}
component_ports = {{ 5347 }}
component_interfaces = {{ "{address}" }}
http_ports = {{}}
https_ports = {{}}
c2s_require_encryption = true
s2s_require_encryption = true
s2s_secure_auth = {secure}
authentication = "internal_plain"
storage = "internal"
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "private", "blocklist", "carbons", "pep", "vcard_legacy", "version",
  "time", "ping", "mam", "smacks", "s2s", "s2s_auth_certs", "offline", {modules} }}
modules_disabled = {{ {without} }}
ssl = {{ key = "{key}"; certificate = "{certificate}"; cafile = "{authority}" }}
VirtualHost "{domain}"
Component "conference.{domain}" "muc"
  modules_enabled = {{ "muc_mam" }}
  muc_room_default_history_length = 50
Component "push.{domain}"
  component_secret = "{secret}"
"""


class Prosody(Server):
    """As Debian ships it. Its ports for servers are odd ones: only SRV tells them."""

    services = ("conference", "push")
    s2s, s2s_tls = 5301, 5302
    says_goodbye = False

    def __init__(self, world, domain, number, certificate, bidi=False, dialback=False, secure=True, **options):
        super().__init__(world, domain, number, **options)
        modules = [name for name, wanted in {"s2s_bidi": bidi, "dialback": dialback}.items() if wanted]
        without = [] if dialback else ["dialback"]
        self.config = self.folder / "prosody.cfg.lua"
        (self.folder / "data").mkdir()
        # Who logs in trusts a self-signed certificate, too.
        self.ca = world.authority.file if secure else certificate[0]
        self.config.write_text(PROSODY.format(
            folder=self.folder, log=self.log, address=self.address, address_6=self.address_6, domain=domain, secret=house.SECRET, **self.ports,
            s2s=self.s2s, s2s_tls=self.s2s_tls, secure=str(secure).lower(), certificate=certificate[0], key=certificate[1],
            authority=world.authority.file, modules=", ".join(f'"{name}"' for name in modules),
            without=", ".join(f'"{name}"' for name in without)))

    def start(self):
        self.spawn("prosody", "--config", self.config, "-F")

    def account(self, jid):
        # A folder as Prosody writes its name.
        quoted = "".join(chr(c) if chr(c).isalnum() and c < 128 else f"%{c:02x}" for c in self.domain.encode())
        accounts = self.folder / "data" / quoted / "accounts"
        accounts.mkdir(parents=True, exist_ok=True)
        (accounts / f"{jid.partition('@')[0]}.dat").write_text(f'return {{ ["password"] = "{PASSWORD}" }};\n')


EJABBERD = """
loglevel: debug
log_rotate_count: 0
hosts: ["{domain}"]
certfiles: ["{pem}"]
{trust}
s2s_use_starttls: required
s2s_timeout: 20
auth_password_format: plain
language: en
listen:
  - {{ port: {c2s}, ip: "{address}", module: ejabberd_c2s, starttls_required: true, starttls: true, access: all }}
  - {{ port: {c2s_tls}, ip: "{address}", module: ejabberd_c2s, tls: true, access: all }}
  - {{ port: {s2s}, ip: "{address}", module: ejabberd_s2s_in }}
modules:
  mod_adhoc: {{}}
  mod_caps: {{}}
  mod_carboncopy: {{}}
  mod_disco: {{}}
  mod_mam: {{ default: always }}
  mod_muc:
    access: all
    access_create: all
    default_room_options: {{ mam: true }}
  mod_offline: {{}}
  mod_ping: {{}}
  mod_pubsub:
    plugins: [flat, pep]
  mod_roster: {{}}
  mod_s2s_dialback: {{}}
  mod_vcard: {{}}
  mod_version: {{}}
"""


class Ejabberd(Server):
    """As Debian ships it."""

    def __init__(self, world, domain, number, certificate, trusted=True, **options):
        super().__init__(world, domain, number, ways=("xmpp-server",), **options)
        pem = self.folder / "pem"
        pem.write_bytes(certificate[0].read_bytes() + certificate[1].read_bytes())
        self.ca = world.authority.file if trusted else certificate[0]
        self.config = self.folder / "ejabberd.yml"
        trust = f'ca_file: "{world.authority.file}"\ns2s_cafile: "{world.authority.file}"' if trusted else ""
        self.config.write_text(EJABBERD.format(
            domain=domain, pem=pem, trust=trust, address=self.address, s2s=self.s2s, **self.ports))

    def start(self):
        # Its own scripts want a user, a name in a table of nodes and a port: the machine below needs none of these.
        libraries = next(pathlib.Path("/usr/lib").glob("*/ejabberd-*")).parent
        users = "".join(f'ok = ejabberd_auth:try_register(<<"u{n}">>, <<"{self.domain}">>, <<"{PASSWORD}">>), ' for n in range(1, 61))
        environment = {**os.environ, "HOME": str(self.folder), "ERL_LIBS": str(libraries), "ERL_CRASH_DUMP": "/dev/null"}
        environment |= {"EJABBERD_CONFIG_PATH": str(self.config), "EJABBERD_LOG_PATH": str(self.log), "CONTRIB_MODULES_PATH": str(self.folder)}
        self.spawn("erl", "-noinput", "-mnesia", "dir", f'"{self.folder}/mnesia"', "-s", "ejabberd", "-eval", f"{users}ok.", env=environment)

    def user(self, name):
        self.users += 1
        return f"u{self.users}@{self.domain}"


async def until(true, what, patience=PATIENCE):
    """Waits for something that nobody tells."""
    deadline = time.monotonic() + patience
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"in {patience} s it did not happen that {what}")
        await asyncio.sleep(0.02)


@contextlib.contextmanager
def timed(what, most):
    """This takes at most so many seconds."""
    begin = time.monotonic()
    yield
    took = time.monotonic() - begin
    assert took <= most, f"{what} took {took:.1f} s"
