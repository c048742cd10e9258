"""Files: parts in order, ranges, signatures, the mailbox, retention. What is not whole is not there."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings, strategies
from sqlalchemy import text

from gateway.domain.clock import Clock
from gateway.errors import GatewayError
from gateway.operations import files
from gateway.operations import mailbox as mailboxes
from gateway.operations.model import Owner, Scope
from gateway.operations.queue import Work
from gateway.settings import Settings
from gateway.store.engine import Store

CLINIC, OTHER = Owner("400001"), Owner("400002")
ALL = Scope()
SMALL = Settings(file_part_bytes=1000, file_bytes=5000)
PLAIN = Settings()


def put(store: Store, content: bytes = b"list", name: str = "list.xml", owner: Owner = CLINIC, client: int = 1) -> UUID:
    with store.begin() as connection:
        return files.put(connection, PLAIN, owner=owner, client_id=client, name=name, content=content)


def part(store: Store, file_id: UUID | None, offset: int, content: bytes, last: bool = False, **given) -> UUID:
    values = {"owner": CLINIC, "client_id": 1, "name": "list.xml", "sha256": None, "settings": SMALL} | given
    chosen = values.pop("settings")
    with store.begin() as connection:
        return files.put_part(connection, chosen, file_id=file_id, offset=offset, content=content, last=last, **values)


def write(store: Store, content: bytes = b"list", name: str = "list.xml", **given) -> UUID:
    values = {"kind": "EXPORT", "owner": CLINIC, "mailbox": True} | given
    with store.begin() as connection, files.Writer(connection, PLAIN, name=name, **values) as out:
        out.write(content)
    return out.file_id


def info(store: Store, file_id: UUID) -> files.FileInfo | None:
    with store.begin() as connection:
        return files.get(connection, file_id)


def read(store: Store, file_id: UUID, offset: int = 0, length: int = 1 << 30) -> bytes:
    with store.begin() as connection:
        return files.read(connection, file_id, offset, length)


def listed(store: Store, scope: Scope = ALL, **given) -> list[UUID]:
    with store.begin() as connection:
        total, page = files.mailbox(connection, scope, **given)
        assert total >= len(page)
        return [one.file_id for one in page]


def change(store: Store, sql: str, **values) -> None:
    with store.begin() as connection:
        connection.execute(text(sql), values)


def count(store: Store, table: str) -> int:
    with store.begin() as connection:
        return connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()


def work(store: Store) -> Work:
    return Work(store, None, PLAIN, Clock())


# parts ----------------------------------------------------------------------------------------------------------------


def test_small_file_at_once(store: Store) -> None:
    file_id = put(store, "список".encode())
    found = info(store, file_id)
    assert found is not None
    assert (found.name, found.kind, found.owner, found.mailbox) == ("list.xml", "UPLOAD", CLINIC, False)
    assert found.sha256 == hashlib.sha256("список".encode()).hexdigest()
    assert read(store, file_id) == "список".encode()


def test_file_appears_with_its_last_part(store: Store) -> None:
    content = random.Random(1).randbytes(2500)
    file_id = part(store, None, 0, content[:1000])
    part(store, file_id, 1000, content[1000:2000])
    assert info(store, file_id) is None
    with store.begin() as connection:
        assert files.owner_of(connection, file_id) == CLINIC
    with pytest.raises(GatewayError, match="object.not-found"):
        read(store, file_id)
    part(store, file_id, 2000, content[2000:], last=True, sha256=hashlib.sha256(content).hexdigest().upper())
    assert read(store, file_id) == content
    assert read(store, file_id, 990, 20) == content[990:1010]


def test_part_again_is_taken_and_another_one_is_not(store: Store) -> None:
    file_id = part(store, None, 0, b"a" * 1000)
    part(store, file_id, 0, b"a" * 1000)
    part(store, file_id, 500, b"a" * 500)
    for offset, content, last in (
        (0, b"b" * 1000, False), (1001, b"c", False), (900, b"a" * 101, False), (0, b"a" * 999, True),
    ):  # fmt: skip
        with pytest.raises(GatewayError, match=r"file\.offset.* 1000"):
            part(store, file_id, offset, content, last)
    part(store, file_id, 1000, b"c", last=True)
    part(store, file_id, 1000, b"c", last=True)
    for offset, content, last in ((1000, b"d", True), (1001, b"e", True), (0, b"a" * 1000, True)):
        with pytest.raises(GatewayError, match="file.complete"):
            part(store, file_id, offset, content, last)
    assert read(store, file_id) == b"a" * 1000 + b"c"


def test_last_part_may_be_empty(store: Store) -> None:
    file_id = part(store, None, 0, b"a" * 1000)
    part(store, file_id, 1000, b"", last=True)
    assert read(store, file_id) == b"a" * 1000


def test_refused_parts(store: Store) -> None:
    begun = part(store, None, 0, b"a" * 1000)
    refusals = [
        ("file.part-size", None, 0, b"", {}),
        ("file.part-size", None, 0, b"", {"last": True}),
        ("file.part-size", begun, 1000, b"", {}),
        ("file.part-size", None, 0, b"a" * 1001, {}),
        ("file.offset", None, 1, b"a", {}),
        ("file.range", begun, -1, b"a", {}),
        ("object.not-found", begun, 1000, b"a", {"owner": OTHER}),
        ("object.not-found", begun, 1000, b"a", {"owner": Owner()}),
        ("file.name-differs", begun, 1000, b"a", {"name": "other.xml"}),
        ("file.sha256", begun, 1000, b"a", {"last": True, "sha256": "0" * 64}),
        ("file.sha256", None, 0, b"a", {"last": True, "sha256": "0" * 64}),
    ]
    for code, file_id, offset, content, more in refusals:
        with pytest.raises(GatewayError, match=code):
            part(store, file_id, offset, content, **more)
    for start in range(1000, 5000, 1000):
        part(store, begun, start, b"a" * 1000)
    with pytest.raises(GatewayError, match="file.too-large"):
        part(store, begun, 5000, b"a")
    assert (count(store, "file"), info(store, begun)) == (1, None)


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "a/b", "a\\b", "a\x00b", "a\nb", "a\u202eb", "a\u2028b", "я" * 201, "\ud800"]
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(GatewayError, match="file.name"):
        files.checked_name(name)


@pytest.mark.parametrize("name", ["a", "Список ДН 11.2026 (№ 1).xml", "я" * 200, "я" * 200 + ".sig", "..a", "CON"])
def test_names(name: str) -> None:
    assert files.checked_name(name) == name
    assert files.checked_name("и\u0306.xml") == "й.xml"


def test_parts_of_one_file_at_once(store: Store) -> None:
    """Twenty threads send the same four parts: one file, its content right."""
    content = random.Random(2).randbytes(4000)
    file_id = uuid4()
    codes: list[str] = []

    def send() -> None:
        for offset in range(0, 4000, 1000):
            try:
                part(store, file_id, offset, content[offset : offset + 1000], last=offset == 3000)
            except GatewayError as error:
                codes.append(error.code)

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == []
    assert read(store, file_id) == content


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=strategies.lists(strategies.integers(1, 1000), min_size=1, max_size=5),
    offset=strategies.integers(0, 5000),
    length=strategies.integers(0, 5000),
)
def test_any_parts_give_any_range(store: Store, sizes: list[int], offset: int, length: int) -> None:
    content = random.Random(sum(sizes)).randbytes(sum(sizes))
    file_id, start = None, 0
    for size in sizes:
        file_id = part(store, file_id, start, content[start : start + size], last=start + size == len(content))
        start += size
    if offset < len(content):
        assert read(store, file_id, offset, length) == content[offset : offset + length]
    else:
        with pytest.raises(GatewayError, match="file.range"):
            read(store, file_id, offset, length)


# streams --------------------------------------------------------------------------------------------------------------


def test_writer_streams_and_reads_back(store: Store, tmp_path) -> None:
    content = random.Random(3).randbytes(5_300_000) + b"\0" * 3_000_000
    with (
        store.begin() as connection,
        files.Writer(connection, PLAIN, name="out.bin", kind="EXPORT", owner=CLINIC, mailbox=True) as out,
    ):
        for start in range(0, len(content), 70_001):
            out.write(content[start : start + 70_001])
    assert read(store, out.file_id) == content
    with store.begin() as connection:
        rows = connection.execute(text("SELECT max(size), count(*), sum(octet_length(body)) FROM file_part")).one()
    assert rows[0] == files.PART_BYTES
    assert rows[1] == 8
    assert rows[2] < 5_300_000 * 1.001
    files.fetch(store, out.file_id, tmp_path / "out", lambda: None)
    assert (tmp_path / "out").read_bytes() == content


def test_writer_that_fails_leaves_nothing(store: Store) -> None:
    with (
        pytest.raises(RuntimeError),
        store.begin() as connection,
        files.Writer(connection, PLAIN, name="a", kind="EXPORT", owner=CLINIC) as out,
    ):
        out.write(b"x" * 3_000_000)
        raise RuntimeError
    assert (count(store, "file"), count(store, "file_part")) == (0, 0)


def test_empty_file_of_a_writer(store: Store) -> None:
    file_id = write(store, b"")
    assert read(store, file_id) == b""
    assert info(store, file_id).sha256 == hashlib.sha256(b"").hexdigest()


def test_fetch_leaves_no_half_file(store: Store, tmp_path) -> None:
    file_id = write(store, b"a" * 9_000_000)
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.fetch(store, file_id, tmp_path / "a", check)
    change(store, "UPDATE file SET sha256 = repeat('0', 64)")
    with pytest.raises(GatewayError, match="file.sha256"):
        files.fetch(store, file_id, tmp_path / "a")
    with pytest.raises(GatewayError, match="object.not-found"):
        files.fetch(store, uuid4(), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_files_of_an_operation_in_order(store: Store) -> None:
    operation = uuid4()
    change(
        store, "INSERT INTO operation (id, kind, login, trace) VALUES (:id, 'EXPORT_LIST', 'tester', 'x')", id=operation
    )
    made = [write(store, name=f"{n}.xml", operation_id=operation, number=n) for n in (3, 1, 2)]
    with store.begin() as connection:
        assert [one.file_id for one in files.of_operation(connection, operation)] == [made[1], made[2], made[0]]


# signatures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [("list.xml", "list.xml.sig"), ("list.xml.sig", "list.xml")])
def test_signature_finds_its_file(store: Store, order: tuple[str, str]) -> None:
    made = {name: put(store, name.encode(), name) for name in order}
    strangers = [put(store, b"s", "list.xml.sig", OTHER), put(store, b"s", "list.xml.sig", CLINIC, client=2)]
    assert info(store, made["list.xml"]).signature_id == made["list.xml.sig"]
    assert info(store, made["list.xml.sig"]).kind == "SIGNATURE"
    assert all(info(store, one).signature_id is None for one in strangers)


def test_signatures_of_files_with_one_name(store: Store) -> None:
    first, signed = put(store, b"1"), put(store, b"2")
    signature = put(store, b"s", "list.xml.sig")
    assert (info(store, first).signature_id, info(store, signed).signature_id) == (None, signature)
    other = put(store, b"s", "list.xml.sig")
    assert info(store, first).signature_id == other


def test_signature_and_file_at_once(store: Store) -> None:
    made: dict[str, UUID] = {}

    def send(name: str) -> None:
        made[name] = put(store, b"x", name)

    for number in range(10):
        threads = [threading.Thread(target=send, args=[f"{number}.xml{end}"]) for end in ("", ".sig")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert info(store, made[f"{number}.xml"]).signature_id == made[f"{number}.xml.sig"]


def test_signature_shares_the_fate_of_its_file(store: Store) -> None:
    change(store, "INSERT INTO organisation VALUES ('400002', 'МО', true, '2020-01-01', NULL)")
    made, signature = write(store, mailbox=False), write(store, b"s", "list.xml.sig", mailbox=False)
    with store.begin() as connection:
        files.keep(connection, made, datetime.now(UTC) + timedelta(days=50))
        assert files.get(connection, signature).expires_at > datetime.now(UTC) + timedelta(days=49)
        moved = mailboxes.move(connection, PLAIN, made, "400002")
    assert (moved.owner, moved.mailbox, moved.signature_id) == (OTHER, True, signature)
    assert set(listed(store, Scope(frozenset({"400002"})), since=moved.ready_at)) == {signature, made}
    with store.begin() as connection:
        confirmed = files.confirm(connection, made, "clinic")
    found = info(store, signature)
    assert (found.owner, found.confirmed_at, found.expires_at) == (OTHER, confirmed.confirmed_at, confirmed.expires_at)
    change(store, "UPDATE file SET expires_at = now() WHERE id = :id", id=made)
    assert mailboxes.expire(work(store)) == 2
    assert count(store, "file_part") == 0


# mailbox --------------------------------------------------------------------------------------------------------------


def test_mailbox_is_seen_by_its_owner(store: Store) -> None:
    ours, theirs = write(store), write(store, owner=OTHER)
    insured, fund = write(store, owner=Owner(insurer="40001")), write(store, owner=Owner())
    write(store, mailbox=False)
    assert listed(store) == [ours, theirs, insured, fund]
    assert listed(store, Scope(frozenset({"400001"}))) == [ours]
    assert listed(store, Scope(frozenset())) == []
    assert listed(store, Scope(insurer="40001")) == [insured]
    assert listed(store, organisation="400002") == [theirs]
    assert listed(store, start=2, count=2) == [theirs, insured]
    with store.begin() as connection:
        assert files.mailbox(connection, ALL, start=9)[0] == 4
        assert mailboxes.every(connection, ALL)[0] == 5


def test_time_of_appearance_never_goes_back(store: Store) -> None:
    """Writers commit in any order; who reads on from the last time seen misses no file."""
    stop, seen = threading.Event(), []

    def collect() -> None:
        since = None
        while True:
            over = stop.is_set()
            with store.begin() as connection:
                _, page = files.mailbox(connection, ALL, since=since, count=1000)
            for one in page:
                if since is None or one.ready_at > since:
                    seen.append(one.file_id)
            since = page[-1].ready_at if page else since
            if over:
                return

    made: list[UUID] = []

    def produce(number: int) -> None:
        chance = random.Random(number)
        for _ in range(15):
            with store.begin() as connection:
                with files.Writer(connection, PLAIN, name="a", kind="EXPORT", owner=CLINIC, mailbox=True) as out:
                    out.write(b"a")
                connection.execute(text("SELECT pg_sleep(:s)"), {"s": chance.random() / 100})
            made.append(out.file_id)

    reader = threading.Thread(target=collect)
    writers = [threading.Thread(target=produce, args=[number]) for number in range(4)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    assert len(seen) == len(set(seen)) == 60
    assert set(seen) == set(made)


def test_clock_that_goes_back_keeps_the_order(store: Store) -> None:
    first = write(store)
    change(store, "UPDATE file SET ready_at = now() + interval '1 day'")
    second = write(store)
    assert listed(store) == [first, second]
    assert info(store, second).ready_at > info(store, first).ready_at


def test_confirmation(store: Store) -> None:
    file_id = write(store)
    before = info(store, file_id)
    with store.begin() as connection:
        first = files.confirm(connection, file_id, "clinic")
    with store.begin() as connection:
        again = files.confirm(connection, file_id, "other")
    assert first == again
    assert first.expires_at < before.expires_at
    assert abs(first.expires_at - first.confirmed_at - timedelta(days=PLAIN.confirmed_days)) < timedelta(seconds=1)
    with store.begin() as connection:
        assert connection.execute(text("SELECT confirmed_by FROM file")).scalar_one() == "clinic"
    for other in (uuid4(), put(store)):
        with store.begin() as connection, pytest.raises(GatewayError, match="object.not-found"):
            files.confirm(connection, other, "clinic")


# retention ------------------------------------------------------------------------------------------------------------


def test_files_expire_by_their_kind(store: Store) -> None:
    mailbox, upload = info(store, write(store)), info(store, put(store))
    assert (mailbox.expires_at - mailbox.ready_at).days == PLAIN.mailbox_days
    assert (upload.expires_at - upload.ready_at).days == PLAIN.upload_days


def test_what_is_over_is_deleted_in_portions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailboxes, "_PORTION", 2)
    over = [write(store), write(store), put(store), part(store, None, 0, b"a"), part(store, None, 0, b"b")]
    kept = write(store)
    change(store, "UPDATE file SET expires_at = now() WHERE id = ANY(:ids)", ids=over)
    assert info(store, over[0]) is None
    assert listed(store) == [kept]
    assert mailboxes.expire(work(store)) == 5
    assert (count(store, "file"), count(store, "file_part")) == (1, 1)


def test_file_that_is_written_to_is_not_deleted(store: Store) -> None:
    begun = part(store, None, 0, b"a")
    change(store, "UPDATE file SET expires_at = now()")
    with store.begin() as connection:
        files.put_part(
            connection, SMALL, owner=CLINIC, client_id=1, file_id=begun, name="list.xml", offset=1, content=b"b",
            last=False, sha256=None,
        )  # fmt: skip
        assert mailboxes.expire(work(store)) == 0
    part(store, begun, 2, b"c", last=True)
    assert read(store, begun) == b"abc"


# crash ----------------------------------------------------------------------------------------------------------------

SENDER = """
import sys, uuid
from gateway.operations import files
from gateway.operations.model import Owner
from gateway.settings import Settings
from gateway.store.engine import Store
store, file_id, settings = Store(sys.argv[1]), uuid.UUID(sys.argv[2]), Settings()
for number in range(1000):
    with store.begin() as connection:
        files.put_part(connection, settings, owner=Owner("400001"), client_id=1, file_id=file_id, name="a",
                       offset=number * 1000, content=b"a" * 1000, last=number == 999, sha256=None)
    print(number, flush=True)
"""


def test_killed_between_parts(store: Store) -> None:
    file_id = uuid4()
    process = subprocess.Popen(
        [sys.executable, "-c", SENDER, store.url, str(file_id)], stdout=subprocess.PIPE, text=True
    )
    for _ in range(20):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert info(store, file_id) is None
    with store.begin() as connection:
        came = connection.execute(text("SELECT size FROM file")).scalar_one()
        assert connection.execute(text("SELECT sum(size) FROM file_part")).scalar_one() == came
    assert 20_000 <= came < 1_000_000
    part(store, file_id, came, b"b", last=True, name="a", settings=PLAIN)
    assert read(store, file_id) == b"a" * came + b"b"
