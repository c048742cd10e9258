"""Changes of persons reach the copies in every list, each with its event; a snapshot keeps what it showed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from tests.lists.region import OTHER, Region
from tests.lists.test_batches import line
from tests.lists.test_pages import rows


def renew(place: Region, *enps: str) -> int:
    with place.store.begin() as connection:
        connection.execute(text("CREATE TEMP TABLE changed_person (person_id bigint) ON COMMIT DROP"))
        connection.execute(
            text("INSERT INTO changed_person SELECT id FROM person WHERE enp = ANY(:enps)"), {"enps": list(enps)}
        )
        return place.lists.renew_persons(connection)


def test_a_new_name_reaches_every_list(place: Region) -> None:
    enp, still = place.person("Ванин"), place.person("Яшин")
    mine, theirs = place.add(enp, "I10"), place.add(enp, "E11.9", organisation=OTHER)
    other = place.add(still)
    page = place.list()
    with place.store.begin() as connection:
        connection.execute(
            text(
                "UPDATE person SET last_name = 'Эльин', name_key = 'ЭЛЬИН ПЕТР ИЛЬИЧ', insurer = '40002' WHERE enp = :enp"
            ),
            {"enp": enp},
        )
    assert renew(place, enp, still) == 2
    for entry_id in (mine, theirs):
        entry = line(place, entry_id)
        assert (entry["last_name"], entry["insurer"], entry["version"]) == ("Эльин", "40002", 2)
    assert line(place, other)["version"] == 1
    assert place.ids() == [mine, other]
    assert [row.split("|")[5] for row in rows(place.list().body)] == ["Эльин", "Яшин"]
    assert [row.split("|")[5] for row in rows(place.list(snapshot=page.snapshot_id).body)] == ["Ванин", "Яшин"]
    with place.store.begin() as connection:
        view = place.lists.view(connection, int(mine))
    assert [(event.kind, event.source) for event in view.events] == [("TAKEN", "MO"), ("PERSON_CHANGED", "ERZL")]
    assert renew(place, enp, still) == 0


def test_old_images_are_forgotten_but_not_those_of_moves(place: Region) -> None:
    enp = place.person()
    place.add(enp)
    with place.store.begin() as connection:
        connection.execute(text("UPDATE person SET insurer = '40002' WHERE enp = :enp"), {"enp": enp})
    renew(place, enp)
    with place.store.begin() as connection:
        assert place.lists.forget_images(connection, datetime.now(UTC) - timedelta(days=1)) == 0
        assert place.lists.forget_images(connection, datetime.now(UTC) + timedelta(days=1)) == 2
        assert place.lists.forget_images(connection, datetime.now(UTC) + timedelta(days=1)) == 0


def test_an_entry_added_while_persons_change_holds_the_new_data(place: Region) -> None:
    """Even in an organisation whose list had nobody of them."""
    enp, item = place.person("Ванин"), "I10"
    place.add(place.person("Яшин"), organisation=OTHER)
    with ThreadPoolExecutor(1) as pool:
        with place.store.begin() as connection:
            connection.execute(text("UPDATE person SET last_name = 'Эльин' WHERE enp = :enp"), {"enp": enp})
            connection.execute(
                text("CREATE TEMP TABLE changed_person ON COMMIT DROP AS SELECT id AS person_id FROM person")
            )
            place.lists.renew_persons(connection)
            added = pool.submit(place.add, enp, item, organisation=OTHER)
            with suppress(TimeoutError):
                added.result(0.3)
        assert line(place, added.result(20))["last_name"] == "Эльин"
