"""How a call runs: changes once per request id, reads in one transaction, and every call with exactly one audit record.

A change claims its request id, works, leaves its record and keeps its answer in one transaction. A parallel resend waits
on the claim and then gets the stored answer; so does a resend after a restart or to another process. A refused change
leaves nothing but the record of the refusal, and its id stays free.

`change`, `read` and `direct` record the refusal of their call themselves; a door records what it refuses before it gets
there by `refuse`, which does nothing for a call that has its record.
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from logging import getLogger
from typing import TypeVar

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway import metrics
from gateway.access import audit, queries
from gateway.access.model import Attempt, Call, Foreign, ItemResult, Outcome, all_of
from gateway.errors import ACCEPTED, GatewayError, Side
from gateway.store import failures
from gateway.store.engine import Driver, Store, driver_of

C = TypeVar("C")
T = TypeVar("T")

ATTEMPTS = 3
LOCK_MS = 10_000
STATEMENT_MS = 60_000

_log = getLogger("gateway.access")


def change(store: Store, call: Call, work: Callable[[Connection], T], encode: Callable[[T], bytes]) -> bytes:
    """Does a change exactly once per (client, ``call.request_id``) and gives its encoded answer, again for a resend.

    ``work`` may run up to three times (deadlock, serialization failure, a row that another call has just made, a lost
    connection): it keeps its effects in the transaction. It must not take a second connection of the pool.

    Raises ``conflict.request-reused`` for the same id with another body or operation, ``server.busy``,
    ``server.database``, and what ``work`` raises.
    """
    request_id = call.request_id
    if request_id is None:
        raise ValueError("a change needs a request id")

    def once(connection: Connection) -> bytes:
        driver = driver_of(connection)
        queries.bound_waits(driver, LOCK_MS, STATEMENT_MS)
        while not queries.claim(driver, call.caller.client_id, request_id, call.operation, call.body_sha256):
            if (answer := _replayed(driver, call)) is not None:
                return answer
        result = work(connection)
        answer = encode(result)
        queries.keep_answer(driver, call.caller.client_id, request_id, zlib.compress(answer, 1))
        audit.write(connection, call, _outcome(call, result))
        return answer

    with recorded(store, call):
        return _tried(store, call, store.begin, once)


def read(store: Store, call: Call, work: Callable[[Connection], T]) -> T:
    """Reads in one transaction with the record of the call, which ``work`` may write itself (``call.audited``)."""

    def once(connection: Connection) -> T:
        result = work(connection)
        if not call.audited:
            audit.write(connection, call)
        return result

    with recorded(store, call):
        return _tried(store, call, store.begin, once)


def direct(store: Store, call: Call, work: Callable[[Driver], T]) -> T:
    """Reads by single statements in autocommit; the record goes in by the statement itself (``call.audited``) or after."""

    def once(driver: Driver) -> T:
        result = work(driver)
        if not call.audited:
            audit.write_on(driver, call)
        return result

    with recorded(store, call):
        return _tried(store, call, store.driver, once)


@contextmanager
def recorded(store: Store, call: Call) -> Iterator[None]:
    """Names failures of the database and leaves the record of a call that fails inside the block."""
    try:
        yield
    except Exception as error:
        refusal = failures.named(error)
        refuse(store, call, refusal or error)
        if refusal is None or refusal is error:
            raise
        raise refusal from error


def refuse(store: Store, call: Call | Attempt, error: Exception) -> None:
    """The record of a refusal in a transaction of its own, unless the call has its record.

    A refusal that cannot be recorded, because the database is away, still reaches the caller: it discloses nothing.
    """
    code = error.code if isinstance(error, GatewayError) else "server.error"
    own = not isinstance(error, GatewayError) or error.kind.side is Side.SERVER
    outcome = Outcome.FAULT if own else Outcome.REFUSED
    if isinstance(call, Call):
        if call.audited:
            return
        if isinstance(error, Foreign):
            call.details["foreign"] = True
    try:
        if isinstance(call, Call):
            failures.on_driver(store, lambda driver: audit.write_on(driver, call, outcome, code))
            call.audited = True
        else:
            failures.on_driver(store, lambda driver: audit.write_attempt(driver, call, outcome, code))
    except (psycopg.Error, SQLAlchemyError, GatewayError):
        _log.error("отказ не записан в журнал доступа", exc_info=True, extra={"trace": call.trace, "code": code})


def _tried(store: Store, call: Call, opened: Callable[[], AbstractContextManager[C]], once: Callable[[C], T]) -> T:
    """Runs ``once`` on a connection, again after failures that pass; a lost connection is tried anew but once."""
    collected = _Collected(call)
    attempt = 1
    while True:
        begun = False
        try:
            with ExitStack() as stack:
                with metrics.pool_wait():
                    connection = stack.enter_context(opened())
                begun = True
                result = once(connection)
        except Exception as error:
            call.audited = False
            lost = failures.is_lost(error)
            passes = failures.is_conflict(error) or (begun and attempt == 1 and lost)
            if not passes or attempt == ATTEMPTS:
                raise
            collected.restore(call)
            if lost:
                failures.renew(store)
            time.sleep(random.uniform(0.005, 0.05) * attempt)  # noqa: S311
            attempt += 1
        else:
            call.audited = True
            return result


class _Collected:
    """What a call had gathered for its record before an attempt."""

    def __init__(self, call: Call) -> None:
        self._persons = list(call.persons)
        self._details = dict(call.details)
        self._rest = (call.organisation, call.snapshot_id, call.first_record, call.records)

    def restore(self, call: Call) -> None:
        call.persons[:] = self._persons
        call.details = dict(self._details)
        call.organisation, call.snapshot_id, call.first_record, call.records = self._rest


def _replayed(driver: Driver, call: Call) -> bytes | None:
    """The stored answer of a request that was done, with the record of its resend; ``None`` if it has expired just now.

    The record covers the persons of the first one, since the answer shows them again.
    """
    assert call.request_id is not None
    row = queries.stored(driver, call.caller.client_id, call.request_id)
    if row is None:
        return None
    operation, body_sha256, answer, created_at = row
    if operation != call.operation or bytes(body_sha256) != call.body_sha256:
        raise GatewayError("conflict.request-reused")
    if first := queries.first_record(driver, call.caller.client_id, call.request_id, created_at):
        trace, persons, call.organisation, call.records = first
        call.covers(persons or ())
        call.details["first"] = trace
    audit.write_on(driver, call, Outcome.REPLAYED)
    return zlib.decompress(bytes(answer))


def _outcome(call: Call, result: object) -> Outcome:
    """PARTIAL if an item of the batch was refused. Counts of the items' codes stand in the record as ``items``."""
    if isinstance(result, Sequence) and result and all(isinstance(one, ItemResult) for one in result):
        call.details.setdefault("items", all_of(result))
        if call.records is None:
            call.records = sum(one.code in ACCEPTED for one in result)
    counts = call.details.get("items")
    refused = isinstance(counts, dict) and not ACCEPTED.keys() >= counts.keys()
    return Outcome.PARTIAL if refused else Outcome.OK
