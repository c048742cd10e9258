"""All SQL of access: clients and their secrets, limits, stored answers, the audit and its chain.

Statements run on the driver's connection, in the transaction of the caller or, on hot paths, in autocommit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from gateway.store.engine import Driver

Row = tuple[Any, ...]

# Clients ------------------------------------------------------------------------------------------------------------

_FINGERPRINT = b"""
    SELECT concat_ws('.',
        (SELECT coalesce(sum(hashint8extended(xmin::text::bigint, id)), 0) FROM client),
        (SELECT coalesce(sum(hashint8extended(xmin::text::bigint, id)), 0) FROM client_secret),
        (SELECT coalesce(sum(hashtextextended(sha256, xmin::text::bigint)), 0) FROM client_certificate))
"""
_CLIENT = (
    "c.id, c.login, c.kind, c.organisations, c.insurer, c.rights, c.requests_per_minute, c.disabled_at IS NOT NULL"
)
_SECRETS = f"""
    SELECT {_CLIENT}, s.id, s.hash, s.valid_from, s.valid_to, s.revoked_at
    FROM client c LEFT JOIN LATERAL (
        SELECT * FROM client_secret WHERE client_id = c.id
        ORDER BY (revoked_at IS NULL AND (valid_to IS NULL OR valid_to > %(now)s)) DESC, id DESC LIMIT %(most)s
    ) s ON true WHERE c.login = %(login)s
""".encode()
_CERTIFICATE = f"""
    SELECT {_CLIENT}, t.valid_from, t.valid_to, t.revoked_at
    FROM client_certificate t JOIN client c ON c.id = t.client_id WHERE t.sha256 = %s
""".encode()


def fingerprint(connection: psycopg.Connection[Any]) -> str:
    """A number that changes with every change of clients, secrets and certificates."""
    return str(_one(connection.execute(_FINGERPRINT))[0])


def secrets_of(driver: Driver, login: str, now: datetime, most: int) -> list[Row]:
    """The client of a name with its newest secrets, those still valid first; a client without any has one row."""
    return driver.execute(_SECRETS, {"login": login, "now": now, "most": most}).fetchall()


def certificate(driver: Driver, sha256: str) -> Row | None:
    """The client of a certificate with the dates of the certificate."""
    return driver.execute(_CERTIFICATE, (sha256,)).fetchone()


def rehash(driver: Driver, secret_id: int, old: str, new: str) -> None:
    """Replaces a hash made with former parameters, unless somebody else has."""
    driver.execute(b"UPDATE client_secret SET hash = %s WHERE id = %s AND hash = %s", (new, secret_id, old))


def client_id(driver: Driver, login: str) -> int | None:
    """The id of a client, its row locked against other changes of access."""
    row = driver.execute(b"SELECT id FROM client WHERE login = %s FOR UPDATE", (login,)).fetchone()
    return None if row is None else int(row[0])


def put_client(driver: Driver, values: dict[str, Any]) -> int | None:
    """Adds a client; ``None`` if its login is taken."""
    row = driver.execute(
        b"INSERT INTO client (login, name, kind, organisations, insurer, rights, requests_per_minute) VALUES (%(login)s,"
        b" %(name)s, %(kind)s, %(organisations)s, %(insurer)s, %(rights)s, %(requests_per_minute)s)"
        b" ON CONFLICT (login) DO NOTHING RETURNING id",
        values,
    ).fetchone()
    return None if row is None else int(row[0])


def unknown_organisations(driver: Driver, codes: Sequence[str]) -> int:
    """How many of the codes are not in the directory of organisations."""
    return int(
        _one(
            driver.execute(
                b"SELECT count(*) FROM unnest(%s::text[]) AS a(code) LEFT JOIN organisation o USING (code)"
                b" WHERE o.code IS NULL",
                (list(codes),),
            )
        )[0]
    )


def put_secret(
    driver: Driver, client: int, hashed: str, valid_from: datetime | None, valid_to: datetime | None
) -> None:
    """Adds a secret, valid from now if no day is given."""
    driver.execute(
        b"INSERT INTO client_secret (client_id, hash, valid_from, valid_to) VALUES (%s, %s, coalesce(%s, now()), %s)",
        (client, hashed, valid_from, valid_to),
    )


def end_secrets(driver: Driver, client: int, overlap: timedelta) -> None:
    """Lets the newest secret in force live for ``overlap`` at most and ends the others at once."""
    driver.execute(
        b"UPDATE client_secret s SET valid_to = least(s.valid_to, now() + CASE WHEN s.id = newest.id THEN %(overlap)s"
        b" ELSE interval '0' END) FROM (SELECT max(id) AS id FROM client_secret WHERE client_id = %(client)s"
        b" AND revoked_at IS NULL AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now())) newest"
        b" WHERE s.client_id = %(client)s AND s.revoked_at IS NULL AND (s.valid_to IS NULL OR s.valid_to > now())",
        {"client": client, "overlap": overlap},
    )


def revoke_secrets(driver: Driver, client: int) -> int:
    """Revokes every secret of a client that has not ended; how many there were."""
    return driver.execute(
        b"UPDATE client_secret SET revoked_at = now() WHERE client_id = %s AND revoked_at IS NULL"
        b" AND (valid_to IS NULL OR valid_to > now())",
        (client,),
    ).rowcount


def set_disabled(driver: Driver, client: int, disabled: bool) -> None:
    driver.execute(
        b"UPDATE client SET disabled_at = CASE WHEN %s THEN coalesce(disabled_at, now()) END WHERE id = %s",
        (disabled, client),
    )


def set_rights(driver: Driver, client: int, rights: Sequence[str]) -> None:
    driver.execute(b"UPDATE client SET rights = %s WHERE id = %s", (list(rights), client))


def rights_of(driver: Driver, client: int) -> list[str]:
    return list(_one(driver.execute(b"SELECT rights FROM client WHERE id = %s", (client,)))[0])


def put_certificate(
    driver: Driver, client: int, sha256: str, valid_from: datetime | None, valid_to: datetime | None
) -> bool:
    """Adds a certificate; false if its fingerprint is known already."""
    return (
        driver.execute(
            b"INSERT INTO client_certificate (sha256, client_id, valid_from, valid_to)"
            b" VALUES (%s, %s, coalesce(%s, now()), %s) ON CONFLICT (sha256) DO NOTHING",
            (sha256, client, valid_from, valid_to),
        ).rowcount
        == 1
    )


def revoke_certificate(driver: Driver, client: int, sha256: str) -> bool:
    """Revokes a certificate of a client; false if it has no such one in force."""
    return (
        driver.execute(
            b"UPDATE client_certificate SET revoked_at = now()"
            b" WHERE client_id = %s AND sha256 = %s AND revoked_at IS NULL",
            (client, sha256),
        ).rowcount
        == 1
    )


def clients(driver: Driver) -> list[Row]:
    """All clients by login with their secrets in force and to come, and their certificates in force."""
    return driver.execute(
        b"SELECT c.login, c.name, c.kind, c.organisations, c.insurer, c.rights, c.requests_per_minute, c.created_at,"
        b" c.disabled_at, (SELECT coalesce(array_agg(valid_to ORDER BY id), '{}') FROM client_secret WHERE client_id = c.id"
        b" AND revoked_at IS NULL AND (valid_to IS NULL OR valid_to > now())),"
        b" (SELECT coalesce(array_agg(sha256 ORDER BY sha256), '{}') FROM client_certificate WHERE client_id = c.id"
        b" AND revoked_at IS NULL AND (valid_to IS NULL OR valid_to > now())) FROM client c ORDER BY c.login"
    ).fetchall()


# Limits -------------------------------------------------------------------------------------------------------------

_LEASE = b"""
    WITH clock AS (
        SELECT floor(extract(epoch FROM now()) / 60)::bigint AS minute,
               (60 - mod(extract(epoch FROM now()), 60))::float8 AS seconds
    ), lease AS (
        INSERT INTO rate_window AS w (client_id, minute, taken) SELECT %(client)s, minute, %(share)s FROM clock
        ON CONFLICT (client_id, minute) DO UPDATE SET taken = w.taken + excluded.taken WHERE w.taken < %(limit)s
        RETURNING taken
    )
    SELECT (SELECT taken FROM lease), seconds FROM clock
"""


def lease(driver: Driver, client: int, share: int, limit: int) -> tuple[int | None, float]:
    """Adds ``share`` requests to the minute of a client: what is taken now and the seconds left of the minute.

    ``None`` if the minute was spent already.
    """
    taken, seconds = _one(driver.execute(_LEASE, {"client": client, "share": share, "limit": limit}))
    return taken, seconds


# Stored answers -----------------------------------------------------------------------------------------------------


def bound_waits(driver: Driver, lock_ms: int, statement_ms: int) -> None:
    """Limits how long the transaction waits for locks and how long a statement of it may run."""
    driver.execute(
        b"SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)",
        (str(lock_ms), str(statement_ms)),
    )


def claim(driver: Driver, client: int, request_id: UUID, operation: str, body_sha256: bytes) -> bool:
    """Claims a request id for this transaction; waits for a transaction that claims it now. False if it is used."""
    return (
        driver.execute(
            b"INSERT INTO call_request (client_id, request_id, operation, body_sha256) VALUES (%s, %s, %s, %s)"
            b" ON CONFLICT DO NOTHING",
            (client, request_id, operation, body_sha256),
        ).rowcount
        == 1
    )


def stored(driver: Driver, client: int, request_id: UUID) -> Row | None:
    """Operation, digest of the body, compressed answer and time of a request that was done."""
    return driver.execute(
        b"SELECT operation, body_sha256, answer, created_at FROM call_request WHERE client_id = %s AND request_id = %s",
        (client, request_id),
    ).fetchone()


def keep_answer(driver: Driver, client: int, request_id: UUID, answer: bytes) -> None:
    driver.execute(
        b"UPDATE call_request SET answer = %s WHERE client_id = %s AND request_id = %s", (answer, client, request_id)
    )


def first_record(driver: Driver, client: int, request_id: UUID, since: datetime) -> Row | None:
    """Trace, persons, organisation and count of the record that the first call of a request left within five minutes."""
    return driver.execute(
        b"SELECT trace, persons, organisation, records FROM audit_record WHERE client_id = %(client)s"
        b" AND at >= %(since)s AND at < %(since)s + interval '5 minutes' AND request_id = %(request_id)s"
        b" AND outcome IN ('OK', 'PARTIAL') ORDER BY at LIMIT 1",
        {"client": client, "request_id": request_id, "since": since},
    ).fetchone()


# Journal ------------------------------------------------------------------------------------------------------------

_OWN_CALLS = (
    "FROM audit_record WHERE client_id = %(client)s AND at >= %(since)s AND at < %(until)s"
    " AND (%(operation)s::text IS NULL OR operation = %(operation)s)"
    " AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)"
)


def count_calls(driver: Driver, values: dict[str, Any]) -> int:
    """How many calls a client has made: client, since, until, operation or None, outcome or None."""
    return int(_one(driver.execute(f"SELECT count(*) {_OWN_CALLS}".encode(), values))[0])


def calls(driver: Driver, values: dict[str, Any]) -> list[Row]:
    """A page of them, the newest first; ``skip`` and ``count`` besides the above."""
    return driver.execute(
        f"SELECT at, service, operation, outcome, code, trace, organisation, request_id::text, records {_OWN_CALLS}"
        " ORDER BY at DESC, id DESC OFFSET %(skip)s LIMIT %(count)s".encode(),
        values,
    ).fetchall()


# The chain of the audit ---------------------------------------------------------------------------------------------

_PLAIN = (
    "id", "trace", "client_id", "login", "address", "service", "operation", "organisation", "request_id", "outcome",
    "code", "persons", "snapshot_id", "first_record", "records", "details",
)  # fmt: skip
_LINE = (
    "jsonb_build_object('at', to_char(r.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), "
    + ", ".join(f"'{name}', r.{name}" for name in _PLAIN)
    + ")::text"
)
"""A record as the text that is hashed and exported: every column, keys in PostgreSQL's order of jsonb, time in UTC."""

_MEMBERS = """
    SELECT r.id, r.id NOT BETWEEN %(first)s AND %(last)s AS late, {what} FROM audit_record r
    WHERE r.id BETWEEN %(first)s AND %(last)s AND r.id <> ALL(%(missing)s::bigint[]) OR r.id = ANY(%(late)s::bigint[])
"""
_DIGEST = f"sha256(convert_to({_LINE}, 'UTF8')) AS digest"
_SUM = f"""
    WITH member AS MATERIALIZED ({_MEMBERS.format(what=_DIGEST)})
    SELECT count(*), coalesce(encode(sha256(string_agg(digest, ''::bytea ORDER BY late, id)), 'hex'), ''),
           coalesce(string_agg(substr(digest, 1, 8), ''::bytea ORDER BY late, id), ''),
           (SELECT coalesce(array_agg(n ORDER BY n), '{{}}') FROM generate_series(%(first)s::bigint, %(last)s::bigint) n
            WHERE NOT EXISTS (SELECT 1 FROM member m WHERE m.id = n))
    FROM member
""".encode()
_STRAY = """
    SELECT r.id FROM audit_batch b CROSS JOIN LATERAL unnest(b.missing) AS m(id) JOIN audit_record r ON r.id = m.id
    WHERE (b.sealed_at > now() - %(within)s) = %(recent)s
      AND NOT EXISTS (SELECT 1 FROM audit_batch l WHERE l.id > b.id AND m.id = ANY(l.late))
"""
_BATCH = b"SELECT id, first_id, last_id, count, missing, late, previous, sha256, digests, sealed_at FROM audit_batch"


def lock_chain(driver: Driver) -> None:
    """Makes sealing and retention wait for each other until the end of the transaction."""
    driver.execute(b"SELECT pg_advisory_xact_lock(7305004)")


def next_range(driver: Driver, after: int, size: int) -> int | None:
    """The id of the last of the next ``size`` records, ``None`` if there is none."""
    found: int | None = _one(
        driver.execute(
            b"SELECT max(id) FROM (SELECT id FROM audit_record WHERE id > %s ORDER BY id LIMIT %s) r", (after, size)
        )
    )[0]
    return found


def late_records(driver: Driver, within: timedelta, most: int) -> list[int]:
    """Records that were committed after the seal of their range, no longer ago than ``within``."""
    values = {"within": within, "recent": True, "most": most}
    return [row[0] for row in driver.execute(f"{_STRAY} ORDER BY r.id LIMIT %(most)s".encode(), values)]


def inserted_records(driver: Driver, within: timedelta) -> Iterator[int]:
    """Records in sealed ranges, or before the first one, that no batch accounts for."""
    values = {"within": within, "recent": False}
    before = """
        SELECT r.id FROM audit_record r WHERE r.id < (SELECT min(first_id) FROM audit_batch)
        AND NOT EXISTS (SELECT 1 FROM audit_batch l WHERE r.id = ANY(l.late))
    """
    yield from (row[0] for row in driver.execute(f"{_STRAY} UNION {before} ORDER BY 1".encode(), values))


def summed(driver: Driver, first: int, last: int, missing: Sequence[int], late: Sequence[int]) -> Row:
    """Count, hash, shortened digests and absent ids of the records of a batch, in one look at the table."""
    values = {"first": first, "last": last, "missing": list(missing), "late": list(late)}
    return _one(driver.execute(_SUM, values))


def digests(driver: Driver, first: int, last: int, missing: Sequence[int], late: Sequence[int]) -> dict[int, bytes]:
    """The shortened digest of each record of a batch."""
    values = {"first": first, "last": last, "missing": list(missing), "late": list(late)}
    found = driver.execute(f"SELECT id, substr(digest, 1, 8) FROM ({_MEMBERS.format(what=_DIGEST)}) m".encode(), values)
    return {row[0]: bytes(row[1]) for row in found}


def put_batch(driver: Driver, values: dict[str, Any]) -> None:
    driver.execute(
        b"INSERT INTO audit_batch (first_id, last_id, count, missing, late, previous, sha256, digests) VALUES (%(first)s,"
        b" %(last)s, %(count)s, %(missing)s::bigint[], %(late)s::bigint[], %(previous)s, %(sha256)s, %(digests)s)",
        values,
    )


def last_batch(driver: Driver) -> Row | None:
    """The end of the chain: last id and hash."""
    return driver.execute(b"SELECT last_id, sha256 FROM audit_batch ORDER BY id DESC LIMIT 1").fetchone()


def batch_after(driver: Driver, batch: int) -> Row | None:
    """The next batch of the chain after the one of this id."""
    return driver.execute(_BATCH + b" WHERE id > %s ORDER BY id LIMIT 1", (batch,)).fetchone()


def count_unsealed(driver: Driver) -> int:
    """Records after the last batch."""
    return int(
        _one(
            driver.execute(
                b"SELECT count(*) FROM audit_record WHERE id > coalesce((SELECT max(last_id) FROM audit_batch), 0)"
            )
        )[0]
    )


def lines(driver: Driver, first: int, last: int, missing: Sequence[int], late: Sequence[int]) -> Iterator[str]:
    """The records of a batch as text, in the order in which they are hashed."""
    values = {"first": first, "last": last, "missing": list(missing), "late": list(late)}
    query = f"SELECT line FROM ({_MEMBERS.format(what=_LINE + ' AS line')}) m ORDER BY late, id".encode()
    yield from (row[0] for row in driver.execute(query, values))


def chain_start(driver: Driver) -> str | None:
    """Id and hash of the last batch that retention has removed, as ``last_id sha256``."""
    row = driver.execute(b"SELECT value FROM installation WHERE name = 'audit_start'").fetchone()
    return None if row is None else str(row[0])


def outlived(driver: Driver, before: datetime, after: int) -> Row | None:
    """The next batch after ``after`` if all its records are older than ``before`` and it is not the last one."""
    row = batch_after(driver, after)
    if row is None or batch_after(driver, row[0]) is None:
        return None
    young = driver.execute(
        b"SELECT 1 FROM audit_record WHERE id BETWEEN %s AND %s AND at >= %s LIMIT 1", (row[1], row[2], before)
    ).fetchone()
    return row if young is None else None


def remove_batch(driver: Driver, batch: Row) -> int:
    """Deletes a batch with its records (owner role) and moves the known start of the chain; how many records."""
    identity, first, last, _, missing, late, _, sha256 = batch[:8]
    removed = driver.execute(
        b"DELETE FROM audit_record WHERE id BETWEEN %s AND %s AND id <> ALL(%s::bigint[]) OR id = ANY(%s::bigint[])",
        (first, last, missing, late),
    ).rowcount
    driver.execute(b"DELETE FROM audit_batch WHERE id = %s", (identity,))
    driver.execute(
        b"INSERT INTO installation (name, value) VALUES ('audit_start', %s)"
        b" ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (f"{last} {sha256}",),
    )
    return removed


def _one(cursor: psycopg.Cursor[Row]) -> Row:
    row = cursor.fetchone()
    if row is None:
        raise LookupError("a statement that always answers gave no row")
    return row
