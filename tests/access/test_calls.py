"""Trial B1 and the rule of one audit record per call, on real PostgreSQL."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import Connection, text

from gateway.access import audit, calls
from gateway.access.model import Attempt, Call, Foreign, ItemResult, Outcome
from gateway.errors import GatewayError
from gateway.store.engine import Driver, Store, driver_of

Records = Callable[[], list[SimpleNamespace]]
MakeCall = Callable[..., Call]


def effects(store: Store) -> int:
    with store.begin() as connection:
        return int(connection.execute(text("SELECT count(*) FROM insurer")).scalar_one())


def effect(connection: Connection) -> str:
    """A change that can be done once only."""
    number = connection.execute(text("SELECT count(*) FROM insurer")).scalar_one()
    connection.execute(
        text("INSERT INTO insurer (code, name, valid_from) VALUES (:code, 'x', '2020-01-01')"),
        {"code": f"{number:05}"},
    )
    return f"effect {number}"


def test_fifty_parallel_resends_have_one_effect_and_equal_answers(
    store: Store, make_call: MakeCall, records: Records
) -> None:
    request_id = uuid4()
    start = threading.Barrier(50)

    def send(_: int) -> bytes:
        start.wait()
        return calls.change(store, make_call(request_id=request_id), effect, str.encode)

    with ThreadPoolExecutor(50) as threads:
        answers = set(threads.map(send, range(50)))
    assert answers == {b"effect 0"}
    assert effects(store) == 1
    found = [one.outcome for one in records()]
    assert sorted(found) == ["OK"] + ["REPLAYED"] * 49


def test_a_resend_after_restart_gets_the_stored_answer(store: Store, make_call: MakeCall) -> None:
    request_id = uuid4()
    calls.change(store, make_call(request_id=request_id), effect, str.encode)
    again = Store(store.url, size=1)
    try:
        assert calls.change(again, make_call(request_id=request_id), effect, str.encode) == b"effect 0"
    finally:
        again.close()
    assert effects(store) == 1


@pytest.mark.parametrize("other", [{"body": b"other"}, {"operation": "UpdatePlans"}])
def test_the_same_id_for_something_else_is_refused(
    store: Store, make_call: MakeCall, records: Records, other: dict[str, str]
) -> None:
    request_id = uuid4()
    calls.change(store, make_call(request_id=request_id), effect, str.encode)
    with pytest.raises(GatewayError) as refused:
        calls.change(store, make_call(request_id=request_id, **other), effect, str.encode)
    assert refused.value.code == "conflict.request-reused"
    assert effects(store) == 1
    assert [(one.outcome, one.code) for one in records()] == [("OK", None), ("REFUSED", "conflict.request-reused")]


def test_clients_do_not_share_request_ids(store: Store, make_call: MakeCall) -> None:
    request_id = uuid4()
    calls.change(store, make_call(request_id=request_id), effect, str.encode)
    call = make_call(request_id=request_id)
    call.caller = type(call.caller)(
        call.caller.client_id + 1, "other", call.caller.kind, frozenset(), None, frozenset()
    )
    assert calls.change(store, call, effect, str.encode) == b"effect 1"


def test_a_refused_change_leaves_its_id_free(store: Store, make_call: MakeCall, records: Records) -> None:
    request_id = uuid4()

    def refuse(connection: Connection) -> str:
        effect(connection)
        raise GatewayError("person.unknown")

    with pytest.raises(GatewayError, match=r"person\.unknown"):
        calls.change(store, make_call(request_id=request_id), refuse, str.encode)
    assert effects(store) == 0
    assert calls.change(store, make_call(request_id=request_id), effect, str.encode) == b"effect 0"
    assert [one.outcome for one in records()] == ["REFUSED", "OK"]


def test_a_resend_covers_the_persons_of_the_first_call(store: Store, make_call: MakeCall, records: Records) -> None:
    request_id = uuid4()
    first = make_call(request_id=request_id)
    first.covers([3, 1, 3])
    calls.change(store, first, effect, str.encode)
    calls.change(store, make_call(request_id=request_id), effect, str.encode)
    assert [(one.outcome, one.persons) for one in records()] == [("OK", [1, 3]), ("REPLAYED", [1, 3])]
    assert records()[1].details == {"first": first.trace}


def test_refused_items_make_the_outcome_partial(store: Store, make_call: MakeCall, records: Records) -> None:
    results = [ItemResult(1, "ok.outside", "", "7"), ItemResult(2, "person.dead", "")]
    calls.change(store, make_call(request_id=uuid4()), lambda _: results, lambda _: b"")
    calls.change(store, make_call(request_id=uuid4()), lambda _: results[:1], lambda _: b"")
    assert [(one.outcome, one.details["items"]) for one in records()] == [
        ("PARTIAL", {"ok.outside": 1, "person.dead": 1}),
        ("OK", {"ok.outside": 1}),
    ]


def test_a_conflict_is_tried_again_without_leftovers(store: Store, make_call: MakeCall, records: Records) -> None:
    tries: list[int] = []
    call = make_call(request_id=uuid4())

    def work(connection: Connection) -> str:
        tries.append(1)
        call.covers([len(tries)])
        if len(tries) < 3:
            connection.execute(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$"))
        return effect(connection)

    assert calls.change(store, call, work, str.encode) == b"effect 0"
    assert [one.persons for one in records()] == [[3]]


def test_a_conflict_that_stays_is_named(store: Store, make_call: MakeCall, records: Records) -> None:
    def work(connection: Connection) -> str:
        connection.execute(text("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$"))
        return ""

    with pytest.raises(GatewayError) as refused:
        calls.change(store, make_call(request_id=uuid4()), work, str.encode)
    assert (refused.value.code, refused.value.retry_after) == ("server.busy", 1)
    assert [(one.outcome, one.code) for one in records()] == [("FAULT", "server.busy")]


@pytest.mark.parametrize("by_driver", [False, True])
def test_a_connection_lost_in_the_middle_is_mended(
    store: Store, make_call: MakeCall, records: Records, by_driver: bool
) -> None:
    cut: list[int] = []

    def work(connection: Connection) -> str:
        if not cut:
            cut.append(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
            with store.driver() as other:
                other.execute("SELECT pg_terminate_backend(%s)", (cut[0],))
        if by_driver:
            driver_of(connection).execute("SELECT 1")
        return effect(connection)

    assert calls.change(store, make_call(request_id=uuid4()), work, str.encode) == b"effect 0"
    assert [one.outcome for one in records()] == ["OK"]


def test_a_restart_of_the_database_is_not_seen(store: Store, make_call: MakeCall, records: Records) -> None:
    """All pooled connections are dead at once; each way of calling mends that by itself."""

    def kill() -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(6):
                stack.enter_context(store.begin()).execute(text("SELECT 1"))
        with psycopg.connect(store.url, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    kill()
    assert calls.change(store, make_call(request_id=uuid4()), effect, str.encode) == b"effect 0"
    kill()
    assert calls.read(store, make_call("GetEntry"), lambda one: one.execute(text("SELECT 2")).scalar_one()) == 2
    kill()
    assert calls.direct(store, make_call("FindPerson"), lambda one: one.execute("SELECT 3").fetchall()) == [(3,)]
    kill()
    calls.refuse(store, make_call("GetList"), GatewayError("access.forbidden"))
    assert [one.outcome for one in records()] == ["OK", "OK", "OK", "REFUSED"]


def test_a_database_that_is_away_is_named(make_call: MakeCall) -> None:
    away = Store("postgresql://nobody@127.0.0.1:1/none", size=1)
    with pytest.raises(GatewayError) as refused:
        calls.change(away, make_call(request_id=uuid4()), effect, str.encode)
    assert (refused.value.code, refused.value.retry_after) == ("server.database", 5)
    with pytest.raises(GatewayError) as refused:
        calls.direct(away, make_call("FindPerson"), lambda driver: None)
    assert refused.value.code == "server.database"


def test_a_program_error_is_a_fault_and_passes(store: Store, make_call: MakeCall, records: Records) -> None:
    with pytest.raises(ZeroDivisionError):
        calls.read(store, make_call("GetEntry"), lambda _: 1 // 0)
    assert [(one.outcome, one.code) for one in records()] == [("FAULT", "server.error")]


def test_a_read_leaves_one_record_whoever_writes_it(store: Store, make_call: MakeCall, records: Records) -> None:
    def hot(driver: Driver) -> int:
        call.audited = True
        statement = "WITH r AS (SELECT 5::bigint AS id), a AS (" + audit.sql_values(
            persons="(SELECT array_agg(id) FROM r)", records="(SELECT count(*) FROM r)"
        )
        return int(driver.execute(f"{statement}) SELECT id FROM r".encode(), audit.parameters(call)).fetchall()[0][0])

    call = make_call("FindPerson")
    call.details["way"] = "enp"
    assert calls.direct(store, call, hot) == 5
    assert calls.direct(store, make_call("Ping"), lambda _: 1) == 1
    assert calls.read(store, make_call("GetEntry"), lambda _: 2) == 2
    found = records()
    assert [(one.operation, one.outcome) for one in found] == [
        ("FindPerson", "OK"), ("Ping", "OK"), ("GetEntry", "OK"),
    ]  # fmt: skip
    assert (found[0].persons, found[0].records, found[0].details) == ([5], 1, {"way": "enp"})


def test_what_lies_outside_is_audited_apart(store: Store, make_call: MakeCall, records: Records) -> None:
    def work(_: Connection) -> None:
        raise Foreign

    with pytest.raises(GatewayError, match=r"object\.not-found"):
        calls.read(store, make_call("GetEntry"), work)
    assert [(one.outcome, one.code, one.details) for one in records()] == [
        ("REFUSED", "object.not-found", {"foreign": True})
    ]


@pytest.mark.usefixtures("client")
def test_an_attempt_without_a_caller_is_recorded_without_what_it_typed(store: Store, records: Records) -> None:
    error = GatewayError("access.denied")
    for login in ("clinic-1", "clinic-2", "Иванов Иван", None):
        calls.refuse(store, Attempt("Exchange", "Ping", str(uuid4()), "10.0.0.1", login), error)
    assert [(one.login, one.outcome, one.code) for one in records()] == [
        ("clinic-1", "REFUSED", "access.denied"),
        (None, "REFUSED", "access.denied"),
        (None, "REFUSED", "access.denied"),
        (None, "REFUSED", "access.denied"),
    ]


def test_a_recorded_call_is_not_recorded_again(store: Store, make_call: MakeCall, records: Records) -> None:
    call = make_call("GetEntry")
    calls.read(store, call, lambda _: None)
    calls.refuse(store, call, GatewayError("server.error"))
    assert [one.outcome for one in records()] == [Outcome.OK]
