"""Random sequences of uploads: the list is what a naive model of the merge says, and so is the code of every record."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from gateway.domain import persons
from gateway.lists import intake
from tests.lists import uploads
from tests.lists.region import OTHER, Region
from tests.lists.test_machine import _TRUTHS, TODAY

UNKNOWN = persons.make_enp(40, date(1950, 1, 1), 2, 99_999)
DAYS = [TODAY - timedelta(n) for n in (0, 5, 20, 60)]


@dataclass
class Line:
    """An entry of the model."""

    enp: str
    diagnosis: str
    name: str | None
    since: date
    plan: tuple[str, ...]
    end: tuple[date, str] | None = None
    lasts: date | None = None

    @property
    def shown(self) -> tuple[Any, ...]:
        return self.enp, self.diagnosis, self.name, self.since, self.plan, self.end


@dataclass
class Model:
    """The list as a plain sequence; ``elsewhere`` is the person whom another clinic observes for I10."""

    elsewhere: str
    lines: list[Line] = field(default_factory=list)

    def upload(self, records: list[dict[str, Any]]) -> list[str]:
        names: set[str] = set()
        alike: set[tuple[str, str]] = set()
        codes = []
        for record in records:
            key = record["enp"], record["diagnosis"][:3]
            repeated = record["name"] in names or key in alike
            alike.add(key)
            if record["name"]:
                names.add(record["name"])
            codes.append("upload.repeated" if repeated else self.take(record))
        return codes

    def take(self, record: dict[str, Any]) -> str:
        if record["enp"] == UNKNOWN:
            return "ok.aside"
        named = [line for line in self.lines if record["name"] and line.name == record["name"]]
        if named:
            if named[0].enp != record["enp"]:
                return "upload.person-differs"
            if named[0].diagnosis[:3] != record["diagnosis"][:3]:
                return "upload.diagnosis-differs"
            return self.meet(record, named[0])
        mine = [
            line for line in self.lines if (line.enp, line.diagnosis[:3]) == (record["enp"], record["diagnosis"][:3])
        ]
        for line in mine:
            if line.end and record["end"] and line.end[0] == record["end"][0] and not (record["name"] and line.name):
                return self.meet(record, line)
        for line in mine:
            if not line.end:
                return "conflict.external-id" if record["name"] and line.name else self.meet(record, line)
        return self.add(record, mine)

    def add(self, record: dict[str, Any], past: list[Line]) -> str:
        if past and record["since"] is None:
            return "observation.not-open"
        since, end = record["since"] or TODAY, record["end"]
        until = end[0] if end else None
        if until and until < since:
            return "exclusion.date-before"
        if record["enp"] == self.elsewhere and record["diagnosis"] == "I10" and not (until and until <= DAYS[2]):
            return "observation.elsewhere"
        lasted = [(line.since, line.lasts) for line in past if line.lasts and line.lasts > line.since]
        if any(lasts > since and not (until and began >= until) for began, lasts in lasted):
            return "observation.overlap"
        self.lines.append(
            Line(record["enp"], record["diagnosis"], record["name"], since, record["plan"] or (), end, until)
        )
        return "ok"

    def meet(self, record: dict[str, Any], line: Line) -> str:
        name = record["name"] if line.name is None else None
        plan = record["plan"] if record["plan"] not in (None, line.plan) else None
        other = record["diagnosis"] != line.diagnosis
        if line.end:
            if record["end"] != line.end or plan is not None or other:
                return "observation.not-open"
        elif record["end"] and record["end"][0] < line.since:
            return "exclusion.date-before"
        same = not name and plan is None and not other and record["end"] == line.end
        if other and not line.end:
            line.lasts = record["end"][0] if record["end"] else TODAY
        if record["end"] and not line.end:
            line.end = record["end"]
            line.lasts = max(line.lasts or line.since, record["end"][0])
        line.name, line.diagnosis = line.name or name, record["diagnosis"]
        line.plan = line.plan if plan is None else plan
        if record["since"] not in (None, line.since):
            return "ok.beginning"
        return "ok.same" if same else "ok"


RECORDS = st.fixed_dictionaries(
    {
        "who": st.sampled_from([0, 0, 1, 1, 2, 3]),
        "diagnosis": st.sampled_from(["I10", "I20.8", "I20.1"]),
        "name": st.sampled_from([None, None, "A", "B", "C"]),
        "since": st.sampled_from([None, *DAYS]),
        "plan": st.sampled_from([None, ("2026-12",), ("2027-01", "2027-02")]),
        "end": st.sampled_from([None, None, None, *((day, "4") for day in DAYS)]),
    }
)


@pytest.mark.trial
def test_uploads_do_what_the_model_says(place: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.lists(RECORDS, min_size=1, max_size=6), min_size=1, max_size=4), st.integers(1, 4))
    def play(files: list[list[dict[str, Any]]], portion: int) -> None:
        monkeypatch.setattr(intake, "PORTION", portion)
        with place.store.begin() as connection:
            for table in ("entry_event", "observation_segment", "entry", "list_aside", "list_ledger"):
                connection.execute(text(f"DELETE FROM {table}"))
        enps = [place.person() for _ in range(3)] + [UNKNOWN]
        place.add(enps[0], "I10", organisation=OTHER, observed_since=DAYS[2])
        model = Model(enps[0])
        for number, records in enumerate(files):
            given_ = [record | {"enp": enps[record["who"]]} for record in records]
            content = uploads.table(*map(_row, given_)) + b"\n" * number
            assert uploads.codes(place, uploads.upload(place, content)) == model.upload(given_)
            assert sorted(map(_shown, uploads.entries(place))) == sorted(map(str, (one.shown for one in model.lines)))
        with place.store.begin() as connection:
            for name, query in _TRUTHS.items():
                assert connection.execute(text(query)).scalar() == 0, name

    play()


def _row(record: dict[str, Any]) -> dict[str, Any]:
    day, reason = record["end"] or (None, None)
    return {
        "enp": record["enp"],
        "diagnosis": record["diagnosis"],
        "external_id": record["name"],
        "observed_since": record["since"],
        "planned_months": None if record["plan"] is None else " ".join(record["plan"]),
        "excluded_on": day,
        "exclusion_reason": reason,
    }


def _shown(entry: dict[str, Any]) -> str:
    end = (entry["excluded_on"], entry["exclusion_reason"]) if entry["excluded_on"] else None
    return str(
        (
            entry["enp"], entry["diagnosis"], entry["external_id"], entry["observed_since"],
            tuple(entry["planned_months"]), end,
        )
    )  # fmt: skip
