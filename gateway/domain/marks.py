"""What a mark of dispensary observation in a register of accounts means for an entry: one table, no I/O.

The marks are those of order ФОМС 79: SL/DN of H and C files (1 состоит, 2 взят, 4 снят по выздоровлению, 6 снят по другим
причинам) and PR_D_N, PR_DS2_N of D? files (1, 2 the same, 3 не подлежит). «Не подлежит» says nothing of an observation that
runs: it never ends one. The day of a mark is the day its episode ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import IntEnum, StrEnum


class Mark(IntEnum):
    """Codes of marks. 3 stands in files of диспансеризация only; 5 does not exist."""

    STANDS = 1
    TAKEN = 2
    NOT_SUBJECT = 3
    RECOVERED = 4
    REMOVED = 6


REASONS: Mapping[Mark, str] = {Mark.RECOVERED: "1", Mark.REMOVED: "9"}
"""Codes of EXCLUSION_REASONS that an end by a mark is given: выздоровление, иная причина."""


class State(StrEnum):
    """How a person stands with a disease, seen from the clinic of the mark and from its day."""

    ABSENT = "ABSENT"
    """Never observed for it, or only in entries that were annulled by that day."""
    HERE = "HERE"
    """Observed by this clinic; nothing has changed since the day."""
    HERE_CHANGED = "HERE_CHANGED"
    """Observed by this clinic; the entry was changed after the day."""
    MOVED = "MOVED"
    """Observed elsewhere now, and by this clinic on the day."""
    ELSEWHERE = "ELSEWHERE"
    """Observed by another clinic, on the day too."""
    OVER = "OVER"
    """Not observed any more; the end lies on the day or before."""
    PAST = "PAST"
    """Not observed any more; on the day this clinic still did."""
    DAY = "DAY"
    """Not observed any more; this clinic began and ended on the day itself."""
    LATER = "LATER"
    """Not observed any more by a change after the day, or an annulled entry; this clinic did not observe on the day."""


class Step(StrEnum):
    """What is done. CONFIRM and NOTHING change no entry; REFUSE is reported; ASIDE waits for the person to be known."""

    ADD = "ADD"
    CONFIRM = "CONFIRM"
    END = "END"
    NOTHING = "NOTHING"
    REFUSE = "REFUSE"
    ASIDE = "ASIDE"


@dataclass(frozen=True, slots=True)
class Ruling:
    """A step with the code that tells it: of `errors.ACCEPTED`, or of a refusal."""

    step: Step
    code: str


_ADD = Ruling(Step.ADD, "ok")
_CONFIRM = Ruling(Step.CONFIRM, "ok.confirmed")
_END = Ruling(Step.END, "ok")
_SAME = Ruling(Step.NOTHING, "ok.same")
_NOT_SUBJECT = Ruling(Step.NOTHING, "ok.not-subject")
_ELSEWHERE = Ruling(Step.REFUSE, "observation.elsewhere")
_OLDER = Ruling(Step.REFUSE, "mark.older")
_NOT_OBSERVED = Ruling(Step.REFUSE, "mark.not-observed")
_DEAD = Ruling(Step.REFUSE, "person.dead")
_NOT_INSURED = Ruling(Step.REFUSE, "person.not-insured")
_FUTURE = Ruling(Step.REFUSE, "mark.date-future")

_UNDER = {
    State.ABSENT: _ADD,
    State.HERE: _CONFIRM,
    State.HERE_CHANGED: _CONFIRM,
    State.MOVED: _CONFIRM,
    State.ELSEWHERE: _ELSEWHERE,
    State.OVER: _ADD,
    State.PAST: _CONFIRM,
    State.DAY: _CONFIRM,
    State.LATER: _OLDER,
}
_ENDED = {
    State.ABSENT: _NOT_OBSERVED,
    State.HERE: _END,
    State.HERE_CHANGED: _OLDER,
    State.MOVED: _OLDER,
    State.ELSEWHERE: _ELSEWHERE,
    State.OVER: _SAME,
    State.PAST: _OLDER,
    State.DAY: _SAME,
    State.LATER: _OLDER,
}

TABLE: Mapping[tuple[Mark, State], Ruling] = {
    **{(mark, state): ruling for mark in (Mark.STANDS, Mark.TAKEN) for state, ruling in _UNDER.items()},
    **{(Mark.NOT_SUBJECT, state): _NOT_SUBJECT for state in State},
    **{(mark, state): ruling for mark in REASONS for state, ruling in _ENDED.items()},
}
"""Each mark on each state of an entry."""


@dataclass(frozen=True, slots=True)
class Stay:
    """A stretch of a person's observation for a disease by its true days, ``until`` the first day after it.

    ``changed_on`` is the day of the last change of its entry that somebody made on purpose; of an annulled entry, the day
    it was annulled. ``entry_id`` 0 is an entry that is about to be made.
    """

    entry_id: int
    organisation: str
    since: date
    until: date | None
    changed_on: date
    annulled: bool = False

    def holds(self, organisation: str, day: date) -> bool:
        """Whether this clinic observed on the day."""
        if self.annulled or self.organisation != organisation or day < self.since:
            return False
        return self.until is None or day < self.until


def running(stays: Iterable[Stay]) -> Stay | None:
    """The stay that has not ended: there is at most one."""
    return next((stay for stay in stays if stay.until is None and not stay.annulled), None)


def state_of(stays: Iterable[Stay], organisation: str, day: date) -> State:
    """The state of a person and disease for a mark of the organisation dated ``day``."""
    known = list(stays)
    held = any(stay.holds(organisation, day) for stay in known)
    current = running(known)
    if current is not None:
        if current.organisation != organisation:
            return State.MOVED if held else State.ELSEWHERE
        return State.HERE if max(current.since, current.changed_on) <= day else State.HERE_CHANGED
    if not known:
        return State.ABSENT
    if max(stay.changed_on if stay.annulled or stay.until is None else stay.until for stay in known) > day:
        return State.PAST if held else State.LATER
    if all(stay.annulled for stay in known):
        return State.ABSENT
    own = [stay for stay in known if stay.organisation == organisation and not stay.annulled]
    return State.DAY if any(stay.since == stay.until == day for stay in own) else State.OVER


def ruling(
    mark: Mark, state: State, *, day: date, today: date, death_date: date | None, insured_in_region: bool
) -> Ruling:
    """The line of the table, unless the person or the day does not allow it: after death nothing holds, and neither the
    dead nor people not insured in the region are put under observation."""
    found = TABLE[mark, state]
    if found is _NOT_SUBJECT:
        return found
    if day > today:
        return _FUTURE
    if death_date is not None and (day > death_date or found.step is Step.ADD):
        return _DEAD
    if found.step is Step.ADD and not insured_in_region:
        return _NOT_INSURED
    return found
