"""`nsi load` says what it understood, `nsi list` which edition is in force."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.nsi.test_packets import PROFILES, ZGLV, packet, records


@pytest.fixture
def environment(store, owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DN_GATEWAY_DATABASE_URL", store.url)
    monkeypatch.setenv("DN_GATEWAY_DATABASE_OWNER_URL", owner.url)


def nsi(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["nsi", *map(str, arguments)])


def test_what_was_understood_is_said(environment: None, tmp_path: Path) -> None:
    lines = PROFILES + records({"IDPR": "2", "PRNAME": "терапии", "DATEBEG": "01.01.2018", "DL": "1"}) + "<other/>"
    path = packet(tmp_path, ZGLV + lines)
    said = nsi("load", path).output.splitlines()
    assert said == [
        "V002 загружен (Профили оказанной медицинской помощи): издание 3.0 с 30.03.2018, строк 3, кодов 2",
        "  столбцы: код — idpr; наименование — prname; действует с — datebeg, по — dateend; атрибуты — dl",
        "  элементы other — не записи, их 1",
    ]
    assert nsi("load", path).output.startswith("V002 уже загружен")
    again = packet(tmp_path, ZGLV.replace("3.0", "3.1") + PROFILES)
    assert "  заменено издание 3.0 с той же даты" in nsi("load", again).output
    assert nsi("load", again, "--valid-from", "2999-01-01", "--edition", "далёкое").exit_code == 0
    listed = [line.split("\t") for line in nsi("list").output.splitlines() if line.startswith("V002")]
    assert [(version, state) for _, version, _, _, state, _ in listed] == [("3.1", "действует"), ("далёкое", "будущее")]


def test_columns_are_named_and_a_refusal_names_the_line(environment: None, tmp_path: Path) -> None:
    path = packet(tmp_path, records({"A": "1", "B": "x", "C": "Первый"}, {"A": "1", "B": "", "C": "Второй"}))
    assert "dictionary.unknown" in nsi("load", path, "--dictionary", "MINE").output
    named = ("--dictionary", "MINE", "--name", "c", "--code")
    assert "строка 4: нет кода (b)" in nsi("load", path, *named, "a,b").output
    assert (
        "MINE загружен" in nsi("load", packet(tmp_path, records({"A": "1", "B": "x", "C": "П"})), *named, "a,b").output
    )
