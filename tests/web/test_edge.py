"""What the edge makes of handlers, of waiting and of broken clients; one record per refused call."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest
from sqlalchemy import text

from gateway.errors import GatewayError
from gateway.logs import JsonLines
from gateway.settings import Settings
from gateway.store.engine import Store
from tests.serving import Answer, envelope
from tests.web.asgi import Bench, bench, close_gates, service

__all__ = ["close_gates"]
pytestmark = pytest.mark.usefixtures("close_gates")

SECRET = "postgresql://user:password@host/db Иванов"


def _echo(desk: Any, connection: Any, call: Any, request: Any) -> dict[str, Any]:
    return {"text": request.text}


def _boom(desk: Any, connection: Any, call: Any, request: Any) -> None:
    raise RuntimeError(SECRET)


def _refuse(desk: Any, connection: Any, call: Any, request: Any) -> None:
    raise GatewayError("person.unknown")


def _control(desk: Any, connection: Any, call: Any, request: Any) -> dict[str, Any]:
    return {"text": "a\x01b]]>&<c>"}


def _nothing(desk: Any, connection: Any, call: Any, request: Any) -> Iterator[Any]:
    yield from ()


def _database(desk: Any, connection: Any, call: Any, request: Any) -> None:
    connection.execute(text("SELECT 1/0 -- Иванов"))


@pytest.fixture
def log() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Lines of the log as the process would write them."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger("gateway")
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(level)


def _run(made: Bench, operation: str, fields: str = "", **given: Any) -> Answer:
    return asyncio.run(made.call(operation, fields, **given))


def _records(store: Store) -> list[tuple[str, str, str | None]]:
    with store.begin() as connection:
        rows = connection.execute(
            text("SELECT operation, outcome, code FROM audit_record WHERE operation <> 'ClientAdd' ORDER BY id")
        )
        return [tuple(row) for row in rows]  # type: ignore[misc]


def test_answer_and_its_record(store: Store) -> None:
    answer = _run(bench(store, service(("FindPerson", "read", _echo))), "FindPerson", "<text>Ёж &amp; №</text>")
    assert answer.result.findtext("{*}text") == "Ёж & №"
    assert _records(store) == [("FindPerson", "OK", None)]


def test_failure_of_a_handler_says_nothing(store: Store, log: Callable[[], list[dict[str, Any]]]) -> None:
    made = bench(store, service(("FindPerson", "read", _boom), ("GetList", "read", _database)))
    for operation in ("FindPerson", "GetList"):
        answer = _run(made, operation)
        assert (answer.status, answer.fault) == (500, "server.error")
        assert b"RuntimeError" not in answer.content
        assert SECRET not in answer.content.decode()
    written = json.dumps(log(), ensure_ascii=False)
    assert "RuntimeError" in written
    assert "test_edge.py" in written
    assert SECRET not in written
    assert "Иванов" not in written
    assert _records(store) == [("FindPerson", "FAULT", "server.error"), ("GetList", "FAULT", "server.error")]


def test_refusal_of_a_handler(store: Store) -> None:
    made = bench(store, service(("FindPerson", "read", _refuse), ("AddEntries", "change", _refuse)))
    identity = "<requestId>7b0c3c1e-7a47-4f0e-9f59-0d8a4d2f5a11</requestId>"
    assert _run(made, "FindPerson").fault == "person.unknown"
    assert _run(made, "AddEntries", identity).fault == "person.unknown"
    assert _records(store) == [
        ("FindPerson", "REFUSED", "person.unknown"),
        ("AddEntries", "REFUSED", "person.unknown"),
    ]


def test_odd_results_are_faults_or_clean_answers(store: Store) -> None:
    made = bench(store, service(("FindPerson", "read", _control), ("GetList", "read", _nothing)))
    assert _run(made, "FindPerson").result.findtext("{*}text") == "ab]]>&<c>"
    assert _run(made, "GetList").fault in (None, "server.error")


def test_every_refusal_leaves_one_record(store: Store) -> None:
    made = bench(store, service(("FindPerson", "read", _echo), ("GetDoctors", "read", _echo), ("Ping", "open", _ping)))
    wrong = envelope('<FindPerson xmlns="urn:test:v1"/>', made.login.header.replace(made.login.password, "x"))
    nobody = envelope('<FindPerson xmlns="urn:test:v1"/>')
    assert asyncio.run(made.post(wrong)).fault == "access.denied"
    assert asyncio.run(made.post(nobody)).fault == "access.no-credentials"
    assert _run(made, "GetDoctors").fault == "access.forbidden"
    assert _run(made, "FindPerson", "<nothing/>").fault == "request.schema"
    assert _run(made, "Ping").fault is None
    assert _records(store) == [
        ("FindPerson", "REFUSED", "access.denied"),
        ("FindPerson", "REFUSED", "access.no-credentials"),
        ("GetDoctors", "REFUSED", "access.forbidden"),
        ("FindPerson", "REFUSED", "request.schema"),
    ]


def _ping(desk: Any, call: Any, request: Any) -> dict[str, Any]:
    return {"text": "pong"}


def test_schema_refusal_names_the_field_not_the_value(store: Store) -> None:
    answer = _run(bench(store, service(("FindPerson", "read", _echo))), "FindPerson", "<other>Иванов</other>")
    assert answer.fault == "request.schema"
    assert [error.findtext("{*}code") for error in answer.root.iter("{*}error")] == ["field.unknown"]
    assert "Иванов" not in answer.content.decode()


def test_too_many_waiting_calls_are_turned_away(store: Store) -> None:
    gate_open = Event()

    def _wait(desk: Any, connection: Any, call: Any, request: Any) -> dict[str, Any]:
        gate_open.wait(20)
        return {}

    made = bench(store, service(("FindPerson", "read", _wait)), Settings(threads=1))

    async def crowd() -> list[Answer]:
        made.desk.gate.verify(_credentials(made), "192.0.2.1")
        calls = [asyncio.create_task(made.call("FindPerson")) for _ in range(30)]
        while sum(call.done() for call in calls) < 10:
            await asyncio.sleep(0.01)
        gate_open.set()
        return list(await asyncio.gather(*calls))

    answers = asyncio.run(crowd())
    busy = [answer for answer in answers if answer.status == 503]
    assert len(busy) == 10
    assert {(answer.fault, answer.headers["retry-after"]) for answer in busy} == {("server.busy", "1")}
    assert sum(answer.fault is None for answer in answers) == 20


def _credentials(made: Bench) -> Any:
    from gateway.access.model import Credentials

    return Credentials(made.login.login, made.login.password)


def test_slow_body_meets_its_deadline(store: Store) -> None:
    made = bench(store, service(("FindPerson", "read", _echo)), Settings(body_seconds=1))
    answer = asyncio.run(made.send([{"type": "http.request", "body": b"<", "more_body": True}]))
    assert answer is not None
    assert (answer.status, answer.fault, answer.headers["connection"]) == (408, "request.timeout", "close")


def test_client_that_leaves_gets_nothing(store: Store, log: Callable[[], list[dict[str, Any]]]) -> None:
    made = bench(store, service(("FindPerson", "read", _echo)))
    part = {"type": "http.request", "body": b"<", "more_body": True}
    assert asyncio.run(made.send([part, {"type": "http.disconnect"}])) is None
    assert made.edge._bytes == 0


def test_bytes_held_return_to_nothing(store: Store) -> None:
    made = bench(store, service(("FindPerson", "read", _echo), ("GetList", "read", _boom)), Settings(body_bytes=5000))
    for body in (b"", b"<", b"x" * 6000):
        asyncio.run(made.post(body))
    _run(made, "FindPerson", "<text>" + "я" * 1000 + "</text>")
    _run(made, "GetList")
    assert (made.edge._bytes, made.edge._calls) == (0, 0)


def test_memory_of_waiting_bodies_is_bounded(store: Store) -> None:
    made = bench(store, service(("FindPerson", "read", _echo)), Settings(body_bytes=1000, body_seconds=1))
    part = {"type": "http.request", "body": b"x" * 900, "more_body": True}

    async def crowd() -> list[Answer | None]:
        return await asyncio.gather(*(made.send([part]) for _ in range(60)))

    codes = [answer.fault for answer in asyncio.run(crowd()) if answer]
    assert codes.count("request.timeout") == 36
    assert codes.count("server.busy") == 24


def test_no_database(store: Store) -> None:
    made = bench(store, service(("FindPerson", "read", _echo)))
    made.desk.store.close()
    away = Store("postgresql://nobody@127.0.0.1:1/none", size=1, timeout=1)
    object.__setattr__(made.desk, "store", away)
    made.desk.gate._store = away
    answer = _run(made, "FindPerson")
    assert (answer.status, answer.fault) == (503, "server.database")
    assert int(answer.headers["retry-after"]) > 0


def test_answers_in_pieces(store: Store) -> None:
    made = bench(store, service(("FindPerson", "read", lambda *_: {"text": "я" * 400_000})))
    answer = _run(made, "FindPerson")
    assert answer.result.findtext("{*}text") == "я" * 400_000
    assert int(answer.headers["content-length"]) == len(answer.content)
