"""The last head of each peer's ledger that this node countersigned."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select

from xbcompute.ledger.checkpoint import Checkpoint
from xbcompute.ledger.cosign import Countersignature, Seen, countersign
from xbcompute.ledger.keys import Sign
from xbcompute.node.store.database import Database
from xbcompute.node.store.schema import PEERS


class PeerHeads:
    """This node as a witness."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def seen(self, origin: str) -> Seen | None:
        """The last head countersigned of ``origin``, so that the peer knows where its proof must start."""
        with self._database.read() as connection:
            return _seen(connection, origin)

    def heads(self) -> list[Checkpoint]:
        """The last checkpoint of every peer, by origin; what a ``cosign`` record lists."""
        with self._database.read() as connection:
            rows = connection.execute(select(PEERS).order_by(PEERS.c.origin)).all()
        return [Checkpoint(row.origin, row.size, bytes(row.root), row.at, bytes(row.signature)) for row in rows]

    def countersign(
        self,
        new: Checkpoint,
        proof: Sequence[bytes],
        *,
        origin: str,
        peer_key: str,
        witness: str,
        sign: Sign,
        at: dt.datetime,
    ) -> Countersignature:
        """Check that ``new`` extends what was seen, store it, and countersign; nothing is signed unless it is stored.

        Raises:
            IntegrityError: naming the peer: wrong signature, rollback, or fork.
        """
        with self._database.write() as connection:
            seen = _seen(connection, origin)
            _, signed = countersign(
                seen, new, proof, origin=origin, peer_key=peer_key, witness=witness, sign=sign, at=at
            )
            connection.execute(delete(PEERS).where(PEERS.c.origin == origin))
            connection.execute(
                insert(PEERS).values(origin=origin, size=new.size, root=new.root, at=new.at, signature=new.signature)
            )
        return signed


def _seen(connection: Connection, origin: str) -> Seen | None:
    query = select(PEERS.c.size, PEERS.c.root).where(PEERS.c.origin == origin)
    row = connection.execute(query).one_or_none()
    return None if row is None else Seen(origin, row.size, bytes(row.root))
