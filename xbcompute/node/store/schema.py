"""The tables, in SQL that SQLite and PostgreSQL share.

Times are ISO 8601 text, JSON is canonical text, people are keyed 16-byte digests. A change here needs a migration
beside it; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, LargeBinary, MetaData, String, Table, Text

METADATA = MetaData()

HEAD = Table(
    "ledger_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("peaks", LargeBinary, nullable=False),
)
LEAVES = Table(
    "ledger_leaves",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("record", LargeBinary, nullable=False),
    Column("salt", LargeBinary, nullable=False),
)
NODES = Table(
    "ledger_nodes",
    METADATA,
    Column("level", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary, nullable=False),
)
CHECKPOINTS = Table(
    "ledger_checkpoints",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("origin", String(255), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("at", String(40), nullable=False),
    Column("signature", LargeBinary, nullable=False),
)
COUNTERSIGNATURES = Table(
    "ledger_countersignatures",
    METADATA,
    Column("checkpoint", Integer, ForeignKey("ledger_checkpoints.id"), primary_key=True),
    Column("witness", String(255), primary_key=True),
    Column("at", String(40), nullable=False),
    Column("signature", LargeBinary, nullable=False),
)
PEERS = Table(
    "peer_heads",
    METADATA,
    Column("origin", String(255), primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("at", String(40), nullable=False),
    Column("signature", LargeBinary, nullable=False),
)
POPULATIONS = Table(
    "populations",
    METADATA,
    Column("digest", String(80), primary_key=True),
    Column("people", LargeBinary, nullable=False),
)
OPENINGS = Table(
    "openings",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("dataset", String(255), nullable=False, index=True),
    Column("study", String(255), nullable=False),
    Column("session", String(64), nullable=False),
    Column("analyses", Text, nullable=False),
    Column("at", String(40), nullable=False),
    Column("population", String(80), ForeignKey("populations.digest"), nullable=False),
)
COUNTED = Table(
    "people_counted",
    METADATA,
    Column("year", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(32), primary_key=True),
    Column("people", LargeBinary, nullable=False),
)
ROUNDS = Table(
    "rounds_begun",
    METADATA,
    Column("session", String(64), primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("round", BigInteger, primary_key=True, autoincrement=False),
)
SEEDS = Table(
    "seeds_released",
    METADATA,
    Column("session", String(64), primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("round", BigInteger, primary_key=True, autoincrement=False),
    Column("dataset", String(255), nullable=False, index=True),
    Column("population", String(80), nullable=False, index=True),
    Column("study", String(255), nullable=False),
    Column("participants", Text, nullable=False),
)
SESSIONS = Table(
    "sessions",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("study", String(255), nullable=False),
    Column("lead", String(255), nullable=False),
    Column("state", String(32), nullable=False),
    Column("started", String(40), nullable=False),
    Column("ended", String(40)),
    Column("error", Text),
)
RELEASES = Table(
    "releases",
    METADATA,
    Column("session", String(64), primary_key=True),
    Column("study", String(255), nullable=False, index=True),
    Column("plan", String(80), nullable=False),
    Column("digest", String(80), nullable=False),
    Column("at", String(40), nullable=False),
    Column("body", LargeBinary, nullable=False),
)
APPLICATIONS = Table(
    "applications",
    METADATA,
    Column("digest", String(80), primary_key=True),
    Column("study", Text, nullable=False),
    Column("plan", Text, nullable=False),
)
APPROVALS = Table(
    "approvals",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("application", String(80), ForeignKey("applications.digest"), nullable=False, index=True),
    Column("digest", String(80), nullable=False, unique=True),
    Column("approval", Text, nullable=False),
)
