"""SQL of the stand-in: its own tables in schema `upstream`, apart from what the gateway knows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from gateway.store.engine import driver_of

_TABLES = """
CREATE SCHEMA IF NOT EXISTS upstream;
CREATE TABLE IF NOT EXISTS upstream.person (
    oip text PRIMARY KEY, enp text NOT NULL UNIQUE, snils text, last_name text NOT NULL, first_name text NOT NULL,
    middle_name text, birth_date date NOT NULL, sex smallint NOT NULL, death_date date, merged_into text, merged_at date,
    edited_on date NOT NULL);
CREATE TABLE IF NOT EXISTS upstream.policy (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, oip text NOT NULL, enp text NOT NULL, since date NOT NULL,
    until date, status text NOT NULL, okato text NOT NULL, insurer text NOT NULL);
CREATE TABLE IF NOT EXISTS upstream.attachment (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, oip text NOT NULL, organisation text NOT NULL,
    area text NOT NULL DEFAULT '1', since date NOT NULL, until date, status text NOT NULL DEFAULT 'ДПП');
CREATE TABLE IF NOT EXISTS upstream.change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, oip text NOT NULL, enp text NOT NULL, kind text NOT NULL,
    happened_on date NOT NULL);
CREATE TABLE IF NOT EXISTS upstream.operation (
    token text PRIMARY KEY, kind text NOT NULL, since date NOT NULL, until date, polls int NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS upstream.lived (month int PRIMARY KEY, lived_at timestamptz NOT NULL DEFAULT now());
"""

_INDEXES = """
CREATE INDEX IF NOT EXISTS policy_oip_idx ON upstream.policy (oip);
CREATE INDEX IF NOT EXISTS attachment_oip_idx ON upstream.attachment (oip);
CREATE INDEX IF NOT EXISTS person_death_idx ON upstream.person (death_date) WHERE death_date IS NOT NULL;
CREATE INDEX IF NOT EXISTS person_birth_idx ON upstream.person (birth_date);
CREATE INDEX IF NOT EXISTS change_day_idx ON upstream.change (happened_on);
ANALYZE upstream.person; ANALYZE upstream.policy; ANALYZE upstream.attachment;
SELECT setval(pg_get_serial_sequence('upstream.policy', 'id'), (SELECT max(id) FROM upstream.policy)),
       setval(pg_get_serial_sequence('upstream.attachment', 'id'), (SELECT max(id) FROM upstream.attachment));
"""
"""With ``wal_level = minimal`` a sequence that was made and used in one transaction falls back after a crash, unless its value
is set at the end."""

_COPY_PERSONS = """
INSERT INTO upstream.person (oip, enp, snils, last_name, first_name, middle_name, birth_date, sex, death_date, edited_on)
SELECT lpad((100000000000 + id)::text, 12, '0'), enp, snils, last_name, first_name, middle_name, birth_date, sex, death_date,
       date '2020-01-01' FROM person;
INSERT INTO upstream.policy (oip, enp, since, status, okato, insurer)
SELECT u.oip, p.enp, greatest(p.birth_date, date '2015-01-01'),
       CASE WHEN p.death_date IS NULL THEN 'Действующий' ELSE 'Аннулированный' END,
       CASE WHEN p.insured_in_region THEN :okato ELSE :elsewhere END, coalesce(p.insurer, '40001')
FROM person p JOIN upstream.person u ON u.enp = p.enp;
INSERT INTO upstream.attachment (oip, organisation, since)
SELECT u.oip, p.attached_organisation, coalesce(p.attached_since, date '2018-01-01')
FROM person p JOIN upstream.person u ON u.enp = p.enp WHERE p.attached_organisation IS NOT NULL;
"""


def made(connection: Connection) -> bool:
    """Whether the stand-in has its tables."""
    found: bool = connection.execute(text("SELECT to_regclass('upstream.lived') IS NOT NULL")).scalar_one()
    return found


def live_once(connection: Connection, month: int) -> bool:
    """Notes a month that passes; False if it has passed already."""
    found = connection.execute(
        text("INSERT INTO upstream.lived (month) VALUES (:month) ON CONFLICT DO NOTHING"), {"month": month}
    )
    return found.rowcount == 1


def make(connection: Connection, okato: str, elsewhere: str) -> None:
    """The stand-in's tables with the people that the gateway knows now; nothing if they are there."""
    if made(connection):
        return
    driver = driver_of(connection)
    driver.execute(_TABLES.encode())
    for statement in _COPY_PERSONS.split(";\n"):
        if statement.strip():
            connection.execute(text(statement), {"okato": okato, "elsewhere": elsewhere})
    driver.execute(_INDEXES.encode())


FATES = ("DIED", "LEFT", "MOVED", "INSURER", "RENAMED", "MERGED", "SUSPENDED", "DETACHED", "RETURNED", "REVIVED")

_DRAW = """
CREATE TEMP TABLE fate ON COMMIT DROP AS
SELECT p.oip, p.enp, b.kind, CAST(:first AS date) + (abs(hashtext(p.oip || :salt || 'day')) % :days) AS day
FROM upstream.person p
JOIN jsonb_to_recordset(CAST(:bounds AS jsonb)) AS b(kind text, low int, high int)
  ON abs(hashtext(p.oip || :salt)) % 100000 >= b.low AND abs(hashtext(p.oip || :salt)) % 100000 < b.high
JOIN LATERAL (
    SELECT max(okato) FILTER (WHERE status LIKE 'Д%' AND until IS NULL) AS okato FROM upstream.policy WHERE oip = p.oip
) AS now ON true
WHERE p.merged_into IS NULL AND CASE b.kind
    WHEN 'REVIVED' THEN p.death_date < :first
    WHEN 'RETURNED' THEN p.death_date IS NULL AND now.okato = :elsewhere
    ELSE p.death_date IS NULL AND now.okato = :okato END
"""

LIVE = (
    # the dead
    "UPDATE upstream.person p SET death_date = f.day, edited_on = f.day FROM fate f WHERE f.oip = p.oip AND f.kind = 'DIED'",
    "UPDATE upstream.policy y SET until = f.day, status = 'Аннулированный' FROM fate f"
    " WHERE f.oip = y.oip AND f.kind = 'DIED' AND y.until IS NULL",
    # who left the region
    "UPDATE upstream.policy y SET until = f.day - 1, status = 'Аннулированный' FROM fate f"
    " WHERE f.oip = y.oip AND f.kind IN ('LEFT', 'RETURNED', 'INSURER') AND y.until IS NULL",
    "INSERT INTO upstream.policy (oip, enp, since, status, okato, insurer)"
    " SELECT oip, enp, day, 'Действующий', :elsewhere, '47999' FROM fate WHERE kind = 'LEFT'",
    # who came back, and who only changed the insurer
    "INSERT INTO upstream.policy (oip, enp, since, status, okato, insurer)"
    " SELECT f.oip, f.enp, f.day, 'Действующий', :okato, (SELECT y.insurer FROM upstream.policy y"
    " WHERE y.okato = :okato AND y.insurer <> (SELECT z.insurer FROM upstream.policy z WHERE z.oip = f.oip ORDER BY z.id DESC"
    " LIMIT 1) LIMIT 1) FROM fate f WHERE f.kind IN ('RETURNED', 'INSURER')",
    # attachments that ended, and new ones
    "UPDATE upstream.attachment a SET until = CASE WHEN f.kind = 'MOVED' THEN f.day - 1 ELSE f.day END, status = 'НАП' FROM fate f"
    " WHERE f.oip = a.oip AND f.kind IN ('DIED', 'LEFT', 'MOVED', 'DETACHED') AND a.until IS NULL AND a.area = '1'",
    "INSERT INTO upstream.attachment (oip, organisation, since)"
    " SELECT f.oip, o.code, f.day FROM fate f CROSS JOIN LATERAL (SELECT code FROM organisation"
    " WHERE primary_care AND code IS DISTINCT FROM (SELECT a.organisation FROM upstream.attachment a WHERE a.oip = f.oip"
    " ORDER BY a.id DESC LIMIT 1) ORDER BY md5(f.oip || code) LIMIT 1) AS o WHERE f.kind IN ('MOVED', 'RETURNED')",
    # names, policies that stop, deaths that were an error
    "UPDATE upstream.person p SET last_name = 'Новофамильцев', edited_on = f.day FROM fate f"
    " WHERE f.oip = p.oip AND f.kind = 'RENAMED'",
    "UPDATE upstream.policy y SET status = 'Приостановленный' FROM fate f"
    " WHERE f.oip = y.oip AND f.kind = 'SUSPENDED' AND y.until IS NULL",
    "UPDATE upstream.person p SET death_date = NULL, edited_on = f.day FROM fate f WHERE f.oip = p.oip AND f.kind = 'REVIVED'",
    "UPDATE upstream.policy y SET until = NULL, status = 'Действующий' FROM fate f WHERE f.oip = y.oip AND f.kind = 'REVIVED'"
    " AND y.id = (SELECT max(z.id) FROM upstream.policy z WHERE z.oip = f.oip)",
    "UPDATE upstream.attachment a SET until = NULL, status = 'ДПП' FROM fate f WHERE f.oip = a.oip AND f.kind = 'REVIVED'"
    " AND a.id = (SELECT max(z.id) FROM upstream.attachment z WHERE z.oip = f.oip)",
    # two records of one person, attached to the same clinic: the older goes on as the other
    "UPDATE upstream.person p SET merged_into = m.heir, merged_at = f.day FROM fate f CROSS JOIN LATERAL ("
    " SELECT q.oip AS heir FROM upstream.person q JOIN upstream.attachment t ON t.oip = q.oip AND t.until IS NULL"
    " JOIN upstream.policy y ON y.oip = q.oip AND y.until IS NULL AND y.okato = :okato AND y.status LIKE 'Д%'"
    " WHERE q.oip > f.oip AND q.merged_into IS NULL AND q.death_date IS NULL"
    " AND NOT EXISTS (SELECT FROM fate o WHERE o.oip = q.oip) AND t.organisation = (SELECT a.organisation"
    " FROM upstream.attachment a WHERE a.oip = f.oip AND a.until IS NULL LIMIT 1) ORDER BY q.oip LIMIT 1) AS m"
    " WHERE f.oip = p.oip AND f.kind = 'MERGED'",
    "INSERT INTO upstream.change (oip, enp, kind, happened_on) SELECT oip, enp, CASE"
    " WHEN kind IN ('DIED', 'LEFT', 'SUSPENDED') THEN 'DEPARTED' WHEN kind IN ('RETURNED', 'REVIVED') THEN 'ARRIVED'"
    " ELSE 'CHANGED' END, day FROM fate WHERE kind NOT IN ('MOVED', 'DETACHED')",
)
"""What each fate does, in order."""


def draw(connection: Connection, bounds: Sequence[dict[str, Any]], **values: Any) -> None:
    """Who meets which fate on which day."""
    wanted = {name: values[name] for name in ("first", "days", "salt", "okato", "elsewhere")}
    connection.execute(text(_DRAW), {"bounds": json.dumps(bounds), **wanted})


def fates(connection: Connection) -> dict[str, int]:
    return {row[0]: row[1] for row in connection.execute(text("SELECT kind, count(*) FROM fate GROUP BY kind"))}


# what the service answers from ----------------------------------------------------------------------------------------


def person(
    connection: Connection, *, enp: str | None = None, oip: str | None = None, snils: str | None = None
) -> RowMapping | None:
    found = connection.execute(
        text("SELECT * FROM upstream.person WHERE enp = :enp OR oip = :oip OR snils = :snils ORDER BY oip LIMIT 1"),
        {"enp": enp, "oip": oip, "snils": snils},
    )
    return found.mappings().one_or_none()


def policies(connection: Connection, oip: str) -> Sequence[RowMapping]:
    return (
        connection.execute(text("SELECT * FROM upstream.policy WHERE oip = :oip ORDER BY id DESC"), {"oip": oip})
        .mappings()
        .all()
    )


def attachments(connection: Connection, oip: str) -> Sequence[RowMapping]:
    return (
        connection.execute(text("SELECT * FROM upstream.attachment WHERE oip = :oip ORDER BY id DESC"), {"oip": oip})
        .mappings()
        .all()
    )


_SEARCH = """
SELECT count(*) OVER () AS total, oip, enp, last_name, first_name, middle_name, birth_date, sex FROM upstream.person
WHERE (CAST(:death_from AS date) IS NULL OR death_date BETWEEN :death_from AND :death_to)
  AND (CAST(:born_from AS date) IS NULL OR birth_date BETWEEN :born_from AND :born_to)
  AND (CAST(:last AS text) IS NULL OR upper(replace(last_name, 'ё', 'е')) = upper(replace(:last, 'ё', 'е')))
  AND (CAST(:first AS text) IS NULL OR upper(replace(first_name, 'ё', 'е')) = upper(replace(:first, 'ё', 'е')))
  AND merged_into IS NULL
ORDER BY oip LIMIT :count OFFSET :start
"""


def search(connection: Connection, **values: Any) -> Sequence[RowMapping]:
    return connection.execute(text(_SEARCH), values).mappings().all()


def changed(connection: Connection, since: date, until: date) -> Iterator[tuple[str, str]]:
    """(kind, ЕНП) of the changes of insurance in a period."""
    rows = connection.execute(
        text("SELECT DISTINCT kind, enp FROM upstream.change WHERE happened_on BETWEEN :since AND :until"),
        {"since": since, "until": until},
    )
    return ((row[0], row[1]) for row in rows)


EXTRACT = """
COPY (SELECT to_char(%(day)s::date, 'MM.YYYY'), p.enp, y.insurer, 'СМО', y.okato, p.sex,
             extract(year FROM age(%(day)s::date, p.birth_date))::int, a.organisation, '', 'МО ' || a.organisation, '{okato}', '',
             a.area, '', '1', a.since, a.until, '', '', '', a.status
      FROM upstream.attachment a JOIN upstream.person p ON p.oip = a.oip
      JOIN LATERAL (SELECT insurer, okato FROM upstream.policy y WHERE y.oip = p.oip AND y.since <= %(day)s
                    AND (y.until IS NULL OR y.until >= %(day)s) AND y.status LIKE 'Д%%' ORDER BY y.id DESC LIMIT 1) AS y ON true
      WHERE p.merged_into IS NULL AND (p.death_date IS NULL OR p.death_date > %(day)s) AND a.since <= %(day)s
        AND (a.until IS NULL OR a.until >= %(day)s) AND left(y.okato, 2) = '{region}')
TO STDOUT (FORMAT CSV)
"""
"""The extract of attachments as of a day: 21 columns, no header."""


def current(connection: Connection) -> date:
    """The first day after the latest month in which something changed; that of this month where nothing did."""
    found: date = connection.execute(
        text(
            "SELECT coalesce(date_trunc('month', max(happened_on)) + interval '1 month', date_trunc('month', now()))::date"
            " FROM upstream.change"
        )
    ).scalar_one()
    return found


def start(connection: Connection, token: str, kind: str, since: date, until: date | None) -> None:
    connection.execute(
        text("INSERT INTO upstream.operation (token, kind, since, until) VALUES (:token, :kind, :since, :until)"),
        {"token": token, "kind": kind, "since": since, "until": until},
    )


def poll(connection: Connection, token: str) -> RowMapping | None:
    """The operation of a token, with one poll more."""
    found = connection.execute(
        text("UPDATE upstream.operation SET polls = polls + 1 WHERE token = :token RETURNING *"), {"token": token}
    )
    return found.mappings().one_or_none()
