"""The monthly comparison with the insured at a big city's size, beside the read-only join that finds no change.

A copy of the bench's database is filled up with invented people who are in no list, and kept for the next run. Each round
works in a copy of that one: the extract and the answers of the register are written by SQL, and all that the comparison
does in the database is timed.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import psycopg
from sqlalchemy import Connection, text

from gateway import settings as configuration
from gateway.access.model import Call, Caller, ClientKind
from gateway.domain.clock import Clock
from gateway.domain.periods import Month
from gateway.lists import Lists
from gateway.nsi.dictionaries import Nsi
from gateway.store import rebuild
from gateway.store.embedded import Server, create_database
from gateway.store.engine import Driver, Store, driver_of
from gateway.store.place import Place
from gateway.sync.insured import brake, notices, queries, work
from gateway.sync.insured.applying import Applying
from gateway.upgrade import upgrade

PERSONS = 5_500_000
MOST = 3.5
"""How many times longer than its floor the comparison may take."""

_INDEXES = (
    "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'person' AND indexname <> 'person_pkey' ORDER BY 1"
)

# neighbours of the people who are there: the same clinics, insurers and days, other numbers and names
_NEIGHBOURS = """
    WITH known AS MATERIALIZED (
        SELECT row_number() OVER (ORDER BY id) - 1 AS k, birth_date, sex, insurer, attached_organisation, attached_since, as_of
        FROM person WHERE death_date IS NULL AND insured_in_region AND attached_organisation IS NOT NULL
    ), missing AS (
        SELECT n, n %% (SELECT count(*) FROM known) AS k FROM generate_series(1, %s - (SELECT count(*) FROM person)) AS n
    )
    INSERT INTO person (enp, last_name, first_name, name_key, birth_date, sex, policy_kind, insurer, insured_in_region,
                        attached_organisation, attached_since, source, as_of)
    SELECT '41' || lpad(n::text, 14, '0'), 'Сосед', 'Номер ' || n, 'СОСЕД НОМЕР ' || n, birth_date, sex, '3', insurer, true,
           attached_organisation, attached_since, 'LOCAL', as_of
    FROM missing JOIN known USING (k) ORDER BY n
"""

# Of 1024 people of lists 26 have another clinic, 15 another insurer, 5 died, 5 left; of 1024 others 26 have another
# clinic and 25 another insurer: one in twenty of both. ``bench_same`` is the extract of a month without changes.
_FATES = """
    CREATE TABLE bench_fate AS
    WITH clinic AS (
        SELECT code, coalesce(lead(code) OVER (ORDER BY code), min(code) OVER ()) AS next FROM organisation WHERE primary_care
    ), payer AS (SELECT code, coalesce(lead(code) OVER (ORDER BY code), min(code) OVER ()) AS next FROM insurer
    ), listed AS (SELECT DISTINCT person_id AS id FROM entry WHERE status = 'OBSERVED')
    SELECT p.id, p.enp, CASE WHEN d.dice < 26 THEN 'MOVED' WHEN d.dice < 41 OR d.dice < 51 AND l.id IS NULL THEN 'SAME'
             WHEN d.dice < 46 THEN 'DEAD' WHEN d.dice < 51 THEN 'LEFT' END AS finding,
           c.next AS clinic, i.next AS payer
    FROM person p CROSS JOIN LATERAL (SELECT hashint8(p.id) & 1023 AS dice) AS d
    LEFT JOIN listed l ON l.id = p.id JOIN clinic c ON c.code = p.attached_organisation JOIN payer i ON i.code = p.insurer
    WHERE p.death_date IS NULL AND p.insured_in_region ORDER BY p.id;
    CREATE TABLE bench_same (LIKE attachment_line);
    INSERT INTO bench_same SELECT enp, attached_organisation, attached_since, insurer FROM person
    WHERE death_date IS NULL AND insured_in_region AND attached_organisation IS NOT NULL ORDER BY id;
    GRANT SELECT ON bench_fate, bench_same TO PUBLIC
"""

_EXTRACT = """
    TRUNCATE attachment_line;
    INSERT INTO attachment_line
    SELECT s.enp, CASE f.finding WHEN 'MOVED' THEN f.clinic ELSE s.organisation END,
           CASE f.finding WHEN 'MOVED' THEN {day}::date ELSE s.since END, CASE f.finding WHEN 'SAME' THEN f.payer ELSE s.insurer END
    FROM bench_same s JOIN bench_fate f USING (enp) WHERE f.finding IS NULL OR f.finding NOT IN ('DEAD', 'LEFT') ORDER BY f.id;
    ANALYZE attachment_line
"""

_ANSWERS = text(
    """
    UPDATE reconcile_fact f SET finding = coalesce(t.finding, 'SAME'), asked_at = clock_timestamp(),
        since = CASE WHEN t.finding <> 'SAME' THEN CAST(:day AS date) ELSE p.attached_since END,
        organisation = CASE t.finding WHEN 'MOVED' THEN t.clinic ELSE p.attached_organisation END, insurer = x.insurer,
        facts = jsonb_build_object(
            'last_name', p.last_name, 'first_name', p.first_name, 'middle_name', p.middle_name, 'name_key', p.name_key,
            'birth_date', p.birth_date, 'sex', p.sex, 'death_date', CASE t.finding WHEN 'DEAD' THEN CAST(:day AS date) END,
            'insured_in_region', t.finding <> 'LEFT', 'policy_since', p.attached_since, 'insurer', x.insurer)
          || CASE t.finding WHEN 'MOVED' THEN jsonb_build_object('attached_organisation', t.clinic, 'attached_since', :day)
             WHEN 'SAME' THEN jsonb_build_object('attached_organisation', p.attached_organisation,
                                                 'attached_since', p.attached_since) ELSE '{}' END
    FROM bench_fate t JOIN person p USING (id)
    CROSS JOIN LATERAL (SELECT CASE t.finding WHEN 'SAME' THEN t.payer ELSE p.insurer END AS insurer) AS x
    WHERE f.reconcile_id = :run AND f.person_id = t.id
    """
)

# the floor: the extract, the people, their entries; nothing differs
_SCAN = """
    SELECT count(*) FROM bench_same l JOIN person p ON p.enp = l.enp
    LEFT JOIN entry e ON e.person_id = p.id AND e.status = 'OBSERVED'
    WHERE (p.attached_organisation, p.insurer, p.insured_in_region) IS DISTINCT FROM (l.organisation, l.insurer, true)
       OR e.by_attachment AND e.organisation <> l.organisation
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians in seconds: the comparison, its floor; the median of how many times longer it took; what it did, in words."""

    seconds: float
    floor: float
    ratio: float
    said: str


def measure(server: Server, database: str, rounds: int) -> Measured:
    """Rounds of the floor and the comparison, each in a copy of the ``filled`` database."""
    taken, floors = [], []
    counts: dict[str, int] = {}
    for _ in range(rounds):
        with _copy(server, database) as name:
            store = Store(server.url(name), size=4)
            floors.append(min(_scan(store) for _ in range(2)))
            seconds, counts = compare(store, server.owner_url_of(name))
            taken.append(seconds)
            store.close()
    ratios = [one / two for one, two in zip(taken, floors, strict=True)]
    middle = statistics.median
    return Measured(middle(taken), middle(floors), middle(ratios), _words(counts))


def _words(counts: dict[str, int]) -> str:
    return (
        f"5,5 млн застрахованных, 2 млн записей, изменились 5 %: лиц списков {counts['persons']}, прочих {counts['unlisted']};"
        f" записей: обновлено {counts['renewed']}, перешло {counts['move/move']}, исключено"
        f" {counts['end/death'] + counts['end/departure']}; извещений {counts['notices']}; без объединений и возвратов"
    )


def filled(server: Server, source: str, persons: int = PERSONS) -> str:
    """The database with all the people, made out of the bench's own unless it is there."""
    database = f"{source}_of_{persons}"
    with psycopg.connect(server.admin_url(), autocommit=True) as admin:
        if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
            upgrade(Place(server.url(database), server.owner_url_of(database)), configuration.load(environ={}))
            return database
        admin.execute(f"DROP DATABASE IF EXISTS {database}_new".encode())
        create_database(admin, f"{database}_new", source)
        began = time.perf_counter()
        with psycopg.connect(server.owner_url_of(f"{database}_new")) as owner:
            _fill(owner, persons)
            owner.commit()
            owner.autocommit = True
            owner.execute("VACUUM ANALYZE")
        print(f"застрахованные: {persons} лиц за {time.perf_counter() - began:.0f} с", flush=True)
        admin.execute(f"ALTER DATABASE {database}_new RENAME TO {database}".encode())
    return database


def _fill(owner: Driver, persons: int) -> None:
    rebuild.memory(owner)
    indexes = owner.execute(_INDEXES).fetchall()
    for name, _ in indexes:
        owner.execute(f"DROP INDEX {name}".encode())
    owner.execute(_NEIGHBOURS.encode(), [persons])
    for _, definition in indexes:
        owner.execute(definition.encode())
    owner.execute("ANALYZE person")
    owner.execute(_FATES.encode())


@contextmanager
def _copy(server: Server, template: str) -> Iterator[str]:
    copy = f"dn_bench_insured_{uuid4().hex[:8]}"
    with psycopg.connect(server.admin_url(), autocommit=True) as admin:
        create_database(admin, copy, template)
        try:
            yield copy
        finally:
            admin.execute(f"DROP DATABASE {copy} WITH (FORCE)".encode())


def _scan(store: Store) -> float:
    with store.begin() as connection:
        driver = driver_of(connection)
        rebuild.memory(driver)
        driver.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        began = time.perf_counter()
        found = driver.execute(_SCAN).fetchone()
        taken = time.perf_counter() - began
    if found != (0,):
        raise SystemExit(f"основа нашла отличия: {found}")
    return taken


def compare(store: Store, owner_url: str) -> tuple[float, dict[str, int]]:
    """One comparison: seconds of finding, planning and applying, and what was applied."""
    month = Month.of(date.today()).shift(-1)
    run = _begun(store, month)
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("SET work_mem = '256MB'")
        owner.execute(_EXTRACT.format(day=f"'{month.first_day}'").encode())
        named = {
            reason: [row[0] for row in owner.execute("SELECT enp FROM bench_fate WHERE finding = %s", [finding])]
            for reason, finding in (("DEATH", "DEAD"), ("DEPARTED", "LEFT"), ("CHANGED", "SAME"))
        }
        seconds = _find(store, run, named)
        with store.begin() as connection:
            connection.execute(_ANSWERS, {"run": run, "day": month.first_day})
        owner.execute("VACUUM ANALYZE reconcile_fact")
    began = time.perf_counter()
    with store.begin() as connection:
        counts = _apply(connection, store, run, month)
    return seconds + time.perf_counter() - began, counts


def _begun(store: Store, month: Month) -> UUID:
    with store.begin() as connection:
        run = work.request(connection, month, dry=False, today=date.today(), login="bench", trace=uuid4().hex)
        lines = int(connection.execute(text("SELECT count(*) FROM bench_same")).scalar_one())
        queries.count(connection, run, extract=lines)
    return run


def _find(store: Store, run: UUID, named: dict[str, list[str]]) -> float:
    """Who is to be asked about: those whom the register names, and those whose clinic in the extract is another one."""
    began = time.perf_counter()
    for reason, enps in named.items():
        with store.begin() as connection:
            queries.name_candidates(connection, run, reason, enps)
    with store.begin() as connection:
        rebuild.memory(driver_of(connection))
        queries.compare_attachments(connection, run)
    return time.perf_counter() - began


def _apply(connection: Connection, store: Store, run: UUID, month: Month) -> dict[str, int]:
    """The plan, its brake, its file, and all of it into people and lists with the notices to clinics."""
    with tempfile.TemporaryDirectory(prefix="dn-gateway-bench-") as folder:
        settings, clock = configuration.load(environ={}, data_dir=folder), Clock()
        day = month.shift(1).first_day
        queries.make_plan(connection, run, day)
        if held := brake.holds(connection, settings, run):
            raise SystemExit(f"тормоз: {held}")
        counts = brake.counts(connection, run)
        queries.set_state(connection, run, "PLANNED", counts, [])
        notices.write_plan(connection, settings, run, run, str(month))
        caller = Caller(0, "bench", ClientKind.FUND, frozenset(), None, frozenset())
        call = Call(caller, "operator", work.CALL, uuid4().hex, datetime.now(UTC))
        lists = Lists(settings, Nsi(store, clock), clock)
        made = Applying(connection, lists, call, run, day).all(settings, run, str(month))
        queries.set_state(connection, run, "APPLIED", counts | {"applied": made}, [])
    return made
