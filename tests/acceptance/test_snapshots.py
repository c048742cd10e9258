"""B8: pages of a snapshot while the list changes under eight writers: no line lost, none twice, values of one moment."""

from __future__ import annotations

import os
import random
import threading
import time
from typing import Any

import pytest
from lxml import etree

from tests.acceptance.messages import MONTH, TODAY, add, conduct, current, people_with
from tests.serving import CLINIC
from tests.serving import Gateway as Running

SECONDS = int(os.environ.get("DN_GATEWAY_TRIAL_SECONDS", "60"))
WRITERS, READERS, PEOPLE = 8, 4, 3000


def texts(element: etree._Element, path: str) -> list[str]:
    return [str(node.text) for node in element.findall(path)]


class Trial:
    """The shared state of writers and readers."""

    def __init__(self, gateway: Running, entries: list[str], enps: list[str]) -> None:
        self.gateway, self.entries, self.enps = gateway, entries, enps
        self.until = time.monotonic() + SECONDS
        self.errors: list[str] = []
        self.writes = self.snapshots = self.pages = 0
        self.lock = threading.Lock()

    def change(self, operation: str, fields: str) -> etree._Element:
        """A change that must be accepted."""
        return self.gateway.change(operation, fields).result

    def write(self, number: int) -> None:
        chance = random.Random(number)
        free = self.enps[number::WRITERS]
        mine = self.entries[number::WRITERS]
        while time.monotonic() < self.until:
            chosen = chance.sample(mine, min(len(mine), chance.randint(1, 40)))
            kind = chance.randrange(4)
            if kind == 0 and free:
                taken = [free.pop() for _ in range(min(len(free), 20))]
                answer = self.change("AddEntries", "".join(map(add, taken)))
                mine += texts(answer, "{*}results/{*}id")
            elif kind == 1:
                self.change("ConductObservations", "".join(conduct(one, "9", "8") for one in chosen))
            elif kind == 2:
                ended = chosen[:5]
                fields = f"<excludedOn>{TODAY}</excludedOn><exclusionReason>6</exclusionReason>"
                items = "".join(f"<items><entryId>{one}</entryId>{fields}</items>" for one in ended)
                self.change("ExcludeEntries", items)
                for one in ended:
                    self.change("ReopenEntry", f"<entryId>{one}</entryId><reason>ошибка</reason>")
            else:
                months = f"<plannedMonths>{MONTH}</plannedMonths>"
                items = "".join(f"<items><entryId>{one}</entryId>{months}</items>" for one in chosen)
                self.change("UpdatePlans", items)
            with self.lock:
                self.writes += 1

    def read(self, number: int) -> None:
        chance = random.Random(1000 + number)
        while time.monotonic() < self.until:
            first = self.gateway.call("GetList", current(recordCount="400")).result
            snapshot, total = first.findtext("{*}snapshotId"), int(first.findtext("{*}totalRecords") or 0)
            found = self.lines(first)
            while len(found) < total:
                count = chance.choice((100, 250, 333, 1000))
                fields = current(startRecord=str(len(found) + 1), recordCount=str(count), snapshotId=str(snapshot))
                found += self.lines(self.gateway.call("GetList", fields).result)
            numbers = [int(line[0]) for line in found]
            identifiers = [line[1] for line in found]
            if numbers != list(range(1, total + 1)) or len(set(identifiers)) != total:
                self.errors.append(f"снимок {snapshot}: {len(found)} из {total}, разных {len(set(identifiers))}")
            if any(line[2] != "OBSERVED" for line in found):
                self.errors.append(f"снимок {snapshot}: исключённая запись")
            again = self.gateway.call("GetList", current(recordCount="400", snapshotId=str(snapshot))).result
            if self.lines(again) != found[:400]:
                self.errors.append(f"снимок {snapshot}: страница изменилась")
            with self.lock:
                self.snapshots += 1

    def lines(self, page: etree._Element) -> list[tuple[str, ...]]:
        with self.lock:
            self.pages += 1
        names = ("recordNumber", "entryId", "status", "version", "changedAt")
        return [tuple(str(row.findtext("{*}" + name)) for name in names) for row in page.findall("{*}entries")]


def guarded(trial: Trial, work: Any, number: int) -> None:
    try:
        work(number)
    except BaseException as error:
        trial.errors.append(f"{work.__name__} {number}: {error!r}"[:2000])


@pytest.mark.trial
@pytest.mark.timeout(SECONDS + 240)
def test_eight_writers_and_four_readers(running: Any) -> None:
    with running() as gateway:
        enps = people_with(gateway.store, PEOPLE, CLINIC)
        entries: list[str] = []
        for at in range(0, PEOPLE // 2, 500):
            answer = gateway.change("AddEntries", "".join(map(add, enps[at : at + 500])))
            entries += texts(answer.result, "{*}results/{*}id")
        trial = Trial(gateway, entries, enps[PEOPLE // 2 :])
        threads = [threading.Thread(target=guarded, args=(trial, trial.write, n)) for n in range(WRITERS)]
        threads += [threading.Thread(target=guarded, args=(trial, trial.read, n)) for n in range(READERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"записей {trial.writes}, снимков {trial.snapshots}, страниц {trial.pages}")
        assert trial.errors == []
        assert trial.writes > WRITERS and trial.snapshots > READERS
