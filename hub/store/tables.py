"""The tables, as the newest migration leaves them (a test compares the two).

Personal data stands sealed in the columns `body` and `why`, see `hub.store.vault`; everything else tells nothing about
a person.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s",
    }
)


def _time(name: str, **options: Any) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=options.pop("nullable", False), **options)


node = Table(
    "node",
    metadata,
    Column("id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("jurisdiction", Text, nullable=False),
    Column("state", Text, nullable=False),
    _time("created_at"),
)

node_certificate = Table(
    "node_certificate",
    metadata,
    # Up to 160 bits, so no integer type holds it.
    Column("serial", Numeric(49, 0), primary_key=True),
    Column("node_id", Text, ForeignKey("node.id"), nullable=False, index=True),
    _time("expires_at"),
    _time("enrolled_at", server_default=text("clock_timestamp()")),
)

# A token by which a node enrols, once; the token itself is not kept.
enrolment = Table(
    "enrolment",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("node_id", Text, ForeignKey("node.id"), nullable=False, index=True),
    Column("csr_hash", LargeBinary),
    Column("certificate", Text, nullable=False),
    _time("expires_at"),
)

# What was done to nodes: its rows make retries recognisable, and say why a node has its state. The actor can be the
# operator of the hub, who is no node.
node_change = Table(
    "node_change",
    metadata,
    Column("actor", Text, primary_key=True),
    Column("request_id", Uuid, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("node_id", Text, ForeignKey("node.id"), nullable=False),
    Column("state", Text),
    Column("reason", Text, nullable=False),
    _time("changed_at"),
    Index(None, "node_id", "changed_at"),
)

# A record without a key is sealed: nobody can open any version of it again. One that was merged into another keeps its
# key, for the versions before, until that one is sealed. Both have `erased_numbers`: keyed hashes of the numbers that
# they had, which tell those who hold them in memory what to forget.
offender = Table(
    "offender",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("owner", Text, ForeignKey("node.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("wrapped_key", LargeBinary),
    Column("erased_numbers", ARRAY(LargeBinary)),
    _time("created_at"),
    Column("merged_into", Uuid, ForeignKey("offender.id")),
    Index(None, "owner", "id"),
    Index(None, "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
)

# By which numbers, as keyed hashes, the records that stand are found; those that a person had before are among them.
# Whoever enters a number waits here for who enters or erases it. So it comes before the record: the key is deferred.
offender_number = Table(
    "offender_number",
    metadata,
    Column("number_index", LargeBinary, primary_key=True),
    Column("offender_id", Uuid, ForeignKey("offender.id", deferrable=True, initially="DEFERRED"), nullable=False),
)

offender_revision = Table(
    "offender_revision",
    metadata,
    Column("offender_id", Uuid, ForeignKey("offender.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("owner", Text, ForeignKey("node.id"), nullable=False),
    Column("body", LargeBinary),
    _time("changed_at"),
    Column("actor", Text, ForeignKey("node.id"), nullable=False),
    Column("method", Text, nullable=False),
    Column("why", LargeBinary),
    Column("transfer_receiver", Text, ForeignKey("node.id")),
    _time("transfer_due_at", nullable=True),
    Index(None, "offender_id", "version", postgresql_where=text("transfer_receiver IS NOT NULL")),
)

# What records are found by: `hashes` stand for its keys, see `hub.store.search`. A sealed record has no row.
offender_search = Table(
    "offender_search",
    metadata,
    Column("offender_id", Uuid, ForeignKey("offender.id"), primary_key=True),
    Column("rules", SmallInteger, nullable=False),
    Column("hashes", ARRAY(BigInteger), nullable=False),
    # What is yet to be sorted in is read by every search, so it is kept short.
    Index(None, "hashes", postgresql_using="gin", postgresql_with={"gin_pending_list_limit": 256}),
)

# Convictions that were set aside, so that no late copy brings one back: a keyed hash of person and case, and the day on
# which the newest of them was. It outlives the sealing of the record.
set_aside = Table(
    "set_aside",
    metadata,
    Column("conviction_index", LargeBinary, primary_key=True),
    Column("offender_id", Uuid, ForeignKey("offender.id"), nullable=False),
    Column("day", Date, nullable=False),
)

notice = Table(
    "notice",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("offender_id", Uuid, ForeignKey("offender.id"), nullable=False),
    Column("recorder", Text, ForeignKey("node.id"), nullable=False),
    Column("body", LargeBinary, nullable=False),
    _time("created_at"),
    Index(None, "offender_id", "id"),
)

# Requests to read records of other nodes: `body` holds the FIR, `version` is that of the newest step.
access_request = Table(
    "access_request",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("offender_id", Uuid, ForeignKey("offender.id"), nullable=False),
    Column("node_id", Text, ForeignKey("node.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("scopes", JSONB, nullable=False),
    Column("body", LargeBinary, nullable=False),
    _time("due_at"),
    Index(None, "node_id", "offender_id"),
)

access_step = Table(
    "access_step",
    metadata,
    Column("access_request_id", Uuid, ForeignKey("access_request.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    Column("actor", Text, ForeignKey("node.id"), nullable=False),
    Column("request_id", Uuid, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    _time("taken_at"),
    Column("scopes", JSONB(none_as_null=True)),
    _time("expires_at", nullable=True),
    Column("why", LargeBinary, nullable=False),
    UniqueConstraint("actor", "request_id"),
)

request = Table(
    "request",
    metadata,
    Column("node_id", Text, ForeignKey("node.id"), primary_key=True),
    Column("request_id", Uuid, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("record_id", Uuid, nullable=False),
    Column("version", Integer, nullable=False),
    Column("outbox_id", BigInteger, nullable=False),
    _time("created_at", server_default=text("clock_timestamp()")),
    Index(None, "record_id"),
)

# Versions of records that came with a request about another record: of those merged into it.
consequence = Table(
    "consequence",
    metadata,
    Column("record_id", Uuid, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("outbox_id", BigInteger, nullable=False),
)

# What a transaction changed, until the sequencer moves it to the feed. `changes` is a list of [kind, id, version].
# The id has an ascending part and one drawn by lot, see `hub.store.transaction`.
outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("changes", JSONB, nullable=False),
)

feed_event = Table(
    "feed_event",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("outbox_id", BigInteger, nullable=False),
    Column("changes", JSONB, nullable=False),
    _time("committed_at"),
    UniqueConstraint("outbox_id"),
)

# One row: how far the feed is sequenced. Whoever holds its lock is the sequencer. `compacted` is the highest id of an
# outbox row whose event the feed has dropped.
feed_head = Table(
    "feed_head",
    metadata,
    Column("one_row", Boolean, CheckConstraint("one_row", name="one_row"), primary_key=True),
    Column("epoch", Uuid, nullable=False),
    Column("seq", BigInteger, nullable=False),
    _time("as_of"),
    Column("compacted", BigInteger, nullable=False, server_default=text("0")),
)

node_progress = Table(
    "node_progress",
    metadata,
    Column("node_id", Text, ForeignKey("node.id"), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    _time("acknowledged_at"),
)

# How far each outbox of a node has come: what was put into it before `complete_until` has reached the hub.
node_outbox = Table(
    "node_outbox",
    metadata,
    Column("node_id", Text, ForeignKey("node.id"), primary_key=True),
    Column("outbox_id", Uuid, primary_key=True),
    _time("complete_until"),
)

# What each node's last comparison of registers found.
reconciliation = Table(
    "reconciliation",
    metadata,
    Column("node_id", Text, ForeignKey("node.id"), primary_key=True),
    Column("records", BigInteger, nullable=False),
    Column("only_at_hub", BigInteger, nullable=False),
    Column("only_at_node", BigInteger, nullable=False),
    _time("reconciled_at"),
)

# Every version of what the public is told: `rules` is a list of [role, channel, mode]. The newest is in force.
disclosure_policy = Table(
    "disclosure_policy",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("rules", JSONB, nullable=False),
    Column("under_appeal", Boolean, nullable=False),
    Column("updater", Text, nullable=False),
    Column("request_id", Uuid),
    Column("digest", LargeBinary),
    _time("updated_at"),
    UniqueConstraint("updater", "request_id"),
)

# What is told of a month: `counts` has the districts that are not hidden. What they were rounded from is kept nowhere.
area_month = Table(
    "area_month",
    metadata,
    Column("month", Date, primary_key=True),
    Column("counts", JSONB, nullable=False),
    _time("counted_at"),
)

lookup_alarm = Table(
    "lookup_alarm",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("node_id", Text, nullable=False),
    Column("officer_id", Text, nullable=False),
    Column("checks", Integer, nullable=False),
    _time("began_at"),
    _time("raised_at"),
)

# Whoever holds the lock of a node's row is the only one to change its list and to number its alerts, see
# `hub.store.watch_lists`. `seq` is the number of the newest alert.
watch_list = Table(
    "watch_list",
    metadata,
    Column("node_id", Text, ForeignKey("node.id"), primary_key=True),
    Column("seq", BigInteger, nullable=False, server_default=text("0")),
)

# It outlives the entry that it is about, as a place to go on after.
alert = Table(
    "alert",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("node_id", Text, ForeignKey("watch_list.node_id"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("watched_person_id", Uuid, nullable=False),
    Column("offender_id", Uuid, ForeignKey("offender.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("sent", Boolean, nullable=False, server_default=text("false")),
    _time("created_at"),
    UniqueConstraint("node_id", "seq"),
    Index(None, "watched_person_id", postgresql_where=text("NOT sent")),
)

# `due`: to be compared with the register. `alert_id`: the alert by which the node knows of the record that stands.
watched_person = Table(
    "watched_person",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("node_id", Text, ForeignKey("watch_list.node_id"), nullable=False),
    Column("cnic_index", LargeBinary, nullable=False),
    Column("consent_reference", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("due", Boolean, nullable=False, server_default=text("true")),
    Column("alert_id", Uuid, ForeignKey("alert.id")),
    _time("created_at"),
    UniqueConstraint("cnic_index", "node_id"),
    Index(None, "node_id", "id"),
    Index(None, "node_id", postgresql_where=text("due")),
    Index(None, "alert_id", postgresql_where=text("alert_id IS NOT NULL")),
)

# What makes a retry recognisable, for a week, and what was answered.
vetting_request = Table(
    "vetting_request",
    metadata,
    Column("node_id", Text, ForeignKey("watch_list.node_id"), primary_key=True),
    Column("request_id", Uuid, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("watched_people", ARRAY(Uuid), nullable=False),
    Column("added", Integer, nullable=False),
    _time("created_at", server_default=text("clock_timestamp()")),
)

# Consents of people to be checked, for an hour. `seq` ascends in the order of commits, see `hub.store.consents`;
# `delivery` is what is to be brought to the person, sealed, and erased once it was or has expired.
consent = Table(
    "consent",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("seq", BigInteger, Identity(always=True), nullable=False),
    Column("node_id", Text, ForeignKey("node.id"), nullable=False),
    Column("request_id", Uuid, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("cnic_index", LargeBinary, nullable=False),
    Column("passcode_hash", LargeBinary, nullable=False),
    Column("tries_left", SmallInteger, nullable=False),
    Column("delivery", LargeBinary),
    _time("created_at"),
    _time("expires_at"),
    UniqueConstraint("node_id", "request_id"),
    Index(None, "cnic_index", "created_at"),
    Index(None, "node_id", "created_at"),
    Index(None, "created_at"),
    Index(None, "seq", postgresql_where=text("delivery IS NOT NULL")),
)

audit_entry = Table(
    "audit_entry",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _time("at"),
    Column("node_id", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("officer_id", Text),
    Column("purpose", Text),
    Column("fir_number", Text),
    Column("subject", LargeBinary),
    Column("decision", Text, nullable=False),
)
