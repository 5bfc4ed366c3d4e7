"""A server in a folder of its own, on loopback, and what all the checks need."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import traceback

DOMAIN = "house.test"
PASSWORD = "a long secret"
ADMIN = f"nurse@{DOMAIN}"
# A component that may connect, and how it proves that it is.
GATEWAY = f"gateway.{DOMAIN}"
SECRET = "neither-Montague-nor-Capulet"
# Seconds. Nothing here takes so long; what does has failed.
PATIENCE = 30

ANY_PORTS = {"c2s": 0, "c2s_tls": 0, "component": 0}
WEB_PORTS = {**ANY_PORTS, "https": 0}
LISTENERS = ["c2s", "c2s_tls", "s2s", "s2s_tls", "https", "component"]
SETTINGS = f"""
admins = ['{ADMIN}']
scram_iterations = 4096
"""
COMPONENTS = f"""
[components]
'{GATEWAY}' = '{SECRET}'
"""


class House:
    """The binary under test, serving a temporary folder; as a context manager it leaves nothing behind."""

    def __init__(self, address="127.0.0.1", ports=None, more="", domain=DOMAIN):
        """`ports`: where it listens, 0 for anywhere; `more`: settings beside those above."""
        self.binary, self.address, self.domain = os.environ["INGLENOOK"], address, domain
        self._temporary = tempfile.TemporaryDirectory(prefix="inglenook-")
        self.folder = pathlib.Path(self._temporary.name)
        self.ca = self.folder / "cert/ca.crt"
        ports = ports or ANY_PORTS
        places = {name: [f"{address}:{ports[name]}"] if name in ports else [] for name in LISTENERS}
        listen = "\n[house]\ncontacts = false\nroom = false\n[listen]\n" + "".join(f"{name} = {place}\n" for name, place in places.items())
        (self.folder / "inglenook.toml").write_text(
            f"domain = '{domain}'\n" + SETTINGS + more + listen + (COMPONENTS if "component" in ports else "")
        )
        self.process = None
        self.users = 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()
        self._temporary.cleanup()

    def start(self):
        """Starts it; knows its ports once this returns."""
        words = [self.binary, "serve", "--data", self.folder]
        environment = {"RUST_LOG": "warn", **os.environ}
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
        self.ports = {}
        for line in self.process.stdout:
            match line.split():
                case ["listening", address, setting, *_]:
                    self.ports[setting] = int(address.rpartition(":")[2])
                case ["next", *_]:
                    break
        else:
            raise Exception("the server does not start")
        # Whatever it says later must not block it.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def kill(self):
        """SIGKILL: it has no time to write anything."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM: it ends in order."""
        self.process.terminate()
        equal(self.process.wait(PATIENCE), 0, "exit status")

    def command(self, *words, input=None):
        """Runs `inglenook WORDS` on the folder; returns what it prints."""
        words = [self.binary, *words, "--data", self.folder]
        done = subprocess.run(words, input=input, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode != 0:
            raise Exception(f"{words}: {done.stderr}")
        return done.stdout

    def user(self, name):
        """Makes an account nobody has used; returns its address."""
        self.users += 1
        return self.account(f"{name}{self.users}@{self.domain}")

    def account(self, jid):
        """Makes the account of this address."""
        self.command("user", "add", jid, "--password-stdin", input=PASSWORD + "\n")
        return jid


def equal(got, wanted, what=""):
    """Like `assert`, and says what there was."""
    if got != wanted:
        raise AssertionError(f"{what or 'value'}: {got!r} instead of {wanted!r}")


class Report:
    """Runs checks, prints `ok NAME` for each and at the end how many; the first failure ends the program."""

    def __init__(self):
        self.passed = 0
        # Told to end, end as after any failure: with everything stopped that was started.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))

    @contextlib.contextmanager
    def check(self, name):
        try:
            yield
        except Exception:
            traceback.print_exc()
            print(f"FAILED {name}", flush=True)
            print(f"{self.passed} passed, 1 failed", flush=True)
            sys.exit(1)
        print(f"ok {name}", flush=True)
        self.passed += 1

    def end(self):
        print(f"{self.passed} passed, 0 failed", flush=True)
