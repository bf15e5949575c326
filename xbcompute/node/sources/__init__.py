"""A holder's own rows: opened read-only, checked against what site.toml declares, made ready for one study."""

from xbcompute.node.sources.opening import BUDGET, Source, open_source
from xbcompute.node.sources.prepare import Prepared, count_people, prepare

__all__ = ["BUDGET", "Prepared", "Source", "count_people", "open_source", "prepare"]
