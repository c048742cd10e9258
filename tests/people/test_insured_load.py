"""`insured load`: what the file adds, changes, leaves alone, and that a failure leaves nothing behind."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.people import insurers, organisations
from gateway.people.extract import COLUMNS
from gateway.people.insurers import Insurer
from gateway.people.load import LoadCounts, load_insured
from gateway.people.organisations import Organisation

from .conftest import MINE, OTHER, START


@pytest.fixture(params=["application", "owner"])
def loader(request, directory, owner):
    """The store that loads: the application merges, the owner fills the empty table."""
    return owner if request.param == "owner" else directory


@pytest.fixture
def file(tmp_path: Path, extract_text):
    def make(lines, columns=COLUMNS) -> Path:
        path = tmp_path / "extract.csv"
        path.write_text(extract_text(lines, columns), encoding="utf-8")
        return path

    return make


def rows(store, what="count(*)"):
    with store.driver() as driver:
        return driver.execute(f"SELECT {what} FROM person").fetchall()


def test_persons_are_stored_as_the_file_has_them(loader, file, extract_line):
    line = extract_line(7, last_name="Ёлкина-Щукина", policy_number="12345", death_date="2024-02-29")
    report = load_insured(loader, file([line]))
    assert report.counts == LoadCounts(lines=1, taken=1, added=1)
    stored = rows(loader, f"{', '.join(f'{name}::text' for name in COLUMNS)}, name_key, source")
    sure = {**line, "insured_in_region": "true"}
    assert stored == [(*sure.values(), "ЕЛКИНА-ЩУКИНА АЛЕНА ПЕТРОВНА", "LOCAL")]


def test_wrong_and_repeated_lines_are_reported_without_values(loader, file, extract_line, tmp_path):
    lines = [extract_line(number) for number in range(6)]
    lines[1]["enp"] = "4000000000000001"
    lines[3]["enp"] = lines[0]["enp"]
    lines[4]["insurer"] = "99999"
    report = load_insured(loader, file(lines), report=tmp_path / "report.csv")
    assert (report.counts.lines, report.counts.taken, report.counts.refused) == (6, 3, 3)
    assert report.codes == {"person.enp-check": 1, "load.insurer": 1, "load.repeated": 1}
    text = (tmp_path / "report.csv").read_text(encoding="utf-8")
    named = list(csv.reader(text.splitlines(), delimiter=";"))
    assert named[0] == ["line", "code", "message"]
    assert sorted((line, code) for line, code, _ in named[1:]) == [
        ("3", "person.enp-check"),
        ("5", "load.repeated"),
        ("6", "load.insurer"),
    ]
    assert not any(value in text for value in ("4000000000000001", "99999", lines[0]["enp"], "Королёва"))
    first = lines[0]
    with loader.driver() as driver:
        found = driver.execute("SELECT snils FROM person WHERE enp = %s", (first["enp"],)).fetchall()
    assert found == [(first["snils"],)]


def test_the_second_load_changes_nothing(loader, file, extract_line):
    path = file([extract_line(number) for number in range(50)])
    load_insured(loader, path)
    before = rows(loader, "id, xmin::text, as_of")
    report = load_insured(loader, path)
    assert report.counts == LoadCounts(lines=50, taken=50, same=50)
    assert rows(loader, "id, xmin::text, as_of") == before


def test_changes_reach_the_hook_and_absence_changes_nothing(loader, file, extract_line):
    load_insured(loader, file([extract_line(number) for number in range(10)]))
    changed = extract_line(3, attached_organisation=OTHER, attached_since="2026-01-01")
    dead = extract_line(4, death_date="2026-02-02")
    seen = []

    def hook(connection, counts):
        seen.append((counts.changed, counts.added))
        query = "SELECT p.enp FROM changed_person c JOIN person p ON p.id = c.person_id ORDER BY p.enp"
        seen.append([row[0] for row in connection.exec_driver_sql(query)])

    report = load_insured(loader, file([changed, dead, extract_line(5), extract_line(99)]), after_merge=hook)
    assert report.counts == LoadCounts(lines=4, taken=4, added=1, changed=2, same=1)
    assert seen == [(2, 1), sorted([changed["enp"], dead["enp"]])]
    assert rows(loader) == [(11,)]


def test_absent_columns_are_left_as_they_are(loader, file, extract_line):
    load_insured(loader, file([extract_line(1)]))
    few = ("enp", "last_name", "first_name", "middle_name", "birth_date", "sex")
    report = load_insured(loader, file([extract_line(1, last_name="Щукина")], few))
    assert report.counts.changed == 1
    assert rows(loader, "last_name, snils, attached_organisation") == [("Щукина", extract_line(1)["snils"], MINE)]


def test_persons_without_the_optional_columns_are_insured_in_the_region(loader, file, extract_line):
    load_insured(loader, file([extract_line(1)], ("sex", "birth_date", "first_name", "last_name", "enp")))
    assert rows(loader, "insured_in_region, snils, insurer") == [(True, None, None)]


def test_indexes_are_there_after_a_fill(owner, directory, file, extract_line):
    def indexes():
        with owner.driver() as driver:
            return driver.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'person' ORDER BY 1").fetchall()

    before = indexes()
    lines = [extract_line(number) for number in range(20)]
    lines[9]["enp"] = lines[2]["enp"]
    load_insured(owner, file(lines))
    assert indexes() == before
    report = load_insured(directory, file([extract_line(500)]))
    assert report.counts.added == 1


def test_a_failure_or_an_abort_leaves_nothing(loader, file, extract_line, tmp_path):
    load_insured(loader, file([extract_line(1)]))

    def abort(stage, done):
        if stage == "Запись изменений":
            raise KeyboardInterrupt

    def fail(connection, counts):
        raise RuntimeError

    lines = [extract_line(1, last_name="Другая"), *(extract_line(number) for number in range(2, 30))]
    with pytest.raises(KeyboardInterrupt):
        load_insured(loader, file(lines), progress=abort)
    with pytest.raises(RuntimeError):
        load_insured(loader, file(lines), after_merge=fail)
    assert rows(loader, "last_name") == [("Королёва",)]


def test_an_abort_of_a_fill_leaves_the_table_and_its_indexes(owner, directory, file, extract_line):
    def abort(stage, done):
        if stage == "Построение индексов":
            raise KeyboardInterrupt

    path = file([extract_line(number) for number in range(10)])
    with pytest.raises(KeyboardInterrupt):
        load_insured(owner, path, progress=abort)
    assert rows(directory) == [(0,)]
    assert load_insured(owner, path).counts.added == 10


def test_a_wrong_file_is_refused_before_anything(loader, tmp_path):
    with pytest.raises(GatewayError) as missing:
        load_insured(loader, tmp_path / "absent.csv")
    assert missing.value.code == "load.file"
    (tmp_path / "wrong.csv").write_text("a;b\n1;2\n")
    with pytest.raises(GatewayError) as wrong:
        load_insured(loader, tmp_path / "wrong.csv")
    assert wrong.value.code == "load.columns"


def test_directories_are_replaced_by_code(directory):
    with directory.begin() as connection:
        organisations.put(connection, [Organisation(MINE, "Новое имя", False, START)])
        insurers.put(connection, [Insurer("40003", "СМО", START)])
        assert organisations.codes(connection) == {MINE, OTHER}
        assert insurers.codes(connection) == {"40001", "40002", "40003"}
