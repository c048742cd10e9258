"""The limit of requests per minute: exact over all processes, one statement per twentieth of the limit.

A process leases a handful of requests from the minute's row and spends them without I/O. The leases of a minute never
add up to more than the limit; what a process has leased and not spent lapses with the minute.
"""

from __future__ import annotations

from math import ceil
from threading import Lock
from time import monotonic

from gateway import metrics
from gateway.access import queries
from gateway.errors import GatewayError
from gateway.store import failures
from gateway.store.engine import Store

_SHARE = 20


class _Bucket:
    """What one client may still do in this process: ``left`` requests until ``ends``."""

    __slots__ = ("ends", "left", "limit", "lock", "spent")

    def __init__(self) -> None:
        self.lock = Lock()
        self.left = 0
        self.ends = 0.0
        self.limit = 0
        self.spent = False


class Rate:
    """Buckets of one process. The minute is that of the database's clock, so that machines need not agree."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._buckets: dict[int, _Bucket] = {}

    def take(self, client_id: int, limit: int) -> None:
        """Spends one request. Raises ``access.rate`` with the seconds until the next minute."""
        bucket = self._buckets.get(client_id) or self._buckets.setdefault(client_id, _Bucket())
        with bucket.lock:
            if monotonic() >= bucket.ends or limit != bucket.limit:
                bucket.left, bucket.spent, bucket.limit = 0, False, limit
            if bucket.left == 0 and not bucket.spent:
                self._lease(bucket, client_id)
            if bucket.left > 0:
                bucket.left -= 1
                return
            wait = max(1, ceil(bucket.ends - monotonic()))
        metrics.count_rate_refusal()
        raise GatewayError("access.rate", retry_after=wait, limit=limit)

    def _lease(self, bucket: _Bucket, client_id: int) -> None:
        """Takes the next share from the minute's row; a minute that has none left is spent until it ends."""
        share = max(1, bucket.limit // _SHARE)
        taken, seconds = failures.on_driver(
            self._store, lambda driver: queries.lease(driver, client_id, share, bucket.limit)
        )
        bucket.left = 0 if taken is None else min(share, bucket.limit - (taken - share))
        bucket.spent = bucket.left == 0
        bucket.ends = monotonic() + seconds
