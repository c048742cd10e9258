"""GetChanges: what happened in a list since a client read it, in the order in which it became true.

Every change of a list has the next number of its ledger, and a writer holds the ledger until it commits. So a number
that a reader sees in the ledger is committed with all before it, the changes up to it are all there, and nothing is
missed or repeated by reading on from a number, whatever the order in which transactions began.

An insurer reads the changes of its insured. When a person leaves to another insurer it gets the line as it last was, with
the new version and time and without an insurer: enough to drop it from a copy, and nothing of what is the other's.

The audit record of a call names per list the numbers read, ``{"changes": {organisation: [after, upto]}}``: the events
are kept as long as the audit and say whose they are. Of an insurer, who is shown only some of them, it names the persons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.access import audit
from gateway.access.model import Call, ClientKind
from gateway.errors import GatewayError
from gateway.lists import queries
from gateway.lists.frame import Frame
from gateway.lists.model import LINE_COLUMNS, ChangePage, ChangeRenderer, Head, Line
from gateway.lists.tokens import Token
from gateway.store import eras, failures
from gateway.store.engine import Driver, Store

_ROUNDS = 20
"""How often an insurer's page is filled up before it is given as it is: most changes may concern others."""

_VERSION, _INSURER, _CHANGED_AT = (LINE_COLUMNS.index(name) for name in ("version", "insurer", "changed_at"))


class Changes(Frame):
    """The change feed."""

    def changes(
        self,
        store: Store,
        call: Call,
        organisation: str | None,
        token: str | None,
        count: int,
        render: ChangeRenderer,
    ) -> ChangePage:
        """Up to ``count`` changes after the token, or only a token from now; leaves its audit record itself.

        ``organisation`` None is that of the token, else the caller's only one, else every list the caller sees.
        Raises ``list.page``, ``changes.token``, ``changes.token-scope``, ``changes.token-expired``, ``object.not-found``.
        """
        if not 1 <= count <= self.settings.records_per_page:
            raise GatewayError("list.page", limit=self.settings.records_per_page)
        known = None if token is None else Token.parse(token)
        organisation = _scope(call, organisation, known)
        return failures.on_driver(store, lambda driver: _page(driver, call, organisation, known, count, render))


def _scope(call: Call, organisation: str | None, token: Token | None) -> str | None:
    """Whose list is meant."""
    named = organisation if organisation is not None or token is None else token.organisation
    if call.caller.kind is ClientKind.MO:
        named = call.caller.own(named)
    call.organisation = named
    if token is not None and token.organisation != named:
        raise GatewayError("changes.token-scope")
    return named


@dataclass(slots=True)
class _Found:
    """Changes to be shown, and the persons they concern."""

    heads: list[Head] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    persons: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Reach:
    """How far the lists have come, how far the client has read."""

    ends: dict[str, int]
    positions: dict[str, int]
    found: _Found = field(default_factory=_Found)

    @property
    def behind(self) -> dict[str, int]:
        """Changes that the client has not read, by list."""
        return {name: end - self.positions[name] for name, end in self.ends.items() if end > self.positions[name]}


def _page(
    driver: Driver, call: Call, organisation: str | None, token: Token | None, count: int, render: ChangeRenderer
) -> ChangePage:
    era = str(eras.current(driver))
    ledgers = _ledgers(driver, organisation)
    ends = {name: seq for name, (seq, _) in ledgers.items()}
    if token is None:
        begun = dict(ends)
    else:
        _require_kept(driver, token, era, ledgers)
        begun = {name: token.positions.get(name, 0) for name in ends}
    reach = _Reach(ends, dict(begun))
    insurer = call.caller.insurer if call.caller.kind is ClientKind.INSURER else None
    for _ in range(_ROUNDS if insurer else 1):
        _read(driver, reach, insurer, count - len(reach.found.heads))
        if len(reach.found.heads) == count or not reach.behind:
            break
    found = reach.found
    body = render(found.heads, found.lines)
    read = {name: [begun[name], seq] for name, seq in reach.positions.items() if seq > begun[name]}
    call.records = len(found.heads)
    if read:
        call.details["changes"] = read
    if insurer:
        call.covers(found.persons)
    audit.write_on(driver, call)
    call.audited = True
    following = Token(era, organisation, reach.positions)
    return ChangePage(str(following), bool(reach.behind), len(found.heads), body)


def _ledgers(driver: Driver, organisation: str | None) -> dict[str, tuple[int, int]]:
    """(seq, forgotten) of the lists, in order."""
    if organisation is None:
        rows = driver.execute(queries.LEDGERS).fetchall()
        return {row[0]: (row[1], row[2]) for row in sorted(rows)}
    row = driver.execute(queries.LEDGER, {"organisation": organisation}).fetchone()
    if row is not None:
        return {row[0]: (row[1], row[2])}
    if driver.execute(queries.EXISTS, (organisation,)).fetchone() is None:
        raise GatewayError("object.not-found")
    return {organisation: (0, 0)}


def _require_kept(driver: Driver, token: Token, era: str, ledgers: Mapping[str, tuple[int, int]]) -> None:
    """Raises ``changes.token-expired`` for positions that this history does not have or no longer keeps.

    Positions of a former era are of this history up to where that era ended.
    """
    ends: Mapping[str, int] | None = {name: seq for name, (seq, _) in ledgers.items()}
    if token.era != era:
        ends = eras.ends(driver, token.era)
    if ends is None or any(seq > ends.get(name, 0) for name, seq in token.positions.items()):
        raise GatewayError("changes.token-expired")
    if any(token.positions.get(name, 0) < forgotten for name, (_, forgotten) in ledgers.items()):
        raise GatewayError("changes.token-expired")


def shares(behind: Mapping[str, int], count: int) -> dict[str, int]:
    """How many of ``count`` changes each list may give: alike, and what one does not need the others get, so that a busy
    list does not hold up the rest. Where there are more lists than changes, those come first that wait for least."""
    given: dict[str, int] = {}
    left = count
    for place, (name, waiting) in enumerate(sorted(behind.items(), key=lambda one: one[1])):
        given[name] = min(waiting, left, max(1, left // (len(behind) - place)))
        left -= given[name]
    return {name: given[name] for name in behind if given[name]}


def _read(driver: Driver, reach: _Reach, insurer: str | None, count: int) -> None:
    """Reads on by ``count`` changes and keeps those that the caller sees."""
    window = shares(reach.behind, count)
    if not window:
        return
    after = [reach.positions[name] for name in window]
    upto = [reach.positions[name] + some for name, some in window.items()]
    values = {"organisations": list(window), "after": after, "upto": upto, "insured": insurer is not None}
    rows = driver.execute(queries.CHANGES, values).fetchall()
    if len(rows) != sum(window.values()):
        raise LookupError("the ledger counts changes that have no event")
    if any(row[_FORGOTTEN] for row in rows):
        # since the ledger was read
        raise GatewayError("changes.token-expired")
    rows = _imaged(driver, rows)
    _keep(reach.found, rows if insurer is None else _insured(driver, rows, insurer))
    reach.positions.update(zip(window, upto, strict=True))


# a row: id, gone, version, insurer before, forgotten; then the head; then person and line
_FORGOTTEN = 4
_HEAD = slice(5, 10)
_PERSON = 10
_LINE = 11


def _keep(found: _Found, rows: Sequence[tuple[Any, ...]]) -> None:
    found.heads += [row[_HEAD] for row in rows]
    found.lines += [row[_LINE:] for row in rows]
    found.persons += [row[_PERSON] for row in rows]


def _imaged(driver: Driver, rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows with the images of their time in place of lines that have changed or left since."""
    gone = [row[0] for row in rows if row[1]]
    if not gone:
        return list(rows)
    images = {row[0]: row[1:] for row in driver.execute(queries.IMAGES, {"ids": gone})}
    if len(images) < len(gone):
        # forgotten since the ledger was read
        raise GatewayError("changes.token-expired")
    return [row if not row[1] else _stated(row, images[row[0]]) for row in rows]


def _stated(row: tuple[Any, ...], image: tuple[Any, ...]) -> tuple[Any, ...]:
    """The row with this image, whose version and time are those of the change: of a line that leaves the list they are
    of the state before."""
    line = list(image[1:])
    line[_VERSION], line[_CHANGED_AT] = str(row[2]), row[_HEAD][1]
    return (*row[:_PERSON], image[0], *line)


def _insured(driver: Driver, rows: Sequence[tuple[Any, ...]], insurer: str) -> list[tuple[Any, ...]]:
    """The changes of lines that are the insurer's, or were until then."""

    def is_its(row: tuple[Any, ...]) -> bool:
        return bool(row[_LINE + _INSURER] == insurer)

    left = [row[0] for row in rows if row[3] == insurer and not is_its(row)]
    images = {row[0]: row[1:] for row in driver.execute(queries.BEFORE, {"ids": left})} if left else {}
    if len(images) < len(left):
        # forgotten since the changes were read
        raise GatewayError("changes.token-expired")
    shown = []
    for row in rows:
        if is_its(row):
            shown.append(row)
        elif row[0] in images:
            (*last,) = _stated(row, images[row[0]])
            last[_LINE + _INSURER] = None
            shown.append(tuple(last))
    return shown
