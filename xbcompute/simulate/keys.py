"""Throwaway keys for a simulation: one identity a party, one operator and one signer a role for its people."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from xbcompute.core.parties import PartyId
from xbcompute.core.secret import Secret
from xbcompute.gate.pki import Identity
from xbcompute.specs.load import StudyFolder

OPERATOR = "operator"
IDENTITY_NAME = "identity.pem"


@dataclass(frozen=True)
class PartyKeys:
    """``identity`` is the node's, ``operator`` a user's who may ask the node, ``signers`` one key a role."""

    identity: Identity
    operator: Identity
    signers: Mapping[str, Secret[Ed25519PrivateKey]]

    def users(self) -> list[dict[str, Any]]:
        """The node's ``[[user]]`` entries."""
        operator = {
            "id": OPERATOR,
            "certificate": self.operator.certificate.decode(),
            "signing_key": self.operator.signing_public,
            "roles": ["AP"],
        }
        signers = [
            {"id": user_of(role), "certificate": "", "signing_key": _public(key), "roles": [role]}
            for role, key in self.signers.items()
        ]
        return [operator, *signers]


def user_of(role: str) -> str:
    """The id of the simulated person who signs for a role."""
    return f"simulated-{role.lower()}"


def _public(key: Secret[Ed25519PrivateKey]) -> str:
    raw = key.expose().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return "ed25519:" + base64.b64encode(raw).decode("ascii")


def make_keys(folder: StudyFolder, state: Path | None = None) -> dict[PartyId, PartyKeys]:
    """Fresh keys for every party, but for nodes that left theirs in ``state``; a role has one signer a party."""
    keys: dict[PartyId, PartyKeys] = {}
    for party in folder.federation.parties:
        roles = sorted({role for approval in folder.sites[party.id].approval for role in approval.roles})
        identity = _identity(folder.federation.id, party.id, state)
        keys[party.id] = PartyKeys(
            identity=identity,
            operator=Identity.throwaway(folder.federation.id, f"{party.id}.{OPERATOR}"),
            signers={role: _signer(identity, role) for role in roles},
        )
    return keys


def _identity(federation: str, party: PartyId, state: Path | None) -> Identity:
    kept = None if state is None else state / party / IDENTITY_NAME
    return Identity.load(kept) if kept is not None and kept.exists() else Identity.throwaway(federation, party)


def _signer(identity: Identity, role: str) -> Secret[Ed25519PrivateKey]:
    """Derived from the node's key, so that approvals in a kept store still verify."""
    seed = hmac.digest(identity.signing_key.expose().private_bytes_raw(), f"simulated {role}".encode(), "sha256")
    return Secret(Ed25519PrivateKey.from_private_bytes(seed))


def node_body(
    folder: StudyFolder,
    party: PartyId,
    keys: Mapping[PartyId, PartyKeys],
    directory: Path,
    *,
    peer_grace: float,
    worker_threads: int | None,
) -> dict[str, Any]:
    """What one simulated node is told; its identity is written to its folder in ``directory``."""
    state = directory / party
    identity = state / IDENTITY_NAME
    if not identity.exists():
        keys[party].identity.save(identity)
    return {
        "federation": folder.federation.plain(),
        "site": folder.sites[party].plain(),
        "site_dir": str(folder.site_dirs[party].resolve()),
        "state": str(state),
        "identity": str(identity),
        "certificates": {other: keys[other].identity.certificate.decode() for other in keys},
        "signing_keys": {other: keys[other].identity.signing_public for other in keys},
        "users": keys[party].users(),
        "peer_grace": peer_grace,
        "worker_threads": worker_threads,
    }
