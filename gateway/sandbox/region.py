"""The invented region: a test contour for neighbours, and what `demo` and `make bench` run over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from gateway.access import clients, rights
from gateway.access.model import ClientKind
from gateway.domain.clock import Clock
from gateway.nsi import dictionaries
from gateway.nsi.dictionaries import Nsi
from gateway.people import doctors as directory
from gateway.people import insurers, organisations
from gateway.people.doctors import Doctor
from gateway.sandbox import chronicle, medicine, queries
from gateway.sandbox.histories import World
from gateway.settings import Settings
from gateway.store import rebuild
from gateway.store.apart import Apart
from gateway.store.engine import Driver, Store, driver_of

ORGANISATIONS, ORGANISATIONS_OF_A_CITY = 40, 200
_CITY = 1_000_000
_REGIONAL = 20

Progress = Callable[[str, int], None]
"""Told the stage in Russian and how many rows it has done."""


@dataclass(frozen=True, slots=True)
class DemoClient:
    """A system that may call the sandbox, with its secret in clear: it protects nothing but invented people."""

    login: str
    password: str
    kind: ClientKind
    organisations: tuple[str, ...]
    rights: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Demo:
    """The region's clients; ``made`` is false if a region was there already and was left alone."""

    clients: tuple[DemoClient, ...]
    made: bool


def fill(
    owner: Store,
    settings: Settings,
    *,
    persons: int = 60_000,
    entries: int = 100_000,
    seed: int = 1,
    today: date | None = None,
    progress: Progress | None = None,
) -> Demo:
    """Makes the region in one transaction of the owner of the schema: whole, or not at all.

    The same seed, sizes and day give the same rows. Where a region is already, only the secrets of its demo clients are
    made anew: keep those of the first answer and do not call again.
    """
    tell = progress or (lambda stage, done: None)
    clock = Clock(ZoneInfo(settings.time_zone))
    with owner.begin() as connection:
        queries.lock(connection)
        if queries.is_filled(connection):
            return Demo(_renewed(connection), made=False)
        plan = _plan(connection, Nsi(owner, clock), settings, persons, entries, seed, today or clock.today())
        _copy(driver_of(connection), plan, tell)
        made = _clients(connection, plan)
    with owner.driver() as driver:
        for table in chronicle.TABLES:
            tell("Сбор статистики", 0)
            queries.vacuum(driver, table)
    return Demo(made, made=True)


def _plan(
    connection: Connection, nsi: Nsi, settings: Settings, persons: int, entries: int, seed: int, today: date
) -> chronicle.Plan:
    """Small tables are filled at once; the plan says how the great ones are."""
    everybody = medicine.organisations(ORGANISATIONS_OF_A_CITY if entries >= _CITY else ORGANISATIONS)
    teams = medicine.doctors(seed, everybody)
    payers = medicine.insurers()
    organisations.put(connection, everybody)
    insurers.put(connection, payers)
    for code, team in teams.items():
        directory.put(connection, code, team)
    if not queries.has_icd10(connection):
        with medicine.icd10() as path:
            dictionaries.load(connection, path, "ICD10")
    found = medicine.diagnoses()
    world = World(
        today=today,
        observation_key=settings.observation_key,
        doctors=teams,
        groups={one.code: nsi.group_of(one.code, today) for one in found},
        profiles={code: nsi.profile_of(code, today) for code in _specialties(teams.values())},
    )
    return chronicle.Plan(
        seed=seed,
        region=int(settings.region_okato[:2]),
        persons=persons,
        entries=entries,
        insurers=[one.code for one in payers],
        organisations=[one.code for one in everybody if one.primary_care],
        dispensaries=[one.code for one in everybody if not one.primary_care],
        diagnoses=found,
        world=world,
        as_of=f"{today - timedelta(1)} 03:00:00+03",
    )


def _specialties(teams: Iterable[Sequence[Doctor]]) -> set[str]:
    return {one.specialty for team in teams for one in team if one.specialty}


def _copy(driver: Driver, plan: chronicle.Plan, tell: Progress) -> None:
    """Rows are made in other processes and copied here; indexes and constraints are built over the filled tables."""
    rebuild.memory(driver)
    definitions = rebuild.strip(driver, chronicle.TABLES)
    done = 0
    with ExitStack() as parts:
        sources = [parts.enter_context(Apart(chronicle.blocks, plan, part)) for part in range(chronicle.PARTS)]
        for table, rows, block in _in_turns(sources):
            queries.copy_block(driver, table, chronicle.TABLES[table], block)
            done += rows
            tell("Создание строк", done)
    for definition in definitions:
        tell(f"Построение индексов: {definition.name}", done)
        rebuild.restore(driver, definition)
    for table in chronicle.TABLES:
        if "id" in chronicle.TABLES[table]:
            queries.number_on(driver, table)


def _in_turns(sources: list[Iterator[chronicle.Block]]) -> Iterator[chronicle.Block]:
    """A block of each in turn until all are at their ends."""
    while sources:
        for source in tuple(sources):
            block = next(source, None)
            if block is None:
                sources.remove(source)
            else:
                yield block


def _clients(connection: Connection, plan: chronicle.Plan) -> tuple[DemoClient, ...]:
    """A clinic's МИС, a regional МИС, an insurer and the fund; all rights that their kind can use."""
    everything = tuple(sorted(rights.ALL))
    reading = tuple(sorted(rights.ALL - rights.CHANGING))
    regional = tuple((*plan.organisations, *plan.dispensaries)[1 : 1 + _REGIONAL])
    wanted = (
        ("mis-clinic", ClientKind.MO, (plan.organisations[0],), None, everything, "МИС поликлиники"),
        ("mis-region", ClientKind.MO, regional, None, everything, "Региональная МИС"),
        ("insurer", ClientKind.INSURER, (), plan.insurers[0], reading, "Страховая организация"),
        ("fund", ClientKind.FUND, (), None, everything, "Территориальный фонд"),
    )
    made = []
    for login, kind, codes, insurer, granted, name in wanted:
        password = clients.add(
            connection, login, kind, organisations=codes, insurer=insurer, rights=granted, name=f"{name} (вымышленная)"
        )
        made.append(DemoClient(login, password, kind, codes, granted))
    return tuple(made)


def _renewed(connection: Connection) -> tuple[DemoClient, ...]:
    """The demo clients of a region that is there, with new secrets."""
    return tuple(
        DemoClient(
            one.login, clients.rotate(connection, one.login, timedelta()), one.kind, one.organisations, one.rights
        )
        for one in clients.list_all(connection)
        if one.login in ("mis-clinic", "mis-region", "insurer", "fund")
    )
