"""Writes Gajim's settings, with its own hand: one account, and this plugin. Words: JID PASSWORD HOST PORT."""

import sys

from gajim.common import app, configpaths
from gajim.common.settings import Settings

jid, password, host, port = sys.argv[1:]
name, _, domain = jid.partition("@")
configpaths.init()
configpaths.create_paths()
app.settings = settings = Settings()
settings.init()
for setting in ("use_keyring", "check_for_update", "plugins_update_check"):
    settings.set_app_setting(setting, False)
settings.set_plugin_setting("house", "active", True)
settings.add_account("house")
account = {"active": True, "name": name, "hostname": domain, "account_label": jid, "password": password}
account |= {"use_custom_host": True, "custom_host": host, "custom_port": int(port), "custom_type": "START TLS"}
for setting, value in account.items():
    settings.set_account_setting("house", setting, value)
settings.save()
