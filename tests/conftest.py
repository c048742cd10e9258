"""Fixtures of the whole suite: one real PostgreSQL per run, one fresh migrated database per test.

`DATABASE_URL` (a role that may create roles and databases) makes the suite use that server instead of the embedded one.
`DN_GATEWAY_REFERENCE` is the folder of third-party reference files; `DN_GATEWAY_REQUIRE` lists, separated by commas, what
must not be missing (reference, php, gsoap, python3.12, …): a test that needs it then fails instead of being skipped.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from gateway.settings import Settings
from gateway.store.embedded import APP, OWNER, Server, create_database, create_roles
from gateway.store.engine import Store
from gateway.store.place import Place
from gateway.upgrade import upgrade
from tests import markers

TEMPLATE = "dn_test_template"
_numbers = itertools.count(1)


class ForeignServer:
    """The server of `DATABASE_URL` with the interface of the embedded one that tests use."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        with psycopg.connect(url, autocommit=True) as connection:
            create_roles(connection)
            for role in (OWNER, APP):
                connection.execute(f"ALTER ROLE {role} PASSWORD 'test'".encode())
            connection.execute(f"GRANT {OWNER} TO CURRENT_USER".encode())

    def _as(self, role: str, database: str) -> str:
        url = self._url.set(username=role, password="test", database=database)
        return url.render_as_string(hide_password=False)

    def url(self, database: str) -> str:
        return self._as(APP, database)

    def owner_url_of(self, database: str) -> str:
        return self._as(OWNER, database)

    def admin_url(self, database: str | None = None) -> str:
        url = self._url.set(database=database) if database else self._url
        return url.render_as_string(hide_password=False)


@contextmanager
def _open_folder(prefix: str) -> Iterator[Path]:
    """A folder that the account of the embedded server may enter too (pytest's own are closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for an embedded server of the test's own."""
    with _open_folder("dn-gateway-own-") as folder:
        yield folder


def _sweep() -> None:
    """Ends servers that a killed run has left behind."""
    for mark in Path("/var/tmp").glob("dn-gateway-test-*/pid"):
        try:
            os.kill(int(mark.read_text()), 0)
        except ProcessLookupError:
            Server(mark.parent / "data").stop()
            shutil.rmtree(mark.parent, ignore_errors=True)
        except (OSError, ValueError):
            continue


@pytest.fixture(scope="session")
def server() -> Iterator[Server | ForeignServer]:
    url = os.environ.get("DATABASE_URL")
    if url:
        yield ForeignServer(url)
        return
    _sweep()
    with _open_folder("dn-gateway-test-") as folder:
        (folder / "pid").write_text(str(os.getpid()))
        with Server(folder / "data", durable=False) as embedded:
            yield embedded
        log = (embedded.folder / "log" / "postgresql.log").read_text(encoding="utf-8", errors="replace")
        assert "ready to accept connections" in log
        assert markers.leaks(log) == []


@pytest.fixture(scope="session")
def template(server: Server | ForeignServer) -> Iterator[str]:
    """The name of a migrated database with the dictionaries of the product, to be copied."""
    name = f"{TEMPLATE}_{os.getpid()}"
    with psycopg.connect(server.admin_url(), autocommit=True) as admin:
        create_database(admin, name)
    upgrade(Place(server.url(name), server.owner_url_of(name)), Settings())
    yield name
    _drop(server, name)


def _drop(server: Server | ForeignServer, name: str) -> None:
    with psycopg.connect(server.admin_url(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


def _databases(server: Server | ForeignServer) -> Iterator[Callable[..., str]]:
    """Makes databases that vanish at the end: `make_database()` is empty, `make_database(template)` a copy."""
    made: list[str] = []

    def make(source: str | None = None) -> str:
        name = f"dn_test_{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(server.admin_url(), autocommit=True) as admin:
            create_database(admin, name, source)
        made.append(name)
        return name

    yield make
    for name in made:
        _drop(server, name)


make_database = pytest.fixture(_databases, name="make_database")
make_database_once = pytest.fixture(_databases, name="make_database_once", scope="module")
"""The same for what the tests of one file copy."""


@pytest.fixture
def database(make_database: Callable[..., str], template: str) -> str:
    """The name of this test's own database."""
    return make_database(template)


@pytest.fixture
def store(server: Server | ForeignServer, database: str) -> Iterator[Store]:
    """The test's database under the role of the application."""
    store = Store(server.url(database), size=60)
    yield store
    store.close()


@pytest.fixture
def owner(server: Server | ForeignServer, database: str) -> Iterator[Store]:
    """The test's database under the role that owns schema and retention."""
    store = Store(server.owner_url_of(database), size=4)
    yield store
    store.close()


def _required(name: str) -> bool:
    return name in os.environ.get("DN_GATEWAY_REQUIRE", "").replace(" ", "").split(",")


@pytest.fixture(scope="session")
def require() -> Callable[[str], None]:
    """`require("php")` where php is absent: skips the test, or fails it when `DN_GATEWAY_REQUIRE` names it."""

    def missing(name: str) -> None:
        if _required(name):
            pytest.fail(f"{name} обязательно (DN_GATEWAY_REQUIRE), но не найдено")
        pytest.skip(f"нет {name}")

    return missing


@pytest.fixture(scope="session")
def reference(require: Callable[[str], None]) -> Path:
    """The folder of third-party reference files."""
    folder = os.environ.get("DN_GATEWAY_REFERENCE", "")
    if not folder or not Path(folder).is_dir():
        require("reference")
    return Path(folder)
