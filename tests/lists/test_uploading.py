"""UploadList: what a record of each kind does, the code of every refusal, and the files that tell it."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from gateway.access.model import ClientKind, Foreign
from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.lists.model import Exclusion
from gateway.operations import works
from tests.lists import uploads
from tests.lists.region import CLINIC, DOCTOR, OTHER, Plain, Region
from tests.lists.uploads import entries, events, uploaded

DAY = date(2026, 11, 18)


def count(place: Region, query: str, **values: Any) -> int:
    with place.store.begin() as connection:
        found: int = connection.execute(text(query), values).scalar_one()
    return found


def test_new_people_are_put_under_observation(place: Region) -> None:
    first, second = place.person("Ёлкин"), place.person()
    record = {"enp": first, "diagnosis": "i20.8", "external_id": "A-1", "diagnosed_on": "2026-10-01"}
    record |= {"observed_since": "2026-10-02", "planned_months": "2026-12 2027-03", "doctor_snils": DOCTOR}
    assert uploaded(place, record, {"enp": second, "diagnosis": "E11.9"}) == ["ok", "ok"]
    one, two = entries(place)
    assert (one["diagnosis"], one["diagnosis_key"], one["external_id"]) == ("I20.8", "I20", "A-1")
    assert (one["observed_since"], one["specialty"], one["version"]) == (date(2026, 10, 2), "76", 1)
    assert one["planned_months"] == ["2026-12", "2027-03"]
    assert one["name_key"].startswith("ЕЛКИН ")
    assert (two["observed_since"], two["planned_months"], two["source"]) == (DAY, [], "MO")
    assert events(place) == [(1, 1, "TAKEN", "UPLOAD"), (2, 1, "TAKEN", "UPLOAD")]
    assert place.ids() == [str(one["id"]), str(two["id"])]
    assert place.ids("TAKEN", month=10) == [str(one["id"])]


def test_the_same_list_again_changes_nothing(place: Region) -> None:
    enps = [place.person() for _ in range(3)]
    rows = [{"enp": enp, "diagnosis": "I10", "external_id": f"A-{enp[-5:]}"} for enp in enps]
    rows[2] |= {"observed_since": "2026-09-01", "excluded_on": "2026-11-01", "exclusion_reason": "4"}
    assert uploaded(place, *rows) == ["ok", "ok", "ok"]
    before = entries(place), events(place)
    assert uploaded(place, *reversed(rows)) == ["ok.same"] * 3
    assert (entries(place), events(place)) == before


def test_a_file_that_was_loaded_last_is_recognised(place: Region) -> None:
    content = uploads.table({"enp": place.person(), "diagnosis": "I10"})
    first = uploads.upload(place, content)
    again = uploads.upload(place, content, "other.csv")
    assert again.state == "DONE"
    with place.store.begin() as connection:
        said = [line.text for line in works.lines(connection, again.operation_id)]
    assert any(str(first.operation_id) in text for text in said)
    assert len(events(place)) == 1


def test_a_file_with_refusals_is_worked_on_again(place: Region) -> None:
    enp = place.person(death=date(2026, 11, 1))
    content = uploads.table({"enp": enp, "diagnosis": "I10"})
    assert uploads.codes(place, uploads.upload(place, content)) == ["person.dead"]
    with place.store.begin() as connection:
        connection.execute(text("UPDATE person SET death_date = NULL WHERE enp = :enp"), {"enp": enp})
    assert uploads.codes(place, uploads.upload(place, content)) == ["ok"]


def test_absence_never_excludes(place: Region) -> None:
    place.add(place.person())
    assert uploaded(place, {"enp": place.person(), "diagnosis": "I10"}) == ["ok"]
    assert [entry["status"] for entry in entries(place)] == ["OBSERVED", "OBSERVED"]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"enp": "1"}, "person.enp-format"),
        ({"enp": "6449020886006381"}, "person.enp-check"),
        ({"enp": ""}, "field.missing"),
        ({"diagnosis": "Гипертония"}, "field.length"),
        ({"diagnosis": "I-10"}, "diagnosis.format"),
        ({"organisation": OTHER}, "upload.organisation"),
        ({"diagnosed_on": "2026-11-19"}, "diagnosis.date-future"),
        ({"diagnosed_on": "1960-05-16"}, "diagnosis.date-before-birth"),
        ({"diagnosed_on": "18.17.2026"}, "field.format"),
        ({"observed_since": "2026-11-19"}, "observation.date-future"),
        ({"observed_since": "2026-10-01", "diagnosed_on": "2026-10-02"}, "observation.date-before-diagnosis"),
        ({"specialty": "9999"}, "doctor.specialty"),
        ({"doctor_snils": "11223344596"}, "person.snils-check"),
        ({"doctor_snils": "00000000000"}, "person.snils-check"),
        ({"planned_months": "2025-12"}, "plan.range"),
        ({"planned_months": "2026-12 2026-12"}, "plan.repeated"),
        ({"excluded_on": "2026-11-01"}, "exclusion.pair"),
        ({"exclusion_reason": "1"}, "exclusion.pair"),
        ({"excluded_on": "2026-11-01", "exclusion_reason": "нет такой"}, "field.length"),
        ({"excluded_on": "2026-11-01", "exclusion_reason": "77"}, "exclusion.reason"),
        ({"excluded_on": "2026-11-01", "exclusion_reason": "1"}, "exclusion.date-before"),
        ({"excluded_on": "2026-11-19", "exclusion_reason": "1"}, "exclusion.date-future"),
        ({"external_id": "x" * 65}, "field.length"),
    ],
)
def test_a_bad_record_is_refused_by_name_and_the_good_ones_are_taken(
    place: Region, values: dict[str, Any], code: str
) -> None:
    good = {"enp": place.person(), "diagnosis": "I10"}
    bad = {"enp": place.person(), "diagnosis": "I10"} | values
    assert uploaded(place, bad, good) == [code, "ok"]
    assert len(entries(place)) == 1


def test_refusals_that_need_the_list(place: Region) -> None:
    observed, other = place.person(), place.person()
    place.add(observed, "I10", organisation=OTHER)
    mine = place.add(other, "I10", external_id="A-1")
    assert uploaded(
        place,
        {"enp": observed, "diagnosis": "I10"},
        {"enp": place.person(insured=False), "diagnosis": "I10"},
        {"enp": place.person(), "diagnosis": "I10", "external_id": "A-1"},
    ) == ["observation.elsewhere", "person.not-insured", "upload.person-differs"]
    assert uploaded(place, {"enp": other, "diagnosis": "E11.9", "external_id": "A-1"}) == ["upload.diagnosis-differs"]
    assert uploaded(place, {"enp": other, "diagnosis": "I10", "external_id": "A-2"}) == ["conflict.external-id"]
    assert [entry["version"] for entry in entries(place)] == [1]
    assert place.ids() == [mine]


def test_a_record_that_repeats_another_is_refused(place: Region) -> None:
    first, second = place.person(), place.person()
    assert uploaded(
        place,
        {"enp": first, "diagnosis": "I20.8", "external_id": "A-1"},
        {"enp": second, "diagnosis": "I10", "external_id": "A-1"},
        {"enp": first, "diagnosis": "I20.1", "external_id": "A-2"},
        {"enp": first, "diagnosis": "I10"},
    ) == ["ok", "upload.repeated", "upload.repeated", "ok"]


def test_what_a_record_says_otherwise_is_corrected_in_one_change(place: Region) -> None:
    enp = place.person()
    place.add(enp, "I20.8", diagnosed_on=date(2026, 1, 10), observed_since=date(2026, 1, 11))
    record = {
        "enp": enp, "diagnosis": "I20.8", "external_id": "A-1", "diagnosed_on": "2026-01-09", "specialty": "25",
        "planned_months": "2027-01", "doctor_snils": DOCTOR,
    }  # fmt: skip
    assert uploaded(place, record) == ["ok"]
    (entry,) = entries(place)
    assert (entry["external_id"], entry["diagnosed_on"], entry["specialty"]) == ("A-1", date(2026, 1, 9), "25")
    assert (entry["planned_months"], entry["doctor_snils"], entry["version"]) == (["2027-01"], DOCTOR, 2)
    assert events(place)[-1] == (2, 2, "CORRECTED", "UPLOAD")
    assert uploaded(place, record | {"planned_months": "2027-02"}) == ["ok"]
    assert events(place)[-1] == (3, 3, "PLANNED", "UPLOAD")


def test_what_a_record_does_not_say_stays(place: Region) -> None:
    enp = place.person()
    place.add(enp, planned_months=("2026-12",), doctor_snils=DOCTOR, diagnosed_on=date(2026, 11, 1))
    assert uploaded(place, {"enp": enp, "diagnosis": "I10"}) == ["ok.same"]


def test_a_plan_of_months_that_are_over_is_the_same_plan(place: Region) -> None:
    enp = place.person()
    place.add(enp, planned_months=("2026-11",))
    later = place.at(date(2027, 3, 1))
    assert uploaded(later, {"enp": enp, "diagnosis": "I10", "planned_months": "2026-11"}) == ["ok.same"]


def test_another_beginning_is_told_and_not_taken(place: Region) -> None:
    enp = place.person()
    place.add(enp, observed_since=date(2026, 10, 1))
    record = {"enp": enp, "diagnosis": "I10", "observed_since": "2026-09-01", "planned_months": "2027-02"}
    assert uploaded(place, record) == ["ok.beginning"]
    (entry,) = entries(place)
    assert (entry["observed_since"], entry["planned_months"]) == (date(2026, 10, 1), ["2027-02"])
    assert uploaded(place, record | {"planned_months": "2027-02"}, {"enp": place.person(), "diagnosis": "I10"}) == [
        "ok.beginning",
        "ok",
    ]


def test_a_more_exact_code_of_the_rubric_refines_the_diagnosis(place: Region) -> None:
    enp = place.person()
    entry_id = place.add(enp, "I20.8", observed_since=date(2026, 1, 11))
    assert uploaded(place, {"enp": enp, "diagnosis": "I20.1"}) == ["ok"]
    (entry,) = entries(place)
    assert (entry["diagnosis"], entry["diagnosis_key"], entry["version"]) == ("I20.1", "I20", 2)
    assert events(place)[-1][2:] == ("DIAGNOSIS_CHANGED", "UPLOAD")
    with place.store.begin() as connection:
        chain = place.lists.view(connection, int(entry_id)).segments
    assert [(one.diagnosis, one.since, one.until) for one in chain] == [
        ("I20.8", date(2026, 1, 11), DAY),
        ("I20.1", DAY, None),
    ]


@pytest.mark.parametrize("reason", ["4", "выезд из региона", "Выезд из региона"])
def test_an_exclusion_ends_the_observation(place: Region, reason: str) -> None:
    enp = place.person()
    place.add(enp, observed_since=date(2026, 9, 1), external_id="A-1")
    record = {"enp": enp, "diagnosis": "I10", "external_id": "A-1", "excluded_on": "2026-11-02"}
    xml = (
        '<ObservationList xmlns="urn:dn-gateway:list:v1"><header><records>1</records></header><entries>'
        f"<externalId>A-1</externalId><enp>{enp}</enp><diagnosis>I10</diagnosis>"
        f"<excludedOn>2026-11-02</excludedOn><exclusionReason>{reason}</exclusionReason></entries></ObservationList>"
    )
    if len(reason) > 4:
        gst = _dn_list([_zap(enp, code="A-1", out="2026-11-02", reason=reason)])
        done = uploads.upload(place, gst, "GSM400001_2611_1.xml")
    else:
        done = uploads.upload(place, xml.encode(), "list.xml")
    assert (done.state, uploads.codes(place, done)) == ("DONE", ["ok" if len(reason) < 4 else "ok.beginning"])
    (entry,) = entries(place)
    assert (entry["status"], entry["excluded_on"], entry["exclusion_reason"]) == ("EXCLUDED", date(2026, 11, 2), "4")
    assert place.ids() == []
    assert place.ids("EXCLUDED") == [str(entry["id"])]
    assert uploaded(place, record | {"exclusion_reason": "4"}) == ["ok.same"]
    assert uploaded(place, record | {"exclusion_reason": "6"}) == ["observation.not-open"]
    assert uploaded(place, {"enp": enp, "diagnosis": "I10", "external_id": "A-1"}) == ["observation.not-open"]


def _zap(enp: str, *, code: str, out: str = "", reason: str = "", diagnosis: str = "I10") -> str:
    ends = (
        f"<DATE_DN_OUT>{out}</DATE_DN_OUT>" if out else "",
        f"<REASON_DN_OUT>{reason}</REASON_DN_OUT>" if reason else "",
    )
    return (
        f"<ZAP><CODE_L>{code}</CODE_L><ENP>{enp}</ENP><CODE_PINF>ДН</CODE_PINF><DIAG_CODE>{diagnosis}</DIAG_CODE>"
        f"<DIAG_DATE>2026-08-01</DIAG_DATE><DATE_DN_IN>2026-08-02</DATE_DN_IN>{ends[0]}<DN_PRVS>76</DN_PRVS>"
        f"<STATUS_DN_IN>1</STATUS_DN_IN>{ends[1]}<REASON_DN_IN>101</REASON_DN_IN><MCOD>{CLINIC}</MCOD>"
        "<MO_ASSIGN>1</MO_ASSIGN><DATE_CHECKING>2026-11-01</DATE_CHECKING></ZAP>"
    )


def _dn_list(records: list[str], name: str = "GSM400001_2611_1") -> bytes:
    return (
        '<?xml version="1.0" encoding="windows-1251"?><DN_LIST><ZGLV><VERSION>P1.20</VERSION><FILE_TYPE>GSM</FILE_TYPE>'
        f"<DATA>2026-11-18</DATA><FILENAME>{name}</FILENAME><REGION_CD>40</REGION_CD><NN_FILE>1</NN_FILE>"
        f"<SD_Z>{len(records)}</SD_Z></ZGLV>{''.join(records)}</DN_LIST>"
    ).encode("cp1251")


def test_a_list_of_the_national_system(place: Region) -> None:
    enps = [place.person() for _ in range(3)]
    content = _dn_list([_zap(enp, code=f"C-{n}") for n, enp in enumerate(enps)] + [_zap("1", code="C-9")])
    done = uploads.upload(place, content, "GSM400001_2611_1.xml")
    assert uploads.codes(place, done) == ["ok", "ok", "ok", "field.format"]
    flk = uploads.protocol(place, done.operation_id, ".xml").decode("cp1251")
    assert "<FNAME_I>GSM400001_2611_1</FNAME_I>" in flk
    assert flk.count("<PR>") == 1
    assert "<IM_POL>ENP</IM_POL><BAS_EL>ZAP</BAS_EL><N_ZAP>4</N_ZAP>" in flk
    assert all(enp not in flk for enp in enps)


def test_a_file_that_is_broken_fails_and_nothing_is_touched(place: Region) -> None:
    enps = [place.person() for _ in range(2)]
    content = _dn_list([_zap(enp, code=enp) for enp in enps])
    done = uploads.upload(place, content[:-40], "GSM400001_2611_1.xml")
    assert (done.state, done.code) == ("FAILED", "file.structure")
    assert entries(place) == []
    assert count(place, "SELECT count(*) FROM file WHERE kind = 'PROTOCOL'") == 0


def test_a_past_observation_is_added_and_ended_at_once(place: Region) -> None:
    enp = place.person()
    place.add(enp, organisation=OTHER, observed_since=date(2026, 6, 1))
    record = {
        "enp": enp,
        "diagnosis": "I10",
        "observed_since": "2026-01-10",
        "excluded_on": "2026-05-20",
        "exclusion_reason": "5",
    }
    assert uploaded(place, record) == ["ok"]
    (entry,) = entries(place)
    assert (entry["status"], entry["version"]) == ("EXCLUDED", 2)
    assert [event[2] for event in events(place)] == ["TAKEN", "EXCLUDED"]
    assert uploaded(place, record | {"planned_months": ""}, {"enp": place.person(), "diagnosis": "I10"})[0] == "ok.same"
    assert uploaded(place, record | {"excluded_on": "2026-07-01"}) == ["observation.elsewhere"]


def test_a_later_period_is_a_new_entry(place: Region) -> None:
    enp = place.person()
    entry_id = place.add(enp, observed_since=date(2026, 3, 1))
    place.do(place.lists.exclude, [Exclusion(entry_id, date(2026, 5, 1), "6")])
    assert uploaded(place, {"enp": enp, "diagnosis": "I10"}) == ["observation.not-open"]
    assert uploaded(place, {"enp": enp, "diagnosis": "I10", "observed_since": "2026-04-01"}) == ["observation.overlap"]
    assert uploaded(place, {"enp": enp, "diagnosis": "I10", "observed_since": "2026-05-01"}) == ["ok"]
    assert [entry["status"] for entry in entries(place)] == ["EXCLUDED", "OBSERVED"]
    past = {
        "enp": enp,
        "diagnosis": "I10",
        "observed_since": "2026-03-01",
        "excluded_on": "2026-05-01",
        "exclusion_reason": "6",
    }
    assert uploaded(place, past) == ["ok.same"]


def test_a_closed_month_keeps_what_it_held(place: Region) -> None:
    old, new = place.person("Старый"), place.person("Новый")
    place.add(old, observed_since=date(2026, 8, 1))
    with place.store.begin() as connection:
        place.lists.close(connection, CLINIC, Month(2026, 10), "test", Plain())
    end = {"enp": old, "diagnosis": "I10", "excluded_on": "2026-09-05", "exclusion_reason": "4"}
    taken = {"enp": new, "diagnosis": "I10", "observed_since": "2026-09-05"}
    assert uploaded(place, end, taken) == ["ok.closed-month", "ok.closed-month"]
    assert len(place.ids("OBSERVED", month=10)) == 1
    assert place.ids("TAKEN", month=9) == []
    assert len(place.ids("TAKEN", month=11)) == 1
    assert len(place.ids("EXCLUDED", month=11)) == 1


def test_an_unknown_person_is_put_aside_and_completed_later(place: Region) -> None:
    known = place.person()
    serial = next(place.serial)
    from gateway.domain import persons

    enp = persons.make_enp(40, date(1960, 5, 17), 1, serial)
    record = {"enp": enp, "diagnosis": "I10", "external_id": "A-7", "planned_months": "2026-12"}
    assert uploaded(place, {"enp": known, "diagnosis": "I10"}, record) == ["ok", "ok.aside"]
    assert uploaded(place, record | {"planned_months": "2027-01"}) == ["ok.aside"]
    assert count(place, "SELECT count(*) FROM list_aside WHERE settled_at IS NULL") == 1
    _complete(place)
    assert len(entries(place)) == 1
    place.serial = iter([serial])  # type: ignore[assignment]
    place.person()
    _complete(place)
    taken = entries(place)[-1]
    assert (taken["enp"], taken["external_id"], taken["planned_months"]) == (enp, "A-7", ["2027-01"])
    assert (taken["source"], events(place)[-1][3]) == ("MO", "UPLOAD")
    assert count(place, "SELECT count(*) FROM list_aside WHERE settled_at IS NULL") == 0
    assert count(place, "SELECT count(*) FROM list_aside WHERE code = 'ok'") == 1
    assert count(place, "SELECT count(*) FROM file WHERE mailbox AND name LIKE '%aside%'") == 3
    _complete(place)
    assert len(entries(place)) == 2


def _complete(place: Region) -> None:
    from gateway.lists import aside

    aside.complete(uploads.work_of(place))


def test_the_audit_names_persons_and_counts(place: Region) -> None:
    enps = [place.person() for _ in range(2)]
    uploaded(place, *({"enp": enp, "diagnosis": "I10"} for enp in enps), {"enp": "1", "diagnosis": "I10"})
    with place.store.begin() as connection:
        (row,) = connection.execute(text("SELECT * FROM audit_record")).mappings().all()
    assert (row["operation"], row["login"], row["outcome"], row["records"]) == ("UploadList", "clinic", "PARTIAL", 2)
    assert len(row["persons"]) == 2
    assert row["details"]["items"] == {"ok": 2, "person.enp-format": 1}
    assert (row["details"]["first_seq"], row["details"]["last_seq"]) == (1, 2)


def test_who_may_upload_what(place: Region) -> None:
    file_id = uploads.put(place, uploads.table({"enp": place.person(), "diagnosis": "I10"}))

    def refused(**given: Any) -> str:
        call = place.call("UploadList", **given.pop("caller", {}))
        values = {"organisation": CLINIC, "file_id": file_id, "mode": "MERGE"} | given
        with pytest.raises(GatewayError) as caught, place.store.begin() as connection:
            place.lists.request_upload(connection, call, values["organisation"], values["file_id"], values["mode"])
        return caught.value.code + "!" * isinstance(caught.value, Foreign)

    fund = {"kind": ClientKind.FUND, "organisations": ()}
    assert refused(mode="REPLACE") == "upload.mode"
    assert refused(file_id=uuid4()) == "object.not-found"
    assert refused(organisation=OTHER) == "object.not-found!"
    assert refused(organisation=OTHER, caller={"organisations": (OTHER,)}) == "object.not-found!"
    assert refused(organisation="499999", caller=fund) == "object.not-found"
    assert refused(caller={"kind": ClientKind.INSURER, "insurer": "40001"}) == "access.forbidden"


def test_upload_and_call_decide_alike(place: Region) -> None:
    """What AddEntries refuses, an upload refuses with the same code."""
    enp = place.person(birth=date(2026, 1, 1))
    assert uploaded(place, {"enp": enp, "diagnosis": "I10"}) == ["ok.child"]
    assert uploaded(place, {"enp": place.person(), "diagnosis": "A00.0"}) == ["ok.outside"]
    strict = place.at(DAY, diagnosis_outside="refuse")
    assert uploaded(strict, {"enp": place.person(), "diagnosis": "A00.0"}) == ["diagnosis.outside"]
    assert uploaded(
        place, {"enp": enp, "diagnosis": "I10", "excluded_on": str(DAY - timedelta(1)), "exclusion_reason": "1"}
    ) == ["exclusion.date-before"]
