"""Files: received in parts, written as a stream, read by ranges. What is not whole is not there.

Content is kept in PostgreSQL in parts of at most 1 MiB as zstandard frames, so that every process on every machine sees
the same files, and a file appears with the commit of the transaction that ends it.
"""

from __future__ import annotations

import errno
import hashlib
import unicodedata
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from uuid import UUID, uuid4

import zstandard
from sqlalchemy import Connection

from gateway.errors import GatewayError
from gateway.operations import mailbox as mailboxes
from gateway.operations.mailbox import SIGNATURE, SUFFIX, confirm, mailbox
from gateway.operations.model import FileInfo, Owner
from gateway.operations.queries import files as queries
from gateway.operations.queries.files import PART_BYTES, Held, get, is_organisation, of_operation, owner_of
from gateway.operations.queue import Work
from gateway.settings import Settings
from gateway.store.engine import Store

__all__ = [
    "PART_BYTES", "FileInfo", "Writer", "checked_name", "confirm", "fetch", "get", "is_organisation", "keep", "mailbox",
    "of_operation", "owner_of", "pieces", "put", "put_part", "read", "restart",
]  # fmt: skip

NAME_CHARS = 200
UPLOAD = "UPLOAD"

_LEVEL = 1
_FORBIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_FULL = (errno.ENOSPC, errno.EDQUOT)


class HasWork(Protocol):
    """A run of long work."""

    @property
    def work(self) -> Work: ...


def checked_name(name: str) -> str:
    """The name in NFC. Raises ``file.name`` for one that is no plain name: separators, control and invisible characters,
    ``.`` and ``..``, nothing but spaces, over 200 characters (``.sig`` at the end not counted)."""
    normal = unicodedata.normalize("NFC", name)
    wrong = any(one in "/\\" or unicodedata.category(one) in _FORBIDDEN for one in normal)
    if wrong or not normal.strip(" .") or len(normal.removesuffix(SUFFIX)) > NAME_CHARS:
        raise GatewayError("file.name")
    return normal


def put_part(
    connection: Connection, settings: Settings, *, owner: Owner, client_id: int | None, file_id: UUID | None, name: str,
    offset: int, content: bytes, last: bool, sha256: str | None,
) -> UUID:  # fmt: skip
    """Takes the next part of a file; without ``file_id`` a new file begins. The last part makes the file appear.

    Parts come in order and end to end; one that was taken before is accepted again. ``sha256`` of the whole content (hex)
    is compared when the last part comes. Raises ``file.name``, ``file.name-differs``, ``file.offset``,
    ``file.part-size``, ``file.too-large``, ``file.sha256``, ``file.complete``, ``object.not-found``.
    """
    name = checked_name(name)
    limit = settings.file_part_bytes
    if len(content) > limit or not (content or (last and offset > 0)):
        raise GatewayError("file.part-size", limit=limit)
    if offset < 0:
        raise GatewayError("file.range")
    file = _receiving(connection, settings, owner, client_id, file_id or uuid4(), name)
    if offset != file.size or file.ready:
        _require_same(connection, file, offset, content, last)
        if file.ready:
            if last and sha256 is not None and sha256.strip().lower() != file.sha256:
                raise GatewayError("file.complete")
            return file.id
    else:
        file = _grown(connection, settings, file, content)
    if last:
        if offset + len(content) != file.size:
            raise GatewayError("file.offset", expected=file.size)
        found = hashlib.sha256(content).hexdigest() if offset == 0 else _digest(connection, file.id)
        if sha256 is not None and sha256.strip().lower() != found:
            raise GatewayError("file.sha256")
        mailboxes.appear(connection, settings, file, found)
    return file.id


def put(
    connection: Connection, settings: Settings, *, owner: Owner, client_id: int | None, name: str, content: bytes
) -> UUID:
    """A small file at once. Raises what `put_part` does."""
    return put_part(
        connection, settings, owner=owner, client_id=client_id, file_id=None, name=name, offset=0, content=content,
        last=True, sha256=None,
    )  # fmt: skip


def restart(
    connection: Connection, settings: Settings, *, owner: Owner, client_id: int | None, file_id: UUID, name: str
) -> FileInfo | None:
    """Prepares for the whole content of a file: nothing of an earlier, unfinished try is left.

    A file that is there already stays and is returned. Raises ``file.name``, ``object.not-found``.
    """
    name = checked_name(name)
    create(connection, settings, file_id, name, UPLOAD, owner, client_id=client_id)
    held = queries.lock(connection, file_id)
    if held is None or held.owner != owner:
        raise GatewayError("object.not-found")
    if held.ready:
        found = get(connection, file_id)
        if found is None:
            raise GatewayError("object.not-found")
        return found
    queries.drop_parts(connection, file_id)
    queries.begin_again(connection, file_id, name, _kind(name, UPLOAD), settings.upload_days)
    return None


def create(
    connection: Connection, settings: Settings, file_id: UUID, name: str, kind: str, owner: Owner, *,
    client_id: int | None = None, operation_id: UUID | None = None, number: int = 0, in_mailbox: bool = False,
) -> bool:  # fmt: skip
    """The row of a file without content, unless there is one already."""
    return queries.create(
        connection,
        id=file_id,
        name=name,
        kind=_kind(name, kind),
        organisation=owner.organisation,
        insurer=owner.insurer,
        client_id=client_id,
        operation_id=operation_id,
        number=number,
        mailbox=in_mailbox,
        confirmed_days=settings.confirmed_days,
        days=settings.upload_days,
    )


def keep(connection: Connection, file_id: UUID, until: datetime) -> None:
    """Puts the end of a file and its signature off, for work that still needs it; never brings it forward."""
    queries.keep(connection, file_id, until)


def read(connection: Connection, file_id: UUID, offset: int, length: int) -> bytes:
    """Bytes of a visible file from ``offset``, fewer than ``length`` only at its end.

    Raises ``object.not-found``, and ``file.range`` for an offset outside the file.
    """
    found = get(connection, file_id)
    if found is None:
        raise GatewayError("object.not-found")
    if length < 0 or not 0 <= offset <= max(0, found.size - 1):
        raise GatewayError("file.range")
    return _range(connection, file_id, offset, min(length, found.size - offset))


def pieces(store: Store, file: FileInfo, check: Callable[[], None] | None = None) -> Iterator[bytes]:
    """The whole content in pieces of a few MiB, each read in a transaction of its own; verified at the end.

    Raises ``file.sha256`` where the content is not what the file says, ``object.not-found`` if it expires meanwhile.
    """
    digest = hashlib.sha256()
    for offset in range(0, file.size, 4 * PART_BYTES):
        if check is not None:
            check()
        with store.begin() as connection:
            content = read(connection, file.file_id, offset, 4 * PART_BYTES)
        digest.update(content)
        yield content
    if digest.hexdigest() != file.sha256:
        raise GatewayError("file.sha256")


def fetch(source: Store | HasWork, file_id: UUID, path: Path, check: Callable[[], None] | None = None) -> None:
    """Spools a file to local disk. ``check`` is called between pieces and may raise; then no file is left.

    Raises ``object.not-found``, ``file.sha256``, ``server.disk-full``.
    """
    store = source if isinstance(source, Store) else source.work.store
    with store.begin() as connection:
        found = get(connection, file_id)
    if found is None:
        raise GatewayError("object.not-found")
    try:
        path.touch(mode=0o600)  # lists of people are nobody else's to read
        with path.open("wb") as out:
            for piece in pieces(store, found, check):
                out.write(piece)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _FULL:
            raise GatewayError("server.disk-full") from error
        raise


class Writer:
    """Writes a file as a stream within one transaction; it appears when the block ends, and not at all when it raises.

    Holds at most 1 MiB of content.
    """

    def __init__(
        self, connection: Connection, settings: Settings, *, name: str, kind: str, owner: Owner,
        operation_id: UUID | None = None, number: int = 0, mailbox: bool = False, client_id: int | None = None,
    ) -> None:  # fmt: skip
        self.file_id = uuid4()
        self.size = 0
        self._connection = connection
        self._settings = settings
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        create(
            connection, settings, self.file_id, checked_name(name), kind, owner, client_id=client_id,
            operation_id=operation_id, number=number, in_mailbox=mailbox,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            self._finish()

    def write(self, content: bytes) -> int:
        self._digest.update(content)
        self._buffer += content
        while len(self._buffer) >= PART_BYTES:
            self._store(PART_BYTES)
        return len(content)

    def _store(self, count: int) -> None:
        with memoryview(self._buffer) as whole, whole[:count] as content:
            _add(self._connection, self.file_id, self.size, content)
        del self._buffer[:count]
        self.size += count

    def _finish(self) -> None:
        if self._buffer:
            self._store(len(self._buffer))
        queries.grown(self._connection, self.file_id, self.size, self._settings.upload_days)
        held = queries.lock(self._connection, self.file_id)
        if held is None:
            raise GatewayError("object.not-found")
        mailboxes.appear(self._connection, self._settings, held, self._digest.hexdigest())


def _kind(name: str, kind: str) -> str:
    return SIGNATURE if name.endswith(SUFFIX) else kind


def _receiving(
    connection: Connection, settings: Settings, owner: Owner, client_id: int | None, file_id: UUID, name: str
) -> Held:
    """The locked row of a file of this owner, made if it is new."""
    create(connection, settings, file_id, name, UPLOAD, owner, client_id=client_id)
    file = queries.lock(connection, file_id)
    if file is None or file.owner != owner:
        raise GatewayError("object.not-found")
    if file.name != name:
        raise GatewayError("file.name-differs")
    return file


def _require_same(connection: Connection, file: Held, offset: int, content: bytes, last: bool) -> None:
    """Raises ``file.offset`` or ``file.complete`` unless a part that is not the next one is what was taken before."""
    end = offset + len(content)
    same = end <= file.size and _range(connection, file.id, offset, len(content)) == content
    if file.ready and not (same and (end == file.size or not last)):
        raise GatewayError("file.complete")
    if not same:
        raise GatewayError("file.offset", expected=file.size)


def _grown(connection: Connection, settings: Settings, file: Held, content: bytes) -> Held:
    size = file.size + len(content)
    if size > settings.file_bytes:
        raise GatewayError("file.too-large", limit=settings.file_bytes)
    for start in range(0, len(content), PART_BYTES):
        _add(connection, file.id, file.size + start, content[start : start + PART_BYTES])
    queries.grown(connection, file.id, size, settings.upload_days)
    return Held(
        file.id, file.name, file.kind, file.owner, file.client_id, file.operation_id, file.mailbox, size, None, False
    )


def _add(connection: Connection, file_id: UUID, start: int, content: bytes | memoryview) -> None:
    queries.add_part(connection, file_id, start, len(content), zstandard.compress(content, _LEVEL))


def _range(connection: Connection, file_id: UUID, offset: int, length: int) -> bytes:
    """Bytes of a file whether it is whole or not."""
    end = offset + length
    found = []
    for start, body in queries.parts(connection, file_id, offset, end):
        content = zstandard.decompress(body)
        found.append(content[max(0, offset - start) : end - start])
    return b"".join(found)


def _digest(connection: Connection, file_id: UUID) -> str:
    digest = hashlib.sha256()
    offset = 0
    while content := _range(connection, file_id, offset, 4 * PART_BYTES):
        digest.update(content)
        offset += len(content)
    return digest.hexdigest()
