"""The embedded server: safe places, crashes, joint use."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from gateway.errors import GatewayError
from gateway.store import programs
from gateway.store.embedded import DATABASE, Server

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="проверяет запуск от root")


@pytest.fixture
def own(folder: Path) -> Iterator[Server]:
    server = Server(folder / "data")
    yield server
    server.stop(force=True)


def modes(path: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for place in (path, *path.parents):
        status = place.stat()
        found[str(place)] = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    return found


def postmaster(server: Server) -> int:
    return int((server.data / "postmaster.pid").read_text().split()[0])


def fill(server: Server, rows: int) -> None:
    with psycopg.connect(server.owner_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS t (n bigint)")
        connection.execute("INSERT INTO t SELECT generate_series(1, %s)", (rows,))


def count(server: Server) -> int:
    with psycopg.connect(server.owner_url) as connection:
        return connection.execute("SELECT count(*) FROM t").fetchone()[0]


def test_folders_above_keep_their_modes(own: Server, folder: Path) -> None:
    closed = folder / "neighbour"
    closed.mkdir(mode=0o700)
    site = programs.wheel()
    before = modes(folder), modes(closed), modes(site)
    own.start()
    assert (modes(folder), modes(closed), modes(site)) == before


def test_data_and_socket_are_private(own: Server) -> None:
    own.start()
    assert stat.S_IMODE(own.data.stat().st_mode) == 0o700
    assert stat.S_IMODE(own.socket.stat().st_mode) == 0o700
    with psycopg.connect(own.admin_url()) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)


@as_root
def test_another_account_is_not_let_in(own: Server) -> None:
    own.start()
    own.socket.chmod(0o755)
    psql = [own.programs / "psql", own.url(), "-c", "SELECT 1"]
    done = subprocess.run(psql, user="daemon", capture_output=True, text=True, cwd="/")
    assert done.returncode != 0
    assert "eer authentication failed" in done.stderr or "Permission denied" in done.stderr


def test_rules_of_text_do_not_depend_on_the_machine(own: Server) -> None:
    own.start()
    with psycopg.connect(own.url()) as connection:
        row = connection.execute(
            "SELECT current_user, lower('ЁЖИК'), datlocprovider::text, datlocale, pg_encoding_to_char(encoding)"
            " FROM pg_database WHERE datname = %s",
            (DATABASE,),
        ).fetchone()
    assert row == ("dn_app", "ёжик", "b", "C.UTF-8", "UTF8")


def test_second_start_finds_the_data(own: Server) -> None:
    own.start()
    fill(own, 3)
    own.stop()
    assert not (own.data / "postmaster.pid").exists()
    own.start()
    assert count(own) == 3


def test_killed_server_starts_again(own: Server) -> None:
    own.start()
    fill(own, 100_000)
    os.kill(postmaster(own), signal.SIGKILL)
    own._process.wait()
    own.start()
    assert count(own) == 100_000


def test_number_of_a_stranger_in_the_pid_file_is_stale(own: Server) -> None:
    own.start()
    fill(own, 1)
    lines = (own.data / "postmaster.pid").read_text().split("\n")
    own.stop()
    (own.data / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]))
    own.start()
    assert count(own) == 1


def test_interrupted_initdb_is_begun_anew(own: Server) -> None:
    (own.folder / "postgresql.new").mkdir(parents=True)
    (own.folder / "postgresql.new" / "PG_VERSION").write_text("18")
    own.start()
    fill(own, 1)
    assert count(own) == 1


def test_who_stops_last_stops_the_server(own: Server) -> None:
    own.start()
    second = Server(own.folder).start()
    pid = postmaster(own)
    own.stop()
    assert postmaster(second) == pid
    fill(second, 2)
    second.stop()
    assert not (own.data / "postmaster.pid").exists()


def test_server_of_a_killed_process_is_joined_and_stopped(own: Server) -> None:
    code = f"from gateway.store.embedded import Server; Server({str(own.folder)!r}).start(); print('up', flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "up\n"
    pid = postmaster(own)
    child.kill()
    child.wait()
    own.start()
    assert postmaster(own) == pid
    own.stop()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}/cwd").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not (own.data / "postmaster.pid").exists()


def test_long_path_moves_the_socket(folder: Path) -> None:
    server = Server(folder / ("д" * 60))
    assert server.socket.parent != server.folder
    server.start()
    try:
        fill(server, 1)
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
    finally:
        server.stop()
        server.socket.rmdir()


@as_root
def test_closed_folder_is_named(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(GatewayError) as refusal:
        Server(closed / "data").start()
    assert refusal.value.code == "store.embedded"
    assert str(closed) in refusal.value.message
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_wrong_configuration_is_told(own: Server) -> None:
    own.start()
    own.stop()
    (own.folder / "etc" / "local.conf").write_text("shared_buffers = nonsense\n")
    with pytest.raises(GatewayError) as refusal:
        own.start()
    assert "shared_buffers" in refusal.value.message
    (own.folder / "etc" / "local.conf").write_text("")
    own.start()


def test_log_holds_no_values(own: Server) -> None:
    own.start()
    with psycopg.connect(own.owner_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE u (v text PRIMARY KEY, d date)")
        connection.execute("INSERT INTO u VALUES ('МАРКЕРОВ', NULL)")
        for statement in ("INSERT INTO u VALUES ('МАРКЕРОВ', NULL)", "SELECT 'МАРКЕРОВ'::date"):
            with pytest.raises(psycopg.Error):
                connection.execute(statement)
        with pytest.raises(psycopg.Error):
            connection.execute("INSERT INTO u VALUES (%s, %s)", ("МАРКЕРОВ", None))
    assert "МАРКЕРОВ" not in (own.folder / "log" / "postgresql.log").read_text()
