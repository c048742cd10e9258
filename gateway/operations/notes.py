"""Notes of new files in a mailbox: by e-mail and by HTTP, to the contact of the organisation, never more than told of.

What appears within a few seconds is one note. `gather` marks the files and defers a job per way, each with retries of its
own; a note that cannot be delivered harms no file. A note says kinds, sizes and checksums, neither names nor content.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import smtplib
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from email.message import EmailMessage
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from threading import Timer
from urllib.parse import SplitResult, unquote, urlsplit

from sqlalchemy import Connection

from gateway.errors import GatewayError
from gateway.operations.model import FileInfo, Owner
from gateway.operations.queries import files as queries
from gateway.operations.queries.files import Contact
from gateway.operations.queue import Work, defer, task
from gateway.settings import Settings

GATHER, MAIL, CALL = "files.note", "files.note.mail", "files.note.call"

DELAY_SECONDS = 5
"""How long further files are waited for before a note is written."""

TIMEOUT_SECONDS = 10
SIGNATURE_HEADER = "X-DN-Signature"

_FILES_PER_NOTE = 500
_ATTEMPTS = 7
_EMAIL = re.compile(r"[^@\s<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9.-]{1,253}")
_ADDRESS_CHARS = 500

_log = logging.getLogger(__name__)


class Undelivered(Exception):
    """The other side did not take a note; the queue tries again."""


# contacts -------------------------------------------------------------------------------------------------------------


def set_contact(connection: Connection, organisation: str, email: str | None, webhook: str | None) -> None:
    """Where an organisation is told of new files from now on; an address that is not given stays as it was.

    Raises ``client.organisation`` and ``mailbox.contact`` for an address that is none.
    """
    if not queries.is_organisation(connection, organisation):
        raise GatewayError("client.organisation")
    if not (email or webhook) or (email and not _EMAIL.fullmatch(email)) or (webhook and not _is_address(webhook)):
        raise GatewayError("mailbox.contact")
    queries.set_contact(connection, Contact(organisation, email, webhook))


def drop_contact(connection: Connection, organisation: str) -> None:
    """Raises ``object.not-found`` for an organisation without a contact."""
    if not queries.drop_contact(connection, organisation):
        raise GatewayError("object.not-found")


def contacts(connection: Connection) -> list[Contact]:
    return queries.contacts(connection)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return known and parts.username is None and len(url) <= _ADDRESS_CHARS and url.isascii() and url.isprintable()


# from a file to its note ----------------------------------------------------------------------------------------------


def announce(connection: Connection, owner: Owner) -> bool:
    """Whether the owner is told of a file that appears with this transaction; its note is deferred along with it."""
    if owner.organisation is None or queries.contact(connection, owner.organisation) is None:
        return False
    queries.hold_notes(connection, owner.organisation)
    _defer_gathering(connection, owner.organisation)
    return True


def _defer_gathering(connection: Connection, organisation: str) -> None:
    alone = f"{GATHER} {organisation}"
    defer(connection, GATHER, alone=alone, single=True, delay=DELAY_SECONDS, organisation=organisation)


@task(GATHER)
def gather(work: Work, organisation: str) -> None:
    """Marks the files that the organisation was not told of, and defers their notes, one per way."""
    with work.store.begin() as connection:
        if not queries.own_notes(connection, organisation):
            _defer_gathering(connection, organisation)
            return
        contact = queries.contact(connection, organisation)
        while moment := queries.gather(connection, organisation, _FILES_PER_NOTE):
            for name, address in ((MAIL, contact and contact.email), (CALL, contact and contact.webhook)):
                if address:
                    defer(connection, name, organisation=organisation, moment=moment.isoformat())


@task(MAIL, attempts=_ATTEMPTS)
def mail(work: Work, organisation: str, moment: str) -> None:
    """Sends the note of a moment by e-mail; without ``smtp_url`` it is left out."""
    contact, found = _noted(work, organisation, moment)
    if contact is None or not contact.email or not found:
        return
    if not work.settings.smtp_url:
        _log.warning("Извещение не отправлено: не задан почтовый сервер (smtp_url)")
        return
    send(work.settings, message(work.settings, contact, found, work.clock.now()))


@task(CALL, attempts=_ATTEMPTS)
def call(work: Work, organisation: str, moment: str) -> None:
    """Posts the note of a moment to the organisation's address."""
    contact, found = _noted(work, organisation, moment)
    if contact is not None and contact.webhook and found:
        post(contact.webhook, body(organisation, found), work.settings.webhook_secret)


def _noted(work: Work, organisation: str, moment: str) -> tuple[Contact | None, list[FileInfo]]:
    with work.store.begin() as connection:
        found = queries.noted(connection, organisation, datetime.fromisoformat(moment))
        return queries.contact(connection, organisation), found


_KINDS = {
    "EXPORT": "Выгрузка списка", "PROTOCOL": "Протокол", "SIGNATURE": "Подпись", "NOTICE": "Сообщение", "UPLOAD": "Файл",
}  # fmt: skip

# e-mail ---------------------------------------------------------------------------------------------------------------


def message(settings: Settings, contact: Contact, found: Iterable[FileInfo], now: datetime) -> EmailMessage:
    """The letter: which kinds of files, how large, until when. Not their names: those may be made of a person's name."""
    lines = [
        f"{_KINDS.get(one.kind, one.kind)}: {one.size} байт, хранится до {one.expires_at.astimezone(now.tzinfo):%d.%m.%Y}\n"
        f"  fileId {one.file_id}\n  SHA-256 {one.sha256}"
        for one in found
    ]
    letter = EmailMessage()
    letter["Subject"] = f"Новые файлы в абонентском пункте организации {contact.organisation}: {len(lines)}"
    letter["From"] = settings.mail_from or f"dn-gateway@{socket.getfqdn()}"
    letter["To"] = contact.email or ""
    letter["Date"] = now
    letter["Auto-Submitted"] = "auto-generated"
    how = "Получите их операциями ListFiles и GetFile и подтвердите операцией ConfirmFile."
    letter.set_content("\n".join(["В абонентский пункт поступили файлы:", "", *lines, "", how, ""]))
    return letter


def send(settings: Settings, letter: EmailMessage) -> None:
    """Hands a letter to the mail server of ``smtp_url``."""
    with _smtp(settings) as server:
        server.send_message(letter)


@contextmanager
def _smtp(settings: Settings) -> Iterator[smtplib.SMTP]:
    """A session with the mail server; a password goes only over TLS or within this machine."""
    url = urlsplit(settings.smtp_url)
    host, secure = url.hostname or "localhost", ssl.create_default_context()
    server: smtplib.SMTP
    if url.scheme == "smtps":
        server = smtplib.SMTP_SSL(host, url.port or 465, timeout=TIMEOUT_SECONDS, context=secure)
    else:
        server = smtplib.SMTP(host, url.port or 25, timeout=TIMEOUT_SECONDS)
    with server:
        encrypted = url.scheme == "smtps"
        server.ehlo()
        if not encrypted and server.has_extn("starttls"):
            server.starttls(context=secure)
            encrypted = True
        if url.username:
            if not encrypted and host not in ("localhost", "127.0.0.1", "::1"):
                raise Undelivered("the mail server offers no encryption")
            server.login(unquote(url.username), unquote(url.password or ""))
        yield server


# HTTP -----------------------------------------------------------------------------------------------------------------


def body(organisation: str, found: Iterable[FileInfo]) -> bytes:
    """The note in JSON: the organisation and its new files, without their names."""
    files = [
        {
            "fileId": str(one.file_id),
            "kind": one.kind,
            "size": one.size,
            "sha256": one.sha256,
            "readyAt": one.ready_at.isoformat(),
        }
        for one in found
    ]
    return json.dumps({"organisation": organisation, "files": files}, ensure_ascii=False).encode()


def post(address: str, content: bytes, secret: str) -> None:
    """One POST within ten seconds in all; redirects are not followed, the answer is not read.

    Raises `Undelivered` unless the answer is 2xx.
    """
    url = urlsplit(address)
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "dn-gateway", "Connection": "close"}
    if secret:
        headers[SIGNATURE_HEADER] = "sha256=" + hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
    connection = _connection(url)
    timer = Timer(TIMEOUT_SECONDS, _cut, [connection])
    timer.daemon = True
    timer.start()
    try:
        connection.request("POST", (url.path or "/") + (f"?{url.query}" if url.query else ""), content, headers)
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise Undelivered("the other side did not answer") from error
    finally:
        timer.cancel()
        connection.close()
    if not 200 <= status < 300:
        raise Undelivered(f"the other side answered {status}")


def _connection(url: SplitResult) -> HTTPConnection:
    host = url.hostname or ""
    if url.scheme == "https":
        return HTTPSConnection(host, url.port, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context())
    return HTTPConnection(host, url.port, timeout=TIMEOUT_SECONDS)


def _cut(connection: HTTPConnection) -> None:
    """Ends a connection whose other side answers a byte at a time."""
    if connection.sock is not None:
        try:
            connection.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
