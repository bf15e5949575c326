"""A node's own folder: ``site.toml``, ``federation.toml``, ``certs/``, ``identity.pem``, and ``state/`` it keeps."""

from __future__ import annotations

from pathlib import Path

from xbcompute.core.errors import InputError
from xbcompute.core.parties import PartyId
from xbcompute.gate.pki import Identity
from xbcompute.node.config import NodeConfig, NodeUser
from xbcompute.specs.federation import PartySpec
from xbcompute.specs.load import load_federation, load_site
from xbcompute.specs.site import Site

IDENTITY = "identity.pem"


def read_node_folder(folder: Path, *, listen: str | None) -> NodeConfig:
    """The configuration of a real node; ``listen`` is host:port, or None for a node that only dials.

    Raises:
        InputError: a file, a peer's certificate or key is missing or wrong; or a key that is for simulation only.
    """
    federation = load_federation(folder / "federation.toml")
    site = load_site(folder / "site.toml")
    identity = Identity.load(folder / IDENTITY)
    me = PartyId(site.site.party)
    certificates = {PartyId(party.id): _certificate(folder, party) for party in federation.party}
    keys = {PartyId(party.id): _signing_key(party) for party in federation.party}
    _is_mine(identity, me, certificates, keys)
    state = folder / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    return NodeConfig(
        federation=federation,
        site=site,
        site_dir=folder,
        state_dir=state,
        identity=identity,
        certificates=certificates,
        signing_keys=keys,
        addresses={PartyId(party.id): party.address for party in federation.party},
        users=_users(folder, site),
        listen=listen,
    )


def _certificate(folder: Path, party: PartySpec) -> bytes:
    if party.certificate is None:
        raise InputError("federation.certificate", f"federation.toml: {party.id} has no certificate.", todo="Pin it.")
    return _read(folder / party.certificate, f"the certificate of {party.id}")


def _signing_key(party: PartySpec) -> str:
    if party.signing_key is None:
        raise InputError("federation.key", f"federation.toml: {party.id} has no signing_key.", todo="Pin it.")
    return party.signing_key


def _is_mine(identity: Identity, me: PartyId, certificates: dict[PartyId, bytes], keys: dict[PartyId, str]) -> None:
    if me not in certificates:
        raise InputError("site.party", f"site.toml: '{me}' is no party of federation.toml.")
    if certificates[me].strip() != identity.certificate.strip() or keys[me] != identity.signing_public:
        raise InputError(
            "identity.pinned",
            f"{IDENTITY}: this is not the identity that federation.toml pins for {me}.",
            todo="Use the identity whose certificate and signing key the parties agreed on.",
        )


def _users(folder: Path, site: Site) -> tuple[NodeUser, ...]:
    return tuple(
        NodeUser(
            user.id,
            _read(folder / user.certificate, f"the certificate of user {user.id}"),
            user.signing_key,
            frozenset(user.roles),
        )
        for user in site.user
    )


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise InputError(
            "file.unreadable", f"{path.name}: {what} cannot be read.", todo="Put the file there."
        ) from None
