"""A bounded memory that forgets: by age, and the oldest first when it is full."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from time import monotonic
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memory(Generic[K, V]):
    """At most ``most`` entries, each until its own time. Reading takes no lock."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        entry = self._entries.get(key)
        if entry is None or entry[0] <= monotonic():
            return None
        return entry[1]

    def keep(self, key: K, value: V, seconds: float) -> None:
        """Keeps or replaces ``value`` for ``seconds``; nothing is kept for zero or less."""
        with self._lock:
            self._entries.pop(key, None)
            if seconds <= 0:
                return
            self._entries[key] = (monotonic() + seconds, value)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)
