"""Editions of dictionaries of ФФОМС in the database, by date, and how they serve the rules and the clients."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.domain.clock import Clock
from gateway.errors import GatewayError
from gateway.nsi.dictionaries import Nsi
from gateway.nsi.editions import LoadedEdition, all_of, in_force, load_all
from gateway.nsi.files import Wish
from gateway.store.engine import Store
from tests.contract.test_doors import Door
from tests.nsi.test_packets import REFERENCE, organisation, packet, records, zipped

TODAY = date(2026, 11, 22)


@pytest.fixture
def nsi(store: Store) -> Nsi:
    """Asks the database at every call."""
    return Nsi(store, Clock(source=lambda: datetime(2026, 11, 22, 9, tzinfo=UTC)), recheck_seconds=0)


def put(store: Store, path: Path, wish: Wish | None = None, since: date | None = None) -> list[LoadedEdition]:
    with store.begin() as connection:
        return load_all(connection, path, wish or Wish(), since)


def profiles(folder: Path, version: str, day: str, *names: str) -> Path:
    head = f"<zglv><type>ProfOt</type><version>{version}</version><date>{day}</date></zglv>"
    lines = records(*({"IDPR": str(number), "PRNAME": name} for number, name in enumerate(names, 1)))
    return packet(folder, head + lines, f"V002_{version}.xml")


def test_every_reference_dictionary_is_loaded_and_served(store: Store, reference: Path, nsi: Nsi) -> None:
    for name in REFERENCE:
        for made in put(store, reference / "registers" / "nsi" / name):
            assert not made.already
            assert nsi.items(made.dictionary, TODAY), made.dictionary
        assert all(made.already for made in put(store, reference / "registers" / "nsi" / name))
    listed = nsi.items("DICTIONARIES", TODAY)
    assert listed["V023"].name == "Клинико-статистические группы"
    assert listed["V023"].attributes == {"version": "1.2", "valid_from": "2018-12-26", "rows": 1421}
    assert len(nsi.items("Q015", TODAY)) == 750


def test_of_several_periods_the_one_in_force_is_served(store: Store, reference: Path, nsi: Nsi) -> None:
    put(store, reference / "registers" / "nsi" / "V002.xml")
    put(store, reference / "registers" / "nsi" / "V023_v1.2_2018-12-26.xml")
    assert not nsi.has("V002", "136", date(2013, 7, 7))
    assert nsi.items("V002", date(2017, 12, 11))["136"].name.endswith("технологий)")
    assert nsi.items("V002", date(2017, 12, 12))["136"].name.endswith("беременности)")
    assert nsi.items("V023", date(2017, 6, 1))["1/5"].valid_from == date(2017, 1, 1)
    assert nsi.items("V023", date(2018, 6, 1))["1/5"].valid_from == date(2018, 1, 1)
    assert list(nsi.items("V002", TODAY)) == sorted(nsi.items("V002", TODAY))


def test_editions_keep_the_order_of_their_days(store: Store, tmp_path: Path, nsi: Nsi) -> None:
    put(store, profiles(tmp_path, "3.0", "30.03.2018", "новый"))
    put(store, profiles(tmp_path, "2.0", "30.03.2016", "старый"))
    put(store, profiles(tmp_path, "4.0", "01.01.2027", "будущий"))
    names = [nsi.items("V002", date(year, 6, 1))["1"].name for year in (2015, 2017, 2019, 2027)]
    assert names == ["старый", "старый", "новый", "будущий"]
    with store.begin() as connection:
        known = [one for one in all_of(connection) if one.dictionary == "V002"]
    assert [one.version for one in known] == ["2.0", "3.0", "4.0"]
    assert in_force(known, TODAY).version == "3.0"


def test_an_edition_of_the_same_day_is_replaced_and_the_same_bytes_are_recognised(
    store: Store, tmp_path: Path, nsi: Nsi
) -> None:
    first = profiles(tmp_path, "3.0", "30.03.2018", "первый")
    put(store, first)
    assert put(store, first)[0].already
    assert put(store, zipped(tmp_path, "any.zip", first))[0].already
    (made,) = put(store, profiles(tmp_path, "3.1", "30.03.2018", "второй"))
    assert (made.already, made.replaced) == (False, "3.0")
    assert nsi.items("V002", TODAY)["1"].name == "второй"
    assert put(store, first, since=date(2026, 1, 1))[0].valid_from == date(2026, 1, 1)
    assert nsi.items("V002", TODAY)["1"].name == "первый"


def test_a_broken_packet_leaves_nothing(store: Store, tmp_path: Path, nsi: Nsi) -> None:
    path = tmp_path / "several.csv"
    path.write_text("DICT;CODE;NAME\nV005;1;Мужской\nV006;;Стационар\n", encoding="utf-8")
    with pytest.raises(GatewayError, match="строка 3: нет кода"):
        put(store, path)
    with pytest.raises(GatewayError, match=r"dictionary\.unknown"):
        nsi.items("V005", TODAY)


def test_official_specialties_keep_the_profiles_that_are_known(store: Store, tmp_path: Path, nsi: Nsi) -> None:
    day = "<zglv><type>Spec</type><version>2.1</version><date>01.10.2026</date></zglv>"
    lines = records(
        {"IDSPEC": "76", "SPECNAME": "Терапия", "POSTNAME": "врач-терапевт", "DATEBEG": "01.01.2018", "DATEEND": ""},
        {"IDSPEC": "25", "SPECNAME": "Кардиология", "DATEBEG": "01.01.2018", "DATEEND": ""},
        {"IDSPEC": "999", "SPECNAME": "Новая", "DATEBEG": "01.01.2026", "DATEEND": ""},
    )
    (made,) = put(store, packet(tmp_path, day + lines, "V021.xml"))
    assert (made.dictionary, made.version) == ("SPECIALTIES", "2.1")
    assert "оставлен прежним у 2 кодов" in made.notes[-1]
    found = {code: nsi.profile_of(code, TODAY) for code in ("76", "25", "999", "41")}
    assert found == {"76": "THERAPIST", "25": "CARDIOLOGIST", "999": "OTHER", "41": None}
    assert nsi.profile_of("41", date(2026, 9, 30)) == "OTHER"
    assert nsi.items("V021", TODAY) == nsi.items("SPECIALTIES", TODAY)
    own = tmp_path / "SPECIALTIES.csv"
    own.write_text("code;name;profile\n999;Новая;CARDIOLOGIST\n", encoding="utf-8")
    put(store, own, since=date(2026, 10, 15))
    put(store, packet(tmp_path, day.replace("01.10", "01.11") + lines, "V021.xml"))
    assert nsi.profile_of("999", TODAY) == "CARDIOLOGIST"
    assert nsi.profile_of("76", TODAY) == "THERAPIST"


def test_official_organisations_and_insurers(store: Store, tmp_path: Path, nsi: Nsi) -> None:
    own = tmp_path / "ORGANISATIONS.csv"
    own.write_text("code;name;primary_care\n780001;Диспансер;нет\n780009;Прежняя;да\n", encoding="utf-8")
    put(store, own)
    root = "packet version='2.0' date='15.10.2026'"
    body = organisation("780001", begin="01.01.2011", name="По реестру") + organisation("780002", begin="01.01.2012")
    put(store, packet(tmp_path, body, "F003.xml", root=root), Wish(region="40000"))
    served = nsi.items("ORGANISATIONS", TODAY)
    assert (served["780001"].name, served["780001"].attributes["primary_care"]) == ("По реестру", False)
    assert served.keys() == {"780001", "780002", "780009"}
    older = organisation("780001", name="Старое имя") + organisation("780005", begin="01.01.2012")
    (made,) = put(store, packet(tmp_path, older, "F003.xml", root=root.replace("2026", "2025")), Wish(region="40000"))
    assert "только отсутствующие коды" in made.notes[-1]
    assert nsi.items("F003", TODAY)["780001"].name == "По реестру"
    assert nsi.has("F032", "780005", TODAY)
    smo = "<insCompany><tf_okato>45000</tf_okato><smocod>77001</smocod><nam_smok>Страховая</nam_smok></insCompany>"
    assert put(store, packet(tmp_path, smo, "F002.xml", root=root), Wish(region="40000"))[0].dictionary == "INSURERS"
    assert nsi.items("INSURERS", TODAY)["77001"].name == "Страховая"


def test_clients_are_served_periods_and_attributes(store: Store, reference: Path) -> None:
    door = Door(store)
    put(store, reference / "registers" / "nsi" / "V002.xml")
    put(store, reference / "registers" / "nsi" / "Q015_v2.2_2021-02-12.xml")
    xmlns = {"e": "urn:dn-gateway:exchange:v1"}
    name = "string(//e:items[e:code='136']/e:name)"
    assert "искусственного" not in door("GetDictionary", code="V002", on_date=date(2017, 1, 1)).xpath(
        name, namespaces=xmlns
    )
    assert "искусственного" in door("GetDictionary", code="V002", on_date=TODAY).xpath(name, namespaces=xmlns)
    page = door("GetDictionary", code="V002", on_date=TODAY, start_record=3, record_count=2)
    assert page.xpath("count(//e:items)", namespaces=xmlns) == 2
    rules = door("GetDictionary", code="Q015", on_date=TODAY)
    types = "//e:items[e:code='001F.00.0030']/e:extra/e:item[e:name='type_md.type_d']/e:value/text()"
    assert rules.xpath(types, namespaces=xmlns) == ["C", "H", "T", "X"]
    listed = door("GetDictionary", code="DICTIONARIES").xpath("//e:code/text()", namespaces=xmlns)
    assert {"V002", "Q015", "PLACES"} <= set(listed)
    with store.begin() as connection:
        assert (
            connection.execute(text("SELECT count(*) FROM dictionary_edition WHERE dictionary = 'V002'")).scalar() == 1
        )
