"""Editions in the database and dictionaries as features ask them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.domain.clock import Clock
from gateway.errors import GatewayError
from gateway.nsi.catalogue import ALL, FIRST_DAY
from gateway.nsi.dictionaries import LoadedEdition, Nsi, load, ship
from gateway.nsi.editions import all_of
from gateway.store.engine import Store

TODAY = date(2026, 11, 22)
PLACES = "code;name;no_show\n1;Кабинет;\n9;Не пришёл;1\n"


@pytest.fixture
def nsi(store: Store) -> Nsi:
    """Asks the database at every call."""
    return Nsi(store, Clock(source=lambda: datetime(2026, 11, 22, 9, tzinfo=UTC)), recheck_seconds=0)


def loaded(store: Store, folder: Path, body: str, name: str, **options: date | str) -> LoadedEdition:
    path = folder / name
    path.write_text(body, encoding="utf-8")
    with store.begin() as connection:
        return load(connection, path, **options)  # type: ignore[arg-type]


def count(store: Store) -> tuple[int, int]:
    with store.begin() as connection:
        one = connection.execute(text("SELECT count(*) FROM dictionary_edition")).scalar_one()
        return one, connection.execute(text("SELECT count(*) FROM dictionary_item")).scalar_one()


def test_shipped_dictionaries_are_there(store: Store, nsi: Nsi) -> None:
    for name, dictionary in ALL.items():
        if dictionary.shipped:
            assert nsi.items(name), name
    assert nsi.has("PLACES", "9", TODAY)
    assert not nsi.has("PLACES", "7", TODAY)
    assert nsi.items("PLACES", TODAY)["9"].attributes["no_show"] is True
    assert nsi.items("PLACES", date(1990, 1, 1)).keys() == nsi.items("PLACES", TODAY).keys()


def test_shipping_again_changes_nothing(store: Store) -> None:
    with store.begin() as connection:
        ship(connection)
        before = all_of(connection)
    with store.begin() as connection:
        ship(connection)
        assert all_of(connection) == before


def test_a_changed_shipped_edition_is_renewed_and_an_operators_is_kept(store: Store, tmp_path: Path, nsi: Nsi) -> None:
    loaded(store, tmp_path, PLACES, "PLACES.csv", valid_from=FIRST_DAY)
    with store.begin() as connection:
        connection.execute(text("UPDATE dictionary_edition SET sha256 = 'old' WHERE dictionary = 'RESULTS'"))
        connection.execute(text("DELETE FROM dictionary_item WHERE code = '8'"))
        ship(connection)
    assert nsi.items("PLACES", TODAY).keys() == {"1", "9"}
    assert nsi.has("RESULTS", "8", TODAY)


def test_a_later_edition_comes_into_force_on_its_day(store: Store, tmp_path: Path, nsi: Nsi) -> None:
    edition = loaded(store, tmp_path, PLACES, "PLACES.csv", valid_from=date(2026, 12, 1), version="2")
    assert (edition.dictionary, edition.version, edition.rows, edition.already) == ("PLACES", "2", 2, False)
    assert nsi.items("PLACES", date(2026, 11, 30))["1"].name == "В медицинской организации"
    assert nsi.items("PLACES", date(2026, 12, 1))["1"].name == "Кабинет"
    assert nsi.items("DICTIONARIES", date(2026, 12, 1))["PLACES"].attributes == {
        "version": "2", "valid_from": "2026-12-01", "rows": 2,
    }  # fmt: skip


def test_the_same_file_is_recognised(store: Store, tmp_path: Path) -> None:
    first = loaded(store, tmp_path, PLACES, "PLACES.csv", valid_from=date(2026, 12, 1))
    before = count(store)
    again = loaded(store, tmp_path, PLACES, "PLACES.csv")
    assert (again.already, again.valid_from, again.sha256) == (True, first.valid_from, first.sha256)
    assert count(store) == before
    assert not loaded(store, tmp_path, PLACES, "PLACES.csv", valid_from=date(2027, 1, 1)).already


def test_the_file_of_a_former_edition_brings_it_back(store: Store, tmp_path: Path) -> None:
    loaded(store, tmp_path, PLACES, "PLACES.csv", valid_from=date(2026, 1, 1))
    loaded(store, tmp_path, PLACES.replace("Кабинет", "Приём"), "PLACES.csv", valid_from=date(2026, 2, 1))
    assert not loaded(store, tmp_path, PLACES, "PLACES.csv").already
    assert loaded(store, tmp_path, PLACES, "PLACES.csv").already


def test_an_edition_of_the_same_day_is_replaced_and_seen(store: Store, tmp_path: Path, nsi: Nsi) -> None:
    loaded(store, tmp_path, PLACES, "PLACES.csv", valid_from=date(2026, 1, 1))
    assert nsi.items("PLACES", TODAY)["1"].name == "Кабинет"
    loaded(store, tmp_path, PLACES.replace("Кабинет", "Приём"), "PLACES.csv", valid_from=date(2026, 1, 1))
    assert nsi.items("PLACES", TODAY)["1"].name == "Приём"


def test_without_a_day_an_edition_is_in_force_from_today(store: Store, tmp_path: Path) -> None:
    with store.begin() as connection:
        today = connection.execute(text("SELECT current_date")).scalar_one()
    assert loaded(store, tmp_path, PLACES, "PLACES.csv").valid_from == today
    assert loaded(store, tmp_path, "code;name\nI10;а\n", "ICD10.csv").valid_from == FIRST_DAY


def test_a_wrong_file_leaves_nothing(store: Store, tmp_path: Path) -> None:
    before = count(store)
    with pytest.raises(GatewayError, match=r"строка 4, код 9: код повторяется"):
        loaded(store, tmp_path, PLACES + "9;ещё;\n", "PLACES.csv")
    assert count(store) == before


def test_dated_items(store: Store, tmp_path: Path, nsi: Nsi) -> None:
    body = "code;name;valid_from;valid_to\n1;а;;\n2;б;2026-03-01;\n3;в;;2026-02-28\n"
    loaded(store, tmp_path, body, "DOCTOR_TYPES.csv", valid_from=date(2026, 1, 1))
    for day, codes in (("2026-02-28", "13"), ("2026-03-01", "12"), ("2027-01-01", "12"), ("2026-01-01", "13")):
        assert nsi.items("DOCTOR_TYPES", date.fromisoformat(day)).keys() == set(codes), day


def test_organisations_and_insurers(store: Store, tmp_path: Path, nsi: Nsi) -> None:
    assert nsi.items("ORGANISATIONS", TODAY) == {}
    body = "code;name;primary_care;valid_from;valid_to\n780001;Поликлиника;;;\n780002;Диспансер;нет;2020-01-01;2025-12-31\n"
    assert loaded(store, tmp_path, body, "organisations.csv").valid_from == FIRST_DAY
    assert nsi.items("ORGANISATIONS", TODAY)["780001"].attributes["primary_care"] is True
    assert nsi.items("ORGANISATIONS", date(2021, 1, 1))["780002"].attributes["primary_care"] is False
    assert not nsi.has("ORGANISATIONS", "780002", TODAY)
    loaded(store, tmp_path, "code;name\n780001;Новая поликлиника\n", "organisations.csv")
    assert nsi.items("ORGANISATIONS", TODAY)["780001"].name == "Новая поликлиника"
    assert nsi.has("ORGANISATIONS", "780002", date(2021, 1, 1))
    loaded(store, tmp_path, "code;name\n78001;Страховая\n", "INSURERS_2026.csv")
    assert nsi.items("INSURERS", TODAY)["78001"].name == "Страховая"
    with store.begin() as connection:
        connection.execute(text("UPDATE insurer SET name = 'Другая'"))
    assert nsi.items("INSURERS", TODAY)["78001"].name == "Другая"


def test_dictionary_of_dictionaries(nsi: Nsi) -> None:
    listed = nsi.items("DICTIONARIES", TODAY)
    assert list(listed) == sorted(ALL)
    assert listed["ICD10"].attributes == {}
    with pytest.raises(GatewayError, match=r"dictionary\.unknown"):
        nsi.items("NOTHING", TODAY)


@pytest.mark.parametrize(
    ("code", "error"), [("I10", None), ("Z99.99", None), ("i10", "diagnosis.format"), ("IX", "diagnosis.format")]
)
def test_diagnosis_without_an_edition_is_checked_for_form(nsi: Nsi, code: str, error: str | None) -> None:
    assert nsi.diagnosis_error(code, TODAY) == error


def test_official_list_in_the_database(store: Store, reference: Path, nsi: Nsi) -> None:
    path = reference / "dn" / "icd10_nsi_1005_v2.27.csv"
    with store.begin() as connection:
        edition = load(connection, path)
    assert (edition.dictionary, edition.version, edition.rows) == ("ICD10", "2.27", 15_038)
    with store.begin() as connection:
        assert load(connection, path).already
    assert count(store)[1] > 15_038
    cases = {
        "I10": None, "I20.8": None, "J47": None, "C61": None,
        "I20": "diagnosis.not-terminal", "I48": "diagnosis.not-terminal",
        "J47.0": "diagnosis.unknown", "I14": "diagnosis.unknown", "I84": "diagnosis.unknown",
        "I00-I02": "diagnosis.format",
    }  # fmt: skip
    assert {code: nsi.diagnosis_error(code, TODAY) for code in cases} == cases
    assert nsi.diagnosis_error("I84.0", date(2020, 10, 6)) is None
    assert nsi.diagnosis_error("I84.0", date(2020, 10, 7)) == "diagnosis.unknown"
    assert len(nsi.items("ICD10", TODAY)) == 14_937


def test_groups(store: Store, tmp_path: Path, nsi: Nsi) -> None:
    groups = {
        "I10": "БСК", "I20.8": "БСК", "I69.3": "БСК", "I70.2": "ПРОЧИЕ", "C50.9": "ОНКО", "D06.9": "ОНКО",
        "D10.0": "ПРОЧИЕ", "E11.9": "СД", "E78.0": "ПРОЧИЕ", "Z95.1": "ПРОЧИЕ", "K25.7": "ПРОЧИЕ",
    }  # fmt: skip
    assert {code: nsi.group_of(code, TODAY) for code in groups} == groups
    own = "code;name;ranges\nБСК;а;I00-I99 E78 Z95\nИНЫЕ;б;\n"
    loaded(store, tmp_path, own, "DIAGNOSIS_GROUPS.csv", valid_from=TODAY)
    assert nsi.group_of("E78.0", TODAY) == "БСК"
    assert nsi.group_of("K25.7", TODAY) == "ИНЫЕ"


def test_profiles(nsi: Nsi) -> None:
    profiles = {
        "76": "THERAPIST",
        "39": "THERAPIST",
        "206": "THERAPIST",
        "25": "CARDIOLOGIST",
        "41": "OTHER",
        "0": None,
    }
    assert {code: nsi.profile_of(code, TODAY) for code in profiles} == profiles


def test_the_database_is_not_asked_between_checks(store: Store, tmp_path: Path) -> None:
    patient = Nsi(store, Clock(), recheck_seconds=3600)
    assert patient.items("PLACES", TODAY)["1"].name == "В медицинской организации"
    loaded(store, tmp_path, PLACES, "PLACES.csv", valid_from=date(2026, 1, 1))
    assert patient.items("PLACES", TODAY)["1"].name == "В медицинской организации"


def test_threads_share_it_inside_transactions(store: Store, nsi: Nsi) -> None:
    def ask(number: int) -> set[str]:
        with store.begin() as connection:
            connection.execute(text("SELECT 1"))
            return {nsi.group_of("I10", TODAY), nsi.items("RESULTS", TODAY)["9"].code, str(nsi.profile_of("76", TODAY))}

    with ThreadPoolExecutor(12) as pool:
        assert all(answer == {"БСК", "9", "THERAPIST"} for answer in pool.map(ask, range(200)))


def test_two_loads_at_once_leave_one_edition(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "PLACES.csv"
    path.write_text(PLACES, encoding="utf-8")

    def put(_: int) -> bool:
        with store.begin() as connection:
            return load(connection, path, valid_from=date(2026, 1, 1)).already

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(put, range(4))) == [False, True, True, True]
