"""SQL of files, their parts, the mailbox and its notes. A file is visible while it is ready and not expired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from gateway.operations.model import FileInfo, Owner, Scope
from gateway.store.engine import driver_of

PART_BYTES = 1024 * 1024
"""Plain bytes of a stored part, at most: a range is found without looking at the parts before it."""

_VISIBLE = "file.ready_at IS NOT NULL AND file.expires_at > now()"

_INFO = """
    file.id, file.name, file.kind, file.organisation, file.insurer, file.operation_id, file.mailbox, file.size,
    file.sha256, file.ready_at, file.expires_at, file.confirmed_at,
    (SELECT sig.id FROM file sig WHERE sig.signature_of = file.id AND sig.ready_at IS NOT NULL
     ORDER BY sig.ready_at DESC LIMIT 1)"""

_CREATE = text("""
    INSERT INTO file (id, name, kind, organisation, insurer, client_id, operation_id, number, mailbox, confirmed_days,
                      expires_at)
    VALUES (:id, :name, :kind, :organisation, :insurer, :client_id, :operation_id, :number, :mailbox, :confirmed_days,
            now() + make_interval(days => :days))
    ON CONFLICT (id) DO NOTHING""")

_LOCK = text("""
    SELECT id, name, kind, organisation, insurer, client_id, operation_id, mailbox, size, sha256, ready_at IS NOT NULL
    FROM file WHERE id = :id FOR UPDATE""")

_OWNER = text("""
    SELECT organisation, insurer FROM file
    WHERE id = :id AND (ready_at IS NULL OR expires_at > now())""")

_GET = text(f"SELECT {_INFO} FROM file WHERE file.id = :id AND {_VISIBLE}")

_GROWN = text("UPDATE file SET size = :size, expires_at = now() + make_interval(days => :days) WHERE id = :id")

_BEGIN_AGAIN = text("""
    UPDATE file SET name = :name, kind = :kind, size = 0, expires_at = now() + make_interval(days => :days)
    WHERE id = :id""")

_DROP_PARTS = text("DELETE FROM file_part WHERE file_id = :id")

_KEEP = text("""
    UPDATE file SET expires_at = greatest(expires_at, CAST(:until AS timestamptz))
    WHERE id = :id OR signature_of = :id""")

# bodies go in binary form, past the text form of the engine
_ADD_PART = b"INSERT INTO file_part (file_id, start, size, body) VALUES (%b, %b, %b, %b)"

_PARTS = b"""
    SELECT start, body FROM file_part
    WHERE file_id = %b AND start > %b AND start < %b AND start + size > %b ORDER BY start"""

# from here to the end of the transaction nothing else appears under the same key: a file meets its signature, and times
# of appearance in a mailbox follow the order of commits
_TURN = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 7305005))")

_PARTNER_OF_FILE = """
    SELECT other.id FROM file other
    WHERE other.name = :name AND other.kind = 'SIGNATURE' AND other.signature_of IS NULL"""

_PARTNER_OF_SIGNATURE = """
    SELECT other.id FROM file other
    WHERE other.name = :name AND other.kind <> 'SIGNATURE'
      AND NOT EXISTS (SELECT 1 FROM file sig WHERE sig.signature_of = other.id)"""

_SAME = """
      AND other.ready_at IS NOT NULL AND other.expires_at > now()
      AND other.organisation IS NOT DISTINCT FROM CAST(:organisation AS text)
      AND other.insurer IS NOT DISTINCT FROM CAST(:insurer AS text)
      AND other.operation_id IS NOT DISTINCT FROM CAST(:operation_id AS uuid)
      AND other.client_id IS NOT DISTINCT FROM CAST(:client_id AS bigint)
    ORDER BY other.ready_at DESC, other.id LIMIT 1"""

# a signature goes where its file is: owner, mailbox, time, confirmation; nobody is told of it apart
_ATTACH = text("""
    UPDATE file SET
        signature_of = of.id, organisation = of.organisation, insurer = of.insurer, mailbox = of.mailbox,
        ready_at = greatest(file.ready_at, of.ready_at), expires_at = of.expires_at,
        confirmed_at = of.confirmed_at, confirmed_by = of.confirmed_by,
        noted_at = coalesce(file.noted_at, clock_timestamp())
    FROM file of WHERE file.id = :signature AND of.id = :of""")

# clocks of machines may disagree or go back; a mailbox is read by the time of appearance, so that never does
_APPEAR = text("""
    UPDATE file SET
        size = :size, sha256 = :sha256, expires_at = clock_timestamp() + make_interval(days => :days),
        ready_at = greatest(clock_timestamp(), CASE
            WHEN mailbox AND organisation IS NOT NULL THEN (
                SELECT max(other.ready_at) + interval '1 microsecond' FROM file other
                WHERE other.mailbox AND other.organisation = file.organisation)
            WHEN mailbox THEN (
                SELECT max(other.ready_at) + interval '1 microsecond' FROM file other
                WHERE other.mailbox AND other.organisation IS NULL
                  AND other.insurer IS NOT DISTINCT FROM file.insurer) END),
        noted_at = CASE WHEN :note THEN NULL ELSE clock_timestamp() END
    WHERE id = :id""")

_MOVE = text("""
    UPDATE file SET
        organisation = :organisation, insurer = NULL, mailbox = true, confirmed_at = NULL, confirmed_by = NULL,
        expires_at = clock_timestamp() + make_interval(days => :days),
        ready_at = greatest(clock_timestamp(), (
            SELECT max(other.ready_at) + interval '1 microsecond' FROM file other
            WHERE other.mailbox AND other.organisation = :organisation)),
        noted_at = CASE WHEN :note THEN NULL ELSE clock_timestamp() END
    WHERE id = :id""")

_CONFIRM = text("""
    UPDATE file SET
        confirmed_at = statement_timestamp(), confirmed_by = :by,
        expires_at = least(expires_at, statement_timestamp() + make_interval(days => confirmed_days))
    WHERE (id = :id OR signature_of = :id) AND mailbox AND ready_at IS NOT NULL AND confirmed_at IS NULL""")

# a portion of what is over, each with its signature; what is being written to just now waits for the next time
_EXPIRE = text("""
    WITH over AS (
        SELECT id FROM file WHERE expires_at <= now() ORDER BY expires_at LIMIT :portion FOR UPDATE SKIP LOCKED)
    DELETE FROM file WHERE id IN (SELECT id FROM over) OR signature_of IN (SELECT id FROM over)""")

_CONTACT = text("SELECT organisation, email, webhook FROM mailbox_contact WHERE organisation = :organisation")
_CONTACTS = text("SELECT organisation, email, webhook FROM mailbox_contact ORDER BY organisation")
_IS_ORGANISATION = text("SELECT 1 FROM organisation WHERE code = :organisation")
_SET_CONTACT = text("""
    INSERT INTO mailbox_contact (organisation, email, webhook) VALUES (:organisation, :email, :webhook)
    ON CONFLICT (organisation) DO UPDATE SET
        email = coalesce(excluded.email, mailbox_contact.email),
        webhook = coalesce(excluded.webhook, mailbox_contact.webhook)""")
_DROP_CONTACT = text("DELETE FROM mailbox_contact WHERE organisation = :organisation")

# whoever makes a file appear holds the key shared until its commit, so that no note is written while one is about to
_NOTE_SHARED = text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:key, 7305006))")
_NOTE_ALONE = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:key, 7305006))")

_GATHER = text("""
    UPDATE file SET noted_at = statement_timestamp()
    WHERE id IN (
        SELECT id FROM file WHERE organisation = :organisation AND mailbox AND noted_at IS NULL AND ready_at IS NOT NULL
        ORDER BY ready_at LIMIT :most)
    RETURNING noted_at""")

_NOTED = text(f"""
    SELECT {_INFO} FROM file
    WHERE file.organisation = :organisation AND file.mailbox AND file.noted_at = :moment AND {_VISIBLE}
    ORDER BY file.ready_at, file.id""")


@dataclass(frozen=True, slots=True)
class Held:
    """A file as it is being received or about to appear; ``size`` is what has come so far."""

    id: UUID
    name: str
    kind: str
    owner: Owner
    client_id: int | None
    operation_id: UUID | None
    mailbox: bool
    size: int
    sha256: str | None
    ready: bool


@dataclass(frozen=True, slots=True)
class Contact:
    """Where an organisation is told of new files: an address of e-mail, one of HTTP, or both."""

    organisation: str
    email: str | None
    webhook: str | None


def info(row: Row[Any]) -> FileInfo:
    identity, name, kind, organisation, insurer, *rest = tuple(row)
    return FileInfo(identity, name, kind, Owner(organisation, insurer), *rest)


def create(connection: Connection, **values: Any) -> bool:
    """Whether the file is new; ``days`` is how long it may stay unfinished."""
    return connection.execute(_CREATE, values).rowcount == 1


def lock(connection: Connection, file_id: UUID) -> Held | None:
    row = connection.execute(_LOCK, {"id": file_id}).first()
    if row is None:
        return None
    identity, name, kind, organisation, insurer, *rest = tuple(row)
    return Held(identity, name, kind, Owner(organisation, insurer), *rest)


def owner_of(connection: Connection, file_id: UUID) -> Owner | None:
    row = connection.execute(_OWNER, {"id": file_id}).first()
    return Owner(*row) if row else None


def get(connection: Connection, file_id: UUID) -> FileInfo | None:
    row = connection.execute(_GET, {"id": file_id}).first()
    return info(row) if row else None


def of_operation(
    connection: Connection, operation_id: UUID, scope: Scope | None = None, start: int = 1, count: int | None = None
) -> list[FileInfo]:
    """Visible files of an operation that the scope sees, in their order: ``count`` of them from ``start``, or all."""
    where, values = _seen(scope or Scope())
    chosen = " AND ".join([_VISIBLE, "file.operation_id = :operation", *where])
    values |= {"operation": operation_id, "skip": start - 1, "count": count}
    ordered = f"SELECT {_INFO} FROM file WHERE {chosen} ORDER BY file.number, file.ready_at, file.id"
    rows = connection.execute(text(f"{ordered} OFFSET :skip LIMIT CAST(:count AS bigint)"), values)
    return [info(row) for row in rows]


def _seen(scope: Scope) -> tuple[list[str], dict[str, Any]]:
    """Conditions and values that leave the files of a scope."""
    if scope.insurer is not None:
        return ["file.insurer = :insurer"], {"insurer": scope.insurer}
    if scope.organisations is not None:
        return ["file.insurer IS NULL AND file.organisation = ANY(:organisations)"], {
            "organisations": sorted(scope.organisations)
        }
    return [], {}


def grown(connection: Connection, file_id: UUID, size: int, days: int) -> None:
    connection.execute(_GROWN, {"id": file_id, "size": size, "days": days})


def begin_again(connection: Connection, file_id: UUID, name: str, kind: str, days: int) -> None:
    connection.execute(_BEGIN_AGAIN, {"id": file_id, "name": name, "kind": kind, "days": days})


def drop_parts(connection: Connection, file_id: UUID) -> None:
    connection.execute(_DROP_PARTS, {"id": file_id})


def keep(connection: Connection, file_id: UUID, until: datetime) -> None:
    connection.execute(_KEEP, {"id": file_id, "until": until})


def add_part(connection: Connection, file_id: UUID, start: int, size: int, body: bytes) -> None:
    driver_of(connection).execute(_ADD_PART, (file_id, start, size, body))


def parts(connection: Connection, file_id: UUID, offset: int, end: int) -> Sequence[tuple[int, bytes]]:
    """Stored parts that hold bytes from ``offset`` up to ``end``, in order."""
    values = (file_id, offset - PART_BYTES, end, offset)
    return driver_of(connection).execute(_PARTS, values, binary=True).fetchall()


def take_turn(connection: Connection, key: str) -> None:
    connection.execute(_TURN, {"key": key})


def partner(connection: Connection, file: Held, name: str) -> UUID | None:
    """The file that a signature is of, or the signature that came before its file, under ``name``."""
    wanted = _PARTNER_OF_SIGNATURE if file.kind == "SIGNATURE" else _PARTNER_OF_FILE
    values = {
        "name": name, "organisation": file.owner.organisation, "insurer": file.owner.insurer,
        "operation_id": file.operation_id, "client_id": file.client_id,
    }  # fmt: skip
    found: UUID | None = connection.execute(text(wanted + _SAME), values).scalar()
    return found


def attach(connection: Connection, signature: UUID, of: UUID) -> None:
    connection.execute(_ATTACH, {"signature": signature, "of": of})


def appear(connection: Connection, file_id: UUID, size: int, sha256: str, days: int, note: bool) -> None:
    values = {"id": file_id, "size": size, "sha256": sha256, "days": days, "note": note}
    connection.execute(_APPEAR, values)


def move(connection: Connection, file_id: UUID, organisation: str, days: int, note: bool) -> None:
    values = {"id": file_id, "organisation": organisation, "days": days, "note": note}
    connection.execute(_MOVE, values)


def confirm(connection: Connection, file_id: UUID, by: str) -> None:
    connection.execute(_CONFIRM, {"id": file_id, "by": by})


def page(
    connection: Connection, scope: Scope, organisation: str | None, mailbox: bool, since: datetime | None, start: int,
    count: int,
) -> tuple[int, list[FileInfo]]:  # fmt: skip
    """How many visible files there are in all, and ``count`` of them from ``start`` in the order they appeared."""
    seen, values = _seen(scope)
    where = [_VISIBLE, *seen]
    if mailbox:
        where.append("file.mailbox")
    if organisation is not None:
        where.append("file.organisation = :organisation")
    if since is not None:
        where.append("file.ready_at >= :since")
    values |= {"organisation": organisation, "since": since, "skip": start - 1, "count": count}
    chosen = f"FROM file WHERE {' AND '.join(where)}"
    total = connection.execute(text(f"SELECT count(*) {chosen}"), values).scalar_one()
    ordered = f"SELECT {_INFO} {chosen} ORDER BY file.ready_at, file.id OFFSET :skip LIMIT :count"
    return total, [info(row) for row in connection.execute(text(ordered), values)]


def expire(connection: Connection, portion: int) -> int:
    return connection.execute(_EXPIRE, {"portion": portion}).rowcount


def contact(connection: Connection, organisation: str) -> Contact | None:
    row = connection.execute(_CONTACT, {"organisation": organisation}).first()
    return Contact(*row) if row else None


def contacts(connection: Connection) -> list[Contact]:
    return [Contact(*row) for row in connection.execute(_CONTACTS)]


def is_organisation(connection: Connection, organisation: str) -> bool:
    """Whether there is an organisation of this code; none has a NUL in it, which the database takes for no text."""
    if "\0" in organisation:
        return False
    return connection.execute(_IS_ORGANISATION, {"organisation": organisation}).first() is not None


def set_contact(connection: Connection, one: Contact) -> None:
    values = {"organisation": one.organisation, "email": one.email, "webhook": one.webhook}
    connection.execute(_SET_CONTACT, values)


def drop_contact(connection: Connection, organisation: str) -> bool:
    return connection.execute(_DROP_CONTACT, {"organisation": organisation}).rowcount == 1


def hold_notes(connection: Connection, organisation: str) -> None:
    connection.execute(_NOTE_SHARED, {"key": organisation})


def own_notes(connection: Connection, organisation: str) -> bool:
    """Whether nobody is just making a file of the organisation appear; nobody does until the end of the transaction."""
    return bool(connection.execute(_NOTE_ALONE, {"key": organisation}).scalar())


def gather(connection: Connection, organisation: str, most: int) -> datetime | None:
    """The moment that now marks a portion of the files nobody was told of; ``None`` if there are none."""
    moment: datetime | None = connection.execute(_GATHER, {"organisation": organisation, "most": most}).scalar()
    return moment


def noted(connection: Connection, organisation: str, moment: datetime) -> list[FileInfo]:
    values = {"organisation": organisation, "moment": moment}
    return [info(row) for row in connection.execute(_NOTED, values)]
