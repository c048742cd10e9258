"""Clients: the systems that may call, their secrets, certificates and rights, as an operator keeps them.

Every change is one function inside the caller's transaction and leaves a record in the audit (service ``operator``).
Secrets are shown once, when they are made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from gateway.access import audit, queries, rights, secrets
from gateway.access.model import ClientKind
from gateway.errors import GatewayError
from gateway.store.engine import Driver, driver_of

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Client:
    """A line of the list of clients; ``secrets`` are the ends of those in force and to come, None for no end."""

    login: str
    name: str
    kind: ClientKind
    organisations: tuple[str, ...]
    insurer: str | None
    rights: tuple[str, ...]
    requests_per_minute: int | None
    created_at: datetime
    disabled_at: datetime | None
    secrets: tuple[datetime | None, ...]
    certificates: tuple[str, ...]


def add(
    connection: Connection,
    login: str,
    kind: ClientKind | str,
    *,
    organisations: Iterable[str] = (),
    insurer: str | None = None,
    rights: Iterable[str] = (),
    name: str = "",
    requests_per_minute: int | None = None,
    secret: str | None = None,
    valid_from: datetime | None = None,
    valid_to: datetime | None = None,
) -> str:
    """Adds a client with its first secret, and gives the secret. Rights not named are denied.

    An MO client names its organisations (codes of the directory), an INSURER its insurer, the FUND neither. ``login`` is
    3..64 of ``A-Z a-z 0-9 . _ -``. Raises ``client.login``, ``client.exists``, ``client.scope``,
    ``client.organisation``, ``client.right``, ``client.rate``, ``client.secret``, ``client.period``.
    """
    if not audit.LOGIN.fullmatch(login):
        raise GatewayError("client.login")
    driver = driver_of(connection)
    codes = _scope(driver, ClientKind(kind), organisations, insurer)
    granted = _rights(rights)
    if requests_per_minute is not None and requests_per_minute < 1:
        raise GatewayError("client.rate")
    _check_period(valid_from, valid_to)
    made = secrets.generate() if secret is None else secrets.checked(secret)
    client = queries.put_client(
        driver,
        {
            "login": login, "name": name, "kind": str(kind), "organisations": codes, "insurer": insurer,
            "rights": granted, "requests_per_minute": requests_per_minute,
        },
    )  # fmt: skip
    if client is None:
        raise GatewayError("client.exists")
    queries.put_secret(driver, client, secrets.hash_of(made), valid_from, valid_to)
    audit.note(connection, "ClientAdd", {"client": login, "kind": str(kind), "organisations": codes, "rights": granted})
    return made


def rotate(connection: Connection, login: str, overlap: timedelta, *, secret: str | None = None) -> str:
    """A new secret at once; the one in force stays valid for ``overlap`` more, any older one ends now.

    Raises ``client.unknown``, ``client.secret``, ``client.period`` for a negative overlap.
    """
    if overlap < timedelta():
        raise GatewayError("client.period")
    client = _known(connection, login)
    made = secrets.generate() if secret is None else secrets.checked(secret)
    driver = driver_of(connection)
    queries.end_secrets(driver, client, overlap)
    queries.put_secret(driver, client, secrets.hash_of(made), None, None)
    audit.note(connection, "ClientRotate", {"client": login, "overlap": overlap.total_seconds()})
    return made


def revoke(connection: Connection, login: str) -> int:
    """Revokes all secrets of a client that have not ended; how many. Raises ``client.unknown``."""
    revoked = queries.revoke_secrets(driver_of(connection), _known(connection, login))
    audit.note(connection, "ClientRevoke", {"client": login, "secrets": revoked})
    return revoked


def disable(connection: Connection, login: str) -> None:
    """Refuses the client whatever its secret. Raises ``client.unknown``."""
    queries.set_disabled(driver_of(connection), _known(connection, login), True)
    audit.note(connection, "ClientDisable", {"client": login})


def enable(connection: Connection, login: str) -> None:
    """Takes `disable` back. Raises ``client.unknown``."""
    queries.set_disabled(driver_of(connection), _known(connection, login), False)
    audit.note(connection, "ClientEnable", {"client": login})


def grant(connection: Connection, login: str, names: Iterable[str]) -> list[str]:
    """Adds rights; all rights of the client now. Raises ``client.unknown``, ``client.right``."""
    return _set_rights(connection, login, "ClientGrant", add=_rights(names))


def withdraw(connection: Connection, login: str, names: Iterable[str]) -> list[str]:
    """Takes rights away; those left. Raises ``client.unknown``, ``client.right``."""
    return _set_rights(connection, login, "ClientWithdraw", remove=_rights(names))


def add_certificate(
    connection: Connection,
    login: str,
    sha256: str,
    *,
    valid_from: datetime | None = None,
    valid_to: datetime | None = None,
) -> None:
    """Accepts a certificate by its SHA-256 fingerprint (64 hex digits, colons allowed).

    Raises ``client.unknown``, ``client.certificate``, ``client.period``.
    """
    fingerprint = _fingerprint(sha256)
    _check_period(valid_from, valid_to)
    client = _known(connection, login)
    if not queries.put_certificate(driver_of(connection), client, fingerprint, valid_from, valid_to):
        raise GatewayError("client.certificate")
    audit.note(connection, "CertificateAdd", {"client": login, "sha256": fingerprint})


def revoke_certificate(connection: Connection, login: str, sha256: str) -> None:
    """Ends a certificate for good. Raises ``client.unknown``, ``client.certificate``."""
    fingerprint = _fingerprint(sha256)
    if not queries.revoke_certificate(driver_of(connection), _known(connection, login), fingerprint):
        raise GatewayError("client.certificate")
    audit.note(connection, "CertificateRevoke", {"client": login, "sha256": fingerprint})


def list_all(connection: Connection) -> list[Client]:
    """All clients by login, without secrets or hashes."""
    return [
        Client(
            login, name, ClientKind(kind), tuple(organisations), insurer, tuple(granted), per_minute, created, disabled,
            tuple(ends), tuple(certificates),
        )
        for (
            login, name, kind, organisations, insurer, granted, per_minute, created, disabled, ends, certificates
        ) in queries.clients(driver_of(connection))
    ]  # fmt: skip


def _known(connection: Connection, login: str) -> int:
    client = queries.client_id(driver_of(connection), login)
    if client is None:
        raise GatewayError("client.unknown")
    return client


def _scope(driver: Driver, kind: ClientKind, organisations: Iterable[str], insurer: str | None) -> list[str]:
    """The organisations in order, each once, if they and the insurer fit the kind of client."""
    codes = sorted(set(organisations))
    if bool(codes) != (kind is ClientKind.MO) or bool(insurer) != (kind is ClientKind.INSURER):
        raise GatewayError("client.scope")
    if queries.unknown_organisations(driver, codes):
        raise GatewayError("client.organisation")
    return codes


def _set_rights(
    connection: Connection, login: str, operation: str, add: Sequence[str] = (), remove: Sequence[str] = ()
) -> list[str]:
    client = _known(connection, login)
    driver = driver_of(connection)
    now = sorted(set(queries.rights_of(driver, client)).union(add).difference(remove))
    queries.set_rights(driver, client, now)
    audit.note(connection, operation, {"client": login, "rights": [*add, *remove]})
    return now


def _rights(names: Iterable[str]) -> list[str]:
    return rights.checked(names)


def _fingerprint(sha256: str) -> str:
    plain = sha256.replace(":", "").strip().lower()
    if not _FINGERPRINT.fullmatch(plain):
        raise GatewayError("client.certificate")
    return plain


def _check_period(valid_from: datetime | None, valid_to: datetime | None) -> None:
    begins = valid_from or datetime.now(UTC)
    if valid_to is not None and valid_to <= begins:
        raise GatewayError("client.period")
