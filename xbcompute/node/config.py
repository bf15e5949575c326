"""What a node is started with: its files read, its identity loaded, its peers pinned."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xbcompute.core.errors import InputError
from xbcompute.core.parties import PartyId
from xbcompute.gate.pki import Identity
from xbcompute.specs.base import SHANGHAI
from xbcompute.specs.federation import Federation
from xbcompute.specs.site import Site

STORE_NAME = "node.sqlite"
"""The store's file in a node's state folder."""


def raw_key(text: str, *, whose: str) -> bytes:
    """The 32 bytes of an ``ed25519:<base64>`` public key."""
    try:
        key = base64.b64decode(text.removeprefix("ed25519:"), validate=True)
    except ValueError:
        key = b""
    if len(key) != 32 or not text.startswith("ed25519:"):
        raise InputError("key.form", f"the signing key of {whose} is not 'ed25519:' and 32 bytes in base64.")
    return key


@dataclass(frozen=True)
class NodeUser:
    """One of the party's own people as the node knows them."""

    id: str
    certificate: bytes
    signing_key: str
    roles: frozenset[str]


@dataclass(frozen=True)
class NodeConfig:
    """Everything a node needs; ``signing_keys`` has every party's, ``certificates`` every peer's.

    Seconds: ``peer_grace`` a peer may be silent, ``prepare_limit`` reading data may take, ``run_limit`` a session.
    """

    federation: Federation
    site: Site
    site_dir: Path
    state_dir: Path
    identity: Identity
    certificates: Mapping[PartyId, bytes]
    signing_keys: Mapping[PartyId, str]
    addresses: Mapping[PartyId, str | None]
    users: tuple[NodeUser, ...]
    listen: str | None
    simulation: bool = False
    in_process: bool = False
    peer_grace: float = 10.0
    prepare_limit: float = 600.0
    run_limit: float = 3600.0
    worker_threads: int | None = None

    @property
    def me(self) -> PartyId:
        """This node's party."""
        return PartyId(self.site.site.party)

    def __post_init__(self) -> None:
        if self.federation.find(self.me) is None:
            raise InputError("site.party", f"site.toml: '{self.me}' is no party of federation.toml.")
        if not self.simulation:
            self._refuse_simulation_keys()

    def _refuse_simulation_keys(self) -> None:
        site = self.site
        counted = site.entity.counted_this_year
        for present, key in (
            (site.site.clock is not None, "clock"),
            (bool(site.approval), "[[approval]]"),
            (counted.sensitive > 0 or counted.non_sensitive > 0, "counted_this_year"),
            (bool(site.site.unsigned_packs), "unsigned_packs"),
        ):
            if present:
                raise InputError(
                    "site.simulation",
                    f"site.toml: {key} exists for simulation only.",
                    todo="Take it out; a node keeps its own clock, counters and signed approvals.",
                )


class SystemClock:
    """The machine's clock, in the time zone both first jurisdictions share."""

    def now(self) -> dt.datetime:
        """Now at UTC+8."""
        return dt.datetime.now(SHANGHAI)


class FixedClock:
    """A simulation's fixed clock."""

    def __init__(self, moment: dt.datetime) -> None:
        self._moment = moment

    def now(self) -> dt.datetime:
        """Always the same moment."""
        return self._moment
