"""The seal of the audit: batches of records, each hashed over the one before, so that no record changes unseen.

Records are sealed in ranges of ids. Ids are drawn before the commit, so a range may lack some when it is sealed: those
are kept as ``missing``; a record that is committed a little later is sealed as ``late`` in a later batch, and one that
turns up after an hour is a forgery. A batch's hash is

    sha256(previous \\n first \\n last \\n count \\n missing \\n late \\n sum)

in hex, lists joined by commas, ``sum`` the sha256 of the joined sha256 of its records' lines: those of the range by id,
then the late ones. The chain begins with 64 zeros. Calls do not queue behind each other, because nothing is hashed
while they run. Whoever owns the database could forge the whole chain: keep its head (`Report.head`) elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from gateway.access import audit, queries
from gateway.store.engine import Driver, driver_of

BATCH = 10_000
LATE_WITHIN = timedelta(hours=1)
GENESIS = "0" * 64
NAMED = 100
"""How many ids a report names of each kind."""

_WIDTH = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """A row of ``audit_batch``."""

    id: int
    first: int
    last: int
    count: int
    missing: list[int]
    late: list[int]
    previous: str
    sha256: str
    digests: bytes
    sealed_at: datetime

    @property
    def range(self) -> tuple[int, int, list[int], list[int]]:
        return self.first, self.last, self.missing, self.late

    @property
    def members(self) -> list[int]:
        """Ids in the order in which they were hashed."""
        gaps = set(self.missing)
        return [one for one in range(self.first, self.last + 1) if one not in gaps] + self.late


@dataclass(slots=True)
class Report:
    """What `verify` found. ``head`` is the hash of the last batch, ``first_bad`` the id of the first batch that differs.

    Each list names at most 100 ids of records; ``knows_head`` is whether an earlier head was found in the chain.
    """

    batches: int = 0
    records: int = 0
    unsealed: int = 0
    head: str = GENESIS
    first_bad: int | None = None
    changed: list[int] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    inserted: list[int] = field(default_factory=list)
    knows_head: bool = True

    @property
    def intact(self) -> bool:
        return self.first_bad is None and not self.inserted and self.knows_head


def chained(
    previous: str, first: int, last: int, count: int, missing: Sequence[int], late: Sequence[int], total: str
) -> str:
    """The hash of a batch."""
    lists = (",".join(map(str, ids)) for ids in (missing, late))
    text = "\n".join((previous, str(first), str(last), str(count), *lists, total))
    return hashlib.sha256(text.encode()).hexdigest()


def seal(connection: Connection, *, size: int = BATCH, late_within: timedelta = LATE_WITHIN) -> int:
    """Seals all records that no batch covers, in batches of ``size``; how many. Sealers wait for each other."""
    driver = driver_of(connection)
    queries.lock_chain(driver)
    late = queries.late_records(driver, late_within, size)
    sealed = 0
    last, previous = queries.last_batch(driver) or _start(driver)
    while (upto := queries.next_range(driver, last, size)) is not None:
        first = last + 1
        count, total, digests, missing = queries.summed(driver, first, upto, [], late)
        previous, base = chained(previous, first, upto, count, missing, late, total), previous
        queries.put_batch(
            driver,
            {
                "first": first, "last": upto, "count": count, "missing": missing, "late": late,
                "previous": base, "sha256": previous, "digests": digests,
            },
        )  # fmt: skip
        sealed += count
        last, late = upto, []
    return sealed


def verify(connection: Connection, *, head: str | None = None, late_within: timedelta = LATE_WITHIN) -> Report:
    """Recomputes the whole chain; memory does not grow with it.

    ``head`` is the `Report.head` of an earlier day: the chain must still contain it, which a chain forged from that
    place on does not.
    """
    driver = driver_of(connection)
    report = Report()
    last, previous = _start(driver)
    known = {GENESIS, previous}
    for batch in _batches(driver):
        report.batches += 1
        if not _matches(driver, batch, last, previous, report) and report.first_bad is None:
            report.first_bad = batch.id
        last, previous = batch.last, batch.sha256
        if batch.sha256 == head:
            known.add(batch.sha256)
    for stray in queries.inserted_records(driver, late_within):
        _name(report.inserted, stray)
    report.unsealed = queries.count_unsealed(driver)
    report.head = previous
    report.knows_head = head is None or head in known
    return report


def export(connection: Connection, since: datetime | None = None) -> Iterator[str]:
    """The audit as JSON lines: ``{"batch": …}`` before the records of each batch, ``{"unsealed": true}`` before the rest.

    A record's line is the very text that is hashed. ``since`` leaves out batches sealed before it.
    """
    driver = driver_of(connection)
    last, _ = _start(driver)
    for batch in _batches(driver):
        last = batch.last
        if since is not None and batch.sealed_at < since:
            continue
        yield json.dumps(
            {
                "batch": batch.id, "first": batch.first, "last": batch.last, "count": batch.count,
                "missing": batch.missing, "late": batch.late, "previous": batch.previous, "sha256": batch.sha256,
            }
        )  # fmt: skip
        yield from queries.lines(driver, *batch.range)
    yield json.dumps({"unsealed": True})
    while (upto := queries.next_range(driver, last, BATCH)) is not None:
        yield from queries.lines(driver, last + 1, upto, [], [])
        last = upto


def forget(connection: Connection, before: datetime) -> int:
    """Removes whole batches whose records are all older than ``before``; how many records. Needs the owner role.

    The last batch always stays. The hash of the last removed one becomes the known start of the chain, and the removal
    leaves a record of its own.
    """
    driver = driver_of(connection)
    queries.lock_chain(driver)
    removed = batches = 0
    while (row := queries.outlived(driver, before, 0)) is not None:
        removed += queries.remove_batch(driver, row)
        batches += 1
    if batches:
        audit.note(connection, "AuditRetention", {"before": before.isoformat(), "batches": batches, "records": removed})
    return removed


def _start(driver: Driver) -> tuple[int, str]:
    """Last id and hash before the first batch that is kept."""
    kept = queries.chain_start(driver)
    if kept is None:
        return 0, GENESIS
    last, sha256 = kept.split()
    return int(last), sha256


def _batches(driver: Driver) -> Iterator[Batch]:
    identity = 0
    while (row := queries.batch_after(driver, identity)) is not None:
        batch = Batch(*row)
        identity = batch.id
        yield batch


def _matches(driver: Driver, batch: Batch, last: int, previous: str, report: Report) -> bool:
    """Compares a batch with its records and its place in the chain; names the records that differ."""
    count, total, digests, _ = queries.summed(driver, *batch.range)
    report.records += count
    right = chained(batch.previous, batch.first, batch.last, count, batch.missing, batch.late, total) == batch.sha256
    if not right or bytes(digests) != bytes(batch.digests):
        _name_differing(driver, batch, report)
        right = False
    return right and batch.previous == previous and batch.first == last + 1 and batch.count == count


def _name_differing(driver: Driver, batch: Batch, report: Report) -> None:
    found = queries.digests(driver, *batch.range)
    for place, member in enumerate(batch.members):
        digest = found.get(member)
        if digest is None:
            _name(report.removed, member)
        elif digest != bytes(batch.digests[place * _WIDTH : (place + 1) * _WIDTH]):
            _name(report.changed, member)


def _name(ids: list[int], one: int) -> None:
    if len(ids) < NAMED:
        ids.append(one)
