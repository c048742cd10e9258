"""`list export`: files of so many records come into a folder or the mailbox; nothing that stands there is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.operations import files
from gateway.operations.model import Scope
from gateway.store.engine import Store
from tests.lists.region import CLINIC, Region


@pytest.fixture(autouse=True)
def environment(store: Store, owner: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DN_GATEWAY_DATABASE_URL", store.url)
    monkeypatch.setenv("DN_GATEWAY_DATABASE_OWNER_URL", owner.url)
    monkeypatch.setenv("DN_GATEWAY_DATA_DIR", str(tmp_path / "data"))


def export(*options: object) -> Result:
    given = ("--year", "2026", "--month", "11", "--format", "CSV", "--records-per-file", "2")
    return CliRunner().invoke(main, ["list", "export", *given, *(str(one) for one in options)])


def test_files_come_into_the_folder(place: Region, tmp_path: Path) -> None:
    for _ in range(3):
        place.add(place.person())
    out = tmp_path / "out"
    done = export("--organisation", CLINIC, "--out", out)
    assert done.exit_code == 0, done.output
    names = [f"DN_{CLINIC}_2026-11_OBSERVED_{part}.csv" for part in ("000001-000002", "000003-000003")]
    assert sorted(one.name for one in out.iterdir()) == names
    assert [(out / name).read_text(encoding="utf-8-sig").count("\n") for name in names] == [3, 2]
    (out / names[0]).write_text("своё", encoding="utf-8")
    refused = export("--organisation", CLINIC, "--out", out)
    assert (refused.exit_code, (out / names[0]).read_text(encoding="utf-8")) == (2, "своё")
    assert export("--organisation", CLINIC, "--out", out, "--overwrite").exit_code == 0
    assert (out / names[0]).read_text(encoding="utf-8-sig").count("\n") == 3


def test_files_come_into_the_mailbox(place: Region, store: Store) -> None:
    place.add(place.person())
    done = export("--organisation", CLINIC, "--mailbox")
    assert done.exit_code == 0, done.output
    with store.begin() as connection:
        total, made = files.mailbox(connection, Scope(), organisation=CLINIC)
    assert (total, made[0].kind) == (1, "EXPORT")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--out", "out"), 2),
        (("--all", "--mailbox"), 2),
        (("--organisation", CLINIC), 2),
        (("--organisation", CLINIC, "--mailbox", "--month", "13"), 1),
        (("--organisation", CLINIC, "--mailbox", "--format", "PDF"), 1),
        (("--organisation", "499999", "--mailbox"), 1),
    ],
)
def test_a_wrong_wish_begins_nothing(
    place: Region, options: tuple[str, ...], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = export(*options)
    assert refused.exit_code == code, refused.output
    assert "Операция" not in refused.output
