"""Files and mailboxes on the command line: what is put, collected, moved, confirmed, and its records."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from gateway.cli import main
from gateway.operations import files
from gateway.operations.model import Owner
from gateway.settings import Settings
from gateway.store.engine import Store

Run = Callable[..., Result]


@pytest.fixture
def run(store: Store, owner: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("DN_GATEWAY_DATABASE_URL", store.url)
    monkeypatch.setenv("DN_GATEWAY_DATABASE_OWNER_URL", owner.url)
    monkeypatch.chdir(tmp_path)
    with owner.begin() as connection:
        for code in ("400001", "400002"):
            connection.execute(
                text("INSERT INTO organisation VALUES (:code, 'МО', true, '2020-01-01', NULL)"), {"code": code}
            )

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(one) for one in arguments])

    return call


def notes(store: Store) -> list[str]:
    with store.begin() as connection:
        return list(connection.execute(text("SELECT operation FROM audit_record ORDER BY id")).scalars())


def test_file_with_its_signature_is_put_and_collected(run: Run, store: Store, tmp_path: Path) -> None:
    content = os.urandom(2_500_000)
    (tmp_path / "Приказ.pdf").write_bytes(content)
    (tmp_path / "Приказ.pdf.sig").write_bytes(b"signature")
    put = run("file", "put", "Приказ.pdf", "--organisation", "400001")
    assert put.exit_code == 0, put.output
    (name, file_id), (signature_name, _) = (line.split("\t") for line in put.output.splitlines())
    assert (name, signature_name) == ("Приказ.pdf", "Приказ.pdf.sig")
    listed = run("mailbox", "list", "--organisation", "400001").output
    assert "подписан" in listed
    assert "Показано файлов: 2 из 2" in listed
    assert "Показано файлов: 0 из 0" in run("mailbox", "list", "--organisation", "400002").output
    refused = run("file", "get", file_id)
    assert refused.exit_code == 2
    assert "уже есть" in refused.output
    got = run("file", "get", file_id, "--out", "копия")
    assert got.exit_code == 0, got.output
    assert (tmp_path / "копия").read_bytes() == content
    (tmp_path / "folder").mkdir()
    assert run("file", "get", file_id, "--out", "folder").exit_code == 0
    assert (tmp_path / "folder" / "Приказ.pdf").read_bytes() == content
    assert sorted(one.name for one in tmp_path.rglob("*") if one.name.endswith(".part")) == []
    assert notes(store) == ["FilePut", "FilePut", "FileGet", "FileGet", "FileGet"]


def test_put_is_all_or_nothing(run: Run, store: Store, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    assert "client.organisation" in run("file", "put", "a", "--organisation", "499999").output
    long = "я" * 120
    (tmp_path / long).write_bytes(b"long")
    assert run("file", "put", long, "--organisation", "400001").exit_code == 0
    assert run("file", "put", "absent", "--organisation", "400001").exit_code == 2
    assert "Показано файлов: 1 из 1" in run("file", "list").output


def test_get_into_a_folder_that_is_not_there(run: Run, store: Store) -> None:
    with store.begin() as connection:
        file_id = files.put(connection, Settings(), owner=Owner("400001"), client_id=1, name="a", content=b"a")
    result = run("file", "get", file_id, "--out", "nowhere/a")
    assert result.exit_code == 1
    assert "не записан" in result.output
    assert "object.not-found" in run("file", "get", "00000000-0000-0000-0000-000000000000").output


def test_file_is_moved_and_confirmed(run: Run, store: Store) -> None:
    with store.begin() as connection:
        file_id = files.put(connection, Settings(), owner=Owner(), client_id=1, name="a", content=b"a")
    assert "object.not-found" in run("mailbox", "confirm", file_id).output
    assert run("file", "move", file_id, "--organisation", "400002").exit_code == 0
    assert "не подтверждён" in run("mailbox", "list", "--organisation", "400002").output
    assert run("mailbox", "confirm", file_id).exit_code == 0
    assert "получен " in run("mailbox", "list").output
    assert notes(store) == ["FileMove", "FileConfirm"]


def test_contacts(run: Run, store: Store) -> None:
    assert run("mailbox", "contact").output == "Извещать некого\n"
    given = ("--email", "a@example.org", "--webhook", "https://example.org/dn")
    assert run("mailbox", "contact", "--organisation", "400001", *given).output == (
        "400001\ta@example.org\thttps://example.org/dn\n"
    )
    assert run("mailbox", "contact", "--organisation", "400002", "--email", "b@example.org").exit_code == 0
    kept = run("mailbox", "contact", "--organisation", "400001", "--webhook", "https://mis.example.org/other")
    assert "a@example.org" in kept.output
    assert len(run("mailbox", "contact").output.splitlines()) == 2
    assert "mailbox.contact" in run("mailbox", "contact", "--organisation", "400001", "--email", "x").output
    assert "client.organisation" in run("mailbox", "contact", "--organisation", "9", "--email", "a@b").output
    assert run("mailbox", "contact", "--remove").exit_code == 2
    assert run("mailbox", "contact", "--organisation", "400001", "--remove").output == "Извещать некого\n"
    assert "object.not-found" in run("mailbox", "contact", "--organisation", "400001", "--remove").output
    assert notes(store) == ["MailboxContact"] * 4
