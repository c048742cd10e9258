"""Commands against a real database: what they print and their exit codes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from gateway import phrases
from gateway.access import rights
from gateway.cli import main
from gateway.operations import queries
from gateway.store.migrate import head

Run = Callable[..., Result]


@pytest.fixture
def run(store, owner, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("DN_GATEWAY_DATABASE_URL", store.url)
    monkeypatch.setenv("DN_GATEWAY_DATABASE_OWNER_URL", owner.url)

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(main, arguments)

    return call


@pytest.fixture
def organisation(owner) -> str:
    with owner.begin() as connection:
        connection.execute(text("INSERT INTO organisation VALUES ('780001', 'МО', true, '2020-01-01', NULL)"))
    return "780001"


def test_migrate_twice(run: Run) -> None:
    result = run("migrate")
    assert (result.exit_code, result.output) == (0, f"База данных уже в порядке: версия схемы {head()}\n")


def test_client_is_added_rotated_listed_and_disabled(run: Run, organisation: str) -> None:
    added = run("client", "add", "mo-one", "--organisation", organisation, "--right", "read", "--right", "AddEntries")
    assert added.exit_code == 0
    secret = added.output.split()[-1]
    rotated = run("client", "rotate", "mo-one")
    assert rotated.exit_code == 0
    assert rotated.output.split()[-1] != secret
    assert run("client", "disable", "mo-one").exit_code == 0
    listed = run("client", "list").output
    assert f"mo-one\tMO\tотключён\t780001\t{', '.join(sorted({*rights.READING, 'AddEntries'}))}" in listed
    assert secret not in listed


def test_refusal_is_one_line(run: Run) -> None:
    result = run("client", "rotate", "nobody")
    assert result.exit_code == 1
    assert result.output.startswith("Ошибка client.unknown: ")
    assert result.output.count("\n") == 1


def test_job_is_queued_once_and_listed(run: Run, store) -> None:
    assert "начато за период" in run("job", "run", "housekeeping").output
    again = run("job", "run", "housekeeping")
    assert (again.exit_code, "job.begun" in again.output) == (1, True)
    assert run("job", "run", "housekeeping", "--again").output.endswith("#2\n")
    with store.begin() as connection:
        assert [job.task for job in queries.last_jobs(connection, 9)] == ["housekeeping"]
    assert "housekeeping\tждёт" in run("job", "list").output
    assert run("job", "run", "nothing").exit_code == 1


def test_audit_is_exported_and_verified(run: Run, organisation: str, tmp_path: Path) -> None:
    run("client", "add", "mo-one", "--organisation", organisation)
    assert run("audit", "export", str(tmp_path / "audit.jsonl")).exit_code == 0
    assert "ClientAdd" in (tmp_path / "audit.jsonl").read_text(encoding="utf-8")
    result = run("audit", "verify")
    assert result.exit_code == 0
    assert result.output.endswith("Журнал цел\n")


def test_doctor_finds_what_is_missing(run: Run) -> None:
    result = run("doctor")
    assert result.exit_code == 1
    assert "не загружены справочники: ICD10" in result.output
    assert "роль приложения dn_app не может изменить журнал доступа" in result.output


def test_doctor_sees_one_role_for_all(run: Run, owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DN_GATEWAY_DATABASE_URL", owner.url)
    assert "роль приложения dn_owner может изменить журнал доступа" in run("doctor").output


def test_doctor_without_a_database(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DN_GATEWAY_DATABASE_URL", "postgresql://dn_app@/nothing?host=/nowhere")
    result = run("doctor")
    assert result.exit_code == 1
    assert "база данных не отвечает" in result.output


def test_command_on_an_old_schema_is_refused(run: Run, owner) -> None:
    with owner.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    result = run("client", "list")
    assert result.exit_code == 1
    assert "store.older" in result.output


def test_other_choice_of_installation_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DN_GATEWAY_OBSERVATION_KEY", "code")
    result = run("client", "list")
    assert result.exit_code == 1
    assert "store.installation" in result.output


def test_month_is_closed_and_reopened(run: Run, store, organisation: str) -> None:
    closed = run("month", "close", "2026-01", "--organisation", organisation)
    assert "780001: месяц 2026-01 закрыт, редакция 1\n" in closed.output
    assert run("month", "close", "2026-01").output.startswith("Закрывать нечего")
    again = run("month", "close", "2026-01", "--organisation", organisation)
    assert again.exit_code == 1
    reopened = run("month", "reopen", "2026-01", "--organisation", organisation, "--reason", "ошибка")
    assert reopened.output == "780001: месяц 2026-01 открыт\n"
    assert "редакция 2" in run("month", "close", "2026-01").output
    with store.begin() as connection:
        noted = connection.execute(text("SELECT operation FROM audit_record WHERE service = 'operator' ORDER BY id"))
        assert noted.scalars().all() == ["MonthClose", "MonthReopen", "MonthClose"]


def test_rights_certificates_and_secrets_of_a_client(run: Run, organisation: str) -> None:
    run("client", "add", "mo-one", "--organisation", organisation)
    assert run("client", "grant", "mo-one", "GetList", "FindPerson").output.endswith("mo-one: FindPerson, GetList\n")
    assert run("client", "withdraw", "mo-one", "all").output.endswith("mo-one: нет\n")
    assert "client.right" in run("client", "grant", "mo-one", "GetEverything").output
    assert run("client", "certificate", "mo-one", "AB" * 32).output == "Сертификат принимается\n"
    assert run("client", "certificate", "mo-one", "ab" * 32, "--revoke").output == "Сертификат отозван\n"
    assert run("client", "revoke", "mo-one").output == "Отозвано секретов: 1\n"
    assert run("client", "disable", "mo-one").exit_code == 0
    assert run("client", "enable", "mo-one").output == "Клиент mo-one действует\n"


def test_dictionaries_and_the_insured_are_loaded(run: Run, store, tmp_path: Path) -> None:
    (tmp_path / "ORGANISATIONS.csv").write_text("code;name\n780001;Поликлиника\n", encoding="utf-8")
    (tmp_path / "persons.csv").write_text(
        "enp;last_name;first_name;birth_date;sex;attached_organisation\n"
        "4058930884000010;Королёва;Алёна;1960-01-15;2;780001\n1;А;Б;1960-01-15;2;\n",
        encoding="utf-8",
    )
    loaded = run("nsi", "load", str(tmp_path / "ORGANISATIONS.csv"))
    assert "ORGANISATIONS загружен" in loaded.output
    assert "уже загружен" in run("nsi", "load", str(tmp_path / "ORGANISATIONS.csv")).output
    assert "ORGANISATIONS\t" in run("nsi", "list").output
    result = run("insured", "load", str(tmp_path / "persons.csv"), "--report", str(tmp_path / "refused.csv"))
    assert "новых 1, изменено 0, без изменений 0, отказано 1" in result.output
    assert (tmp_path / "refused.csv").read_text(encoding="utf-8").splitlines()[1].startswith("3;person.enp-format;")
    with store.begin() as connection:
        noted = connection.execute(text("SELECT operation FROM audit_record WHERE service = 'operator' ORDER BY id"))
        assert noted.scalars().all() == ["DictionaryLoad", "InsuredLoad"]


def test_a_settings_file_that_is_not_there_is_named(run: Run) -> None:
    assert "setting.file" in run("--config", "/nowhere.toml", "client", "list").output


def _every(group: click.Group, *path: str) -> list[tuple[str, ...]]:
    found = [path]
    for name, command in group.commands.items():
        found += _every(command, *path, name) if isinstance(command, click.Group) else [(*path, name)]
    return found


@pytest.mark.parametrize("path", _every(main), ids=" ".join)
def test_help_is_russian(path: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*path, "--help"], prog_name="dn-gateway")
    assert shown.exit_code == 0
    assert shown.output.startswith("Вызов: dn-gateway")
    assert not set(phrases.PHRASES) & set(re.findall(r"[A-Z][\w ]+[:.]?", shown.output))
    for line in shown.output.splitlines()[2:]:
        assert re.search("[а-яё]", line, re.IGNORECASE) or not line.strip(" []0123456789<=x>.:"), line


@pytest.mark.parametrize(
    "arguments",
    [["frob"], ["doctor", "--x"], ["doctor", "y"], ["client", "add"], ["client", "add", "a", "--kind", "X"],
     ["worker", "--concurrency", "0"], ["worker", "--concurrency", "x"], ["nsi", "load", "/nowhere"],
     ["audit", "export", "a", "--since", "1"], ["month", "reopen", "2026-10"], ["doctor", "--data"]],
)  # fmt: skip
def test_mistakes_in_arguments_are_told_in_russian(arguments: list[str]) -> None:
    told = CliRunner().invoke(main, arguments, prog_name="dn-gateway")
    assert told.exit_code == 2
    last = told.output.splitlines()[-1]
    assert last.startswith("Ошибка: ")
    assert re.search("[а-яё]", last.removeprefix("Ошибка: "))


def test_phrases_are_those_of_click() -> None:
    """A new version of click with other words is noticed here."""
    source = "".join(path.read_text(encoding="utf-8") for path in Path(click.__file__).parent.glob("*.py"))
    own = {"required"}
    for phrase in phrases.PHRASES.keys() - own:
        assert repr(phrase)[1:-1] in source or phrase in source, phrase
