"""The masked sum: each round opens the exact total of all contributions and nothing else.

Double masking after Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning" (2017),
without dropout recovery: a round ends with all participants or not at all. ``protocols/masked-sum/spec.md`` says what
each message holds and why; ``context`` to ``round`` are its sections as pure functions, ``engine`` moves the messages.
"""

from __future__ import annotations

from xbcompute.engines.masked_sum.engine import MaskedSum
from xbcompute.engines.masked_sum.restart import check_restart

__all__ = ["MaskedSum", "check_restart"]
