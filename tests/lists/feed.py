"""A client of the change feed for tests: it reads pages of changes and keeps a copy of a list by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.access.model import Call
from gateway.lists.model import LINE_COLUMNS, ChangePage, Head, Line
from tests.lists.region import CLINIC, Region

ID, VERSION, STATUS, INSURER = (LINE_COLUMNS.index(name) for name in ("entry_id", "version", "status", "insurer"))
HEADS = ("sequence", "changed_at", "kind", "cause", "source")


class PlainChanges:
    """A renderer that shows the values."""

    def __call__(self, heads: Sequence[Head], lines: Sequence[Line]) -> bytes:
        rows = zip(heads, lines, strict=True)
        return "\n".join("|".join([*head, *(value or "" for value in line)]) for head, line in rows).encode()


@dataclass
class Change:
    """A change as it came."""

    sequence: int
    changed_at: str
    kind: str
    cause: str
    source: str
    line: tuple[str, ...]

    @property
    def id(self) -> str:
        return self.line[ID]

    @property
    def version(self) -> int:
        return int(self.line[VERSION])

    def value(self, name: str) -> str:
        return self.line[LINE_COLUMNS.index(name)]


def changes_of(page: ChangePage) -> list[Change]:
    made = []
    for row in page.body.decode().split("\n") if page.body else ():
        sequence, at, kind, cause, source, *line = row.split("|")
        made.append(Change(int(sequence), at, kind, cause, source, tuple(line)))
    assert len(made) == page.returned
    return made


def feed(
    place: Region, token: str | None, count: int = 1000, *, organisation: str | None = CLINIC, call: Call | None = None
) -> ChangePage:
    """One call of GetChanges."""
    call = call or place.call()
    return place.lists.changes(place.store, call, organisation, token, count, PlainChanges())


@dataclass
class Copy:
    """The copy of the list of those under observation, kept as the document for integrators says."""

    lines: dict[str, tuple[str, ...]] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    insurer: str | None = None

    def put(self, line: tuple[str, ...], kind: str = "") -> None:
        if int(line[VERSION]) <= self.versions.get(line[ID], 0):
            return
        self.versions[line[ID]] = int(line[VERSION])
        theirs = self.insurer is not None and line[INSURER] != self.insurer
        if kind == "MOVED_OUT" or line[STATUS] != "OBSERVED" or theirs:
            self.lines.pop(line[ID], None)
        else:
            self.lines[line[ID]] = line

    def load(self, rows: Sequence[str]) -> None:
        """Rows of pages of GetList."""
        for row in rows:
            self.put(tuple(row.split(":", 1)[1].split("|")))

    def apply(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.put(change.line, change.kind)

    @property
    def sorted(self) -> list[tuple[str, ...]]:
        return sorted(self.lines.values())


def listed(place: Region, **choice: object) -> list[tuple[str, ...]]:
    """The list as GetList gives it, without numbers."""
    body = place.list(count=10000, **choice).body.decode()  # type: ignore[arg-type]
    return sorted(tuple(row.split(":", 1)[1].split("|")) for row in body.split("\n") if row)
