"""The load of the insured renews what lists have copied of them."""

from __future__ import annotations

from pathlib import Path

from gateway.people.load import load_insured
from gateway.store.engine import Store
from tests.lists.region import CLINIC, Region
from tests.lists.test_batches import line

HEAD = (
    "enp;last_name;first_name;middle_name;birth_date;sex;insurer;insured_in_region;attached_organisation;death_date\n"
)


def test_a_death_in_the_extract_reaches_the_entry(place: Region, owner: Store, tmp_path: Path) -> None:
    enp = place.person("Ванин")
    entry_id = place.add(enp)
    extract = tmp_path / "insured.csv"
    extract.write_text(f"{HEAD}{enp};Эльин;Пётр;Ильич;1960-05-17;1;40001;1;{CLINIC};2026-11-10\n", encoding="utf-8")
    for changes in (1, 0):
        report = load_insured(owner, extract, after_merge=lambda connection, _: place.lists.renew_persons(connection))
        assert (report.counts.changed, report.counts.refused) == (changes, 0)
        entry = line(place, entry_id)
        assert (entry["last_name"], str(entry["death_date"]), entry["version"]) == ("Эльин", "2026-11-10", 2)
