"""`list upload`: the file goes in, the protocols come out, the exit code tells how it went."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.store.engine import Store
from tests.lists import uploads
from tests.lists.region import CLINIC, Region


@pytest.fixture(autouse=True)
def environment(store: Store, owner: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DN_GATEWAY_DATABASE_URL", store.url)
    monkeypatch.setenv("DN_GATEWAY_DATABASE_OWNER_URL", owner.url)
    monkeypatch.setenv("DN_GATEWAY_DATA_DIR", str(tmp_path / "data"))


def upload(path: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["list", "upload", str(path), *options])


def test_a_list_goes_in_and_its_protocols_come_out(place: Region, tmp_path: Path) -> None:
    good, enp = {"enp": place.person(), "diagnosis": "I10"}, place.person()
    path = tmp_path / "список.csv"
    path.write_bytes(uploads.table(good, {"enp": enp, "diagnosis": "I-10"}))
    done = upload(path, "--organisation", CLINIC)
    assert done.exit_code == 3, done.output
    assert "Отклонено записей: 1" in done.output
    names = {"Vсписок.xml", "список_protocol.csv", "список_protocol.xlsx"}
    assert {one.name for one in tmp_path.iterdir()} >= names
    assert enp not in done.output + (tmp_path / "список_protocol.csv").read_text()
    assert [entry["source"] for entry in uploads.entries(place)] == ["OPERATOR"]
    path.write_bytes(uploads.table(good))
    for said in ("Протоколов: 3", "изменений нет"):
        done = upload(path, "--organisation", CLINIC, "--out", str(tmp_path / "out"))
        assert done.exit_code == 0, done.output
        assert said in done.output
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_file_that_is_no_list(place: Region, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(b"%PDF-1.4")
    done = upload(path, "--organisation", CLINIC)
    assert (done.exit_code, "file.format" in done.output) == (1, True)
    done = upload(path, "--organisation", "499999")
    assert done.exit_code == 1
    assert "Ошибка client.organisation" in done.output
