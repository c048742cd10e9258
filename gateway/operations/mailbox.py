"""How files appear, and the mailbox of an organisation (Абонентский пункт): listed, confirmed, moved into, expired.

A detached signature ``NAME.sig`` belongs to the file ``NAME`` of the same owner and the same uploader or operation,
whichever comes first; it shares the file's mailbox, confirmation and time.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from gateway.errors import GatewayError
from gateway.operations import notes
from gateway.operations.model import FileInfo, Owner, Scope
from gateway.operations.queries import files as queries
from gateway.operations.queries.files import Held
from gateway.operations.queue import Work, task
from gateway.settings import Settings

SIGNATURE = "SIGNATURE"
SUFFIX = ".sig"
EXPIRE = "files.expire"

_PORTION = 50


def appear(connection: Connection, settings: Settings, file: Held, sha256: str) -> None:
    """Makes a whole file visible with the transaction, beside its signature or its file, and has its owner told."""
    base = file.name.removesuffix(SUFFIX) if file.kind == SIGNATURE else file.name
    queries.take_turn(connection, f"pair {_named(file.owner)} {file.operation_id or file.client_id} {base}")
    partner = queries.partner(connection, file, base if file.kind == SIGNATURE else base + SUFFIX)
    signs = partner is not None and file.kind == SIGNATURE
    note = not signs and file.mailbox and notes.announce(connection, file.owner)
    if file.mailbox:
        queries.take_turn(connection, f"mailbox {_named(file.owner)}")
    queries.appear(connection, file.id, file.size, sha256, _days(settings, file), note)
    if partner is not None:
        queries.attach(connection, *((file.id, partner) if signs else (partner, file.id)))


def mailbox(
    connection: Connection, scope: Scope, *, organisation: str | None = None, since: datetime | None = None,
    start: int = 1, count: int = 100,
) -> tuple[int, list[FileInfo]]:  # fmt: skip
    """How many files wait in the mailboxes of a scope, and a page of them, old ones first, signatures among them.

    ``since`` is the time of appearance, inclusive. Within one organisation a file never appears with a time before that
    of a file already seen, so that reading on from the last time seen misses nothing.
    """
    return queries.page(connection, scope, organisation, True, since, start, count)


def every(
    connection: Connection, scope: Scope, *, organisation: str | None = None, start: int = 1, count: int = 100
) -> tuple[int, list[FileInfo]]:
    """The same over all visible files, in a mailbox or not."""
    return queries.page(connection, scope, organisation, False, None, start, count)


def confirm(connection: Connection, file_id: UUID, by: str) -> FileInfo:
    """Notes that a file of a mailbox was collected: it is kept ``confirmed_days`` from now, its signature too.

    A second confirmation changes nothing. Raises ``object.not-found``, also for a file outside the mailboxes.
    """
    found = queries.get(connection, file_id)
    if found is None or not found.mailbox:
        raise GatewayError("object.not-found")
    queries.confirm(connection, file_id, by)
    return _known(connection, file_id)


def move(connection: Connection, settings: Settings, file_id: UUID, organisation: str) -> FileInfo:
    """Puts a visible file with its signature into the mailbox of an organisation, as if it had appeared there now.

    Raises ``object.not-found`` for the file and for the organisation.
    """
    held = queries.lock(connection, file_id)
    found = queries.get(connection, file_id)
    if held is None or found is None or held.kind == SIGNATURE:
        raise GatewayError("object.not-found")
    require_organisation(connection, organisation)
    owner = Owner(organisation)
    note = notes.announce(connection, owner)
    queries.take_turn(connection, f"mailbox {_named(owner)}")
    queries.move(connection, file_id, organisation, settings.mailbox_days, note)
    if found.signature_id is not None:
        queries.attach(connection, found.signature_id, file_id)
    return _known(connection, file_id)


def require_organisation(connection: Connection, organisation: str) -> None:
    """Raises ``client.organisation`` for a code that no organisation has."""
    if not queries.is_organisation(connection, organisation):
        raise GatewayError("client.organisation")


@task(EXPIRE)
def expire(work: Work) -> int:
    """Deletes files whose time is over, unfinished ones too, a portion per transaction; how many."""
    deleted = 0
    portion = _PORTION
    while portion:
        with work.store.begin() as connection:
            portion = queries.expire(connection, _PORTION)
        deleted += portion
    return deleted


def _days(settings: Settings, file: Held) -> int:
    """How long a file stays once it has appeared."""
    if file.mailbox:
        return settings.mailbox_days
    return settings.download_days if file.operation_id else settings.upload_days


def _named(owner: Owner) -> str:
    return f"{owner.organisation or ''}/{owner.insurer or ''}"


def _known(connection: Connection, file_id: UUID) -> FileInfo:
    found = queries.get(connection, file_id)
    if found is None:
        raise GatewayError("object.not-found")
    return found
