"""The gate: who calls, whether the secret is right, and how many requests a minute are left.

A verified secret is remembered for at most a minute as a keyed fingerprint, so that a call costs no hashing and no look
at the database; a change of clients or secrets ends that within two seconds in every process (`watch`). Validity is
judged by the clock of the gateway; a secret counts as begun five seconds early, so that clocks need not agree.
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gateway.access import audit, queries, secrets
from gateway.access.guesses import Guesses
from gateway.access.memory import Memory
from gateway.access.model import Caller, Certificate, ClientKind, Credentials, Denied
from gateway.access.rate import Rate
from gateway.access.turns import Rank, Turns
from gateway.access.watch import Watch
from gateway.domain.clock import Clock
from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.store import failures
from gateway.store.engine import Store

__all__ = ["Caller", "Certificate", "Credentials", "Denied", "Gate"]

CANDIDATES = 2
"""Secrets of a client that a password is compared with, always as many, so that time tells nothing."""

SKEW = timedelta(seconds=5)
_log = logging.getLogger("gateway.access")
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Secret:
    """A row of the client's secrets."""

    id: int
    hash: str
    valid_from: datetime
    valid_to: datetime | None
    revoked_at: datetime | None

    def refusal(self, now: datetime) -> str | None:
        """Why a right secret is refused."""
        if self.revoked_at is not None:
            return "access.secret-revoked"
        if self.valid_from > now + SKEW:
            return "access.secret-not-yet"
        if self.valid_to is not None and self.valid_to <= now:
            return "access.secret-expired"
        return None


class Gate:
    """The gate of one process; make it after a fork. Threads start with the first verification, `close` ends them."""

    def __init__(self, store: Store, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._fingerprint = secrets.Seal()
        self._callers: Memory[bytes, tuple[int, Caller]] = Memory(_MOST)
        self._right: Memory[bytes, str] = Memory(_MOST)
        self._wrong: Memory[bytes, frozenset[str]] = Memory(_MOST)
        self._denied: Memory[bytes, tuple[int, bool]] = Memory(_MOST)
        self._guesses = Guesses(settings.guess_delay_seconds)
        self._turns = Turns(settings.hashing_threads)
        self._watch = Watch(store.url)
        self._rate = Rate(store)

    def remembered(self, credentials: Credentials | Certificate, address: str) -> Caller | None:
        """The caller if this secret was verified a short while ago and nothing has changed since. No I/O, no hashing."""
        found = self._callers.get(self._key(credentials))
        if found is None or found[0] != self._watch.generation():
            return None
        caller = found[1]
        if not self._guesses.trusted(caller.login, address):
            self._guesses.succeeded(caller.login, address)
        return caller

    def submit(self, credentials: Credentials | Certificate, address: str) -> Future[Caller]:
        """Verifies in the gate's own few threads, known callers first. Never blocks; the result is that of `verify`."""
        self._watch.start()
        if isinstance(credentials, Certificate):
            return self._turns.submit(Rank.KNOWN, lambda: self._by_certificate(credentials))
        key = self._key(credentials)
        if not self._plausible(credentials):
            return _failed(Denied(self._guesses.failed(credentials.login, address, known=False)))
        denied = self._denied.get(key)
        if denied is not None and denied[0] == self._watch.generation():
            return _failed(Denied(self._guesses.failed(credentials.login, address, known=denied[1])))
        rank = self._guesses.rank(credentials.login, address)
        return self._turns.submit(rank, lambda: self._by_password(credentials, key, address))

    def verify(self, credentials: Credentials | Certificate, address: str) -> Caller:
        """The caller of a right secret; blocks for its turn, a look at the database and up to two hashes.

        Raises `Denied` (``access.denied`` with the delay of the answer), ``access.secret-expired``,
        ``access.secret-not-yet``, ``access.secret-revoked`` and ``access.client-disabled`` (only for a right password),
        ``access.certificate``, ``server.busy``, ``server.database``.
        """
        return self.submit(credentials, address).result()

    def take(self, caller: Caller) -> None:
        """Counts a request. Raises ``access.rate`` with ``retry_after`` once the minute's limit is spent."""
        self._rate.take(caller.client_id, caller.requests_per_minute or self._settings.requests_per_minute)

    def forget(self) -> None:
        """Ends what is remembered, for a process that has itself just committed a change of clients or secrets."""
        self._watch.forget()

    def close(self) -> None:
        self._turns.close()
        self._watch.close()

    def _key(self, credentials: Credentials | Certificate) -> bytes:
        if isinstance(credentials, Certificate):
            return self._fingerprint(credentials.sha256)
        return self._fingerprint(credentials.login, credentials.password)

    @staticmethod
    def _plausible(credentials: Credentials) -> bool:
        """Whether such a pair could exist at all."""
        return len(credentials.password) <= secrets.LONGEST and audit.LOGIN.fullmatch(credentials.login) is not None

    def _by_password(self, credentials: Credentials, key: bytes, address: str) -> Caller:
        generation = self._watch.generation()
        now = self._clock.now()
        rows = failures.on_driver(
            self._store, lambda driver: queries.secrets_of(driver, credentials.login, now, CANDIDATES)
        )
        candidates = [_Secret(*row[8:]) for row in rows if row[8] is not None]
        secret = self._matching(candidates, credentials.password, key)
        if secret is None:
            if generation is not None:
                self._denied.keep(key, (generation, bool(rows)), self._settings.secret_memory_seconds)
            raise Denied(self._guesses.failed(credentials.login, address, known=bool(rows)))
        self._guesses.succeeded(credentials.login, address)
        if refusal := secret.refusal(now):
            raise GatewayError(refusal)
        caller = _caller(rows[0])
        self._remember(key, caller, generation, now, secret.valid_to)
        if secrets.outdated(secret.hash):
            self._rehash(secret, credentials.password)
        return caller

    def _matching(self, candidates: list[_Secret], password: str, key: bytes) -> _Secret | None:
        """The secret that the password belongs to. What was computed a short while ago is not computed again."""
        hashes = [candidate.hash for candidate in candidates]
        right = self._right.get(key)
        if right in hashes:
            return candidates[hashes.index(right)]
        known_wrong = self._wrong.get(key)
        if known_wrong is not None and known_wrong == frozenset(hashes):
            return None
        for candidate in candidates:
            if secrets.matches(candidate.hash, password):
                self._right.keep(key, candidate.hash, self._settings.secret_memory_seconds)
                return candidate
        for _ in range(len(candidates), CANDIDATES):
            secrets.matches(secrets.decoy(), password)
        self._wrong.keep(key, frozenset(hashes), self._settings.secret_memory_seconds)
        return None

    def _by_certificate(self, certificate: Certificate) -> Caller:
        generation = self._watch.generation()
        now = self._clock.now()
        fingerprint = certificate.sha256.lower()
        row = failures.on_driver(self._store, lambda driver: queries.certificate(driver, fingerprint))
        if row is None or _Secret(0, "", *row[8:]).refusal(now):
            raise GatewayError("access.certificate")
        caller = _caller(row)
        self._remember(self._key(certificate), caller, generation, now, row[9])
        return caller

    def _remember(
        self, key: bytes, caller: Caller, generation: int | None, now: datetime, valid_to: datetime | None
    ) -> None:
        """Keeps a caller under the generation that was in force before the database was read."""
        seconds = float(self._settings.secret_memory_seconds)
        if valid_to is not None:
            seconds = min(seconds, (valid_to - now).total_seconds())
        if generation is not None:
            self._callers.keep(key, (generation, caller), seconds)

    def _rehash(self, secret: _Secret, password: str) -> None:
        """Brings a hash to today's parameters while the password is at hand; if that fails, the next login does."""
        new = secrets.hash_of(password)
        try:
            failures.on_driver(self._store, lambda driver: queries.rehash(driver, secret.id, secret.hash, new))
        except GatewayError:
            _log.warning("хеш секрета не обновлён", exc_info=True)


def _caller(row: tuple[Any, ...]) -> Caller:
    identity, login, kind, organisations, insurer, rights, per_minute, disabled = row[:8]
    if disabled:
        raise GatewayError("access.client-disabled")
    return Caller(identity, login, ClientKind(kind), frozenset(organisations), insurer, frozenset(rights), per_minute)


def _failed(error: Exception) -> Future[Caller]:
    future: Future[Caller] = Future()
    future.set_exception(error)
    return future
