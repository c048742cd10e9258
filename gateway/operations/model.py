"""What long work and files look like to doors: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class State(StrEnum):
    """States of an operation; the last three are ends."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    ABORTED = "ABORTED"

    @property
    def ended(self) -> bool:
        return self in (State.DONE, State.FAILED, State.ABORTED)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an operation or a file is: an organisation's, an insurer's, or (both absent) the fund's."""

    organisation: str | None = None
    insurer: str | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose operations and files a viewer sees. ``organisations`` None: all (the fund); ``insurer``: only its own."""

    organisations: frozenset[str] | None = None
    insurer: str | None = None

    def sees(self, owner: Owner) -> bool:
        if self.insurer is not None:
            return owner.insurer == self.insurer
        if self.organisations is None:
            return True
        return owner.insurer is None and owner.organisation in self.organisations


@dataclass(frozen=True, slots=True)
class Operation:
    """Long work as it stands. ``estimated_end`` is a guess from the pace of the present stage; ``aborting`` is true
    between a request to abort and the end."""

    operation_id: UUID
    kind: str
    owner: Owner
    client_id: int | None
    login: str
    state: State
    stage: str | None
    done: int | None
    total: int | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    estimated_end: datetime | None
    aborting: bool
    code: str | None
    message: str | None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProtocolLine:
    """A timed line of an operation's protocol; ``level`` is INFO, WARNING or ERROR."""

    number: int
    at: datetime
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A whole file. ``kind``: UPLOAD (came from outside), EXPORT, PROTOCOL, SIGNATURE, NOTICE; ``sha256`` in hex."""

    file_id: UUID
    name: str
    kind: str
    owner: Owner
    operation_id: UUID | None
    mailbox: bool
    size: int
    sha256: str
    ready_at: datetime
    expires_at: datetime
    confirmed_at: datetime | None
    signature_id: UUID | None
