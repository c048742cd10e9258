"""Trial C6: the audit only grows, and its chain names what was tampered with."""

from __future__ import annotations

import hashlib
import json
import random
import threading
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import Connection, text

from gateway.access import audit, chain
from gateway.access.model import Call
from gateway.store.engine import Store

MakeCall = Callable[..., Call]
NOW = timedelta()


def fill(store: Store, count: int) -> None:
    """Records 1..count, written in bulk."""
    with store.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO audit_record (trace, client_id, login, service, operation, outcome, persons, details)"
                " SELECT gen_random_uuid()::text, 1, 'clinic-1', 'DispensaryObservation', 'FindPerson', 'OK', ARRAY[n],"
                " jsonb_build_object('way', 'enp', 'n', n) FROM generate_series(1, :count) n"
            ),
            {"count": count},
        )


def seal(store: Store, size: int = 10) -> int:
    with store.begin() as connection:
        return chain.seal(connection, size=size)


def verify(store: Store, **given: object) -> chain.Report:
    with store.begin() as connection:
        return chain.verify(connection, **given)  # type: ignore[arg-type]


def tamper(owner: Store, *statements: str) -> None:
    with owner.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_record SET outcome = 'OK'",
        "DELETE FROM audit_record",
        "TRUNCATE audit_record",
        "UPDATE audit_batch SET sha256 = ''",
        "DELETE FROM audit_batch",
        "TRUNCATE audit_batch",
        "ALTER TABLE audit_record DISABLE TRIGGER ALL",
        "DROP TABLE audit_record",
        "UPDATE installation SET value = ''",
    ],
)
def test_the_application_cannot_change_the_audit(store: Store, statement: str) -> None:
    fill(store, 3)
    with pytest.raises(psycopg.errors.InsufficientPrivilege), store.driver() as driver:
        driver.execute(statement.encode())


def test_an_untouched_chain_is_intact(store: Store) -> None:
    assert verify(store) == chain.Report()
    fill(store, 25)
    assert seal(store) == 25
    assert seal(store) == 0
    fill(store, 2)
    report = verify(store)
    assert report.intact
    assert (report.batches, report.records, report.unsealed) == (3, 25, 2)
    assert seal(store) == 2
    assert verify(store, head=report.head).intact


@pytest.mark.parametrize(
    ("statement", "bad", "changed", "removed"),
    [
        ("UPDATE audit_record SET details = details || '{\"n\": 0}' WHERE id = 14", 2, [14], []),
        ("UPDATE audit_record SET at = at + interval '1 microsecond' WHERE id IN (3, 25)", 1, [3, 25], []),
        ("UPDATE audit_record SET persons = persons || 7::bigint WHERE id = 21", 3, [21], []),
        ("UPDATE audit_record SET code = '' WHERE id = 1", 1, [1], []),
        ("DELETE FROM audit_record WHERE id IN (11, 20)", 2, [], [11, 20]),
        ("DELETE FROM audit_record WHERE id BETWEEN 11 AND 20", 2, [], list(range(11, 21))),
        ("UPDATE audit_record SET id = 1000 WHERE id = 5", 1, [], [5]),
        ("UPDATE audit_batch SET sha256 = previous WHERE id = 2", 2, [], []),
        ("UPDATE audit_batch SET digests = '' WHERE id = 2", 2, list(range(11, 21)), []),
        ("UPDATE audit_batch SET count = 9 WHERE id = 3", 3, [], []),
        ("UPDATE audit_batch SET missing = '{12}' WHERE id = 2", 2, [], []),
        ("DELETE FROM audit_batch WHERE id = 1", 2, [], []),
        ("DELETE FROM audit_batch WHERE id = 2", 3, [], []),
    ],
)
def test_tampering_is_named(
    store: Store, owner: Store, statement: str, bad: int, changed: list[int], removed: list[int]
) -> None:
    fill(store, 30)
    seal(store)
    tamper(owner, statement)
    report = verify(store)
    assert not report.intact
    assert report.first_bad == bad
    assert report.removed == removed
    if "missing" not in statement:
        assert report.changed == changed


def test_a_record_put_into_a_sealed_range_is_named(store: Store, owner: Store) -> None:
    fill(store, 12)
    tamper(owner, "DELETE FROM audit_record WHERE id = 7")
    seal(store)
    assert verify(store, late_within=NOW).intact
    tamper(
        owner,
        "INSERT INTO audit_record (id, trace, service, operation, outcome) VALUES (7, 'x', 's', 'o', 'OK'),"
        " (-1, 'x', 's', 'o', 'OK')",
    )
    report = verify(store, late_within=NOW)
    assert (report.intact, report.first_bad, report.inserted) == (False, None, [-1, 7])


def test_a_record_committed_after_the_seal_is_sealed_late(store: Store, make_call: MakeCall) -> None:
    slow, quick, gone = make_call("AddEntries"), make_call("Ping"), make_call("GetList")
    with store.begin() as connection:
        audit.write(connection, slow)
        with pytest.raises(ZeroDivisionError), store.begin() as other:
            audit.write(other, gone)
            raise ZeroDivisionError
        with store.begin() as other:
            audit.write(other, quick)
            audit.write(other, quick)
        seal(store)
    assert verify(store).intact
    with store.begin() as other:
        audit.write(other, quick)
    seal(store)
    report = verify(store, late_within=NOW)
    assert report.intact and report.records == _count(store)
    with store.begin() as connection:
        late = connection.execute(text("SELECT late FROM audit_batch ORDER BY id")).scalars().all()
    assert [len(one) for one in late] == [0, 1]


def test_a_late_record_is_guarded_too(store: Store, owner: Store) -> None:
    fill(store, 12)
    tamper(
        owner, "CREATE TABLE kept AS SELECT * FROM audit_record WHERE id = 7", "DELETE FROM audit_record WHERE id = 7"
    )
    seal(store)
    tamper(owner, "INSERT INTO audit_record SELECT * FROM kept")
    fill(store, 5)
    seal(store)
    assert verify(store, late_within=NOW).intact
    tamper(owner, "UPDATE audit_record SET code = 'x' WHERE id = 7")
    report = verify(store, late_within=NOW)
    assert (report.first_bad, report.changed) == (3, [7])


def test_a_chain_forged_anew_does_not_know_the_head_kept_elsewhere(store: Store, owner: Store) -> None:
    fill(store, 25)
    seal(store)
    head = verify(store).head
    tamper(owner, "UPDATE audit_record SET code = 'x' WHERE id = 14", "DELETE FROM audit_batch WHERE id >= 2")
    seal(store)
    assert verify(store).intact
    report = verify(store, head=head)
    assert not report.intact and not report.knows_head


def test_writers_and_sealers_at_once_leave_nothing_out(store: Store, make_call: MakeCall) -> None:
    done = threading.Event()

    def write(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(60):
            try:
                with store.begin() as connection:
                    audit.write(connection, make_call("AddEntries"))
                    done.wait(dice.random() / 200)
                    if dice.random() < 0.2:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                continue

    def keep_sealing() -> None:
        while not done.is_set():
            seal(store, size=7)

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(8)]
    sealers = [threading.Thread(target=keep_sealing) for _ in range(2)]
    for thread in (*writers, *sealers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in sealers:
        thread.join()
    with store.begin() as connection:
        audit.write(connection, make_call("Ping"))
    seal(store, size=chain.BATCH)  # one seal takes as many late records as its size
    report = verify(store, late_within=NOW)
    assert report.intact
    assert (report.records, report.unsealed) == (_count(store), 0)


def test_retention_removes_whole_batches_and_the_chain_keeps_its_start(store: Store, owner: Store) -> None:
    fill(store, 30)
    tamper(owner, "UPDATE audit_record SET at = at - interval '6 years' WHERE id <= 24")
    seal(store)
    limit = datetime.now(UTC) - timedelta(days=1830)
    with pytest.raises(psycopg.errors.InsufficientPrivilege), store.begin() as connection:
        chain.forget(connection, limit)
    with owner.begin() as connection:
        assert chain.forget(connection, limit) == 20
        assert chain.forget(connection, limit) == 0
    report = verify(store)
    assert report.intact
    assert (report.batches, report.records, report.unsealed) == (1, 10, 1)
    seal(store)
    with store.begin() as connection:
        noted = connection.execute(
            text("SELECT details FROM audit_record WHERE operation = 'AuditRetention'")
        ).scalar_one()
    assert (noted["batches"], noted["records"]) == (2, 20)
    assert verify(store).intact
    tamper(owner, "UPDATE installation SET value = '20 ' || repeat('0', 64) WHERE name = 'audit_start'")
    assert verify(store).first_bad == 3


def test_the_last_batch_outlives_every_retention(store: Store, owner: Store) -> None:
    fill(store, 20)
    seal(store)
    with owner.begin() as connection:
        assert chain.forget(connection, datetime.now(UTC) + timedelta(days=1)) == 10
    assert verify(store).intact


def test_an_export_can_be_checked_without_the_gateway(store: Store) -> None:
    fill(store, 12)
    seal(store)
    fill(store, 3)
    with store.begin() as connection:
        lines = list(chain.export(connection))
        later = list(chain.export(connection, since=datetime.now(UTC) + timedelta(days=1)))
    assert len(lines) == 12 + 2 + 1 + 3
    assert later == [json.dumps({"unsealed": True}), *lines[-3:]]
    previous, place = "0" * 64, 0
    for _ in range(2):
        head = json.loads(lines[place])
        members = lines[place + 1 : place + 1 + head["count"]]
        total = hashlib.sha256(b"".join(hashlib.sha256(one.encode()).digest() for one in members)).hexdigest()
        lists = [",".join(map(str, head[name])) for name in ("missing", "late")]
        parts = [previous, *(str(head[name]) for name in ("first", "last", "count")), *lists, total]
        assert hashlib.sha256("\n".join(parts).encode()).hexdigest() == head["sha256"]
        previous, place = head["sha256"], place + 1 + head["count"]
    record = json.loads(lines[1])
    assert set(record) == {"id", "at", *audit.AUDIT_COLUMNS}
    assert record["at"].endswith("Z")


def test_a_column_added_to_the_audit_is_hashed(store: Store) -> None:
    with store.begin() as connection:
        columns = connection.execute(
            text("SELECT column_name FROM information_schema.columns WHERE table_name = 'audit_record'")
        ).scalars()
        assert set(columns) == {"id", "at", *audit.AUDIT_COLUMNS}


def test_a_hundred_thousand_records_in_flat_memory(store: Store) -> None:
    fill(store, 100_000)

    def peak(work: Callable[[Connection], object]) -> int:
        tracemalloc.start()
        with store.begin() as connection:
            work(connection)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(chain.seal) < 4 * 2**20
    assert peak(chain.verify) < 4 * 2**20
    assert peak(lambda connection: sum(1 for _ in chain.export(connection))) < 24 * 2**20
    report = verify(store)
    assert report.intact and (report.batches, report.records) == (10, 100_000)


def _count(store: Store) -> int:
    with store.begin() as connection:
        return int(connection.execute(text("SELECT count(*) FROM audit_record")).scalar_one())
