"""Prosody in place of the server: `python oracle.py team.py` shows whether a file of checks asks for what others do, too.

Not part of `run`. It needs Prosody 0.12, openssl, and what the file needs.
"""

import os
import pathlib
import runpy
import socket
import subprocess
import sys
import time

import house
from house import DOMAIN, PASSWORD, PATIENCE

CONFIG = """
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
run_as_root = true
log = {{ info = "{folder}/log" }}
interfaces = {{ "{address}" }}
c2s_ports = {{ {c2s} }}
c2s_direct_tls_ports = {{ {c2s_tls} }}
component_ports = {{ {component} }}
component_interfaces = {{ "{address}" }}
s2s_ports = {{}}
http_ports = {{}}
https_ports = {{}}
c2s_require_encryption = true
authentication = "internal_plain"
storage = "internal"
admins = {{ "admin@{domain}" }}
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "private", "blocklist", "carbons", "pep", "vcard_legacy", "version", "uptime",
  "time", "ping", "mam", "smacks", "csi_simple", "bookmarks", "vcard4", "lastactivity", "limits", "offline", "admin_adhoc" }}
ssl = {{ key = "{folder}/leaf.key"; certificate = "{folder}/leaf.crt" }}
VirtualHost "{domain}"
Component "conference.{domain}" "muc"
  modules_enabled = {{ "muc_mam" }}
  restrict_room_creation = "local"
  muc_room_default_members_only = true
  muc_room_default_history_length = 50
Component "pubsub.{domain}" "pubsub"
Component "{gateway}"
  component_secret = "{secret}"
"""


class Prosody(house.House):
    """Looks like the server, for the checks."""

    def __init__(self, address="127.0.0.1", ports=None, more=""):
        os.environ.setdefault("INGLENOOK", "")
        super().__init__(address, ports)
        self.ports = {name: port or free(address) for name, port in (ports or house.ANY_PORTS).items()}
        self.ca = self.folder / "leaf.crt"
        (self.folder / "data").mkdir()
        names = ",".join(f"DNS:{name}" for name in (DOMAIN, f"conference.{DOMAIN}", f"pubsub.{DOMAIN}"))
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9",
             "-subj", f"/CN={DOMAIN}", "-addext", f"subjectAltName={names}",
             "-keyout", self.folder / "leaf.key", "-out", self.ca], check=True, capture_output=True)
        self.config = self.folder / "prosody.cfg.lua"
        self.config.write_text(CONFIG.format(folder=self.folder, address=address, domain=DOMAIN, gateway=house.GATEWAY, secret=house.SECRET, **self.ports))

    def start(self):
        self.process = subprocess.Popen(["prosody", "--config", self.config, "-F"], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection((self.address, self.ports["c2s"])).close()
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise Exception((self.folder / "log").read_text())
                time.sleep(0.05)

    def command(self, *words, input=None):
        if words[:2] != ("user", "add"):
            raise Exception(f"{words} is not known to the oracle")
        accounts = self.folder / "data" / DOMAIN.replace(".", "%2e") / "accounts"
        accounts.mkdir(parents=True, exist_ok=True)
        name = words[2].partition("@")[0]
        (accounts / f"{name}.dat").write_text(f'return {{ ["password"] = "{PASSWORD}" }};\n')


def free(address):
    with socket.create_server((address, 0)) as server:
        return server.getsockname()[1]


house.House = Prosody
sys.argv = sys.argv[1:]
sys.path.insert(0, str(pathlib.Path(__file__).parent))
runpy.run_path(sys.argv[0], run_name="__main__")
