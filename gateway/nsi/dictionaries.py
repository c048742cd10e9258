"""Dictionaries as features ask them: by name, code and day, from memory; new editions are seen within five seconds."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from threading import Lock
from time import monotonic
from types import MappingProxyType
from typing import Any

from gateway.domain import diagnoses
from gateway.domain.clock import Clock
from gateway.errors import GatewayError
from gateway.nsi import queries
from gateway.nsi.catalogue import ALL, COMPUTED, OFFICIAL, TABLES, Item, title_of
from gateway.nsi.editions import LoadedEdition, load, ship
from gateway.nsi.own import ranges
from gateway.nsi.queries import Edition
from gateway.store.engine import Driver, Store

__all__ = ["Item", "LoadedEdition", "Nsi", "load", "ship"]

RECHECK_SECONDS = 5.0
_DAY = timedelta(days=1)
_SLICES = 64
"""Stretches of one edition that are kept in memory."""


class _Content:
    """The items of one edition; what is in force changes only on ``_turns``, so a slice is made once per stretch."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        turns = {item.valid_from for item in items if item.valid_from}
        turns |= {item.valid_to + _DAY for item in items if item.valid_to}
        self._turns = sorted(turns)
        self._slices: dict[int, Mapping[str, Item]] = {}
        self._group_of: dict[str, str] = {}

    def on(self, day: date) -> Mapping[str, Item]:
        """Items in force by code; of several periods of one code the one that began last."""
        stretch = bisect_right(self._turns, day)
        part = self._slices.get(stretch)
        if part is None:
            part = MappingProxyType({item.code: item for item in self.items if item.in_force(day)})
            if len(self._slices) >= _SLICES:
                self._slices.clear()
            self._slices[stretch] = part
        return part

    @cached_property
    def _periods(self) -> Mapping[str, list[Item]]:
        periods: dict[str, list[Item]] = {}
        for item in self.items:
            periods.setdefault(item.code, []).append(item)
        return periods

    def find(self, code: str, day: date) -> Item | None:
        """The item of a code in force on a day."""
        return next((item for item in reversed(self._periods.get(code, ())) if item.in_force(day)), None)

    @cached_property
    def _groups(self) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
        return [(item.code, ranges(str(item.attributes.get("ranges") or ""))) for item in self.items]

    def group_of(self, diagnosis: str) -> str:
        """The first group with a range that holds the code, else the group without ranges, else an empty string."""
        group = self._group_of.get(diagnosis)
        if group is None:
            group = self._group_of[diagnosis] = self._found_group(diagnosis)
        return group

    def _found_group(self, diagnosis: str) -> str:
        rest = ""
        for code, spans in self._groups:
            if not spans:
                rest = rest or code
            elif any(diagnoses.within(diagnosis, first, last) for first, last in spans):
                return code
        return rest


@dataclass(slots=True)
class _State:
    fingerprint: tuple[Any, ...]
    editions: dict[str, list[Edition]]
    contents: dict[tuple[str, int], _Content] = field(default_factory=dict)

    def edition(self, dictionary: str, on: date) -> Edition | None:
        """The edition in force on a day; the first one also serves days before it."""
        editions = self.editions.get(dictionary)
        if not editions:
            return None
        return editions[max(bisect_right(editions, on, key=lambda edition: edition.valid_from) - 1, 0)]


class Nsi:
    """Dictionaries of one database, kept in this process and shared by its threads.

    At most every ``recheck_seconds`` one cheap query asks whether something changed; meanwhile other threads answer from
    what is known. ``on`` is the day asked about, today if absent.
    """

    def __init__(self, store: Store, clock: Clock, *, recheck_seconds: float = RECHECK_SECONDS) -> None:
        self._store = store
        self._clock = clock
        self._recheck_seconds = recheck_seconds
        self._lock = Lock()
        self._state: _State | None = None
        self._check_at = 0.0

    def items(self, dictionary: str, on: date | None = None) -> Mapping[str, Item]:
        """Items in force by code, in order of codes; empty if no edition is loaded. Raises ``dictionary.unknown``."""
        dictionary = OFFICIAL.get(dictionary, dictionary)
        if dictionary not in ALL and dictionary not in self._current().editions:
            raise GatewayError("dictionary.unknown")
        day = on or self._clock.today()
        if dictionary == COMPUTED:
            return self._dictionaries(day)
        content = self._content(dictionary, day)
        return content.on(day) if content else {}

    def has(self, dictionary: str, code: str, on: date | None = None) -> bool:
        """Whether a code is in force."""
        return code in self.items(dictionary, on)

    def diagnosis_error(self, code: str, on: date | None = None) -> str | None:
        """``diagnosis.format``, ``diagnosis.unknown`` or ``diagnosis.not-terminal``; None if the code may be used.

        Where no edition of МКБ-10 is loaded only the form is checked.
        """
        try:
            if diagnoses.parse(code) != code:
                return "diagnosis.format"
        except GatewayError as error:
            return error.code
        day = on or self._clock.today()
        content = self._content("ICD10", day)
        if content is None:
            return None
        item = content.find(code, day)
        if item is None:
            return "diagnosis.unknown"
        return None if item.attributes.get("terminal") else "diagnosis.not-terminal"

    def group_of(self, diagnosis: str, on: date | None = None) -> str:
        """The code of the diagnosis group by the ranges of DIAGNOSIS_GROUPS; empty if no group takes it."""
        content = self._content("DIAGNOSIS_GROUPS", on or self._clock.today())
        return content.group_of(diagnosis) if content else ""

    def profile_of(self, specialty: str, on: date | None = None) -> str | None:
        """THERAPIST, CARDIOLOGIST or OTHER: whose appendix of 168н the specialty follows; None if it is unknown."""
        item = self.items("SPECIALTIES", on).get(specialty)
        return str(item.attributes.get("profile") or "OTHER") if item else None

    def _dictionaries(self, on: date) -> Mapping[str, Item]:
        state = self._current()
        items = {}
        for name in sorted(ALL.keys() | state.editions.keys()):
            edition = state.edition(name, on)
            attributes: dict[str, Any] = {}
            if edition:
                attributes = {
                    "version": edition.version,
                    "valid_from": edition.valid_from.isoformat(),
                    "rows": edition.rows,
                }
            items[name] = Item(name, title_of(name), None, attributes)
        return items

    def _content(self, dictionary: str, on: date) -> _Content | None:
        state = self._current()
        key = (dictionary, 0)
        if dictionary not in TABLES:
            edition = state.edition(dictionary, on)
            if edition is None:
                return None
            key = (dictionary, edition.id)
        content = state.contents.get(key)
        if content is None:
            with self._lock, self._store.driver() as driver:
                content = state.contents.get(key) or _Content(_read(driver, *key))
                state.contents[key] = content
        return content

    def _current(self) -> _State:
        state = self._state
        if state is not None and monotonic() < self._check_at:
            return state
        # one thread asks; the others go on with what is known, unless nothing is
        if not self._lock.acquire(blocking=state is None):
            return state  # type: ignore[return-value]
        try:
            state = self._state
            if state is None or monotonic() >= self._check_at:
                state = self._renewed(state)
                self._state = state
                self._check_at = monotonic() + self._recheck_seconds
            return state
        finally:
            self._lock.release()

    def _renewed(self, state: _State | None) -> _State:
        with self._store.driver() as driver:
            fingerprint = queries.fingerprint(driver)
            if state is not None and state.fingerprint == fingerprint:
                return state
            editions: dict[str, list[Edition]] = {}
            for edition in queries.editions(driver):
                editions.setdefault(edition.dictionary, []).append(edition)
        renewed = _State(fingerprint, editions)
        if state is not None:
            # an edition never changes under its id
            kept = {edition.id for known in editions.values() for edition in known}
            renewed.contents = {key: content for key, content in state.contents.items() if key[1] in kept}
        return renewed


def _read(driver: Driver, dictionary: str, edition_id: int) -> list[Item]:
    if dictionary == "ORGANISATIONS":
        return queries.organisations(driver)
    if dictionary == "INSURERS":
        return queries.insurers(driver)
    return queries.items(driver, edition_id)
