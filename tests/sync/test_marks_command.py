"""`dn-gateway reconcile marks`: registers taken and cases taken back at the command line."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.store.engine import Store
from tests.lists.region import Region, region
from tests.lists.uploads import entries
from tests.sync.registers import Bill, Register, Who
from tests.sync.test_marks import kept


@pytest.fixture
def place(store: Store) -> Region:
    return region(store, date(2026, 11, 18))


@pytest.fixture(autouse=True)
def environment(store: Store, owner: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DN_GATEWAY_DATABASE_URL", store.url)
    monkeypatch.setenv("DN_GATEWAY_DATABASE_OWNER_URL", owner.url)
    monkeypatch.setenv("DN_GATEWAY_DATA_DIR", str(tmp_path))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["reconcile", "marks", *arguments])


def test_a_register_is_taken_and_its_case_taken_back(place: Region, tmp_path: Path) -> None:
    register = Register([Bill(Who(place.person()), mark=2), Bill(Who(place.person()), mark=6, id="2")])
    path = tmp_path / f"{register.name}.ZIP"
    path.write_bytes(register.packet())
    planned = run("--period", "2026-10", "--dry-run", str(path))
    assert (planned.exit_code, entries(place)) == (0, [])
    assert f"{register.name}_marks_plan.csv" in planned.stdout
    done = run("--period", "2026-10", str(path))
    assert done.exit_code == 0, done.output
    assert f"{register.name}_marks.csv" in done.stdout
    assert [row["outcome"] for row in kept(place)] == ["ok", "mark.not-observed"]
    back = run("--take-back", f"{register.name}/1")
    assert back.stdout == "Отозвано признаков: 1; записей отправлено на проверку: 1\n"
    unknown = run("--take-back", f"{register.name}/7")
    assert (unknown.exit_code, "object.not-found" in unknown.stderr) == (1, True)


def test_what_is_not_said_is_asked_for() -> None:
    assert run().exit_code == 2
    assert run("--take-back", "X/1", "--period", "2026-10").exit_code == 2
    assert run("--period", "october").exit_code == 1
