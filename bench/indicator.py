"""An indicator of the whole region beside one sequential scan of the segments with the same condition, joined to nothing.

Both read the same rows of `observation_segment`; the floor counts them in one process. Memory of the client is the size
of one row, whatever the region.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import date

from sqlalchemy import Connection

from gateway import settings as configuration
from gateway.domain.clock import Clock
from gateway.domain.periods import Month
from gateway.lists import Lists, queries
from gateway.lists.indicators import Wish
from gateway.nsi.dictionaries import Nsi
from gateway.store.engine import Store, driver_of

CODE = "BSK"


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(url: str, rounds: int) -> tuple[float, float, float]:
    """Seconds of the indicator and of the floor, and the median of their ratios, in interleaved pairs."""
    settings, clock = configuration.load(database_url=url, environ={}), Clock()
    store = Store(url, size=2)
    lists = Lists(settings, Nsi(store, clock), clock)
    month = Month.of(date.today())
    wish = Wish(CODE, month.year, month.month)
    with store.begin() as connection:
        count = lists.count_of(connection, wish)

    def indicator() -> None:
        with store.begin() as connection:
            lists.figures(connection, wish)

    def floor() -> None:
        with store.begin() as connection:
            scan(connection, count)

    pairs = []
    for work in (indicator, floor):
        work()
    for _ in range(rounds):
        pairs.append((_seconds(indicator), _seconds(floor)))
    store.close()
    taken, bare = zip(*pairs, strict=True)
    ratio = statistics.median(one / two for one, two in pairs)
    return statistics.median(taken), statistics.median(bare), ratio


def scan(connection: Connection, count: queries.Count) -> None:
    """The floor: counts the segments that the indicator reads, in one process."""
    values = {"first": count.span.first, "last": count.span.last, "codes": list(count.codes)}
    driver = driver_of(connection)
    driver.execute("SET LOCAL max_parallel_workers_per_gather = 0")
    driver.execute("SET LOCAL plan_cache_mode = force_custom_plan")
    driver.execute(
        "SELECT count(*) FROM observation_segment s WHERE s.since <= %(last)s AND (s.until IS NULL"
        " OR (s.until > %(first)s AND s.until > s.since)) AND s.diagnosis = ANY(%(codes)s::text[])",
        values,
    )
