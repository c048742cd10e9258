"""Log lines are JSON and carry no value that was sent."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from gateway import logs
from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.store.engine import Store

MARK = "МАРКЕРОВ-11223344595"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Sets the log up on a text and gives a reader of its lines; the process gets its own log back afterwards."""
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    monkeypatch.setattr("sys.excepthook", __import__("sys").excepthook)
    monkeypatch.setattr("threading.excepthook", __import__("threading").excepthook)
    stream = io.StringIO()
    logs.setup(Settings(), stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = kept
    root.setLevel(level)


def test_a_line_has_time_level_logger_message_and_trace(lines: Any) -> None:
    token = logs.trace.set("the-trace")
    logging.getLogger("gateway.test").info("вызов %s", "GetList", extra={"operation": "GetList", "enp": MARK})
    logs.trace.reset(token)
    [line] = lines()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "gateway.test",
        "message": "вызов GetList",
        "trace": "the-trace",
        "operation": "GetList",
    }


def test_exceptions_are_written_without_their_texts(lines: Any) -> None:
    log = logging.getLogger("gateway.test")
    try:
        try:
            raise ValueError(MARK)
        except ValueError as error:
            raise GatewayError("server.error") from error
    except GatewayError as error:
        log.exception("сбой")
        log.error(error)
        log.error("сбой: %s", error.__cause__)
    whole, alone, argument = lines()
    assert MARK not in json.dumps([whole, alone, argument], ensure_ascii=False)
    assert whole["exception"]["code"] == "server.error"
    assert whole["exception"]["cause"]["type"] == "builtins.ValueError"
    assert "test_logs.py" in whole["exception"]["places"][0]
    assert (alone["message"], argument["message"]) == ("GatewayError", "сбой: ValueError")


def test_an_error_of_the_database_is_written_without_values(lines: Any, store: Store) -> None:
    statement = text("INSERT INTO insurer (code, name, valid_from) VALUES (:code, 'x', '2020-01-01')")
    try:
        with store.begin() as connection:
            connection.execute(statement, {"code": MARK})
            connection.execute(statement, {"code": MARK})
    except IntegrityError as error:
        assert MARK in str(error)
        assert isinstance(error.orig, psycopg.errors.UniqueViolation)
        logging.getLogger("gateway.test").exception("сбой")
    [line] = lines()
    assert MARK not in json.dumps(line, ensure_ascii=False)
    assert (line["exception"]["sqlstate"], line["exception"]["constraint"]) == ("23505", "insurer_pkey")


def test_spyne_does_not_log_requests(lines: Any) -> None:
    logging.getLogger("spyne.protocol.soap.soap11.invalid").error(MARK)
    logging.getLogger("zeep.transports").debug(MARK)
    logging.getLogger("sqlalchemy.engine").info(MARK)
    assert lines() == []


def test_an_uncaught_exception_is_a_line_without_its_text(lines: Any) -> None:
    import sys
    import threading

    try:
        raise RuntimeError(MARK)
    except RuntimeError as error:
        sys.excepthook(type(error), error, error.__traceback__)

    def fail() -> None:
        raise RuntimeError(MARK)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    found = lines()
    assert [one["exception"]["type"] for one in found] == ["builtins.RuntimeError"] * 2
    assert MARK not in json.dumps(found, ensure_ascii=False)


def test_a_wrongly_formatted_message_is_still_a_line() -> None:
    record = logging.LogRecord("gateway.test", logging.WARNING, "", 1, "%d готово", ("пять",), None)
    assert json.loads(logs.JsonLines().format(record))["message"] == "%d готово"
