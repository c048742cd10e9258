"""Copies of the whole database by `pg_dump` and `pg_restore`: those of the wheel, else those of the system."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import make_url

from gateway.errors import GatewayError
from gateway.store import eras, programs
from gateway.store.engine import Store


def backup(owner_url: str, path: Path) -> None:
    """Writes a compressed copy beside ``path`` and renames it when it is whole; readable by its owner only.

    Raises ``store.program`` when there is no `pg_dump`, ``store.dump`` when it fails.
    """
    part = path.with_name(path.name + ".part")
    part.touch(mode=0o600)
    part.chmod(0o600)
    try:
        _run("pg_dump", ["--format=custom", f"--file={part}"], owner_url)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def restore(owner_url: str, path: Path) -> None:
    """Reads a copy into an empty database in one transaction; grants are made by the migration after it.

    The history of changes goes on from the copy as a new era: clients that have read further are told to load anew.

    Raises ``store.not-empty`` unless the database has no tables, ``store.program``, ``store.dump``.
    """
    with Store(owner_url, size=0).begin() as connection:
        tables = connection.execute(text("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"))
        if tables.scalar_one():
            raise GatewayError("store.not-empty")
    options = [
        "--no-owner",
        "--no-privileges",
        "--exit-on-error",
        "--single-transaction",
        f"--dbname={_plain(owner_url)}",
    ]
    _run("pg_restore", [*options, str(path)], owner_url)
    with Store(owner_url, size=0).begin() as connection:
        if eras.kept(connection):
            eras.begin(connection)


def _run(program: str, arguments: list[str], owner_url: str) -> None:
    """The password goes through the environment: a command line is visible to every account."""
    url = make_url(owner_url)
    environment = dict(os.environ)
    if url.password:
        environment["PGPASSWORD"] = str(url.password)
    command = [_find(program), *arguments]
    if program == "pg_dump":
        command.append(f"--dbname={_plain(owner_url)}")
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise GatewayError("store.dump", what=program)


def _plain(url: str) -> str:
    """The address without its password."""
    parsed = make_url(url)
    return parsed.set(drivername="postgresql", password=None).render_as_string(hide_password=False)


def _find(program: str) -> str:
    """The wheel's program is the newest one and serves older servers; without the wheel that of the system."""
    try:
        own = programs.wheel() / "bin" / program
    except GatewayError:
        own = None
    found = str(own) if own and own.exists() else shutil.which(program)
    if found is None:
        raise GatewayError("store.program", program=program)
    return found
