"""Wrong passwords: how long a wrong answer waits, which addresses go last, and when the operator is told.

Failures slow only wrong answers down. A right password is never refused or delayed for the failures of others, so that
nobody can lock a client out by guessing at it.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from time import monotonic

from gateway import metrics
from gateway.access.memory import Memory
from gateway.access.turns import Rank

WINDOW = 300.0
"""Seconds over which failures are counted; afterwards half of them is forgotten."""

SUSPICIOUS = 10
"""Failures of one client or one address in a window that raise the alarm, once per window."""

_FIRST_DELAY = 0.05
_MOST_KEYS = 10_000
_TRUST_SECONDS = 30 * 86_400.0

_log = logging.getLogger("gateway.access")


@dataclass(slots=True)
class _Failures:
    since: float
    count: int = 0
    told: bool = False


class Guesses:
    """Counts of one process, by name of client and by address; at most 10,000 of each are kept."""

    def __init__(self, longest_delay: float) -> None:
        self._longest = longest_delay
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()
        self._trusted: Memory[tuple[str, str], bool] = Memory(_MOST_KEYS)
        self._lock = Lock()

    def rank(self, login: str, address: str) -> Rank:
        """Whose secret is verified first."""
        if self._trusted.get((login, address)):
            return Rank.KNOWN
        failures = self._failures.get(("address", address))
        return Rank.SUSPECT if failures and monotonic() - failures.since < 2 * WINDOW else Rank.NEW

    def trusted(self, login: str, address: str) -> bool:
        return self._trusted.get((login, address)) is not None

    def succeeded(self, login: str, address: str) -> None:
        """Remembers that this client has come from this address with the right password."""
        self._trusted.keep((login, address), True, _TRUST_SECONDS)

    def failed(self, login: str, address: str, known: bool) -> float:
        """Counts a wrong password; the seconds that its answer has to wait.

        ``known`` says whether such a client exists: the name of an unknown one is not logged, since people type
        passwords into the field of the name.
        """
        metrics.count_wrong_secret()
        with self._lock:
            by_login = self._count(("login", login))
            by_address = self._count(("address", address))
            worst = max(by_login.count, by_address.count)
            suspicious = [one for one in (by_login, by_address) if one.count >= SUSPICIOUS]
            tell = not all(one.told for one in suspicious)
            for one in suspicious:
                one.told = True
        if tell:
            metrics.count_suspicion()
            _log.warning(
                "подозрение на подбор секрета: %d неверных паролей за %d с",
                worst,
                int(WINDOW),
                extra={"client": login if known else "неизвестный", "address": address},
            )
        return min(self._longest, _FIRST_DELAY * 2.0 ** min(worst - 1, 16))

    def _count(self, key: tuple[str, str]) -> _Failures:
        now = monotonic()
        found = self._failures.setdefault(key, _Failures(now))
        self._failures.move_to_end(key)
        if now - found.since > WINDOW:
            found.since, found.count, found.told = now, found.count // 2, False
        found.count += 1
        while len(self._failures) > _MOST_KEYS:
            self._failures.popitem(last=False)
        return found
