"""Trials C3, C4 and C5: validity, rotation, guessing and storage of secrets, on real PostgreSQL."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from gateway import logs
from gateway.access import clients, secrets
from gateway.access.gate import Certificate, Credentials, Denied, Gate
from gateway.access.watch import Watch
from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.store.engine import Store
from tests.access.conftest import SETTINGS, Hands

MakeGate = Callable[..., Gate]
HERE, THERE = "10.0.0.1", "10.0.0.2"


def until(condition: Callable[[], bool]) -> None:
    """Waits for what another thread is about to do."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited for ten seconds in vain"
        time.sleep(0.02)


def known(gate: Gate, credentials: Credentials | Certificate) -> None:
    """Verifies until the gate remembers."""

    def remembered() -> bool:
        gate.verify(credentials, HERE)
        return gate.remembered(credentials, HERE) is not None

    until(remembered)


def refusal(gate: Gate, credentials: Credentials | Certificate, address: str = HERE) -> str:
    with pytest.raises(GatewayError) as refused:
        gate.verify(credentials, address)
    return refused.value.code


@pytest.fixture
def right(client: SimpleNamespace) -> Credentials:
    return Credentials(client.login, client.secret)


@pytest.fixture
def hashings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashes that were computed."""
    computed: list[str] = []
    plain = secrets.matches

    def counted(hashed: str, secret: str) -> bool:
        computed.append(hashed)
        return plain(hashed, secret)

    monkeypatch.setattr(secrets, "matches", counted)
    return computed


def test_a_verified_secret_is_remembered_and_hashed_once(
    make_gate: MakeGate, right: Credentials, hashings: list[str]
) -> None:
    gate = make_gate()
    assert gate.remembered(right, HERE) is None
    caller = gate.verify(right, HERE)
    assert (caller.login, caller.organisations) == ("clinic-1", frozenset({"400001"}))
    assert caller.may("FindPerson") and not caller.may("StartOperation")
    known(gate, right)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: gate.verify(right, HERE), range(20)))
    assert len(hashings) == 1


def test_nothing_is_remembered_when_the_setting_says_so(make_gate: MakeGate, right: Credentials) -> None:
    gate = make_gate(settings=Settings(secret_memory_seconds=0))
    gate.verify(right, HERE)
    until(lambda: gate._watch.generation() is not None)
    gate.verify(right, HERE)
    assert gate.remembered(right, HERE) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda connection: clients.revoke(connection, "clinic-1"),
        lambda connection: clients.disable(connection, "clinic-1"),
        lambda connection: clients.withdraw(connection, "clinic-1", ["GetList"]),
        lambda connection: connection.execute(text("UPDATE client SET disabled_at = now()")),
        lambda connection: connection.execute(text("UPDATE client_secret SET revoked_at = now()")),
    ],
)
def test_a_change_reaches_every_process(
    make_gate: MakeGate, store: Store, right: Credentials, change: Callable[..., object]
) -> None:
    gates = [make_gate(), make_gate(), make_gate()]
    for gate in gates:
        known(gate, right)
    with store.begin() as connection:
        change(connection)
    for gate in gates:
        until(lambda gate=gate: gate.remembered(right, HERE) is None)


def test_a_process_forgets_at_once_what_it_has_changed_itself(make_gate: MakeGate, right: Credentials) -> None:
    gate = make_gate()
    known(gate, right)
    gate.forget()
    assert gate.remembered(right, HERE) is None


def test_a_change_during_verification_is_not_overlooked(
    make_gate: MakeGate, store: Store, right: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The secret is revoked after its row was read and before the hash was compared."""
    gate = make_gate()
    known(gate, right)
    plain = secrets.matches

    def revoked_meanwhile(hashed: str, secret: str) -> bool:
        before = gate._watch.generation()
        with store.begin() as connection:
            clients.revoke(connection, "clinic-1")
        until(lambda: gate._watch.generation() != before)
        return plain(hashed, secret)

    gate._right.clear()
    monkeypatch.setattr(secrets, "matches", revoked_meanwhile)
    gate.verify(right, HERE)
    assert gate.remembered(right, HERE) is None
    assert refusal(gate, right) == "access.secret-revoked"


def test_without_a_fresh_look_nothing_is_believed() -> None:
    watch = Watch("postgresql://nobody@127.0.0.1:1/none")
    watch.start()
    try:
        assert watch.generation() is None
    finally:
        watch.close()


def test_the_watch_comes_back_after_a_restart_of_the_database(store: Store) -> None:
    watch = Watch(store.url)
    watch.start()
    try:
        until(lambda: watch.generation() is not None)
        with store.driver() as driver:
            driver.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                           " AND datname = current_database() AND query LIKE '%xmin%'")  # fmt: skip
        seen = watch._seen
        until(lambda: watch._seen > seen and watch.generation() is not None)
    finally:
        watch.close()


def test_rotation_with_overlap(make_gate: MakeGate, store: Store, right: Credentials, hands: Hands) -> None:
    gate = make_gate()
    with store.begin() as connection:
        new = Credentials(right.login, clients.rotate(connection, right.login, timedelta(days=7)))
    assert gate.verify(right, HERE).login == gate.verify(new, HERE).login == "clinic-1"
    hands.at = datetime.now(UTC) + timedelta(days=6)
    assert gate.verify(right, HERE) and gate.verify(new, HERE)
    hands.at = datetime.now(UTC) + timedelta(days=8)
    assert refusal(gate, right) == "access.secret-expired"
    assert gate.verify(new, HERE)


def test_an_old_secret_is_not_remembered_past_its_overlap(
    make_gate: MakeGate, store: Store, right: Credentials
) -> None:
    gate = make_gate()
    with store.begin() as connection:
        clients.rotate(connection, right.login, timedelta(seconds=3))
    known(gate, right)
    until(lambda: gate.remembered(right, HERE) is None)
    until(lambda: _ended(gate, right))
    assert refusal(gate, right) == "access.secret-expired"


def _ended(gate: Gate, credentials: Credentials) -> bool:
    try:
        gate.verify(credentials, HERE)
    except GatewayError:
        return True
    return False


def test_a_second_rotation_ends_the_oldest_secret(make_gate: MakeGate, store: Store, right: Credentials) -> None:
    gate = make_gate()
    with store.begin() as connection:
        second = Credentials(right.login, clients.rotate(connection, right.login, timedelta(days=7)))
    with store.begin() as connection:
        third = Credentials(right.login, clients.rotate(connection, right.login, timedelta(days=7)))
    assert gate.verify(second, HERE) and gate.verify(third, HERE)
    with pytest.raises(Denied):
        gate.verify(right, HERE)


def test_faults_are_named_only_for_the_right_password(
    make_gate: MakeGate, store: Store, organisations: tuple[str, str], hands: Hands
) -> None:
    now = datetime.now(UTC)
    with store.begin() as connection:
        made = {
            "expired": clients.add(
                connection, "expired", "FUND", valid_from=now - timedelta(days=9), valid_to=now + timedelta(hours=1)
            ),
            "not-yet": clients.add(connection, "not-yet", "FUND", valid_from=now + timedelta(days=1)),
            "revoked": clients.add(connection, "revoked", "FUND"),
            "disabled": clients.add(connection, "disabled", "FUND"),
        }
        clients.revoke(connection, "revoked")
        clients.disable(connection, "disabled")
    hands.at = now + timedelta(hours=2)
    gate = make_gate()
    found = {login: refusal(gate, Credentials(login, secret)) for login, secret in made.items()}
    assert found == {
        "expired": "access.secret-expired",
        "not-yet": "access.secret-not-yet",
        "revoked": "access.secret-revoked",
        "disabled": "access.client-disabled",
    }
    assert {refusal(gate, Credentials(login, "not the secret at all")) for login in made} == {"access.denied"}


def test_a_lagging_clock_takes_a_secret_made_just_now(make_gate: MakeGate, right: Credentials, hands: Hands) -> None:
    hands.at = datetime.now(UTC) - timedelta(seconds=3)
    assert make_gate().verify(right, HERE)


def test_certificates(make_gate: MakeGate, store: Store, client: SimpleNamespace, hands: Hands) -> None:
    good, short, revoked = (f"{number:064x}" for number in (1, 2, 3))
    with store.begin() as connection:
        clients.add_certificate(connection, client.login, good.upper())
        clients.add_certificate(connection, client.login, short, valid_to=datetime.now(UTC) + timedelta(hours=1))
        clients.add_certificate(connection, client.login, revoked)
        clients.revoke_certificate(connection, client.login, revoked)
    gate = make_gate()
    known(gate, Certificate(good))
    assert (
        gate.verify(Certificate(good.upper()), HERE).login == gate.verify(Certificate(short), HERE).login == "clinic-1"
    )
    for fingerprint in (revoked, f"{4:064x}", "nothing"):
        assert refusal(gate, Certificate(fingerprint)) == "access.certificate"
    hands.at = datetime.now(UTC) + timedelta(hours=2)
    assert refusal(gate, Certificate(short)) == "access.certificate"
    hands.at = datetime.now(UTC) - timedelta(hours=2)
    assert refusal(gate, Certificate(good)) == "access.certificate"
    hands.at = None
    with store.begin() as connection:
        clients.disable(connection, client.login)
    assert refusal(gate, Certificate(good)) == "access.client-disabled"


def test_a_thousand_wrong_passwords_do_not_lock_the_client_out(
    make_gate: MakeGate, right: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    gate = make_gate()
    gate.verify(right, HERE)
    until(lambda: gate._watch.generation() is not None)
    delays: list[float] = []
    with caplog.at_level(logging.WARNING, "gateway.access"):
        for number in range(1000):
            with pytest.raises(Denied) as denied:
                gate.verify(Credentials(right.login, f"wrong password {number % 10}"), HERE)
            delays.append(denied.value.delay)
    assert delays == sorted(delays) and 0 < delays[0] < delays[3] < delays[-1] == SETTINGS.guess_delay_seconds
    assert len([one for one in caplog.records if "подбор" in one.getMessage()]) == 1
    assert gate.verify(right, HERE).login == gate.verify(right, THERE).login == "clinic-1"


def test_one_client_guessed_at_from_many_addresses(make_gate: MakeGate, right: Credentials) -> None:
    gate = make_gate()
    gate.verify(right, HERE)
    for number in range(200):
        with pytest.raises(Denied) as denied:
            gate.verify(Credentials(right.login, "wrong password here"), f"10.9.{number // 100}.{number % 100}")
    assert denied.value.delay == SETTINGS.guess_delay_seconds
    assert gate.verify(right, HERE).login == gate.verify(right, THERE).login == "clinic-1"


def test_many_clients_guessed_at_from_one_address(
    make_gate: MakeGate, right: Credentials, caplog: pytest.LogCaptureFixture
) -> None:
    gate = make_gate()
    with caplog.at_level(logging.WARNING, "gateway.access"):
        for number in range(30):
            with pytest.raises(Denied):
                gate.verify(Credentials(f"guess-{number}", "wrong password here"), THERE)
    [alarm] = [one for one in caplog.records if "подбор" in one.getMessage()]
    assert (alarm.client, alarm.address) == ("неизвестный", THERE)
    assert gate.verify(right, THERE).login == "clinic-1"


def test_an_unknown_client_costs_what_a_known_one_costs(
    make_gate: MakeGate, store: Store, right: Credentials, hashings: list[str]
) -> None:
    gate = make_gate()
    costs = []
    for login in ("unknown", right.login, "unknown", right.login):
        with pytest.raises(Denied):
            gate.verify(Credentials(login, "wrong password here"), HERE)
        costs.append(len(hashings))
        hashings.clear()
    assert costs == [2, 2, 0, 0]
    with store.begin() as connection:
        clients.rotate(connection, right.login, timedelta(days=1))
    with pytest.raises(Denied):
        gate.verify(Credentials(right.login, "another wrong password"), HERE)
    assert len(hashings) == 2


def test_odd_pairs_are_denied_without_hashing(make_gate: MakeGate, hashings: list[str]) -> None:
    gate = make_gate()
    for login in ("", "ab", "x" * 65, "имя", "a b c", "a\0bc", "a'--"):
        for password in ("", "x" * 16, "x" * 100_000, "\ud800", "\0"):
            assert refusal(gate, Credentials(login, password)) == "access.denied"
    assert not hashings


def test_odd_passwords_of_a_known_client_are_denied(make_gate: MakeGate, right: Credentials) -> None:
    gate = make_gate()
    for password in ("", "\ud800", "\0", "x" * 100_000, right.password + " ", right.password[:-1]):
        assert refusal(gate, Credentials(right.login, password)) == "access.denied"


def test_secrets_are_kept_as_salted_argon2id_only(store: Store, right: Credentials) -> None:
    with store.begin() as connection:
        clients.add(connection, "twin", "FUND", secret=right.password)
        hashes = connection.execute(text("SELECT hash FROM client_secret")).scalars().all()
        assert len(set(hashes)) == 2
        assert all(one.startswith("$argon2id$v=19$m=19456,t=2,p=1$") for one in hashes)
        tables = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars()
        for table in tables.all():
            if connection.execute(text(f"SELECT has_table_privilege('{table}', 'SELECT')")).scalar_one():
                found = connection.execute(
                    text(f"SELECT count(*) FROM {table} t WHERE strpos(t::text, :secret) > 0"),
                    {"secret": right.password},
                )
                assert found.scalar_one() == 0, table
    assert right.password not in repr(right)


def test_a_hash_with_former_parameters_is_renewed_at_login(
    make_gate: MakeGate, store: Store, right: Credentials
) -> None:
    former = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash(right.password)
    with store.begin() as connection:
        connection.execute(text("UPDATE client_secret SET hash = :former"), {"former": former})
    gate = make_gate()
    gate.verify(right, HERE)
    with store.begin() as connection:
        renewed = connection.execute(text("SELECT hash FROM client_secret")).scalar_one()
    assert renewed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert make_gate().verify(right, HERE)


def test_no_secret_in_the_log(make_gate: MakeGate, right: Credentials, caplog: pytest.LogCaptureFixture) -> None:
    gate = make_gate()
    with caplog.at_level(logging.DEBUG):
        gate.verify(right, HERE)
        for number in range(12):
            refusal(gate, Credentials(right.login, f"typed-{number}-{right.password}"))
            refusal(gate, Credentials(right.password[:30], right.password))
    written = "\n".join(logs.JsonLines().format(one) for one in caplog.records)
    assert right.password[:30] not in written


def test_the_database_away_is_named(make_gate: MakeGate, right: Credentials) -> None:
    gate = make_gate(Store("postgresql://nobody@127.0.0.1:1/none", size=1))
    assert refusal(gate, right) == "server.database"
