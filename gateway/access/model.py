"""Who calls and what a call is: the values every feature gets from a door."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from gateway.errors import GatewayError


class ClientKind(StrEnum):
    """MO: a clinic or a regional МИС; INSURER: СМО, sees its insured; FUND: ТФОМС, sees all."""

    MO = "MO"
    INSURER = "INSURER"
    FUND = "FUND"


class Outcome(StrEnum):
    """How a call ended. PARTIAL: some items of a batch were refused; FAULT: the gateway's own failure."""

    OK = "OK"
    PARTIAL = "PARTIAL"
    REPLAYED = "REPLAYED"
    REFUSED = "REFUSED"
    FAULT = "FAULT"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password as a door received them."""

    login: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A client certificate that a trusted reverse proxy has verified: its SHA-256 fingerprint, 64 hex digits."""

    sha256: str


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated client with its rights. ``organisations`` of INSURER and FUND is empty: they see all.

    ``client_id`` 0 is no client: the operator, whose long work began at the command line.
    """

    client_id: int
    login: str
    kind: ClientKind
    organisations: frozenset[str]
    insurer: str | None
    rights: frozenset[str]
    requests_per_minute: int | None = None

    def may(self, operation: str) -> bool:
        return operation in self.rights

    def sees(self, organisation: str) -> bool:
        return self.kind is not ClientKind.MO or organisation in self.organisations

    def may_change(self) -> None:
        """Raises ``access.forbidden`` for an insurer: it reads the lists of its insured and changes none."""
        if self.kind is ClientKind.INSURER:
            raise GatewayError("access.forbidden")

    def own(self, organisation: str | None) -> str:
        """The one organisation a changing call acts for.

        Raises ``organisation.required`` if the set has several and none was named, ``object.not-found`` if the named
        one lies outside (exactly as if it did not exist), ``access.forbidden`` for an insurer.
        """
        self.may_change()
        if organisation is None:
            if len(self.organisations) == 1:
                return next(iter(self.organisations))
            raise GatewayError("organisation.required")
        if not self.sees(organisation):
            raise Foreign()
        return organisation


class Foreign(GatewayError):
    """An object that exists or could exist, but outside the caller's set: answers like a missing one, audited apart."""

    def __init__(self) -> None:
        super().__init__("object.not-found")


class Denied(GatewayError):
    """A wrong name or password. The door waits ``delay`` seconds, without holding a thread, before it answers."""

    def __init__(self, delay: float) -> None:
        super().__init__("access.denied")
        self.delay = delay


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call that was refused before it had a caller.

    ``login`` is the name it gave, recorded only if a client has it; ``operation`` is one of the contract or empty.
    """

    service: str
    operation: str
    trace: str
    address: str = ""
    login: str | None = None
    request_id: UUID | None = None


@dataclass(slots=True)
class Call:
    """One call on its way through a feature; collects what the audit record will say.

    ``trace`` is the id the answer carries in X-Request-Id; ``request_id`` the caller's idempotency key.
    """

    caller: Caller
    service: str
    operation: str
    trace: str
    at: datetime
    address: str = ""
    request_id: UUID | None = None
    body_sha256: bytes = b""
    organisation: str | None = None
    persons: list[int] = field(default_factory=list)
    snapshot_id: UUID | None = None
    first_record: int | None = None
    records: int | None = None
    details: dict[str, Any] = field(default_factory=dict)
    audited: bool = False
    note: str | None = None
    """What the answer should say beside its content, in Russian."""

    unanswered: frozenset[str] = frozenset()
    """Numbers of people whom a source outside could not be asked about."""

    learned: frozenset[str] = frozenset()
    """Numbers of people who became known in this call, from a source outside."""

    def covers(self, persons: Iterable[int]) -> None:
        """Adds the persons whose data this call read or changed."""
        self.persons.extend(persons)


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one item of a batch: its number from 1, the id of what it made or changed, a code and its text."""

    number: int
    code: str
    message: str
    id: str | None = None


def all_of(results: Sequence[ItemResult]) -> dict[str, int]:
    """Counts of codes, for the audit record of a batch."""
    counts: dict[str, int] = {}
    for result in results:
        counts[result.code] = counts.get(result.code, 0) + 1
    return counts
