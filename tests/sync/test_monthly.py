"""The monthly work of two clinics: real comparison, marks, close and exports, one after another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from gateway.cli import main
from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.lists import Lists
from gateway.nsi.dictionaries import Nsi
from gateway.operations import files, works
from gateway.operations.queue import Worker
from gateway.sync import jobs, monthly
from gateway.sync.insured import work as insured
from tests.lists.region import CLINIC, OTHER
from tests.sync.upstream_region import MONTH, Hand, by_hand

PERIOD = "2026-11-05T02:00+03:00"
EARLIER = "2026-10-05T02:00+03:00"
ORDER = ["RECONCILE_INSURED", "RECONCILE_MARKS", "MONTH_CLOSE"]


@pytest.fixture
def place(store, owner) -> Iterator[Hand]:
    with by_hand(store, owner, brake_share=100) as place:
        for organisation in (CLINIC, OTHER):
            place.observe(*(place.region.person(attached=organisation) for _ in range(3)), organisation=organisation)
        place.begin()
        yield place


def drive(place: Hand, most: int = 12) -> dict[str, Any]:
    """Looks once a minute, as the calendar makes it, and works in between, until nothing moves; how the month stands."""
    before = None
    for _ in range(most):
        monthly.go(place.work)
        Worker(place.work).run_waiting()
        now = place.all("SELECT month, step, state, code FROM month_run ORDER BY month")
        if now == before:
            break
        before = now
    return now[-1]


def operations(place: Hand) -> list[str]:
    return [row["kind"] for row in place.all("SELECT kind FROM operation ORDER BY created_at, id")]


def closed(place: Hand) -> dict[str, int]:
    return {
        row["organisation"]: row["month"]
        for row in place.all("SELECT organisation, month FROM closed_month WHERE reopened_at IS NULL")
    }


def lists(place: Hand) -> list[str]:
    return [row["organisation"] for row in place.all("SELECT organisation FROM list_ledger ORDER BY 1")]


def steps(place: Hand) -> dict[str, str]:
    return {
        row["step"]: row["state"]
        for row in place.all("SELECT DISTINCT step, state FROM month_step ORDER BY step, state")
    }


def end_as(place: Hand, kind: str, state: str, code: str) -> None:
    """The operation of this kind has ended badly."""
    place.do("UPDATE operation SET state = :state, code = :code, ended_at = now() WHERE kind = :kind", kind=kind, state=state, code=code)  # fmt: skip


def deaths(place: Hand) -> None:
    for row in place.all("SELECT DISTINCT ON (organisation) enp FROM entry ORDER BY organisation, id"):
        place.die(row["enp"], date(2026, 10, 10))


def test_every_step_after_the_former(place: Hand) -> None:
    monthly.begin(place.work, PERIOD)
    assert drive(place) == {"month": 202610, "step": "EXPORTS", "state": "DONE", "code": None}
    made = operations(place)
    assert made[:3] == ORDER
    assert set(made[3:]) == {"EXPORT_LIST"}
    ends = place.all("SELECT kind, created_at, ended_at, state FROM operation ORDER BY created_at")
    assert {row["state"] for row in ends} == {"DONE"}
    for former, later in pairwise(ends[:4]):
        assert former["ended_at"] <= later["created_at"]
    assert closed(place) == dict.fromkeys(lists(place), 202610)
    files = place.all("SELECT organisation, name FROM file WHERE kind = 'EXPORT' AND mailbox ORDER BY organisation")
    assert [row["organisation"] for row in files] == lists(place)
    assert all(f"DN_{row['organisation']}_2026-10_OBSERVED_CLOSED_" in row["name"] for row in files)


def test_a_month_begins_once(place: Hand) -> None:
    for _ in range(3):
        monthly.begin(place.work, PERIOD)
    drive(place)
    monthly.begin(place.work, PERIOD)
    assert drive(place)["state"] == "DONE"
    assert operations(place).count("RECONCILE_INSURED") == operations(place).count("MONTH_CLOSE") == 1
    assert len(place.all("SELECT 1 FROM closed_month")) == len(lists(place))


@pytest.mark.parametrize("approved", [True, False])
def test_a_braked_comparison_holds_the_month_until_the_decision(place: Hand, approved: bool) -> None:
    place.settings = replace(place.settings, brake_share=0, brake_count=0)
    deaths(place)
    monthly.begin(place.work, PERIOD)
    assert drive(place) == {"month": 202610, "step": "INSURED", "state": "BRAKED", "code": None}
    assert drive(place)["state"] == "BRAKED"
    assert operations(place) == ["RECONCILE_INSURED"]
    before = place.value("SELECT count(*) FROM entry WHERE status = 'OBSERVED'")
    with place.store.begin() as connection:
        if approved:
            insured.approve(connection, login="test", trace="t")
        else:
            insured.refuse(connection, login="test")
    assert drive(place)["state"] == "DONE"
    after = place.value("SELECT count(*) FROM entry WHERE status = 'OBSERVED'")
    assert (after < before) is approved
    assert "MONTH_CLOSE" in operations(place)


def test_a_trial_comparison_does_not_decide(place: Hand) -> None:
    place.settings = replace(place.settings, brake_share=0, brake_count=0)
    deaths(place)
    monthly.begin(place.work, PERIOD)
    drive(place)
    dry = place.request(dry=True)
    monthly.go(place.work)
    assert place.value("SELECT state FROM month_run") == "RUNNING"
    place.run(dry)
    assert drive(place) == {"month": 202610, "step": "INSURED", "state": "BRAKED", "code": None}
    assert operations(place) == ["RECONCILE_INSURED"] * 3
    assert place.value("SELECT count(*) FROM reconcile WHERE state = 'BRAKED'") == 1


def test_a_comparison_that_runs_already_is_taken_over(place: Hand) -> None:
    begun = place.request()
    monthly.begin(place.work, PERIOD)
    assert place.value("SELECT operation_id FROM month_step") == begun
    assert drive(place)["state"] == "DONE"
    assert operations(place)[:3] == ORDER


def test_a_comparison_of_another_month_is_waited_for(place: Hand) -> None:
    other = place.request(Month(2026, 9))
    monthly.begin(place.work, PERIOD)
    assert place.all("SELECT * FROM month_step") == []
    place.run(other)
    assert drive(place)["state"] == "DONE"


@pytest.mark.parametrize("kind", ORDER)
def test_a_failed_step_stops_the_month_until_it_is_resumed(place: Hand, kind: str) -> None:
    monthly.begin(place.work, PERIOD)
    while kind not in operations(place):
        Worker(place.work).run_waiting()
        monthly.go(place.work)
    with place.store.begin() as connection:
        works.request_abort(connection, operation_of(place, kind), "test")
    stopped = drive(place)
    assert (stopped["state"], stopped["code"]) == ("FAILED", "operation.aborted")
    place.do("UPDATE month_run SET changed_at = now() - interval '1 day'")
    assert drive(place)["state"] == "FAILED"
    assert operations(place)[-1] == kind
    with place.store.begin() as connection:
        monthly.resume(connection, place.work, MONTH)
    assert drive(place)["state"] == "DONE"
    assert operations(place).count(kind) == 2
    assert closed(place) == dict.fromkeys(lists(place), 202610)


def operation_of(place: Hand, kind: str) -> UUID:
    return place.value("SELECT id FROM operation WHERE kind = :kind ORDER BY created_at DESC LIMIT 1", kind=kind)


def test_a_failed_step_can_be_left_out(place: Hand) -> None:
    monthly.begin(place.work, PERIOD)
    with place.store.begin() as connection, pytest.raises(GatewayError, match="month.not-stopped"):
        monthly.skip(connection, MONTH)
    end_as(place, "RECONCILE_INSURED", "FAILED", "upstream.down")
    assert drive(place)["code"] == "upstream.down"
    with place.store.begin() as connection:
        monthly.skip(connection, MONTH)
    assert drive(place)["state"] == "DONE"
    assert steps(place) == {"INSURED": "PASSED", "MARKS": "DONE", "CLOSE": "DONE", "EXPORTS": "DONE"}
    with place.store.begin() as connection, pytest.raises(GatewayError, match="object.not-found"):
        monthly.resume(connection, place.work, Month(2020, 1))


def test_what_the_server_failed_at_is_repeated_after_a_rest(place: Hand) -> None:
    monthly.begin(place.work, PERIOD)
    end_as(place, "RECONCILE_INSURED", "FAILED", "upstream.down")
    assert drive(place)["state"] == "FAILED"
    assert operations(place) == ["RECONCILE_INSURED"]
    place.do("UPDATE month_run SET changed_at = now() - interval '61 minutes'")
    assert drive(place)["state"] == "DONE"
    assert operations(place).count("RECONCILE_INSURED") == 2


def test_failed_exports_are_repeated_alone(place: Hand) -> None:
    monthly.begin(place.work, PERIOD)
    until_exports(place)
    first = lists(place)[0]
    place.do("UPDATE operation SET state = 'FAILED', code = 'server.disk-full' WHERE kind = 'EXPORT_LIST' AND organisation = :o", o=first)  # fmt: skip
    assert drive(place)["code"] == "server.disk-full"
    with place.store.begin() as connection:
        monthly.resume(connection, place.work, MONTH)
    assert drive(place)["state"] == "DONE"
    tries = {row["organisation"]: row["tries"] for row in place.all("SELECT * FROM month_step WHERE step = 'EXPORTS'")}
    assert tries == dict.fromkeys(lists(place), 1) | {first: 2}


def test_an_export_that_no_repeat_helps_holds_neither_the_others_nor_the_next_month(place: Hand) -> None:
    monthly.begin(place.work, EARLIER)
    until_exports(place)
    for organisation, code in ((CLINIC, "list.not-closed"), (OTHER, "server.disk-full")):
        place.do("UPDATE operation SET state = 'FAILED', code = :code WHERE kind = 'EXPORT_LIST' AND organisation = :o", o=organisation, code=code)  # fmt: skip
    assert drive(place)["code"] == "list.not-closed"
    monthly.begin(place.work, PERIOD)
    assert drive(place, 24) == {"month": 202610, "step": "EXPORTS", "state": "DONE", "code": None}
    place.do("UPDATE month_run SET changed_at = now() - interval '61 minutes' WHERE month = 202609")
    drive(place)
    assert place.value("SELECT state FROM month_run WHERE month = 202609") == "FAILED"
    parts = place.all("SELECT organisation, state, tries FROM month_step WHERE step = 'EXPORTS' AND month = 202609 ORDER BY 1")  # fmt: skip
    assert [tuple(row.values()) for row in parts] == [(CLINIC, "FAILED", 1), (OTHER, "DONE", 2)]


def test_an_organisation_that_cannot_be_closed_is_told_until_it_is(place: Hand) -> None:
    place.close(MONTH, OTHER)
    monthly.begin(place.work, EARLIER)
    assert drive(place)["state"] == "DONE"
    part = place.one("SELECT state, code FROM month_step WHERE step = 'CLOSE' AND organisation = :o", o=OTHER)
    assert tuple(part.values()) == ("PASSED", "month.order")
    exported = place.all("SELECT organisation FROM month_step WHERE step = 'EXPORTS'")
    assert [row["organisation"] for row in exported] == [CLINIC]
    assert bad_signs(place) == {"month/2026-09/open": f"Месяц 2026-09 не закрыт у организаций: 1 ({OTHER})"}
    with place.store.begin() as connection:
        place.region.lists.reopen_month(connection, OTHER, MONTH, "test", "забыт сентябрь")
    place.close(MONTH.shift(-1), OTHER)
    assert bad_signs(place) == {}


def bad_signs(place: Hand) -> dict[str, str]:
    with place.store.begin() as connection:
        return {sign.key: sign.text for sign in monthly.signs(connection) if sign.bad}


def until_exports(place: Hand) -> None:
    """The exports have begun and none has run."""
    while "EXPORT_LIST" not in operations(place):
        monthly.go(place.work)
        if "EXPORT_LIST" not in operations(place):
            Worker(place.work).run_waiting()


def test_what_clinics_find_is_the_closed_edition(place: Hand) -> None:
    """Names that come to be known after the close are in none of the files."""
    monthly.begin(place.work, PERIOD)
    until_exports(place)
    place.do("UPDATE person SET last_name = 'Позднее'")
    late = place.region.person(attached=CLINIC)
    place.observe(late)
    assert drive(place)["state"] == "DONE"
    for organisation in (CLINIC, OTHER):
        file = place.one("SELECT id, name, size FROM file WHERE organisation = :o AND mailbox AND kind = 'EXPORT'", o=organisation)  # fmt: skip
        with place.store.begin() as connection:
            inner = files.read(connection, file["id"], 0, file["size"]).decode()
        enps = {row["enp"] for row in place.all("SELECT enp FROM entry WHERE organisation = :o", o=organisation)} - {late}  # fmt: skip
        assert {enp for enp in (*enps, late) if enp in inner} == enps
        assert "Позднее" not in inner
        assert inner.count("Иванов") == len(enps)


def test_months_are_worked_in_their_order(place: Hand) -> None:
    """Both calendars were down over two firsts of the month."""
    monthly.begin(place.work, PERIOD)
    place.do("DELETE FROM month_step")
    place.do("DELETE FROM reconcile")
    place.do("UPDATE operation SET state = 'ABORTED', ended_at = now()")
    monthly.begin(place.work, EARLIER)
    drive(place, 24)
    assert {row["state"] for row in place.all("SELECT state FROM month_run")} == {"DONE"}
    months = [row["m"] for row in place.all("SELECT DISTINCT month AS m, min(closed_at) FROM closed_month GROUP BY 1 ORDER BY 2")]  # fmt: skip
    assert months == [202609, 202610]


def test_without_a_source_of_insured_persons_the_rest_is_done(place: Hand) -> None:
    place.settings = replace(place.settings, ferzl_url="")
    monthly.begin(place.work, PERIOD)
    assert drive(place)["state"] == "DONE"
    assert steps(place)["INSURED"] == "PASSED"
    assert "RECONCILE_INSURED" not in operations(place)


def test_closed_organisations_are_passed_over(place: Hand) -> None:
    work, first = place.work, lists(place)[0]
    with place.store.begin() as connection:
        Lists(work.settings, Nsi(work.store, work.clock), work.clock).close(connection, first, MONTH, "оператор")
    monthly.begin(work, PERIOD)
    assert drive(place)["state"] == "DONE"
    assert place.value("SELECT closed_by FROM closed_month WHERE organisation = :o", o=first) == "оператор"
    assert place.value("SELECT max(edition) FROM closed_month") == 1
    assert place.value("SELECT count(*) FROM month_step WHERE step = 'EXPORTS'") == len(lists(place))


def test_two_looks_at_once_begin_nothing_twice(place: Hand) -> None:
    """The second one finds that it is not its turn."""
    with place.store.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": monthly.LOCK})
        monthly.begin(place.work, PERIOD)
        assert operations(place) == []
    monthly.go(place.work)
    assert operations(place) == ["RECONCILE_INSURED"]


def test_old_comparisons_are_forgotten(place: Hand) -> None:
    done, later = place.compare(), place.compare()
    place.do("UPDATE reconcile SET created_at = now() - interval '2 years'")
    assert place.value("SELECT count(*) FROM attachment_line") > 0
    place.do("INSERT INTO reconcile_token (reconcile_id, name, token) VALUES (:id, 'x', 'y')", id=later["id"])
    place.do("UPDATE reconcile SET state = 'BRAKED' WHERE id = :id", id=done["id"])
    assert jobs.clean_comparisons(place.work)["extract"] == 0
    place.do("UPDATE reconcile SET state = 'APPLIED' WHERE id = :id", id=done["id"])
    counts = jobs.clean_comparisons(place.work)
    assert (counts["comparisons"], counts["extract"]) == (1, 1)
    assert place.all("SELECT * FROM reconcile_token") == []
    assert place.value("SELECT count(*) FROM reconcile_fact") == 0
    assert [row["id"] for row in place.all("SELECT id FROM reconcile")] == [later["id"]]


def test_a_plan_that_waits_keeps_its_facts(place: Hand) -> None:
    place.settings = replace(place.settings, brake_share=0, brake_count=0, operation_days=1)
    deaths(place)
    waiting = place.compare()
    assert waiting["state"] == "BRAKED"
    facts = place.value("SELECT count(*) FROM reconcile_fact")
    place.do("UPDATE reconcile SET created_at = now() - interval '2 years'")
    jobs.clean_comparisons(place.work)
    assert place.value("SELECT count(*) FROM reconcile_fact") == facts > 0
    with place.store.begin() as connection:
        applied = insured.approve(connection, login="test", trace="t")
    jobs.clean_comparisons(place.work)
    assert place.run(applied).state == "DONE"
    assert place.value("SELECT count(*) FROM entry WHERE status = 'EXCLUDED'") == 2
    jobs.clean_comparisons(place.work)
    assert place.value("SELECT count(*) FROM reconcile_fact") == 0


@pytest.mark.parametrize("table", ["reconcile_fact", "reconcile_change"])
def test_a_plan_without_its_facts_is_not_approved(place: Hand, table: str) -> None:
    place.settings = replace(place.settings, brake_share=0, brake_count=0)
    deaths(place)
    assert place.compare()["state"] == "BRAKED"
    place.do(f"DELETE FROM {table}")
    with place.store.begin() as connection, pytest.raises(GatewayError, match="reconcile.gone"):
        insured.approve(connection, login="test", trace="t")
    with place.store.begin() as connection:
        insured.refuse(connection, login="test")


def test_a_reopening_is_recorded_with_its_reason(place: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DN_GATEWAY_DATABASE_URL", place.store.url)
    monkeypatch.setenv("DN_GATEWAY_DATABASE_OWNER_URL", place.owner.url)
    place.close(MONTH, CLINIC)
    options = ["--organisation", CLINIC, "--reason", " ошибка в списке "]
    assert CliRunner().invoke(main, ["month", "reopen", "2026-10", *options]).exit_code == 0
    details = place.value("SELECT details FROM audit_record WHERE operation = 'MonthReopen'")
    assert details.pop("account")
    assert details == {"organisation": CLINIC, "month": "2026-10", "reason": "ошибка в списке"}


def test_commands_show_resume_and_skip(place: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DN_GATEWAY_DATABASE_URL", place.store.url)
    monkeypatch.setenv("DN_GATEWAY_DATABASE_OWNER_URL", place.owner.url)

    def month(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["month", *arguments])

    place.settings = replace(place.settings, ferzl_url="")
    monthly.begin(place.work, PERIOD)
    assert "RECONCILE" not in month("list").output
    assert "сверка с застрахованными" in month("list").output
    assert "month.not-stopped" in month("resume", "2026-10").output
    end_as(place, "RECONCILE_MARKS", "FAILED", "server.disk-full")
    assert drive(place)["state"] == "FAILED"
    assert "server.disk-full" in month("list").output
    assert month("resume", "2026-10").output == "Обработка месяца 2026-10 продолжается\n"
    end_as(place, "RECONCILE_MARKS", "FAILED", "server.disk-full")
    drive(place)
    assert "пропущено — признаки из реестров счетов" in month("skip", "2026-10").output
    assert drive(place)["state"] == "DONE"
    noted = place.all("SELECT operation FROM audit_record WHERE service = 'operator' AND operation LIKE 'Month%' ORDER BY id")  # fmt: skip
    assert [row["operation"] for row in noted] == ["MonthResume", "MonthSkip", "MonthClose"]
