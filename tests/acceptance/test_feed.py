"""The change feed under eight writers whose transactions stay open for random times: no gap, no repeat, nothing missed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from random import Random
from uuid import uuid4

import pytest
from lxml import etree
from sqlalchemy import Connection, text

from gateway.access.model import Call, Caller, ClientKind
from gateway.domain.clock import Clock
from gateway.lists import Lists
from gateway.lists.model import Conduct, Exclusion, NewEntry, PlanChange
from gateway.nsi.dictionaries import Nsi
from gateway.people import organisations
from gateway.settings import Settings
from gateway.store.engine import Store
from tests.acceptance.messages import TODAY, current, people_with
from tests.serving import CLINIC, DOCTOR, INSURER, OTHER, Gateway

SECONDS = int(os.environ.get("DN_GATEWAY_TRIAL_SECONDS", "60"))
WRITERS, PEOPLE = 8, 1600
THIRD = "400003"
HOT = (CLINIC, CLINIC, CLINIC, CLINIC, OTHER, THIRD)
"""Where a transaction writes: most of them into one list."""
LATER = str(date.today().year + 1)


def values(element: etree._Element) -> dict[str, str]:
    """An entry without its place in the list."""
    found = {etree.QName(one).localname: "|".join(map(str, one.itertext())) for one in element}
    found["plannedMonths"] = " ".join(str(one.text) for one in element.findall("{*}plannedMonths"))
    found.pop("recordNumber", None)
    return found


@dataclass
class Reader:
    """A client that keeps a copy by the feed alone, from an empty list on."""

    gateway: Gateway
    login: str
    organisations: Sequence[str | None]
    insurer: str | None = None
    tokens: dict[str | None, str] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    copy: dict[str, dict[str, str]] = field(default_factory=dict)
    changes: int = 0
    earlier: int = 0
    last: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for organisation in self.organisations:
            self.tokens[organisation] = str(self._ask(organisation, 1, "").findtext("{*}nextToken"))

    def _ask(self, organisation: str | None, count: int, token: str) -> etree._Element:
        named = f"<organisation>{organisation}</organisation>" if organisation else ""
        known = f"<token>{token}</token>" if token else ""
        return self.gateway.call("GetChanges", f"{named}{known}<count>{count}</count>", self.login).result

    def read(self, organisation: str | None, count: int) -> bool:
        """One page; whether more waits. Changes and token are kept together, as clients are told to."""
        answer = self._ask(organisation, count, self.tokens[organisation])
        for change in answer.findall("{*}changes"):
            self._apply(change)
        self.tokens[organisation] = str(answer.findtext("{*}nextToken"))
        return answer.findtext("{*}more") == "true"

    def _apply(self, change: etree._Element) -> None:
        entry = values(change.find("{*}entry"))
        place, number = entry["organisation"], int(str(change.findtext("{*}sequence")))
        before = self.seen.get(place, 0)
        assert number == before + 1 or (self.insurer and number > before), (self.login, place, before, number)
        self.seen[place] = number
        self.changes += 1
        at = str(change.findtext("{*}changedAt"))
        self.earlier += at < self.last.get(place, "")
        self.last[place] = at
        identifier = entry["entryId"]
        assert int(entry["version"]) > int(self.copy.get(identifier, {"version": "0"})["version"])
        kept = entry["status"] == "OBSERVED" and (self.insurer is None or entry.get("insurer") == self.insurer)
        if kept:
            self.copy[identifier] = entry
        else:
            self.copy.pop(identifier, None)

    def listed(self, organisation: str | None) -> dict[str, dict[str, str]]:
        """The list as pages of GetList give it."""
        named = {"organisation": organisation} if organisation else {}
        page = self.gateway.call("GetList", current(**named), self.login).result
        snapshot, total = str(page.findtext("{*}snapshotId")), int(str(page.findtext("{*}totalRecords")))
        found = page.findall("{*}entries")
        while len(found) < total:
            more = current(startRecord=str(len(found) + 1), snapshotId=snapshot, **named)
            found += self.gateway.call("GetList", more, self.login).result.findall("{*}entries")
        return {str(one.findtext("{*}entryId")): values(one) for one in found}


class Writers:
    """Changes at random, written past the door: a transaction can then be held open."""

    def __init__(self, gateway: Gateway, seconds: float) -> None:
        self.store = Store(gateway.environ["DN_GATEWAY_DATABASE_URL"], size=WRITERS + 2, timeout=60)
        clock = Clock()
        self.lists = Lists(Settings(), Nsi(self.store, clock), clock)
        people = people_with(self.store, PEOPLE, CLINIC)
        self.free = {code: people[number::3] for number, code in enumerate((CLINIC, OTHER, THIRD))}
        self.entries: dict[str, list[str]] = {code: [] for code in self.free}
        self.until = time.monotonic() + seconds
        self.lock = threading.Lock()
        self.transactions = 0

    def call(self, organisation: str) -> Call:
        caller = Caller(1, "trial", ClientKind.MO, frozenset({organisation}), None, frozenset())
        return Call(caller, "DispensaryObservation", "Trial", uuid4().hex, datetime.now(UTC))

    def write(self, number: int) -> None:
        chance = Random(number)
        while time.monotonic() < self.until:
            places = sorted({chance.choice(HOT) for _ in range(chance.choice((1, 1, 1, 2)))})
            made: dict[str, list[str]] = {}
            with self.store.begin() as connection:
                connection.execute(text("SELECT now()"))
                time.sleep(chance.random() * 0.02)
                for place in places:
                    made[place] = self._change(connection, chance, place)
                if chance.random() < 0.5:
                    time.sleep(chance.random() * 0.3)
            with self.lock:
                self.transactions += 1
                for place, identifiers in made.items():
                    self.entries[place] += identifiers

    def _change(self, connection: Connection, chance: Random, place: str) -> list[str]:
        call = self.call(place)
        with self.lock:
            chosen = chance.sample(self.entries[place], min(len(self.entries[place]), chance.randint(1, 40)))
            kind = chance.randrange(6)
            taken = [self.free[place].pop() for _ in range(min(len(self.free[place]), 12))] if kind == 0 else []
        if taken or not chosen:
            items = [NewEntry(enp, "I10", (f"{LATER}-01",)) for enp in taken]
            return [str(result.id) for result in self.lists.add(connection, call, place, items) if result.id]
        if kind == 1:
            self.lists.exclude(connection, call, place, [Exclusion(one, date.today(), "6") for one in chosen[:4]])
        elif kind == 2:
            visits = [Conduct(one, date.fromisoformat(TODAY), "9", "8", DOCTOR, "1") for one in chosen]
            self.lists.conduct(connection, call, place, visits)
        elif kind == 3:
            self._persons(connection, chosen[:5])
        else:
            months = (f"{LATER}-{chance.randint(1, 9):02d}",)
            self.lists.update_plans(connection, call, place, [PlanChange(one, months) for one in chosen])
        return []

    def _persons(self, connection: Connection, chosen: Sequence[str]) -> None:
        """People change their insurer to and fro; every list is locked for it, unless this transaction has one already."""
        held = connection.execute(
            text("SELECT 1 FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'list_ledger'::regclass LIMIT 1")
        )
        if held.scalar():
            return
        connection.execute(text("SELECT pg_advisory_xact_lock(1)"))
        connection.execute(text("CREATE TEMP TABLE changed_person (person_id bigint) ON COMMIT DROP"))
        connection.execute(
            text("INSERT INTO changed_person SELECT DISTINCT person_id FROM entry WHERE id = ANY(:ids)"),
            {"ids": [int(one) for one in chosen]},
        )
        connection.execute(
            text(
                "UPDATE person SET insurer = CASE insurer WHEN :own THEN '40009' ELSE :own END"
                " WHERE id IN (SELECT person_id FROM changed_person)"
            ),
            {"own": INSURER},
        )
        self.lists.renew_persons(connection)


def run(gateway: Gateway, seconds: float) -> None:
    with gateway.store.begin() as connection:
        organisations.put(connection, [organisations.Organisation(THIRD, "Поликлиника", True, date(2000, 1, 1))])
    readers = [
        Reader(gateway, "clinic", [None]),
        Reader(gateway, "region", [CLINIC, OTHER]),
        Reader(gateway, "fund", [None]),
        Reader(gateway, "insurer", [None], INSURER),
    ]
    writers = Writers(gateway, seconds)
    errors: list[str] = []
    written = threading.Event()

    def guarded(work: object, *given: object) -> None:
        try:
            work(*given)  # type: ignore[operator]
        except BaseException as error:
            errors.append(f"{given}: {error!r}"[:2000])

    def follow(reader: Reader) -> None:
        chance = Random(reader.login)
        behind = True
        while behind or not written.is_set():
            ended = written.is_set()
            behind = not ended
            for organisation in reader.organisations:
                behind |= reader.read(organisation, chance.choice((1, 20, 300, 1000)))
            time.sleep(chance.random() * 0.1)

    crew = [threading.Thread(target=guarded, args=(writers.write, number)) for number in range(WRITERS)]
    watch = [threading.Thread(target=guarded, args=(follow, reader)) for reader in readers]
    for thread in crew + watch:
        thread.start()
    for thread in crew:
        thread.join()
    written.set()
    for thread in watch:
        thread.join()
    writers.store.close()

    assert errors == []
    print(f"транзакций {writers.transactions}, изменений {[(reader.login, reader.changes) for reader in readers]}")
    for reader in readers:
        named = reader.organisations
        listed = {key: value for one in named for key, value in reader.listed(one).items()}
        assert reader.copy == listed, reader.login
        assert len(listed) > 20
    with gateway.store.begin() as connection:
        rows = connection.execute(text("SELECT organisation, seq FROM list_ledger")).all()
        ledgers = {row.organisation: row.seq for row in rows}
    assert readers[2].seen == ledgers and sum(ledgers.values()) == readers[2].changes
    assert readers[0].seen == {CLINIC: ledgers[CLINIC]}
    # transactions did commit in another order than they began, or the trial shows nothing
    assert readers[2].earlier > 0


@pytest.mark.trial
@pytest.mark.timeout(SECONDS + 240)
def test_eight_writers_and_readers_of_the_feed(running) -> None:  # type: ignore[no-untyped-def]
    with running() as gateway:
        run(gateway, SECONDS)
