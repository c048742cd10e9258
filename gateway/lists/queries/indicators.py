"""SQL of indicators: unique people of a period, who of them had care, set-based in one statement.

A person of a closed month counts by what was known when it was closed: segments and visits lie on effective days, and
what was recorded or taken back after the close of the organisation's month does not count in it.

Numbers that were merged are one person, the one that they go on as; in a list whose month was closed before the merge was
known they still are two. They are few: sets of 64 people leave them out, and they are looked up person by person.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Result, RowMapping, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from gateway.domain.indicators import VISIT, Attribution, Match, Part, Rules, Span
from gateway.lists.queries.shared import Rows, all_rows, one_row

_BOUNDS = text(
    "SELECT set_config(name, value, true) FROM (VALUES ('work_mem', '256MB'), ('jit', 'off'),"
    " ('plan_cache_mode', 'force_custom_plan'), ('parallel_setup_cost', '100'), ('parallel_tuple_cost', '0.001'),"
    " ('enable_parallel_hash', 'off')) AS s(name, value)"
)
"""Hash tables stay in memory, thousands of codes are hashed (only constants are), other processors take part, and segments
meet their visits in the order of entries rather than in a hash that no cache holds."""

_IN_PERIOD = "{s}.since <= :last AND ({s}.until IS NULL OR ({s}.until > :first AND {s}.until > {s}.since))"
_AT_END = "({s}.until IS NULL OR {s}.until > :last)"
_VISITED = (
    "v.entry_id = {s}.entry_id AND NOT v.attempt AND extract(year FROM v.effective_on)::int = :year"
    " AND v.effective_on <= :last"
    " AND v.effective_on >= least({s}.since, {s}.true_from) AND ({s}.until IS NULL OR v.effective_on <= {s}.until)"
)
_KNOWN = (
    "({c}.closed_at IS NULL OR {x}.recorded_at <= {c}.closed_at) AND ({x}.{back} IS NULL OR {x}.{back} > {c}.closed_at)"
)
_KEYS = {"rubric": "left(r.diagnosis, 3)", "code": "r.diagnosis"}

_CODED = "{s}.diagnosis = ANY(:codes)"
_CLOSES = """
    closes AS MATERIALIZED (
        SELECT organisation, closed_at FROM (
            SELECT DISTINCT ON (organisation) organisation, closed_at, reopened_at FROM closed_month
            WHERE month = :month ORDER BY organisation, edition DESC) AS newest
        WHERE reopened_at IS NULL
    )
"""
"""Organisations whose month is closed."""

_MERGED = """
    merged AS MATERIALIZED (
        SELECT id AS number, successor_id AS root, successor_at AS noted FROM person WHERE successor_id IS NOT NULL
    )
"""
"""Numbers that go on as another person ``root``, since when we know."""

_CLOSED = "LEFT JOIN closes c ON c.organisation = s.organisation"


@dataclass(frozen=True, slots=True)
class Count:
    """What is counted: the rules with the codes they cover, the period, and whose people (None: everybody's)."""

    rules: Rules
    codes: Sequence[str]
    span: Span
    observation_key: Literal["rubric", "code"]
    organisation: str | None = None
    insurer: str | None = None

    @property
    def visits(self) -> bool:
        return VISIT in self.rules.care

    @property
    def kinds(self) -> list[str]:
        """Kinds of care that registers tell of."""
        return [kind for kind in self.rules.care if kind != VISIT]

    @property
    def values(self) -> dict[str, Any]:
        named = {"organisation": self.organisation, "insurer": self.insurer}
        if self.kinds:
            named["kinds"] = self.kinds  # type: ignore[assignment]
        month = self.span.month
        bounds = {"first": self.span.first, "last": self.span.last, "year": month.year, "month": month.number}
        return {**bounds, "codes": list(self.codes), **{name: value for name, value in named.items() if value}}

    def owned(self, person: str = "s.person_id") -> str:
        """The condition on a segment ``s`` of a ``person`` that makes it count, beside diagnosis and period."""
        conditions = [_IN_PERIOD.format(s="s"), _CODED.format(s="s")]
        if self.organisation:
            conditions.append("s.organisation = :organisation")
            if self.rules.attribution is Attribution.PERIOD_END:
                conditions.append("NOT (s.cause_out IS NOT DISTINCT FROM 'MOVE' AND s.until <= :last)")
        if self.insurer:
            conditions.append(f"{person} IN (SELECT id FROM person WHERE insurer = :insurer)")
        return " AND ".join(conditions)

    @property
    def events(self) -> str:
        """The condition on care ``r`` of registers, whatever it is compared with."""
        only = f" AND {_CODED.format(s='r')}" if self.rules.match is Match.GROUP else ""
        return f"r.kind = ANY(:kinds) AND r.cared_on BETWEEN :first AND :last{only}"


def _run(connection: Connection, sql: str, count: Count, **more: Any) -> Result[Any]:
    """Runs a composed statement with just the values that it names."""
    connection.execute(_BOUNDS)
    named = set(re.findall(r"(?<!:):([a-z_]+)", sql))
    arrays = [bindparam(name, type_=ARRAY(Text)) for name in ("codes", "kinds") if name in named]
    values = {name: value for name, value in (count.values | more).items() if name in named}
    return connection.execute(text(sql).bindparams(*arrays), values)


# people of a period ---------------------------------------------------------------------------------------------------

_BIT = "1::bigint << ({s}.person_id & 63)::int"
"""A person in the word of 64 people: sets of people stay small enough for a processor's cache, and several processes make
them side by side."""

_TOLD = ("told", "late")

_SETTLED = "(r.recorded_at <= e.earliest AND (r.taken_back_at IS NULL OR r.taken_back_at > e.latest))"
"""Care of registers that every closed month knows of."""


def _whole(count: Count) -> str:
    """Everybody at once, in the order of entries: CTEs that end in ``words (word, observed, at_end, cared)``, where a word
    may stand twice with other people.

    A visit belongs to a segment that counts itself, so no person is looked up twice; in a closed month it counts as the
    organisation of that segment knew it.
    """
    bit = _BIT.format(s="s")
    sets = {"at_end": _AT_END.format(s="s"), "open": "c.closed_at IS NULL", "closed": "c.closed_at IS NOT NULL"}
    visits, cared = "", []
    if count.visits:
        visits = f"LEFT JOIN visit v ON {_VISITED.format(s='s')}"
        sets["visited"] = f"v.entry_id IS NOT NULL AND {_KNOWN.format(x='v', c='c', back='annulled_at')}"
        cared.append("visited")
    told, also = _told(count) if count.kinds else ("", [])
    cared += also
    columns = ", ".join(f"coalesce(bit_or({bit}) FILTER (WHERE {which}), 0) AS {name}" for name, which in sets.items())
    return f"""
    {_CLOSES}, {_MERGED}, {told}
    counted AS (
        SELECT s.person_id >> 6 AS word, {columns} FROM observation_segment s {visits} {_CLOSED}
        WHERE {count.owned()} GROUP BY 1
    ),
    {_members("merged")},
    mine AS MATERIALIZED ({_mine(count, among="members")}),
    {_people(count)},
    gone AS (SELECT number >> 6 AS word, bit_or(1::bigint << (number & 63)::int) AS gone FROM members GROUP BY 1),
    words AS (
        SELECT word, (open | closed) & kept AS observed, at_end & kept AS at_end,
               ({" | ".join(f"({one})" for one in cared)}) & kept AS cared
        FROM counted {"".join(f" LEFT JOIN {name} USING (word)" for name in _TOLD if f"{name} AS (" in told)}
        LEFT JOIN gone USING (word), LATERAL (SELECT ~coalesce(gone, 0) AS kept) AS k
        UNION ALL
        SELECT person_id >> 6, bit_or({bit}), coalesce(bit_or({bit}) FILTER (WHERE at_end), 0),
               coalesce(bit_or({bit}) FILTER (WHERE cared), 0) FROM people s GROUP BY 1
    )
    """


def _told(count: Count) -> tuple[str, list[str]]:
    """Care that registers tell of: CTEs, and what of them and of the sets of `_whole` counts.

    Nearly all of it is settled without a look at the segments of its people, unless it must be for the same disease.
    """
    bit = _BIT.format(s="r")
    known = _KNOWN.format(x="r", c="c", back="taken_back_at")
    joined = f"""
        late AS (
            SELECT r.person_id >> 6 AS word, bit_or({bit}) AS late
            FROM care_event r {{ends}} JOIN observation_segment s ON s.person_id = r.person_id{{same}}
            {{closes}} JOIN closes c ON c.organisation = s.organisation
            WHERE {count.events} AND {count.owned()} AND {known}{{unsettled}} GROUP BY 1
        ),
    """
    if count.rules.match is Match.KEY:
        same = f" AND s.diagnosis_key = {_KEYS[count.observation_key]}"
        return joined.format(ends="", same=same, closes="LEFT", unsettled=""), ["coalesce(late, 0)"]
    ends = "CROSS JOIN (SELECT min(closed_at) AS earliest, max(closed_at) AS latest FROM closes) AS e"
    told = f"""
        told AS (
            SELECT r.person_id >> 6 AS word, bit_or({bit}) FILTER (WHERE r.taken_back_at IS NULL) AS live,
                   bit_or({bit}) FILTER (WHERE {_SETTLED}) AS settled
            FROM care_event r {ends} WHERE {count.events} AND r.person_id IS NOT NULL GROUP BY 1
        ),
        {joined.format(ends=ends, same="", closes="", unsettled=f" AND {_SETTLED} IS NOT TRUE")}
    """
    return told, ["open & coalesce(live, 0)", "closed & coalesce(settled, 0)", "coalesce(late, 0)"]


def _members(of: str) -> str:
    """All numbers of the people of a relation ``(number, root)``: its own ones, of which the server knows how many there
    are, and the few others."""
    return f"""
    members AS MATERIALIZED (
        SELECT coalesce(m.root, n.number) AS root, n.number, m.noted
        FROM (SELECT DISTINCT number FROM {of}) AS n LEFT JOIN merged m USING (number)
        UNION ALL SELECT f.root, f.number, f.noted FROM (
            SELECT root, number, noted FROM merged UNION ALL SELECT DISTINCT root, root, NULL::timestamptz FROM merged) AS f
        WHERE f.root IN (SELECT root FROM {of}) AND f.number NOT IN (SELECT number FROM {of})
    )
    """


def _mine(count: Count, among: str = "") -> str:
    """Segments by which people count, ``person_id`` being who counts by them; of numbers ``among`` a relation, or all."""
    numbered = f"JOIN {among} m" if among else "LEFT JOIN merged m"
    return f"""
        SELECT coalesce(m.root, s.person_id) AS root, s.person_id AS number, m.noted,
               CASE WHEN m.noted > c.closed_at THEN s.person_id ELSE coalesce(m.root, s.person_id) END AS person_id,
               s.entry_id, s.organisation, s.diagnosis, s.diagnosis_key, s.since, s.true_from,
               {_AT_END.format(s="s")} AS at_end, c.closed_at
        FROM observation_segment s {numbered} ON m.number = s.person_id {_CLOSED}
        WHERE {count.owned("coalesce(m.root, s.person_id)")}
    """


_GIVEN = "(root, number, noted, key, day, recorded_at, back)"


def _care(count: Count) -> str:
    """Care of the numbers of ``members``, wherever they had it, as columns `_GIVEN`."""
    only = f" AND {_CODED}" if count.rules.match is Match.GROUP else ""
    parts = []
    if count.visits:
        parts.append(
            f"""
            SELECT m.root, m.number, m.noted, o.diagnosis_key, v.conducted_on, v.recorded_at, v.annulled_at
            FROM members m JOIN observation_segment o ON o.person_id = m.number JOIN visit v ON {_VISITED.format(s="o")}
            WHERE {_IN_PERIOD.format(s="o")}{only.format(s="o")}
            """
        )
    if count.kinds:
        parts.append(
            f"""
            SELECT m.root, m.number, m.noted, {_KEYS[count.observation_key]}, r.cared_on, r.recorded_at, r.taken_back_at
            FROM members m JOIN care_event r ON r.person_id = m.number
            WHERE r.kind = ANY(:kinds) AND r.cared_on BETWEEN :first AND :last{only.format(s="r")}
            """
        )
    return " UNION ALL ".join(parts)


def _joined(count: Count, mine: str, care: str) -> str:
    same = f" AND k.key = {mine}.diagnosis_key" if count.rules.match is Match.KEY else ""
    return (
        f"{mine} LEFT JOIN {care} k ON k.root = {mine}.root{same} AND {_KNOWN.format(x='k', c=mine, back='back')}"
        f" AND (k.number = {mine}.number OR {mine}.closed_at IS NULL OR greatest(k.noted, {mine}.noted) <= {mine}.closed_at)"
    )


def _people(count: Count) -> str:
    """CTEs that end in ``people (person_id, at_end, cared)``, of ``mine`` and ``members``."""
    return f"""
    care {_GIVEN} AS ({_care(count)}),
    people AS (
        SELECT mine.person_id, bool_or(mine.at_end) AS at_end, bool_or(k.root IS NOT NULL) AS cared
        FROM {_joined(count, "mine", "care")} GROUP BY mine.person_id
    )
    """


def _by_person(count: Count) -> str:
    """The people of one list, or of all where any care counts, looked up person by person: CTEs that end in
    ``people (person_id, at_end, cared)``."""
    return f"""
    {_CLOSES}, {_MERGED},
    mine AS MATERIALIZED ({_mine(count)}),
    {_members("mine")},
    {_people(count)}
    """


def _single(count: Count) -> bool:
    return count.organisation is not None or (count.rules.match is Match.ANY and count.visits)


def indicator_figures(connection: Connection, count: Count, *, by_person: bool = False) -> RowMapping:
    """numerator, denominator, month_end, as_of. Both ways find the same people, unless lists of one person were closed
    at different times and a visit was taken back in between."""
    if by_person or _single(count):
        sql = f"""
            WITH {_by_person(count)}
            SELECT count(*) FILTER (WHERE cared) AS numerator, count(*) AS denominator,
                   count(*) FILTER (WHERE at_end) AS month_end, now() AS as_of FROM people
        """
    else:
        sums = {"numerator": "cared", "denominator": "observed", "month_end": "at_end"}
        counts = ", ".join(
            f"coalesce(sum(bit_count({words}::bit(64))), 0)::bigint AS {name}" for name, words in sums.items()
        )
        sql = f"WITH {_whole(count)} SELECT {counts}, now() AS as_of FROM words"
    return _run(connection, sql, count).mappings().one()


def indicator_closes(connection: Connection, count: Count) -> tuple[int, int]:
    """In how many lists the month is closed, and how many there are."""
    mine = "WHERE s.organisation = :organisation" if count.organisation else ""
    sql = f"WITH {_CLOSES} SELECT count(c.closed_at) AS closed, count(*) AS lists FROM list_ledger s {_CLOSED} {mine}"
    found = _run(connection, sql, count).mappings().one()
    return found["closed"], found["lists"]


# the people behind ----------------------------------------------------------------------------------------------------

_PARTS = {Part.NUMERATOR: "cared", Part.DENOMINATOR: "true", Part.GAP: "NOT cared"}
_WORDS = {Part.NUMERATOR: "cared", Part.DENOMINATOR: "observed", Part.GAP: "observed & ~cared"}

_PAGE = "id, choice, as_of, cardinality(persons) AS total, persons[:start : :start + :records - 1] AS persons"
_FORGET = text("DELETE FROM indicator_people WHERE as_of < now() - make_interval(hours => :hours)")
_KEPT = text(
    f"SELECT {_PAGE} FROM indicator_people WHERE id = :id AND client_id = :client_id"
    " AND as_of >= now() - make_interval(hours => :hours)"
)


def _kept(count: Count, part: Part) -> str:
    """Counts the people of a part and keeps their numbers in the order of their names."""
    if _single(count):
        chosen = f"WITH {_by_person(count)} SELECT person_id FROM people WHERE {_PARTS[part]}"
    else:
        chosen = f"""
            WITH {_whole(count)} SELECT word * 64 + n AS person_id FROM words CROSS JOIN generate_series(0, 63) AS n
            WHERE ({_WORDS[part]}) >> n & 1 = 1
        """
    return f"""
        INSERT INTO indicator_people (id, client_id, choice, as_of, persons)
        SELECT gen_random_uuid(), :client_id, :choice, now(), coalesce(array_agg(p.id ORDER BY p.name_key, p.birth_date, p.id), '{{}}')
        FROM ({chosen}) AS chosen JOIN person p ON p.id = chosen.person_id
        RETURNING {_PAGE}
    """


def kept_people(connection: Connection, *, hours: int, **values: Any) -> RowMapping | None:
    """The same of the people that were found under an ``id`` for a ``client_id``, for so many hours."""
    return one_row(connection, _KEPT, hours=hours, **values)


def indicator_people(connection: Connection, count: Count, part: Part, *, hours: int, **values: Any) -> RowMapping:
    """id, choice, as_of, total, persons: numbers of ``records`` people from number ``start`` by name; all of them are kept
    under the id, and those kept longer than so many hours forgotten."""
    connection.execute(_FORGET, {"hours": hours})
    return _run(connection, _kept(count, part), count, **values).mappings().one()


def _persons(count: Count) -> str:
    return f"""
        WITH {_CLOSES}, {_MERGED}, page AS MATERIALIZED (
            SELECT coalesce(p.successor_id, p.id) AS root, p.id AS number, p.id AS person_id, p.enp, p.last_name, p.first_name, p.middle_name, p.birth_date, w.n
            FROM unnest(CAST(:persons AS bigint[])) WITH ORDINALITY AS w(id, n) JOIN person p ON p.id = w.id
        ),
        {_members("page")},
        held AS MATERIALIZED ({_mine(count, among="members")}),
        given {_GIVEN} AS MATERIALIZED ({_care(count)}),
        shown AS (
            SELECT DISTINCT ON (person_id) person_id, diagnosis, organisation, entry_id, true_from AS observed_since
            FROM held ORDER BY person_id, at_end DESC, since DESC, entry_id DESC
        ),
        cared AS (SELECT held.person_id, max(k.day) AS last_care_on FROM {_joined(count, "held", "given")} GROUP BY 1)
        SELECT page.*, shown.diagnosis, shown.organisation, shown.entry_id::text AS entry_id, shown.observed_since,
               cared.last_care_on
        FROM page JOIN shown USING (person_id) JOIN cared USING (person_id) ORDER BY page.n
    """


def indicator_persons(connection: Connection, count: Count, persons: Sequence[int]) -> Rows:
    """People with the entries by which they count, as they are now, in the order given."""
    return _run(connection, _persons(count), count, persons=list(persons)).mappings().all()


# targets --------------------------------------------------------------------------------------------------------------

_TARGET = text(
    "SELECT target FROM indicator_target WHERE indicator = :indicator AND year = :year AND month = :month"
    " AND (organisation = :organisation OR organisation IS NULL) ORDER BY organisation NULLS LAST LIMIT 1"
)
_PUT_TARGETS = text(
    "INSERT INTO indicator_target (indicator, year, month, organisation, target)"
    " VALUES (:indicator, :year, :month, :organisation, :target)"
    " ON CONFLICT (indicator, year, month, organisation) DO UPDATE SET target = excluded.target, loaded_at = now()"
    " WHERE indicator_target.target <> excluded.target"
)
_ORGANISATION_CODES = text("SELECT code FROM organisation")


def indicator_target(connection: Connection, **values: Any) -> Any:
    """The target of an organisation, else that of the region; None if there is none."""
    found = one_row(connection, _TARGET, **values)
    return found["target"] if found else None


def put_indicator_targets(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Adds targets and replaces those that are there."""
    connection.execute(_PUT_TARGETS, rows)


def organisation_codes(connection: Connection) -> set[str]:
    return {row["code"] for row in all_rows(connection, _ORGANISATION_CODES)}
