"""The public test kit: a federation inside pytest, and canaries that must never be seen again."""

from xbcompute.testing.canary import Canaries

__all__ = ["Canaries"]
