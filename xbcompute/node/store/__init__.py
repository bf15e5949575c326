"""What a node keeps: its ledger, what it opened before, whom it counted, what it began, and what it released."""

from xbcompute.node.store.store import Store, open_store

__all__ = ["Store", "open_store"]
