"""Counters and times for `/metrics`, added up over the processes of one machine. Labels are names, never values.

With several processes the parent calls `prepare` before it starts them: prometheus_client decides at its import
whether values live in shared files, so it is imported at the first use of a metric and not with this module.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram, Metric

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


def prepare(directory: Path) -> None:
    """Makes ``directory`` the shared place of this process and its children, and clears what an earlier run left."""
    if "prometheus_client" in sys.modules:
        raise RuntimeError("metrics.prepare must come before the first metric")
    directory.mkdir(parents=True, exist_ok=True)
    for left in directory.glob("*.db"):
        left.unlink()
    os.environ[_DIRECTORY] = str(directory)


class _Instruments:
    def __init__(self) -> None:
        from prometheus_client import Counter, Histogram

        self.calls: Counter = Counter("dn_gateway_calls", "Вызовы служб по исходу", ["service", "operation", "outcome"])
        self.seconds: Histogram = Histogram(
            "dn_gateway_call_seconds", "Время вызова, с", ["service", "operation"], buckets=_SECONDS
        )
        self.guesses: Counter = Counter("dn_gateway_wrong_secrets", "Неверные пары имени и пароля")
        self.suspicions: Counter = Counter("dn_gateway_guessing_suspected", "Подозрения на подбор секрета")
        self.rate: Counter = Counter("dn_gateway_rate_refusals", "Отказы по пределу запросов в минуту")
        self.pool: Histogram = Histogram(
            "dn_gateway_pool_wait_seconds", "Ожидание соединения с базой, с", buckets=_SECONDS
        )


_made: list[_Instruments] = []
_making = Lock()


def _instruments() -> _Instruments:
    if not _made:
        with _making:
            if not _made:
                _made.append(_Instruments())
    return _made[0]


@cache
def _calls(service: str, operation: str, outcome: str) -> Counter:
    return _instruments().calls.labels(service, operation, outcome)


@cache
def _seconds(service: str, operation: str) -> Histogram:
    return _instruments().seconds.labels(service, operation)


def count_call(service: str, operation: str, outcome: str, seconds: float) -> None:
    """A call that was answered. ``operation`` is one of the contract or empty, never a name that was sent."""
    _calls(service, operation, outcome).inc()
    _seconds(service, operation).observe(seconds)


def count_wrong_secret() -> None:
    _instruments().guesses.inc()


def count_suspicion() -> None:
    _instruments().suspicions.inc()


def count_rate_refusal() -> None:
    _instruments().rate.inc()


@contextmanager
def pool_wait() -> Iterator[None]:
    """Times the block in which a connection is taken from the pool."""
    since = perf_counter()
    try:
        yield
    finally:
        _instruments().pool.observe(perf_counter() - since)


class _Long:
    """The state of long work as it stands in the database, read for one answer."""

    def __init__(
        self, operations: Mapping[tuple[str, str], int], workers: int | None, upstream: Mapping[str, bool]
    ) -> None:
        self._operations = operations
        self._workers = workers
        self._upstream = upstream

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        kept = GaugeMetricFamily(
            "dn_gateway_operations", "Операции в базе по виду и состоянию", labels=["kind", "state"]
        )
        for labels, count in sorted(self._operations.items()):
            kept.add_metric(labels, count)
        yield kept
        workers = GaugeMetricFamily("dn_gateway_workers", "Исполнители заданий, подающие признаки жизни")
        if self._workers is not None:
            workers.add_metric([], self._workers)
        yield workers
        upstream = GaugeMetricFamily(
            "dn_gateway_upstream_open", "1 — внешняя служба не опрашивается после сбоев подряд", labels=["service"]
        )
        for name, open_ in sorted(self._upstream.items()):
            upstream.add_metric([name], int(open_))
        yield upstream


def exposition(
    operations: Mapping[tuple[str, str], int] | None = None,
    workers: int | None = None,
    upstream: Mapping[str, bool] | None = None,
) -> tuple[bytes, str]:
    """What `/metrics` answers: the text of all processes together and its content type.

    ``operations`` by kind and state, live ``workers`` and the ``upstream`` services with their breakers are of the whole
    database; absent where it does not answer.
    """
    from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    _instruments()
    registry = REGISTRY
    if os.environ.get(_DIRECTORY):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    long = CollectorRegistry()
    long.register(_Long(operations or {}, workers, upstream or {}))
    return generate_latest(registry) + generate_latest(long), CONTENT_TYPE_LATEST
