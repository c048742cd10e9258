"""A month of the invented region compared: the counts are those of an independent query, and a second run changes nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import date

import pytest

from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.lists import Lists
from gateway.nsi.dictionaries import Nsi
from gateway.sandbox.ferzl import life, queries
from gateway.sync.insured import work
from tests.lists.region import Plain
from tests.sync.upstream_region import MONTH, Place, opened

pytestmark = pytest.mark.trial

FATES = dict.fromkeys(queries.FATES, 1000)

BEFORE = """
CREATE TABLE upstream.before AS
SELECT e.id, p.enp, e.organisation, e.by_attachment, s.since FROM entry e JOIN person p ON p.id = e.person_id
JOIN observation_segment s ON s.entry_id = e.id AND s.until IS NULL WHERE e.status = 'OBSERVED'
"""
NOW = """
WITH now AS (
    SELECT b.id, b.organisation, b.by_attachment, b.since, u.death_date <= :day AS dead, u.merged_at <= :day AS merged,
        (SELECT y.okato FROM upstream.policy y WHERE y.oip = u.oip AND y.status LIKE 'Д%' AND y.since <= :day
            AND (y.until IS NULL OR y.until >= :day) ORDER BY y.since DESC LIMIT 1) AS okato,
        (SELECT min(a.organisation) FROM upstream.attachment a WHERE a.oip = u.oip AND a.area = '1' AND a.status = 'ДПП'
            AND a.since <= :day AND (a.until IS NULL OR a.until >= :day)) AS clinic
    FROM upstream.before b JOIN upstream.person u ON u.enp = b.enp
)
SELECT count(*) FILTER (WHERE merged) AS merges,
       count(*) FILTER (WHERE merged IS NOT TRUE AND dead) AS deaths,
       count(*) FILTER (WHERE merged IS NOT TRUE AND dead IS NOT TRUE AND okato = '41000' AND since <= :day) AS departures,
       count(*) FILTER (WHERE merged IS NOT TRUE AND dead IS NOT TRUE AND okato = '40000' AND clinic <> organisation
           AND by_attachment AND since <= :day) AS moves
FROM now
"""
"""What must happen, from the tables of the stand-in alone; what began only after the day is left to the next month."""


@pytest.fixture
def place(store, owner) -> Iterator[Place]:
    with opened(store, owner, brake_share=100, brake_shrink=100) as place:
        yield place


def live(place: Place, month: Month = MONTH, **shares: int) -> dict[str, int]:
    with place.owner.begin() as connection:
        return dict(life.pass_month(connection, month, okato="40000", shares=shares).counts)


def applied(row: dict) -> dict[str, int]:
    return {name: number for name, number in row["counts"]["applied"].items() if number and name != "notices"}


def test_counts_are_those_of_an_independent_query(place: Place) -> None:
    place.do(BEFORE)
    live(place, **FATES)
    row = place.compare()
    expected = place.one(NOW, day=MONTH.shift(1).first_day)
    counts = row["counts"]
    assert min(expected.values()) > 5
    assert {
        "merges": counts.get("MERGE/MERGE", 0),
        "deaths": counts["END/DEATH"],
        "departures": counts["END/DEPARTURE"],
        "moves": counts["MOVE/MOVE"],
    } == expected
    assert applied(place.compare()) == {}
    assert applied(place.compare()) == {}


def test_what_a_change_says(place: Place) -> None:
    live(place, DIED=2000, MOVED=2000)
    row = place.compare()
    for cause, kind in (("DEATH", "EXCLUDED"), ("MOVE", "MOVED_OUT"), ("MOVE", "MOVED_IN")):
        found = place.all(
            "SELECT v.source, v.details, v.before FROM entry_event v WHERE v.cause = :cause AND v.kind = :kind"
            " AND v.details ? 'reconcile'", cause=cause, kind=kind,
        )  # fmt: skip
        assert found
        for one in found:
            assert one["source"] == "ERZL"
            assert one["details"].keys() == {"reconcile", "rule", "answeredAt"}
            assert (one["before"] is None) == (kind == "MOVED_IN")
    assert (
        place.value(
            "SELECT count(*) FROM entry e WHERE version <> (SELECT max(version) FROM entry_event v WHERE v.entry_id = e.id)"
        )
        == 0
    )
    assert (
        place.value(
            "SELECT count(*) FROM list_ledger l WHERE seq <> (SELECT count(*) FROM entry_event v WHERE v.organisation = l.organisation)"
        )
        == 0
    )
    dead = place.all("SELECT e.excluded_on, greatest(u.death_date, e.observed_since) AS expected, u.death_date, s.until, s.true_from, s.true_to FROM reconcile_change c JOIN entry e ON e.id = c.entry_id"
        " JOIN upstream.person u ON u.enp = e.enp JOIN observation_segment s ON s.entry_id = e.id AND s.cause_out = 'EXCLUDED' AND s.true_to >= '2026-10-01'"
        " WHERE c.reconcile_id = :id AND c.cause = 'DEATH'", id=row["id"])  # fmt: skip
    assert dead
    for one in dead:
        assert one["true_to"] == max(one["death_date"], one["true_from"])
        assert one["excluded_on"] == one["expected"] <= one["until"]


def test_both_clinics_of_a_move_are_told(place: Place) -> None:
    live(place, MOVED=3000)
    row = place.compare()
    files = place.files(row["id"])
    plan = list(csv.reader(io.StringIO(files[f"reconcile-insured-{MONTH}.csv"]), delimiter=";"))
    moves = [line for line in plan if line[0] == "Переход"]
    assert len(moves) == row["counts"]["MOVE/MOVE"] > 10
    for line in moves:
        former, following, entry = line[3], line[4], line[5]
        for organisation in (former, following):
            told = files[f"reconcile-insured-{MONTH}-{organisation.strip('=')[1:-1]}.csv"]
            assert entry.replace('"', '""') in told
    mailboxes = place.all("SELECT DISTINCT organisation FROM file WHERE mailbox AND kind = 'NOTICE'")
    assert len(mailboxes) == len(files) - 1


def test_a_dry_run_changes_nothing(place: Place) -> None:
    live(place, **FATES)
    tables = ("person", "entry", "entry_event", "observation_segment", "list_ledger")
    state = [place.all(f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {name} t") for name in tables]
    row = place.compare(dry=True)
    assert (row["state"], row["counts"]["END/DEATH"] > 0) == ("PLANNED", True)
    assert list(place.files(row["id"])) == [f"reconcile-insured-{MONTH}.csv"]
    assert state == [
        place.all(f"SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {name} t") for name in tables
    ]


def test_deaths_taken_back_and_returns(place: Place) -> None:
    live(place, DIED=2000, LEFT=2000)
    ended = place.compare()["counts"]
    live(place, Month(2026, 11), REVIVED=100_000)
    place.today = date(2026, 12, 20)
    back = place.compare(Month(2026, 11))
    assert applied(back)["return"] == ended["END/DEATH"] == back["counts"]["RETURN/RETURN"]
    assert (
        place.value(
            "SELECT count(*) FROM entry WHERE status = 'EXCLUDED' AND exclusion_reason = '3' AND id IN (SELECT entry_id FROM reconcile_change WHERE cause = 'DEATH')"
        )
        == 0
    )
    assert (
        place.value(
            "SELECT count(*) FROM entry e JOIN observation_segment s ON s.entry_id = e.id AND s.until IS NULL WHERE e.id IN (SELECT entry_id FROM reconcile_change WHERE cause = 'DEATH')"
        )
        == ended["END/DEATH"]
    )
    live(place, Month(2026, 12), RETURNED=100_000)
    place.today = date(2027, 1, 20)
    again = place.compare(Month(2026, 12))
    assert applied(again)["return"] == ended["END/DEPARTURE"]
    assert applied(place.compare(Month(2026, 12))) == {}


def merge(place: Place, one: dict, other: dict) -> None:
    place.do("UPDATE upstream.person SET merged_into = (SELECT oip FROM upstream.person WHERE enp = :heir), merged_at = '2026-10-10' WHERE enp = :enp",
             enp=one["enp"], heir=other["enp"])  # fmt: skip
    place.do(
        "INSERT INTO upstream.change (oip, enp, kind, happened_on) SELECT oip, enp, 'CHANGED', '2026-10-10' FROM upstream.person WHERE enp = :enp",
        enp=one["enp"],
    )


PAIR = """
SELECT e.id, p.enp, e.organisation, e.diagnosis_key, e.observed_since FROM entry e JOIN person p ON p.id = e.person_id
WHERE e.status = 'OBSERVED' AND e.by_attachment AND p.attached_organisation = e.organisation
"""


def test_overlapping_entries_of_merged_people_become_one(place: Place) -> None:
    pair = place.all(f"""
        WITH x AS ({PAIR}) SELECT a.id AS one, b.id AS other, a.enp, b.enp AS heir FROM x a
        JOIN x b ON b.organisation = a.organisation AND b.diagnosis_key = a.diagnosis_key AND b.enp <> a.enp LIMIT 1
    """)[0]
    visits = place.value(
        "SELECT count(*) FROM visit WHERE entry_id IN (:one, :other)", **{name: pair[name] for name in ("one", "other")}
    )
    merge(place, {"enp": pair["enp"]}, {"enp": pair["heir"]})
    assert applied(place.compare())["join"] == 1
    assert place.value("SELECT status FROM entry WHERE id = :id", id=pair["one"]) == "EXCLUDED"
    kept = place.one("SELECT * FROM entry WHERE id = :id", id=pair["other"])
    assert (kept["status"], kept["enp"]) == ("OBSERVED", pair["heir"])
    lists = Lists(place.settings, Nsi(place.store, place.work.clock), place.work.clock)
    with place.store.begin() as connection:
        view = lists.view(connection, pair["other"])
    assert len(view.visits) == visits
    assert {one.cause for one in view.events} >= {"MERGE"}
    assert applied(place.compare()) == {}


def test_a_successor_whom_nobody_knew(place: Place) -> None:
    one = place.all(PAIR + " LIMIT 1")[0]
    heir = "4000000000000009"
    place.do("INSERT INTO upstream.person (oip, enp, last_name, first_name, birth_date, sex, edited_on)"
             " SELECT '999999999999', :heir, last_name, first_name, birth_date, sex, '2026-10-10' FROM upstream.person WHERE enp = :enp",
             heir=heir, enp=one["enp"])  # fmt: skip
    place.do(
        "INSERT INTO upstream.policy (oip, enp, since, status, okato, insurer) VALUES ('999999999999', :heir, '2026-10-10', 'Действующий', '40000', '40001')",
        heir=heir,
    )
    place.do(
        "INSERT INTO upstream.attachment (oip, organisation, since) VALUES ('999999999999', :organisation, '2020-01-01')",
        organisation=one["organisation"],
    )
    merge(place, one, {"enp": heir})
    assert applied(place.compare())["merge"] >= 1
    entry = place.one("SELECT * FROM entry WHERE id = :id", id=one["id"])
    assert (entry["enp"], entry["status"], entry["organisation"]) == (heir, "OBSERVED", one["organisation"])
    assert place.value("SELECT source FROM person WHERE enp = :heir", heir=heir) == "FERZL"
    assert applied(place.compare()) == {}


def test_an_entry_of_a_clinic_of_another_kind_stays_and_is_told(place: Place) -> None:
    live(place, MOVED=100_000)
    held = place.value("SELECT count(*) FROM entry WHERE status = 'OBSERVED' AND NOT by_attachment")
    row = place.compare()
    assert held > 5
    assert row["counts"]["REPORT/HELD"] > 0
    assert (
        place.value(
            "SELECT count(*) FROM entry e JOIN reconcile_change c ON c.entry_id = e.id WHERE c.cause = 'HELD' AND e.organisation <> c.former"
        )
        == 0
    )
    assert applied(place.compare()) == {}


def test_no_policy_and_no_attachment_change_nothing(place: Place) -> None:
    live(place, SUSPENDED=5000, DETACHED=5000)
    row = place.compare()
    assert row["counts"]["REPORT/NO_POLICY"] > 5
    assert row["counts"]["REPORT/NO_ATTACHMENT"] > 5
    assert not {name for name in row["counts"] if name.startswith(("END", "MOVE", "MERGE"))}
    assert applied(place.compare()) == {}


def test_closed_months_stay_closed(place: Place) -> None:
    lists = Lists(place.settings, Nsi(place.store, place.work.clock), place.work.clock)
    organisations = [row["organisation"] for row in place.all("SELECT organisation FROM list_ledger ORDER BY 1")]
    for month in (Month(2026, 9), MONTH):
        for organisation in organisations:
            with place.store.begin() as connection:
                try:
                    lists.close(connection, organisation, month, "test", Plain())
                except GatewayError as error:
                    assert error.code == "month.closed"
    frozen = "SELECT md5(string_agg(b::text || p.choice, '' ORDER BY b.piece_id, b.number)) AS sum FROM list_block b JOIN list_piece p ON p.id = b.piece_id WHERE p.edition > 0"
    stays = "SELECT entry_id, organisation, daterange(since, least(coalesce(until, 'infinity'), '2026-11-01')) AS stay FROM observation_segment WHERE since < '2026-11-01' AND (until IS NULL OR until > since) ORDER BY 1, 2, 3"
    before = place.value(frozen), place.all(stays)
    live(place, **FATES)
    row = place.compare()
    assert row["counts"]["END/DEATH"] > 0
    after = place.value(frozen), place.all(stays)
    assert after[0] == before[0]
    assert after[1] == before[1]


def kill(place: Place, share: int) -> None:
    place.do(
        "UPDATE upstream.person SET death_date = '2026-10-15' WHERE death_date IS NULL AND abs(hashtext(oip)) % 100 < :share",
        share=share,
    )


def test_the_brake_holds_when_half_the_region_dies(store, owner) -> None:
    with opened(store, owner) as place:
        kill(place, 50)
        row = place.compare()
        assert row["state"] == "BRAKED"
        assert {one["why"] for one in row["brake"]} == {"LIST", "EXTRACT"}
        assert place.value("SELECT count(*) FROM entry_event WHERE cause = 'DEATH' AND details ? 'reconcile'") == 0
        assert any(line.startswith("Тормоз") for line in place.lines(row["id"]))
        with place.store.begin() as connection:
            operation = work.approve(connection, login="test", trace="t")
        assert place.run(operation).state == "DONE"
        after = place.reconcile(row["id"])
        assert (after["state"], after["decided_by"]) == ("APPLIED", "test")
        assert applied(after)["end/death"] == row["counts"]["END/DEATH"]
        with place.store.begin() as connection, pytest.raises(GatewayError) as refusal:
            work.refuse(connection, login="test")
        assert refusal.value.code == "reconcile.none"


def test_a_refused_plan_changes_nothing_and_the_next_one_is_made_anew(store, owner) -> None:
    with opened(store, owner) as place:
        kill(place, 50)
        first = place.compare()
        with place.store.begin() as connection:
            assert work.refuse(connection, login="test") == first["id"]
        assert place.reconcile(first["id"])["state"] == "REFUSED"
        place.do("UPDATE upstream.person SET death_date = NULL WHERE death_date = '2026-10-15'")
        assert applied(place.compare()) == {}


def test_the_brake_lets_a_list_of_five_lose_one(store, owner) -> None:
    with opened(store, owner, persons=200, entries=60) as place:
        (small,) = place.all(
            "SELECT organisation, count(*) AS n, min(enp) AS enp FROM entry WHERE status = 'OBSERVED' GROUP BY 1 HAVING count(*) <= 5 LIMIT 1"
        )
        place.do("UPDATE upstream.person SET death_date = '2026-10-15' WHERE enp = :enp", enp=small["enp"])
        row = place.compare()
        assert (row["state"], row["counts"]["END/DEATH"] >= 1) == ("APPLIED", True)


def test_one_at_a_time_and_only_past_months(place: Place) -> None:
    place.request()
    for month, code in ((MONTH, "reconcile.running"), (Month(2026, 11), "reconcile.period")):
        with pytest.raises(GatewayError) as refusal:
            place.request(month)
        assert refusal.value.code == code
