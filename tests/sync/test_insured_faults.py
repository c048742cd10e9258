"""Every fault of the register at every stage: no wrong change, a true state, and the next run completes with what an
undisturbed one would have done."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.sandbox.ferzl import life
from gateway.sandbox.ferzl.server import FAULTS
from gateway.sync.insured import confirming
from gateway.sync.upstream import wire
from tests.sync.upstream_region import MONTH, Cohort, Place, by_hand, done, opened

pytestmark = pytest.mark.trial

STAGES = (
    "getInsuranceStatusChangesStart", "getViewDataAttachStart", "findPersonsByPersCriteria",
    "getInsuranceStatusChangesPoll", "getViewDataAttachPoll", "getPersonData", "getMergeAncessorOip",
)  # fmt: skip
FATES = {"DIED": 1500, "LEFT": 1500, "MOVED": 1500, "MERGED": 1500}
STATE = "SELECT md5(string_agg(t::text, '' ORDER BY t::text)) AS sum FROM (SELECT id, status, organisation, enp, excluded_on, exclusion_reason FROM entry) t"


@pytest.fixture
def place(store, owner, monkeypatch) -> Iterator[Place]:
    monkeypatch.setattr(wire, "_FIRST_PAUSE", 0.001)
    with opened(store, owner, persons=600, entries=700, brake_share=100, brake_shrink=100, ferzl_seconds=2) as place:
        with owner.begin() as connection:
            life.pass_month(connection, MONTH, okato="40000", shares=FATES)
        yield place


def calm(place: Place) -> None:
    place.stand_in.calm()
    place.do("DELETE FROM upstream_state")


def clean(place: Place) -> str:
    """What an undisturbed comparison would make of the lists, without making it."""
    row = place.compare(dry=True)
    return str(sorted((name, n) for name, n in row["counts"].items() if "/" in name))


@pytest.mark.timeout(600)
def test_every_fault_at_every_stage(store, owner, monkeypatch) -> None:
    """What a fault lets through is either nothing or the whole truth about a person; the operation and the comparison say
    which; and the next run leaves what an undisturbed one does."""
    monkeypatch.setattr(wire, "_FIRST_PAUSE", 0.001)
    cases = [(stage, fault) for stage in STAGES for fault in FAULTS if fault != "endless-processing" or "Poll" in stage]
    with by_hand(store, owner, ready_after=0, ferzl_seconds=1) as place:
        cohorts = [Cohort.made(place) for _ in range(len(cases) + 1)]
        before = cohorts[0].lines(place)
        place.begin()
        clean = cohorts.pop()
        clean.live(place)
        assert {"end/death", "end/departure", "move/move", "merge"} <= place.applied().keys()
        after = clean.lines(place)
        # where only the successor is not named, the others are ended and moved
        partly = [line for line in after if line[0] in (1, 2, 3)] + [line for line in before if line[0] == 4]
        harmless = set()
        for case, cohort in zip(cases, cohorts, strict=True):
            stage, fault = case
            assert cohort.lines(place) == before
            # the register does not name those of former cases again
            place.do("DELETE FROM upstream.change")
            cohort.live(place)
            times, seconds = {"delay": (1, 1.2), "endless-processing": (2, 0)}.get(fault, (10_000, 0))
            place.stand_in.order(fault, stage, times=times, seconds=seconds)
            operation = place.request()
            found, row = place.run(operation), place.reconcile(operation)
            if found.state == "DONE":
                counts = row["counts"]
                assert row["state"] == "APPLIED", (case, row["brake"])
                reported = counts.get("REPORT/UNUSABLE", 0)
                assert reported in (0, 1, 4) and reported <= counts["unusable"], case
                expected = {0: after, 1: partly}.get(reported, before)
            else:
                assert (found.state, row["state"]) in (("QUEUED", "GATHERING"), ("FAILED", "GATHERING")), case
                assert found.code is not None or found.state == "QUEUED", case
                expected = before
            assert cohort.lines(place) == expected, case
            calm(place)
            if expected == after:
                harmless.add(fault)
                continue
            if found.state == "QUEUED":
                assert place.run(operation).state == "DONE", case
                assert place.reconcile(operation)["state"] == "APPLIED", case
            else:
                place.compare()
            assert cohort.lines(place) == after, case
        assert harmless >= {"unknown-field", "mtom"}
        assert done(place.compare()) == {}
        assert place.value("SELECT count(*) FROM entry e WHERE version <> (SELECT max(version) FROM entry_event v WHERE v.entry_id = e.id)") == 0  # fmt: skip
        assert place.value("SELECT count(*) FROM list_ledger l WHERE seq <> (SELECT count(*) FROM entry_event v WHERE v.organisation = l.organisation)") == 0  # fmt: skip


def test_what_fails_inside_the_service_is_asked_once_more(place: Place) -> None:
    before = place.compare(dry=True)["counts"]
    place.stand_in.order("error-item-500", "getPersonData", times=before["asked"])
    place.settings = replace(place.settings, ferzl_concurrency=1)
    assert place.compare(dry=True)["counts"] == before


def test_people_without_a_usable_answer_stay_and_are_told(place: Place) -> None:
    """More than a fifth of the answers: the brake holds, too. The next run asks again and does what there is to do."""
    expected, state = clean(place), place.value(STATE)
    place.stand_in.order("error-item-500", "getPersonData", times=10_000)
    row = place.compare()
    assert row["state"] == "BRAKED"
    assert row["counts"]["unusable"] == row["counts"]["asked"] > 10
    assert {name for name in row["counts"] if "/" in name} == {"REPORT/UNUSABLE"}
    assert [one["why"] for one in row["brake"]] == ["UNUSABLE"]
    assert place.value(STATE) == state
    calm(place)
    row = place.compare()
    assert (row["state"], str(sorted((n, v) for n, v in row["counts"].items() if "/" in n))) == ("APPLIED", expected)


def test_what_a_source_that_was_not_itself_answered_is_asked_anew(place: Place, monkeypatch) -> None:
    expected, state = clean(place), place.value(STATE)
    monkeypatch.setattr(confirming, "FAILURES_MOST", 5)
    place.stand_in.order("error-item-500", "getPersonData", times=10_000)
    operation = place.request()
    found = place.run(operation)
    assert (found.state, place.reconcile(operation)["state"]) == ("QUEUED", "GATHERING")
    assert place.value(STATE) == state
    calm(place)
    assert place.run(operation).state == "DONE"
    row = place.reconcile(operation)
    assert (row["state"], row["counts"]["unusable"]) == ("APPLIED", 0)
    assert str(sorted((n, v) for n, v in row["counts"].items() if "/" in n)) == expected


def test_an_endless_request_ends_as_failed(place: Place) -> None:
    place.stand_in.order("endless-processing", "getViewDataAttachPoll", times=10_000)
    operation = place.request()
    place.settings = replace(place.settings, ferzl_poll_seconds=1, ferzl_wait_hours=1)

    def age() -> None:
        for _ in range(200):
            time.sleep(0.1)
            if place.do(
                "UPDATE reconcile_token SET asked_at = now() - interval '2 hours' WHERE reconcile_id = :id AND name = 'attachments'",
                id=operation,
            ):
                return

    clock = threading.Thread(target=age)
    clock.start()
    found = place.run(operation)
    clock.join()
    assert (found.state, found.code) == ("FAILED", "upstream.endless")
    calm(place)
    assert place.compare()["state"] == "APPLIED"


def test_an_open_breaker_shows_and_a_later_run_goes_on(place: Place) -> None:
    place.stand_in.order("drop", "getPersonData", times=10_000)
    operation = place.request()
    found = place.run(operation)
    assert found.state == "QUEUED"
    assert place.one("SELECT failures, open_until > now() AS open FROM upstream_state WHERE name = 'ferzl'")["open"]
    asked = place.value(
        "SELECT count(*) FROM reconcile_fact WHERE reconcile_id = :id AND asked_at IS NOT NULL", id=operation
    )
    assert asked == 0
    calm(place)
    assert place.run(operation).state == "DONE"
