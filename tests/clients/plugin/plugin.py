"""Uses Gajim as a person does, and tells what is in its window; what is to be done, and what was, are lines of JSON."""

import hashlib
import json
import os
import sys
from pathlib import Path

from gajim.common import app, ged
from gajim.gtk.preview import PreviewWidget
from gajim.plugins import GajimPlugin
from gi.repository import Gio, GLib, Gtk
from nbxmpp.protocol import JID

# What Gajim would see if the authority were installed in the system.
Gio.TlsBackend.get_default().set_default_database(Gio.TlsFileDatabase.new(os.environ["HOUSE_CA"]))


def tell(**what):
    print(json.dumps(what), flush=True)


def below(widget):
    """This widget and all that is in it."""
    yield widget
    if isinstance(widget, Gtk.Container):
        for child in widget.get_children():
            yield from below(child)


def when(condition, do):
    """Does it as soon as the condition gives something, with that: not everything tells when it changes."""

    def look():
        found = condition()
        if found:
            do(found)
        return not found

    GLib.timeout_add(50, look)


def open_chat(jid):
    app.window.add_chat("house", JID.from_string(jid), "contact", select=True)


def send(jid, path):
    """Attaches a file, and presses the button that sends it."""
    open_chat(jid)

    def button():
        found = (w for w in below(app.window) if isinstance(w, Gtk.Button) and w.get_label() == "Send Files")
        return next((w for w in found if w.is_sensitive() and w.get_mapped()), None)

    def attach(_):
        app.window.activate_action("send-file", GLib.Variant("as", [Path(path).as_uri()]))
        when(button, lambda found: found.clicked())

    when(lambda: app.window.get_action_enabled("send-file-httpupload"), attach)


def look(jid, url):
    """Tells of the picture with this URL, once it is drawn in the chat."""
    open_chat(jid)

    def picture():
        for widget in below(app.window):
            if isinstance(widget, PreviewWidget) and widget.get_text() == url:
                for image in below(widget):
                    if isinstance(image, Gtk.Image) and image.get_mapped() and image.get_pixbuf():
                        return widget, image.get_pixbuf()
        return None

    def seen(found):
        widget, pixbuf = found
        content = widget._preview.orig_path.read_bytes()
        tell(shown=url, width=pixbuf.get_width(), height=pixbuf.get_height(), sha256=hashlib.sha256(content).hexdigest())

    when(picture, seen)


DO = {"send": send, "look": look}


class House(GajimPlugin):
    def init(self):
        self.events_handlers = {
            "signed-in": (ged.GUI1, lambda event: tell(online=str(app.get_client(event.account).get_own_jid()))),
            "message-received": (ged.GUI1, lambda event: event.msgtxt and tell(heard=event.msgtxt, sender=str(event.jid))),
        }

    def activate(self):
        GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, self.told)

    def told(self, stdin, condition):
        line = stdin.readline()
        if line:
            what = json.loads(line)
            DO[what.pop("do")](**what)
        return bool(line)
