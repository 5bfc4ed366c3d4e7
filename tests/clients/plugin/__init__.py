# Gajim takes the first name that it finds here for the plugin: there must be no other.
from .plugin import House  # noqa: F401
