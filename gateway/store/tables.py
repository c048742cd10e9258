"""The tables of the gateway as SQLAlchemy metadata: the one description that migrations are compared with.

Times are `timestamptz`; days are `date`; codes are text; planned months are texts `yyyy-MM`, closed months integers `yyyymm`. Names of persons sort by
`name_key` (upper case, ё as е) under the C collation.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
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
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID, ExcludeConstraint

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)

_Time = DateTime(timezone=True)
_NOW = text("now()")
_C = Text(collation="C")


def _id() -> Column[int]:
    return Column("id", BigInteger, Identity(always=False), primary_key=True)


installation = Table(
    "installation",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    comment="Choices made once at installation (observation_key, region)",
)

# people ---------------------------------------------------------------------------------------------------------------

organisation = Table(
    "organisation",
    metadata,
    Column("code", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("primary_care", Boolean, nullable=False, server_default=text("true")),
    Column("valid_from", Date, nullable=False),
    Column("valid_to", Date),
    comment="МО: medical organisations; code is the six-digit registry number",
)

insurer = Table(
    "insurer",
    metadata,
    Column("code", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("valid_from", Date, nullable=False),
    Column("valid_to", Date),
    comment="СМО: insurers; code is the five-digit registry number",
)

doctor = Table(
    "doctor",
    metadata,
    _id(),
    Column("organisation", Text, ForeignKey("organisation.code"), nullable=False),
    Column("snils", Text, nullable=False),
    Column("last_name", Text, nullable=False),
    Column("first_name", Text, nullable=False),
    Column("middle_name", Text),
    Column("doctor_type", Text),
    Column("specialty", Text),
    Column("valid_from", Date, nullable=False),
    Column("valid_to", Date),
    UniqueConstraint("organisation", "snils", "valid_from"),
    comment="Doctors as their organisation keeps them; specialty by V021",
)

person = Table(
    "person",
    metadata,
    _id(),
    Column("enp", Text, nullable=False),
    Column("snils", Text),
    Column("last_name", Text, nullable=False),
    Column("first_name", Text, nullable=False),
    Column("middle_name", Text),
    Column("name_key", _C, nullable=False),
    Column("birth_date", Date, nullable=False),
    Column("sex", SmallInteger, nullable=False),
    Column("death_date", Date),
    Column("policy_kind", Text),
    Column("policy_number", Text),
    Column("insurer", Text),
    Column("insured_in_region", Boolean, nullable=False),
    Column("attached_organisation", Text),
    Column("attached_since", Date),
    Column("source", Text, nullable=False, server_default=text("'LOCAL'")),
    Column("as_of", _Time, nullable=False, server_default=_NOW),
    Column("successor_id", BigInteger, ForeignKey("person.id")),
    Column("successor_at", _Time),
    Index("person_enp_key", "enp", unique=True),
    Index("person_snils_idx", "snils", postgresql_where=text("snils IS NOT NULL")),
    Index("person_name_key_birth_date_idx", "name_key", "birth_date"),
    Index("person_successor_id_idx", "successor_id", postgresql_where=text("successor_id IS NOT NULL")),
    postgresql_with={"fillfactor": 80},
    comment="Insured persons of the region (РС ЕРЗЛ); as_of is when the source last confirmed the row. A number that was"
    " merged goes on as successor_id, never itself merged, as we know since successor_at",
)

# dictionaries ---------------------------------------------------------------------------------------------------------

dictionary_edition = Table(
    "dictionary_edition",
    metadata,
    _id(),
    Column("dictionary", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("valid_from", Date, nullable=False),
    Column("loaded_at", _Time, nullable=False, server_default=_NOW),
    Column("source", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("rows", Integer, nullable=False),
    UniqueConstraint("dictionary", "valid_from"),
    comment="An edition is in force from valid_from until the next one of its dictionary",
)

dictionary_item = Table(
    "dictionary_item",
    metadata,
    Column("edition_id", BigInteger, ForeignKey("dictionary_edition.id", ondelete="CASCADE"), nullable=False),
    Column("code", _C, nullable=False),
    Column("name", Text, nullable=False),
    Column("parent", Text),
    Column("valid_from", Date),
    Column("valid_to", Date),
    Column("attributes", JSONB, nullable=False, server_default=text("'{}'")),
    UniqueConstraint("edition_id", "code", "valid_from", postgresql_nulls_not_distinct=True),
    comment="Lines of dictionaries, one per code and first day; terminal МКБ-10 codes have attributes.terminal = true",
)

# access ---------------------------------------------------------------------------------------------------------------

client = Table(
    "client",
    metadata,
    _id(),
    Column("login", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False, server_default=text("''")),
    Column("kind", Text, CheckConstraint("kind IN ('MO', 'INSURER', 'FUND')", name="kind"), nullable=False),
    Column("organisations", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("insurer", Text),
    Column("rights", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("requests_per_minute", Integer),
    Column("created_at", _Time, nullable=False, server_default=_NOW),
    Column("disabled_at", _Time),
    comment="Systems that call: an MO client sees organisations, an INSURER its insured, the FUND all",
)

client_secret = Table(
    "client_secret",
    metadata,
    _id(),
    Column("client_id", BigInteger, ForeignKey("client.id"), nullable=False, index=True),
    Column("hash", Text, nullable=False),
    Column("valid_from", _Time, nullable=False, server_default=_NOW),
    Column("valid_to", _Time),
    Column("revoked_at", _Time),
    comment="argon2id hashes; several may be valid while a secret is rotated",
)

client_certificate = Table(
    "client_certificate",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("client_id", BigInteger, ForeignKey("client.id"), nullable=False, index=True),
    Column("valid_from", _Time, nullable=False, server_default=_NOW),
    Column("valid_to", _Time),
    Column("revoked_at", _Time),
    comment="Certificates accepted from a trusted reverse proxy, by fingerprint",
)

rate_window = Table(
    "rate_window",
    metadata,
    Column("client_id", BigInteger, primary_key=True),
    Column("minute", BigInteger, primary_key=True),
    Column("taken", Integer, nullable=False),
    prefixes=["UNLOGGED"],
    comment="Requests leased by web processes in a minute of the epoch",
)

call_request = Table(
    "call_request",
    metadata,
    Column("client_id", BigInteger, primary_key=True),
    Column("request_id", UUID(as_uuid=True), primary_key=True),
    Column("operation", Text, nullable=False),
    Column("body_sha256", LargeBinary, nullable=False),
    Column("answer", LargeBinary),
    Column("created_at", _Time, nullable=False, server_default=_NOW, index=True),
    comment="Answers of changing calls, kept for resends of the same requestId (zlib)",
)

audit_record = Table(
    "audit_record",
    metadata,
    _id(),
    Column("at", _Time, nullable=False, server_default=text("clock_timestamp()")),
    Column("trace", Text, nullable=False),
    Column("client_id", BigInteger),
    Column("login", Text),
    Column("address", Text),
    Column("service", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("organisation", Text),
    Column("request_id", UUID(as_uuid=True)),
    Column("outcome", Text, nullable=False),
    Column("code", Text),
    Column("persons", ARRAY(BigInteger)),
    Column("snapshot_id", UUID(as_uuid=True)),
    Column("first_record", BigInteger),
    Column("records", Integer),
    Column("details", JSONB),
    Index("audit_record_client_id_at_idx", "client_id", "at"),
    comment="One line per call (also the journal of calls): who, what, over whom, with what outcome. Append-only",
)

audit_batch = Table(
    "audit_batch",
    metadata,
    _id(),
    Column("first_id", BigInteger, nullable=False),
    Column("last_id", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("missing", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),
    Column("late", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),
    Column("previous", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("digests", LargeBinary, nullable=False),
    Column("sealed_at", _Time, nullable=False, server_default=_NOW),
    comment="Hash chain over audit_record: ids first..last without missing, plus late ones of earlier ranges. Append-only",
)

# ДН lists -------------------------------------------------------------------------------------------------------------

list_ledger = Table(
    "list_ledger",
    metadata,
    Column("organisation", Text, ForeignKey("organisation.code"), primary_key=True),
    Column("seq", BigInteger, nullable=False, server_default=text("0")),
    Column("forgotten", BigInteger, nullable=False, server_default=text("0")),
    comment="The row a change of an organisation's list locks first; seq numbers its changes in commit order, images up to forgotten are dropped",
)

entry = Table(
    "entry",
    metadata,
    _id(),
    Column("person_id", BigInteger, ForeignKey("person.id"), nullable=False, index=True),
    Column("organisation", Text, ForeignKey("organisation.code"), nullable=False),
    Column("external_id", Text),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("seq", BigInteger, nullable=False),
    Column("enp", Text, nullable=False),
    Column("snils", Text),
    Column("last_name", Text, nullable=False),
    Column("first_name", Text, nullable=False),
    Column("middle_name", Text),
    Column("name_key", _C, nullable=False),
    Column("birth_date", Date, nullable=False),
    Column("sex", SmallInteger, nullable=False),
    Column("death_date", Date),
    Column("insurer", Text),
    Column("attached_organisation", Text),
    Column("diagnosis", Text, nullable=False),
    Column("diagnosis_key", Text, nullable=False),
    Column("diagnosis_group", Text, nullable=False),
    Column("outside", Text, CheckConstraint("outside IN ('ORDER', 'CHILD')", name="outside")),
    Column("diagnosed_on", Date),
    Column("by_attachment", Boolean, nullable=False),
    Column("doctor_snils", Text),
    Column("specialty", Text),
    Column("observed_since", Date, nullable=False),
    Column("source", Text, nullable=False),
    Column("planned_months", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("last_visit_on", Date),
    Column("last_visit_result", Text),
    Column("next_visit_by", Date),
    Column(
        "status", Text, CheckConstraint("status IN ('OBSERVED', 'EXCLUDED', 'ANNULLED')", name="status"), nullable=False
    ),
    Column("excluded_on", Date),
    Column("exclusion_reason", Text),
    Column("changed_at", _Time, nullable=False, server_default=_NOW),
    CheckConstraint("(excluded_on IS NULL) = (exclusion_reason IS NULL)", name="exclusion"),
    Index(
        "entry_observed_idx",
        "organisation",
        "name_key",
        "birth_date",
        "id",
        postgresql_where=text("status = 'OBSERVED'"),
    ),
    Index(
        "entry_external_id_key",
        "organisation",
        "external_id",
        unique=True,
        postgresql_where=text("external_id IS NOT NULL AND status <> 'ANNULLED'"),
    ),
    postgresql_with={"fillfactor": 80},
    comment="A line of a ДН list as it stands now, with the person's data copied so that a list can be frozen",
)

observation_segment = Table(
    "observation_segment",
    metadata,
    _id(),
    Column("entry_id", BigInteger, ForeignKey("entry.id"), nullable=False),
    Column("person_id", BigInteger, nullable=False),
    Column("diagnosis_key", Text, nullable=False),
    Column("diagnosis", Text, nullable=False),
    Column("organisation", Text, nullable=False, index=True),
    Column("since", Date, nullable=False),
    Column("until", Date),
    Column("true_from", Date, nullable=False),
    Column("true_to", Date),
    Column("cause_in", Text, nullable=False),
    Column("cause_out", Text),
    Column("recorded_from", _Time, nullable=False, server_default=_NOW),
    Column("recorded_to", _Time),
    CheckConstraint("until >= since", name="order"),
    ExcludeConstraint(
        ("person_id", "="),
        ("diagnosis_key", "="),
        (text("daterange(since, until)"), "&&"),
        using="gist",
        name="observation_segment_overlap",
    ),
    Index(
        "observation_segment_entry_id_idx",
        "entry_id",
        postgresql_include=["person_id", "organisation", "diagnosis", "since", "until", "true_from"],
    ),
    comment="Observation as a chain of dated segments [since, until): effective days, never inside a closed month; true_* are the real days",
)

visit = Table(
    "visit",
    metadata,
    _id(),
    Column("entry_id", BigInteger, ForeignKey("entry.id"), nullable=False, index=True),
    Column("organisation", Text, nullable=False),
    Column("conducted_on", Date, nullable=False),
    Column("effective_on", Date, nullable=False),
    Column("place", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("attempt", Boolean, nullable=False),
    Column("doctor_snils", Text, nullable=False),
    Column("doctor_type", Text, nullable=False),
    Column("recorded_at", _Time, nullable=False, server_default=_NOW),
    Column("annulled_at", _Time),
    Column("annul_reason", Text),
    Index("visit_organisation_effective_on_idx", "organisation", "effective_on"),
    Index(
        "visit_year_entry_id_idx",
        text("(extract(year FROM effective_on)::int)"),
        "entry_id",
        "effective_on",
        postgresql_include=["attempt", "recorded_at", "annulled_at"],
    ),
    comment="Проведение ДН: dispensary visits and attempts («не явился»); effective_on is the day they count on in lists",
)

entry_event = Table(
    "entry_event",
    metadata,
    _id(),
    Column("entry_id", BigInteger, ForeignKey("entry.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("organisation", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("recorded_at", _Time, nullable=False, server_default=_NOW),
    Column("effective_on", Date, nullable=False),
    Column("kind", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("actor", Text),
    Column("trace", Text),
    Column("details", JSONB),
    Column("before", JSONB),
    UniqueConstraint("organisation", "seq"),
    Index("entry_event_entry_id_version_idx", "entry_id", "version"),
    comment="Every change of an entry: kind, cause, source; before is the line as it stood, for snapshots and the feed",
)

closed_month = Table(
    "closed_month",
    metadata,
    Column("organisation", Text, ForeignKey("organisation.code"), primary_key=True),
    Column("month", Integer, primary_key=True),
    Column("edition", Integer, primary_key=True),
    Column("closed_at", _Time, nullable=False, server_default=_NOW),
    Column("closed_by", Text, nullable=False),
    Column("reopened_at", _Time),
    Column("reopened_by", Text),
    Column("reopen_reason", Text),
    comment="Month closes; the month is closed while its last edition has no reopened_at",
)

list_piece = Table(
    "list_piece",
    metadata,
    _id(),
    Column("organisation", Text, nullable=False),
    Column("choice", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("edition", Integer, nullable=False, server_default=text("0")),
    Column("as_of", _Time, nullable=False),
    Column("total", Integer, nullable=False),
    Column("frozen", Boolean, nullable=False),
    Column("expires_at", _Time, index=True),
    UniqueConstraint("organisation", "choice", "seq", "edition"),
    comment="One organisation's part of a frozen list: its lines as they stood at seq; frozen once its blocks are made; edition > 0 is a month close",
)

list_block = Table(
    "list_block",
    metadata,
    Column("piece_id", BigInteger, ForeignKey("list_piece.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("ids", ARRAY(BigInteger), nullable=False),
    Column("body", LargeBinary),
    Column("keys", Text),
    comment="250 lines of a piece: ids (kept as long as the audit), rendered lines (dropped when the piece expires), filter keys",
)

list_snapshot = Table(
    "list_snapshot",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("client_id", BigInteger, nullable=False),
    Column("choice", Text, nullable=False),
    Column("edition", Text, nullable=False),
    Column("pieces", ARRAY(BigInteger), nullable=False),
    Column("ends", ARRAY(BigInteger), nullable=False),
    Column("token", Text, nullable=False),
    Column("as_of", _Time, nullable=False),
    Column("closed_at", _Time),
    Column("expires_at", _Time, nullable=False),
    Index("list_snapshot_client_id_choice_as_of_idx", "client_id", "choice", "as_of"),
    comment="What a snapshotId names: pieces in order and the running totals at their ends",
)

list_aside = Table(
    "list_aside",
    metadata,
    _id(),
    Column("organisation", Text, ForeignKey("organisation.code"), nullable=False),
    Column("operation_id", UUID(as_uuid=True), nullable=False),
    Column("number", Integer, nullable=False),
    Column("enp", Text, nullable=False, index=True),
    Column("record", JSONB, nullable=False),
    Column("noted_at", _Time, nullable=False, server_default=_NOW),
    Column("settled_at", _Time),
    Column("settled_by", UUID(as_uuid=True)),
    Column("code", Text),
    UniqueConstraint("operation_id", "number"),
    Index("list_aside_waiting_idx", "organisation", "id", postgresql_where=text("settled_at IS NULL")),
    comment="Lines of uploaded lists whose ЕНП no source knows yet: kept until one does, then merged like any line",
)

feed_era = Table(
    "feed_era",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("began_at", _Time, nullable=False, server_default=_NOW),
    Column("mark", Text, nullable=False),
    Column("positions", JSONB, nullable=False),
    comment="A history of changes that clients may know: a database that was restored begins a new era at these numbers",
)

# long work and files --------------------------------------------------------------------------------------------------

operation = Table(
    "operation",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("organisation", Text),
    Column("insurer", Text),
    Column("client_id", BigInteger),
    Column("login", Text, nullable=False),
    Column("trace", Text, nullable=False),
    Column("parameters", JSONB, nullable=False, server_default=text("'{}'")),
    Column(
        "state",
        Text,
        CheckConstraint("state IN ('QUEUED', 'RUNNING', 'DONE', 'FAILED', 'ABORTED')", name="state"),
        nullable=False,
        server_default=text("'QUEUED'"),
    ),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("losses", Integer, nullable=False, server_default=text("0")),
    Column("job_id", BigInteger),
    Column("progress", JSONB, nullable=False, server_default=text("'{}'")),
    Column("code", Text),
    Column("message", Text),
    Column("created_at", _Time, nullable=False, server_default=_NOW),
    Column("started_at", _Time),
    Column("ended_at", _Time),
    Column("abort_at", _Time),
    Column("abort_by", Text),
    Index("operation_organisation_created_at_idx", "organisation", "created_at"),
    Index("operation_open_idx", "created_at", postgresql_where=text("state IN ('QUEUED', 'RUNNING')")),
    comment="Long work: attempt is the fence (only the newest run may write), losses counts runs that broke off, progress is what a resumed run goes on from",
)

operation_beat = Table(
    "operation_beat",
    metadata,
    Column("operation_id", UUID(as_uuid=True), ForeignKey("operation.id", ondelete="CASCADE"), primary_key=True),
    Column("at", _Time, nullable=False, server_default=text("clock_timestamp()")),
    Column("stage", Text),
    Column("done", BigInteger),
    Column("total", BigInteger),
    Column("pace", Double),
    comment="How far a running operation is, written twice a second apart from its transactions; pace is done per second in the present stage",
)

operation_line = Table(
    "operation_line",
    metadata,
    Column("operation_id", UUID(as_uuid=True), ForeignKey("operation.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", _Time, nullable=False, server_default=text("clock_timestamp()")),
    Column("level", Text, nullable=False),
    Column("text", Text, nullable=False),
    comment="Timed lines of an operation's protocol, in Russian, without personal values",
)

file = Table(
    "file",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("name", Text, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("organisation", Text),
    Column("insurer", Text),
    Column("client_id", BigInteger),
    Column("operation_id", UUID(as_uuid=True), ForeignKey("operation.id"), index=True),
    Column("number", Integer, nullable=False, server_default=text("0")),
    Column("mailbox", Boolean, nullable=False, server_default=text("false")),
    Column("size", BigInteger, nullable=False, server_default=text("0")),
    Column("sha256", Text),
    Column("signature_of", UUID(as_uuid=True), index=True),
    Column("created_at", _Time, nullable=False, server_default=_NOW),
    Column("ready_at", _Time),
    Column("expires_at", _Time, nullable=False, index=True),
    Column("confirmed_at", _Time),
    Column("confirmed_by", Text),
    Column("confirmed_days", Integer, nullable=False),
    Column("noted_at", _Time),
    Index("file_mailbox_idx", "organisation", "ready_at", postgresql_where=text("mailbox")),
    Index("file_unnoted_idx", "organisation", postgresql_where=text("mailbox AND noted_at IS NULL")),
    comment="Files that came or wait to be collected; visible once ready_at is set. Of an organisation, an insurer, or (neither) the fund; noted_at is when the owner was told of it",
)

file_part = Table(
    "file_part",
    metadata,
    Column("file_id", UUID(as_uuid=True), ForeignKey("file.id", ondelete="CASCADE"), primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    comment="Content of files in parts: start and size count plain bytes, body is a zstandard frame",
)

mailbox_contact = Table(
    "mailbox_contact",
    metadata,
    Column("organisation", Text, ForeignKey("organisation.code"), primary_key=True),
    Column("email", Text),
    Column("webhook", Text),
    comment="Where an organisation is told of a new file in its mailbox (Абонентский пункт)",
)

# calendar -------------------------------------------------------------------------------------------------------------

job_run = Table(
    "job_run",
    metadata,
    Column("job", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("started_at", _Time, nullable=False, server_default=_NOW),
    Column("started_by", Text, nullable=False),
    comment="One row per job and period: what makes a second run impossible",
)

# monthly truth --------------------------------------------------------------------------------------------------------

reconcile = Table(
    "reconcile",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("period", Integer, nullable=False),
    Column(
        "state",
        Text,
        CheckConstraint("state IN ('GATHERING', 'PLANNED', 'BRAKED', 'APPLIED', 'REFUSED')", name="state"),
        nullable=False,
        server_default=text("'GATHERING'"),
    ),
    Column("dry", Boolean, nullable=False, server_default=text("false")),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'")),
    Column("brake", JSONB, nullable=False, server_default=text("'[]'")),
    Column("created_at", _Time, nullable=False, server_default=_NOW),
    Column("planned_at", _Time),
    Column("decided_at", _Time),
    Column("decided_by", Text),
    Column("applied_at", _Time),
    Index("reconcile_kind_period_idx", "kind", "period"),
    comment="A monthly comparison of lists with a source; id is its operation's. A braked plan waits for a decision",
)

reconcile_token = Table(
    "reconcile_token",
    metadata,
    Column("reconcile_id", UUID(as_uuid=True), ForeignKey("reconcile.id", ondelete="CASCADE"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("token", Text, nullable=False),
    Column("asked_at", _Time, nullable=False, server_default=_NOW),
    Column("done_at", _Time),
    comment="Tokens of started requests of the source, polled until they are done, by whichever process",
)

reconcile_fact = Table(
    "reconcile_fact",
    metadata,
    Column("reconcile_id", UUID(as_uuid=True), ForeignKey("reconcile.id", ondelete="CASCADE"), primary_key=True),
    Column("person_id", BigInteger, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("finding", Text),
    Column("since", Date),
    Column("organisation", Text),
    Column("insurer", Text),
    Column("successor_id", BigInteger),
    Column("facts", JSONB),
    Column("code", Text),
    Column("asked_at", _Time),
    Index("reconcile_fact_open_idx", "reconcile_id", "person_id", postgresql_where=text("asked_at IS NULL")),
    comment="People whom the source is asked about one by one: why, and what it answered when",
)

reconcile_change = Table(
    "reconcile_change",
    metadata,
    Column("reconcile_id", UUID(as_uuid=True), ForeignKey("reconcile.id", ondelete="CASCADE"), primary_key=True),
    Column("entry_id", BigInteger, primary_key=True),
    Column("action", Text, nullable=False),
    Column("former", Text, nullable=False),
    Column("organisation", Text),
    Column("true_on", Date, nullable=False),
    Column("cause", Text, nullable=False),
    Column("reason", Text),
    Column("applied", Boolean, nullable=False, server_default=text("false")),
    comment="What a comparison means for entries: END, MOVE, MERGE, RETURN are applied, REPORT is only told",
)

attachment_line = Table(
    "attachment_line",
    metadata,
    Column("enp", Text, nullable=False),
    Column("organisation", Text, nullable=False),
    Column("since", Date, nullable=False),
    Column("insurer", Text),
    prefixes=["UNLOGGED"],
    comment="The extract of attachments of the comparison that runs: primary clinics in force",
)

upstream_state = Table(
    "upstream_state",
    metadata,
    Column("name", Text, primary_key=True),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("open_until", _Time),
    Column("changed_at", _Time, nullable=False, server_default=_NOW),
    comment="The breaker of an upstream service, shared by all processes: failures in a row, and until when it is not asked",
)

mark_file = Table(
    "mark_file",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column(
        "state", Text, CheckConstraint("state IN ('TAKEN', 'BACK', 'SAME', 'REFUSED')", name="state"), nullable=False
    ),
    Column("code", Text),
    Column("organisation", Text),
    Column("year", Integer),
    Column("month", Integer),
    Column("account", Text),
    Column("account_number", Text),
    Column("account_date", Date),
    Column("file_id", UUID(as_uuid=True), index=True),
    Column("operation_id", UUID(as_uuid=True), nullable=False),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'")),
    Column("taken_at", _Time, nullable=False, server_default=_NOW),
    Index("mark_file_taken_key", "sha256", unique=True, postgresql_where=text("state = 'TAKEN'")),
    Index("mark_file_name_idx", "name"),
    Index("mark_file_account_idx", "organisation", "year", "account"),
    comment="Registers of accounts that marks were read from: an account is the record CODE of its organisation and year",
)

mark = Table(
    "mark",
    metadata,
    _id(),
    Column("file_id", BigInteger, ForeignKey("mark_file.id"), nullable=False),
    Column("case_id", Text, nullable=False),
    Column("episode", Text, nullable=False),
    Column("carrier", Text, CheckConstraint("carrier IN ('DN', 'PR_D_N', 'PR_DS2_N')", name="carrier"), nullable=False),
    Column("code", SmallInteger, nullable=False),
    Column("organisation", Text, nullable=False),
    Column("enp", Text),
    Column("person_id", BigInteger, index=True),
    Column("diagnosis", Text, nullable=False),
    Column("marked_on", Date, nullable=False),
    Column("step", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("entry_id", BigInteger, index=True),
    Column("recorded_at", _Time, nullable=False, server_default=_NOW),
    Column("taken_back_at", _Time),
    Column("taken_back_by", Text),
    Column("taken_back_reason", Text),
    Index("mark_file_id_case_id_idx", "file_id", "case_id"),
    Index("mark_aside_idx", "enp", postgresql_where=text("step = 'ASIDE' AND taken_back_at IS NULL")),
    comment="Marks of dispensary observation in registers, each with its case, its day and what it did to which entry",
)

care_event = Table(
    "care_event",
    metadata,
    _id(),
    Column("file_id", BigInteger, ForeignKey("mark_file.id"), nullable=False),
    Column("case_id", Text, nullable=False),
    Column("episode", Text, nullable=False),
    Column(
        "kind",
        Text,
        CheckConstraint("kind IN ('DN_VISIT', 'DN_SERVICE', 'EXAMINATION', 'TREATMENT')", name="kind"),
        nullable=False,
    ),
    Column("service", Text),
    Column("organisation", Text, nullable=False),
    Column("enp", Text),
    Column("person_id", BigInteger),
    Column("diagnosis", Text, nullable=False),
    Column("cared_on", Date, nullable=False),
    Column("recorded_at", _Time, nullable=False, server_default=_NOW),
    Column("taken_back_at", _Time),
    Index("care_event_file_id_case_id_idx", "file_id", "case_id"),
    Index("care_event_kind_cared_on_idx", "kind", "cared_on"),
    Index("care_event_person_id_idx", "person_id"),
    Index("care_event_aside_idx", "enp", postgresql_where=text("person_id IS NULL AND taken_back_at IS NULL")),
    comment="What registers say was done for people, for the indicators: visits and services of dispensary observation, examinations and treatments of oncology diagnoses",
)

indicator_target = Table(
    "indicator_target",
    metadata,
    Column("indicator", Text, nullable=False),
    Column("year", SmallInteger, nullable=False),
    Column("month", SmallInteger, CheckConstraint("month BETWEEN 1 AND 12", name="month"), nullable=False),
    Column("organisation", Text, ForeignKey("organisation.code")),
    Column("target", Numeric(5, 2), CheckConstraint("target BETWEEN 0 AND 100", name="target"), nullable=False),
    Column("loaded_at", _Time, nullable=False, server_default=_NOW),
    UniqueConstraint("indicator", "year", "month", "organisation", postgresql_nulls_not_distinct=True),
    comment="What an indicator shall reach by the end of a month, in percent: of the region, or of one organisation",
)

indicator_people = Table(
    "indicator_people",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("client_id", BigInteger, nullable=False),
    Column("choice", Text, nullable=False),
    Column("as_of", _Time, nullable=False, index=True),
    Column("persons", ARRAY(BigInteger), nullable=False),
    comment="Whom the first page of GetIndicatorPersons found, by name, for the pages that follow",
)

month_run = Table(
    "month_run",
    metadata,
    Column("month", Integer, primary_key=True, autoincrement=False),
    Column(
        "step",
        Text,
        CheckConstraint("step IN ('INSURED', 'MARKS', 'CLOSE', 'EXPORTS')", name="step"),
        nullable=False,
        server_default=text("'INSURED'"),
    ),
    Column(
        "state",
        Text,
        CheckConstraint("state IN ('RUNNING', 'BRAKED', 'FAILED', 'DONE')", name="state"),
        nullable=False,
        server_default=text("'RUNNING'"),
    ),
    Column("code", Text),
    Column("began_at", _Time, nullable=False, server_default=_NOW),
    Column("changed_at", _Time, nullable=False, server_default=_NOW),
    comment="The monthly work, one row per month whatever happens: the step it is at, and whether that waits, has failed or all is done",
)

month_step = Table(
    "month_step",
    metadata,
    Column("month", Integer, ForeignKey("month_run.month"), primary_key=True),
    Column("step", Text, primary_key=True),
    Column("organisation", Text, primary_key=True, server_default=text("''")),
    Column("operation_id", UUID(as_uuid=True)),
    Column("tries", Integer, nullable=False, server_default=text("1")),
    Column(
        "state",
        Text,
        CheckConstraint("state IN ('RUNNING', 'BRAKED', 'FAILED', 'DONE', 'PASSED')", name="state"),
        nullable=False,
        server_default=text("'RUNNING'"),
    ),
    Column("code", Text),
    Column("began_at", _Time, nullable=False, server_default=_NOW),
    Column("ended_at", _Time),
    comment="Steps of the monthly work with the operations that do them; exports have a row per organisation",
)

alert = Table(
    "alert",
    metadata,
    _id(),
    Column("key", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("began_at", _Time, nullable=False, server_default=_NOW),
    Column("ended_at", _Time),
    Index("alert_open_key", "key", unique=True, postgresql_where=text("ended_at IS NULL")),
    Index("alert_key_detail_idx", "key", "detail"),
    comment="Troubles that the operator was told of: one open row per trouble, so that none is told twice",
)

alert_note = Table(
    "alert_note",
    metadata,
    _id(),
    Column("lines", JSONB, nullable=False),
    Column("made_at", _Time, nullable=False, server_default=_NOW),
    Column("mailed_at", _Time),
    Column("called_at", _Time),
    comment="What is told at once, and which way has taken it",
)
