"""Looking for persons outside, at the edge: a few questions at a time, all together within ``search_seconds``."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import date
from itertools import islice

from gateway.domain.clock import Clock
from gateway.domain.insurance import Finding, Insured, verdict
from gateway.errors import GatewayError
from gateway.people.sources import Facts, Heard, Wanted
from gateway.settings import Settings
from gateway.store.engine import Store
from gateway.sync.facts import numbered
from gateway.sync.upstream import access
from gateway.sync.upstream.ferzl import Ferzl
from gateway.sync.upstream.ident import Ident

THREADS = 4
_QUESTIONS_MOST = 200
_NAMESAKES_MOST = 5

_log = logging.getLogger(__name__)

Look = Callable[[Wanted, date], Sequence[Facts]]


class Search:
    """A source for the edge. Who hangs holds one of its few threads and nobody else's."""

    def __init__(self, look: Look, clock: Clock, seconds: float) -> None:
        self._look = look
        self._clock = clock
        self._seconds = seconds
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="search")
        self._lock = threading.Lock()
        self._busy: set[Future[Sequence[Facts]]] = set()

    def close(self) -> None:
        """Ends the threads; waits for what they ask."""
        self._pool.shutdown(cancel_futures=True)

    def ask(self, wanted: Sequence[Wanted]) -> Heard:
        """Answers that came in time; where the threads still wait for former questions, none is asked."""
        with self._lock:
            self._busy = {one for one in self._busy if not one.done()}
            if len(self._busy) >= THREADS:
                return Heard((), tuple(wanted))
        deadline = time.monotonic() + self._seconds
        day = self._clock.today()
        asked = {self._pool.submit(self._look, one, day): one for one in wanted[:_QUESTIONS_MOST]}
        done, late = wait(asked, max(0.0, deadline - time.monotonic()))
        for one in late:
            one.cancel()
        with self._lock:
            self._busy |= {one for one in late if not one.cancelled()}
        unanswered = [asked[one] for one in late] + list(wanted[_QUESTIONS_MOST:])
        persons: list[Facts] = []
        for one in done:
            try:
                persons.extend(one.result())
            except GatewayError as error:
                _log.warning("Источник сведений о застрахованных не ответил", extra={"code": error.code})
                unanswered.append(asked[one])
        return Heard(tuple(persons), tuple(unanswered))


def made(settings: Settings, store: Store, clock: Clock) -> Search | None:
    """The source that the settings name; None where none is to be asked."""
    seconds = settings.search_seconds
    if settings.search_upstream == "ferzl" and settings.ferzl_url:
        client = access.search(settings, store)
        return Search(_Register(client, settings.region_okato).look, clock, seconds)
    if settings.search_upstream == "ident" and settings.ident_url:
        ident = access.ident(settings, store, seconds=seconds)
        return Search(lambda wanted, day: _one(ident, wanted, day), clock, seconds)
    return None


def _one(ident: Ident, wanted: Wanted, day: date) -> Sequence[Facts]:
    found = ident.person(wanted, day)
    return [found] if found is not None else []


class _Register:
    """ФЕРЗЛ: by ЕНП, by СНИЛС and birth date, by names and birth date."""

    def __init__(self, ferzl: Ferzl, region: str) -> None:
        self._ferzl = ferzl
        self._region = region

    def look(self, wanted: Wanted, day: date) -> Sequence[Facts]:
        return [facts for person in self._persons(wanted, day) if (facts := self._facts(person, day, wanted))]

    def _persons(self, wanted: Wanted, day: date) -> Sequence[Insured]:
        if wanted.enp:
            found = [self._ferzl.person(wanted.enp, day)]
        elif wanted.snils and wanted.birth_date:
            found = [self._ferzl.person_by_snils(wanted.snils, date.fromisoformat(wanted.birth_date), day)]
        elif wanted.last_name and wanted.first_name and wanted.birth_date:
            birth = date.fromisoformat(wanted.birth_date)
            names = self._ferzl.named(wanted.last_name, wanted.first_name, wanted.middle_name, birth)
            found = [self._ferzl.person_by_oip(one.oip, day, birth) for one in islice(names, _NAMESAKES_MOST)]
        else:
            found = []
        return [one for one in found if one is not None]

    def _facts(self, person: Insured, day: date, wanted: Wanted) -> Facts:
        found = verdict(person, day=day, region=self._region, known=None)
        if found.finding is Finding.MERGED:
            oip = self._ferzl.successor(person.oip)
            heir = self._ferzl.person_by_oip(oip, day) if oip else None
            if heir is None:
                return {}
            person, found = heir, verdict(heir, day=day, region=self._region, known=None)
        facts = numbered(person, found, self._region)
        # an heir may be born on another day than was asked with the СНИЛС
        own = bool(facts) and wanted.snils is not None and facts["birth_date"] == wanted.birth_date
        return {**facts, "snils": wanted.snils} if own else facts
