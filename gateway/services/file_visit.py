"""A request at the HTTP door of files."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from uuid import UUID, uuid4

from gateway.access.model import Call
from gateway.errors import GatewayError
from gateway.services import credentials

PREFIX = "/files/"
SERVICE = "Files"
_OPERATIONS = {"GET": "GetFile", "HEAD": "GetFile", "PUT": "PutFilePart"}


@dataclass(slots=True)
class Visit:
    """A request on its way through the door, for its answer, its record and its line in the log."""

    method: str
    path: str
    organisation: str | None
    headers: dict[str, str]
    address: str
    certificate: str | None
    trace: str = field(default_factory=lambda: uuid4().hex)
    since: float = field(default_factory=perf_counter)
    presented: credentials.Presented | None = None
    known: Call | None = None
    size: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    waited: float = 0.0
    whole: bool = False
    begun: bool = False
    code: str | None = None
    status: int = 200

    @property
    def operation(self) -> str:
        """The operation whose right is needed; empty for a method that there is not."""
        return _OPERATIONS.get(self.method, "")

    @property
    def call(self) -> Call:
        assert self.known is not None
        return self.known

    @property
    def file_id(self) -> UUID:
        """Raises ``object.not-found`` for a path that names no file."""
        try:
            return UUID(self.path.removeprefix(PREFIX))
        except ValueError:
            raise GatewayError("object.not-found") from None
