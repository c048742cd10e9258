"""Clients as an operator keeps them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from gateway.access import clients, rights
from gateway.access.model import ClientKind
from gateway.errors import GatewayError
from gateway.store.engine import Store

DAY = timedelta(days=1)


def add(store: Store, **given: Any) -> str:
    values: dict[str, Any] = {"login": "some", "kind": "MO", "organisations": ["400001"], **given}
    with store.begin() as connection:
        return clients.add(connection, values.pop("login"), values.pop("kind"), **values)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"login": "ab"}, "client.login"),
        ({"login": "x" * 65}, "client.login"),
        ({"login": "имя"}, "client.login"),
        ({"login": "two words"}, "client.login"),
        ({"login": "clinic\n"}, "client.login"),
        ({"login": "clinic-1"}, "client.exists"),
        ({"organisations": []}, "client.scope"),
        ({"insurer": "40001"}, "client.scope"),
        ({"kind": "INSURER"}, "client.scope"),
        ({"kind": "INSURER", "organisations": []}, "client.scope"),
        ({"kind": "FUND"}, "client.scope"),
        ({"organisations": ["400001", "499999"]}, "client.organisation"),
        ({"rights": ["FindPerson", "Everything"]}, "client.right"),
        ({"rights": ["*"]}, "client.right"),
        ({"requests_per_minute": 0}, "client.rate"),
        ({"secret": "short"}, "client.secret"),
        ({"secret": "x" * 257}, "client.secret"),
        ({"valid_to": datetime.now(UTC) - DAY}, "client.period"),
        ({"valid_from": datetime.now(UTC) + 2 * DAY, "valid_to": datetime.now(UTC) + DAY}, "client.period"),
    ],
)
@pytest.mark.usefixtures("client")
def test_what_is_wrong_is_refused_by_name(store: Store, given: dict[str, Any], code: str) -> None:
    with pytest.raises(GatewayError) as refused:
        add(store, **given)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "change",
    [
        lambda connection: clients.rotate(connection, "nobody", DAY),
        lambda connection: clients.revoke(connection, "nobody"),
        lambda connection: clients.disable(connection, "nobody"),
        lambda connection: clients.enable(connection, "nobody"),
        lambda connection: clients.grant(connection, "nobody", []),
        lambda connection: clients.add_certificate(connection, "nobody", "0" * 64),
        lambda connection: clients.revoke_certificate(connection, "nobody", "0" * 64),
    ],
)
def test_an_unknown_client_is_named(store: Store, change: Any) -> None:
    with pytest.raises(GatewayError, match=r"client\.unknown"), store.begin() as connection:
        change(connection)


@pytest.mark.usefixtures("organisations")
def test_rights_are_denied_by_default_and_granted_one_by_one(store: Store) -> None:
    add(store)
    with store.begin() as connection:
        assert clients.list_all(connection)[0].rights == ()
        assert clients.grant(connection, "some", ["GetList", "FindPerson", "GetList"]) == ["FindPerson", "GetList"]
        assert clients.withdraw(connection, "some", ["FindPerson"]) == ["GetList"]
        with pytest.raises(GatewayError, match=r"client\.right"):
            clients.grant(connection, "some", ["GetEverything"])
        assert clients.list_all(connection)[0].rights == ("GetList",)


def test_the_list_shows_what_is_in_force(store: Store, client: SimpleNamespace) -> None:
    until = datetime.now(UTC) + 30 * DAY
    add(
        store, login="insurer", kind="INSURER", organisations=[], insurer="40001", requests_per_minute=5, valid_to=until
    )
    with store.begin() as connection:
        clients.rotate(connection, client.login, DAY)
        clients.add_certificate(connection, client.login, ":".join(["AB"] * 32))
        clients.disable(connection, "insurer")
    with store.begin() as connection:
        clinic, insurer = clients.list_all(connection)
        assert (clinic.kind, clinic.organisations, set(clinic.rights)) == (ClientKind.MO, ("400001",), rights.ALL)
        assert clinic.certificates == ("ab" * 32,)
        assert len(clinic.secrets) == 2 and clinic.secrets[0] is not None and clinic.secrets[1] is None
        assert (insurer.insurer, insurer.requests_per_minute, insurer.secrets) == ("40001", 5, (until,))
        assert insurer.disabled_at is not None
        clients.enable(connection, "insurer")
        assert clients.revoke(connection, client.login) == 2
        assert clients.list_all(connection)[0].secrets == ()
        assert clients.list_all(connection)[1].disabled_at is None


@pytest.mark.usefixtures("organisations")
def test_certificates_belong_to_one_client(store: Store) -> None:
    add(store, login="one")
    add(store, login="two")
    with store.begin() as connection:
        clients.add_certificate(connection, "one", "a" * 64)
    for fingerprint in ("a" * 64, "a" * 63, "g" * 64, ""):
        with pytest.raises(GatewayError, match=r"client\.certificate"), store.begin() as connection:
            clients.add_certificate(connection, "two", fingerprint)
    with pytest.raises(GatewayError, match=r"client\.certificate"), store.begin() as connection:
        clients.revoke_certificate(connection, "two", "a" * 64)


def test_every_change_is_audited_without_the_secret(store: Store, client: SimpleNamespace) -> None:
    with store.begin() as connection:
        secret = clients.rotate(connection, client.login, DAY)
        clients.grant(connection, client.login, ["Ping"])
        rows = connection.execute(
            text(
                "SELECT operation, details, a::text AS whole FROM audit_record a WHERE service = 'operator' ORDER BY id"
            )
        ).all()
    assert [row.operation for row in rows] == ["ClientAdd", "ClientRotate", "ClientGrant"]
    assert all(row.details["client"] == client.login for row in rows)
    assert not any(secret in row.whole or client.secret in row.whole for row in rows)


@given(st.lists(st.text(max_size=20)))
def test_rights_are_known_names_or_refused(names: list[str]) -> None:
    try:
        granted = rights.checked(names)
    except GatewayError as refused:
        assert refused.code == "client.right" and not set(names) <= rights.ALL
    else:
        assert set(granted) == set(names) <= rights.ALL
