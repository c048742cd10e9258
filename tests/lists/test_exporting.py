"""Exports: whatever changes meanwhile, the files are the list as it was named, once and in its order."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from uuid import UUID

import pytest
from lxml import etree
from sqlalchemy import text

from gateway.access.model import Call, ClientKind
from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.formats import list_file, listing_csv, listing_xml
from gateway.formats.listing import COLUMNS, NAMESPACE
from gateway.lists import queries, readout
from gateway.lists.model import Choice, Exclusion, Line, NewEntry, PlanChange
from gateway.lists.pages import Head
from gateway.operations import files, runs, works
from gateway.operations.model import FileInfo, Operation, Owner, State
from gateway.operations.queue import Work
from gateway.services.observation_v1 import RENDER
from gateway.store.engine import Driver, Store
from tests.lists.region import CLINIC, DOCTOR, OTHER, Region
from tests.lists.test_batches import DAY, codes, conduct

NASTY = ('О"Нил; <&>', "=СУММ(A1)", "-Тире\\n")


class Values:
    """A renderer that keeps the values."""

    def __call__(self, lines: Sequence[Line]) -> list[bytes]:
        return [json.dumps(line).encode() for line in lines]

    def join(self, first: int, lines: Sequence[bytes]) -> bytes:
        return b"\n".join(b"%d %s" % (first + n, line) for n, line in enumerate(lines))


@pytest.fixture
def place(place: Region, tmp_path: Path) -> Region:
    return place.at(DAY, data_dir=str(tmp_path))


def fill(place: Region, count: int, organisation: str = CLINIC) -> list[str]:
    """Entries in alphabetical order, some with all that a line may hold, some with what formats must escape."""
    items = []
    for n in range(count):
        odd = n % 50 == 7
        enp = place.person(
            f"{NASTY[n // 50 % 3] if odd else 'Фамилия'}{n:04d}",
            first=NASTY[1] if odd else "Пётр",
            middle=None if n % 3 else "Ильич\t\u00a0№",
            insurer="40001" if n % 4 else None,
            attached=organisation if n % 5 else None,
            snils=None,
        )
        external = f"{enp}&<\\;\"'" if odd else f"0{enp}" if n % 2 else None
        items.append(
            NewEntry(
                enp,
                ("I10", "E11.9", "C50.1")[n % 3],
                tuple(f"2026-{month:02d}" for month in range(11, 13))[: 1 + n % 2],
                external_id=external,
                diagnosed_on=date(2020, 1, 1) if n % 2 else None,
                doctor_snils=DOCTOR if n % 4 == 1 else None,
            )
        )
    made: list[str] = []
    for at in range(0, count, 500):
        results = place.do(place.lists.add, items[at : at + 500], organisation=organisation)
        assert all(result.id for result in results), results
        made += [str(result.id) for result in results]
    return made


def fund(place: Region) -> Call:
    return place.call(kind=ClientKind.FUND, organisations=[], client_id=9)


def begin(place: Region, call: Call | None = None, organisation: str | None = CLINIC, **wish: object) -> UUID:
    """Asks for an export; ``wish`` is a choice and the arguments of the request."""
    given = dict(wish)
    own = ("start_record", "records_per_file", "delivery", "format")
    arguments = {name: given.pop(name) for name in own if name in given}
    if not given.keys() & {"month", "quarter"}:
        given["month"] = place.today.month
    choice = Choice(**({"year": place.today.year, "list_type": "OBSERVED"} | given))  # type: ignore[arg-type]
    with place.store.begin() as connection:
        return place.lists.request_export(connection, call or caller(place), organisation, choice, **arguments)


def caller(place: Region) -> Call:
    """A client that stands in the database: a run asks for it."""
    with place.store.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO client (id, login, kind, organisations, insurer) VALUES"
                " (1, 'clinic', 'MO', '{400001}', NULL), (8, 'insurer', 'INSURER', '{}', '40001'),"
                " (9, 'fund', 'FUND', '{}', NULL) ON CONFLICT DO NOTHING"
            )
        )
    return place.call("ExportList")


def perform(place: Region, operation_id: UUID) -> Operation:
    works.run(Work(place.store, None, place.settings, place.lists.clock), str(operation_id))
    with place.store.begin() as connection:
        found = works.get(connection, operation_id)
    assert found is not None
    return found


def made_by(store: Store, operation_id: UUID) -> list[tuple[FileInfo, bytes]]:
    with store.begin() as connection:
        found = files.of_operation(connection, operation_id)
        return [(one, files.read(connection, one.file_id, 0, one.size)) for one in found]


def export(place: Region, *args: object, **wish: object) -> list[tuple[FileInfo, bytes]]:
    operation_id = begin(place, *args, **wish)  # type: ignore[arg-type]
    assert perform(place, operation_id).state is State.DONE
    return made_by(place.store, operation_id)


def records(content: bytes) -> bytes:
    """What stands between header and end of a file."""
    start = content.index(b"</header>\n") + len(b"</header>\n")
    return content[start : -len(listing_xml.TAIL)].replace(b"</entries>\n", b"</entries>")


def page(place: Region, render: object = RENDER, **wish: object) -> bytes:
    """The list as GetList shows it."""
    given = {"count": 10_000} | wish
    list_type = str(given.pop("list_type", "OBSERVED"))
    call = given.pop("call", None) or place.call()
    organisation = given.pop("organisation", CLINIC)
    if not given.keys() & {"month", "quarter"}:
        given["month"] = place.today.month
    choice = {name: value for name, value in given.items() if name not in ("count", "snapshot", "start")}
    return place.lists.page(
        place.store,
        call,  # type: ignore[arg-type]
        organisation,  # type: ignore[arg-type]
        Choice(**({"year": place.today.year, "list_type": list_type} | choice)),  # type: ignore[arg-type]
        1,
        10_000,
        given.get("snapshot"),  # type: ignore[arg-type]
        render,  # type: ignore[arg-type]
    ).body


def values(place: Region, **wish: object) -> list[tuple[int, list[str | None]]]:
    lines = page(place, Values(), **wish).decode().split("\n")
    return [(int(number), json.loads(line)) for number, line in (one.split(" ", 1) for one in lines if one)]


def is_valid(content: bytes) -> bool:
    return etree.XMLSchema(etree.fromstring(listing_xml.schema())).validate(etree.fromstring(content))


# the list -------------------------------------------------------------------------------------------------------------


def test_the_files_together_are_the_list(place: Region) -> None:
    fill(place, 620)
    made = export(place, records_per_file=250)
    assert b"".join(records(content) for _, content in made) == page(place)
    assert [one.name for one, _ in made] == [
        "DN_400001_2026-11_OBSERVED_000001-000250.xml",
        "DN_400001_2026-11_OBSERVED_000251-000500.xml",
        "DN_400001_2026-11_OBSERVED_000501-000620.xml",
    ]
    assert all(is_valid(content) for _, content in made)
    headers = [etree.fromstring(content)[0] for _, content in made]
    named = [{etree.QName(one).localname: one.text for one in header} for header in headers]
    assert [(one["firstRecord"], one["records"], one["totalRecords"]) for one in named] == [
        ("1", "250", "620"), ("251", "250", "620"), ("501", "120", "620"),
    ]  # fmt: skip
    assert named[0].keys() == named[1].keys() and named[0]["organisation"] == CLINIC
    assert named[0]["changeToken"] == named[2]["changeToken"] and named[0]["edition"] == "CURRENT"


@pytest.mark.parametrize("list_type", sorted(queries.CONDITIONS))
def test_every_type_of_list(place: Region, list_type: str) -> None:
    ids = fill(place, 30)
    codes(place, place.lists.exclude, *[Exclusion(id, DAY, "6") for id in ids[5:9]])
    codes(place, place.lists.conduct, *[conduct(id) for id in ids[10:14]])
    for wish in ({"month": 11}, {"quarter": 4}, {"month": 10}):
        made = export(place, list_type=list_type, records_per_file=7, **wish)
        assert b"".join(records(content) for _, content in made) == page(place, list_type=list_type, **wish)


@pytest.mark.parametrize("size", [1, 249, 250, 251, 499, 500, 501, 620, 1000])
def test_files_of_any_size(place: Region, size: int) -> None:
    fill(place, 620) if size > 1 else fill(place, 12)
    whole = page(place)
    for start in (1, 2, 10):
        made = export(place, records_per_file=size, start_record=start)
        rest = b"".join(records(content) for _, content in made)
        assert whole.endswith(rest) and rest.count(b"<entries>") == whole.count(b"<entries>") - start + 1


def test_what_changes_meanwhile_is_not_seen(place: Region) -> None:
    """A run that took over reads on from the middle; by then lines have changed, left, come and moved."""
    ids = fill(place, 620)
    operation_id = begin(place, records_per_file=100)
    snapshot = named(place, operation_id)
    with place.store.driver() as driver:
        head = Head(*driver.execute(queries.HEAD_OF_EXPORT, (snapshot,)).fetchone())  # type: ignore[misc]
        before = lines_from(driver, head, 1)
        codes(place, place.lists.update_plans, *[PlanChange(id, ("2027-03",)) for id in ids[100:300]])
        codes(place, place.lists.exclude, *[Exclusion(id, DAY, "6") for id in ids[50:60] + ids[290:300] + ids[615:]])
        fill(place, 40)
        codes(place, place.lists.update_plans, *[PlanChange(id, ("2027-04",)) for id in ids[200:250]])
        for start in (1, 2, 51, 250, 251, 620):
            assert lines_from(driver, head, start).split(b"\n") == before.split(b"\n")[start - 1 :]
    assert perform(place, operation_id).state is State.DONE
    made = made_by(place.store, operation_id)
    assert b"".join(records(content) for _, content in made) == before.replace(b"\n", b"")


def lines_from(driver: Driver, head: Head, start: int) -> bytes:
    batches = [readout.read(driver, head, part, readout.XML) for part in readout.parts(head, start)]
    return b"".join(itertools.chain(*itertools.chain(*batches)))


def named(place: Region, operation_id: UUID) -> UUID:
    """Lets a run name the list and end before its first file."""
    from gateway.lists import exporting

    work = Work(place.store, None, place.settings, place.lists.clock)
    taken = runs.take(work, operation_id)
    assert taken is not None
    with taken as run:
        return exporting._named(run, place.lists).id


def test_lists_of_closed_months_come_from_what_was_kept(place: Region) -> None:
    ids = fill(place, 520)
    with place.store.begin() as connection:
        place.at(date(2026, 12, 2)).lists.close(connection, CLINIC, Month(2026, 11), "test", RENDER)
    closed = {"month": 11, "edition": "CLOSED"}
    before = page(place, **closed)
    codes(place, place.lists.update_plans, *[PlanChange(id, ("2027-03",)) for id in ids[:9]])
    with place.store.begin() as connection:
        connection.execute(text("UPDATE list_ledger SET forgotten = seq"))
    made = export(place, records_per_file=200, **closed)
    assert b"".join(records(content) for _, content in made) == before
    assert made[0][0].name == "DN_400001_2026-11_OBSERVED_CLOSED_000001-000200.xml"
    assert all(is_valid(content) and b"<closedAt>" in content for _, content in made)
    only = closed | {"diagnosis_group": "СД"}
    assert b"".join(records(content) for _, content in export(place, **only)) == page(place, **only)
    for form in ("CSV", "XLSX", "DBF"):
        assert export(place, format=form, start_record=3, **closed)


def test_the_fund_gets_every_list_in_one(place: Region) -> None:
    fill(place, 255), fill(place, 10, OTHER)
    caller(place)
    made = export(place, fund(place), None, records_per_file=100)
    whole = page(place, call=fund(place), organisation=None)
    assert b"".join(records(content) for _, content in made) == whole
    assert made[0][0].name.startswith("DN_ALL_") and b"<organisation>" not in made[0][1].split(b"</header>")[0]
    assert {one.owner for one, _ in made} == {Owner()}


def test_an_insurer_gets_its_insured(place: Region) -> None:
    fill(place, 20)
    caller(place)
    call = place.call(kind=ClientKind.INSURER, organisations=[], insurer="40001", client_id=8)
    made = export(place, call, None)
    assert records(made[0][1]) == page(place, call=call, organisation=None)
    assert records(made[0][1]).count(b"<entries>") == 15 and made[0][0].owner == Owner(insurer="40001")


def test_a_list_without_records_is_one_file_that_says_so(place: Region) -> None:
    for form in ("XML", "CSV", "XLSX", "DBF"):
        ((file, content),) = export(place, format=form)
        assert file.name == f"DN_400001_2026-11_OBSERVED_000000-000000.{form.lower()}" and content
    ((_, content),) = export(place)
    assert b"<records>0</records>" in content and is_valid(content)
    fill(place, 3)
    ((_, content),) = export(place, start_record=4)
    assert b"<records>0</records>" in content and b"<totalRecords>3</totalRecords>" in content


def test_filters(place: Region) -> None:
    fill(place, 60)
    enp = values(place)[0][1][3]
    for wish in ({"diagnosis_group": "СД"}, {"enp": enp}, {"doctor_snils": DOCTOR}, {"planned_month": "2026-12"}):
        assert b"".join(records(content) for _, content in export(place, **wish)) == page(place, **wish)


def test_an_export_says_nothing_of_persons(place: Region) -> None:
    fill(place, 3)
    enp = str(values(place)[0][1][3])
    operation_id = begin(place, enp=enp, doctor_snils=DOCTOR)
    perform(place, operation_id)
    with place.store.begin() as connection:
        rows = connection.execute(text("SELECT to_jsonb(o)::text FROM operation o")).scalars().all()
        rows += connection.execute(text("SELECT args::text FROM procrastinate_jobs")).scalars().all()
        rows += connection.execute(text("SELECT text FROM operation_line")).scalars().all()
    assert rows and not [row for row in rows if enp in row or DOCTOR in row]


# formats --------------------------------------------------------------------------------------------------------------


def test_csv_rendered_in_the_database_and_here_is_one(place: Region) -> None:
    fill(place, 120)
    ((_, content),) = export(place, format="CSV")
    lines = values(place)
    assert content == listing_csv.head() + b"".join(listing_csv.line(number, line) for number, line in lines)
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=";"))
    assert len(rows) == 121 and {len(row) for row in rows} == {len(COLUMNS)}


@pytest.mark.parametrize("form", ["XML", "CSV", "DBF"])
def test_what_was_exported_can_be_read_back(place: Region, form: str, tmp_path: Path) -> None:
    fill(place, 120)
    ((file, content),) = export(place, format=form)
    path = tmp_path / file.name
    path.write_bytes(content)
    opened = list_file.opened(path, file.name, archive_bytes=1 << 30, folder=tmp_path)
    assert opened.format == form
    lines = [line for _, line in values(place)]
    for record, line in zip(opened.records(), lines, strict=True):
        assert record.problems == []
        names = [column.line for column in COLUMNS[1:]]
        wanted = dict(zip(names, line, strict=True))
        assert record.enp == wanted["enp"] and record.diagnosis == wanted["diagnosis"]
        assert record.external_id == wanted["external_id"]
        assert record.doctor_snils == wanted["doctor_snils"] and record.specialty == wanted["specialty"]
        assert str(record.observed_since) == wanted["observed_since"]
        assert record.diagnosed_on == (date.fromisoformat(wanted["diagnosed_on"]) if wanted["diagnosed_on"] else None)
        assert " ".join(record.planned_months or ()) == wanted["planned_months"]


def test_dbf_in_the_eyes_of_another_reader(place: Region, tmp_path: Path) -> None:
    from dbfread import DBF

    fill(place, 120)
    operation_id = begin(place, format="DBF")
    perform(place, operation_id)
    ((file, content),) = made_by(place.store, operation_id)
    (tmp_path / file.name).write_bytes(content)
    table = DBF(tmp_path / file.name)
    assert table.encoding == "cp866" and len(table) == 120
    for row, (number, line) in zip(table, values(place), strict=True):
        assert row["NREC"] == number and row["ENP"] == line[3] and row["DR"] == date.fromisoformat(str(line[8]))
        assert row["IM"] == line[6] and row["BY_PR"] is (line[17] == "true")
    with place.store.begin() as connection:
        said = [line.text for line in works.lines(connection, operation_id)]
    assert not [line for line in said if "cp866" in line]


def test_what_cp866_has_not_is_counted_in_the_protocol(place: Region) -> None:
    place.add(place.person("Оўен«"))
    place.add(place.person("Щ" * 70))
    operation_id = begin(place, format="DBF")
    perform(place, operation_id)
    ((_, content),) = made_by(place.store, operation_id)
    with place.store.begin() as connection:
        said = [line.text for line in works.lines(connection, operation_id) if line.level == "WARNING"]
    assert "Оўен?".encode("cp866") in content
    assert said == [
        "Значений со знаками, которых нет в cp866 (заменены на «?»): 1",
        "Значений, укороченных до ширины поля: 1",
    ]


def test_excel_in_the_eyes_of_another_reader(place: Region, tmp_path: Path) -> None:
    from openpyxl import load_workbook

    fill(place, 120)
    ((file, content),) = export(place, format="XLSX")
    (tmp_path / file.name).write_bytes(content)
    book = load_workbook(tmp_path / file.name)
    sheet = book["Список"]
    rows = list(sheet.iter_rows(values_only=True))
    assert list(rows[0]) == [column.title for column in COLUMNS] and sheet.freeze_panes == "A2"
    for row, (number, line) in zip(rows[1:], values(place), strict=True):
        assert row[0] == number and row[4] == line[3] and row[9].date() == date.fromisoformat(str(line[8]))
        assert row[6] == line[5] and row[7] == line[6]
    assert sheet["E2"].data_type == "s" and sheet["H9"].data_type == "s"
    assert dict(book["Сведения"].iter_rows(values_only=True))["Записей в списке"] == "120"


# asking ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"format": "PDF"}, "export.format"),
        ({"delivery": "POST"}, "export.delivery"),
        ({"records_per_file": 0}, "export.count"),
        ({"records_per_file": 1_000_001}, "export.count"),
        ({"start_record": 0}, "export.start"),
        ({"month": 13}, "list.period"),
        ({"list_type": "ALL"}, "list.type"),
        ({"edition": "OLD"}, "list.edition"),
        ({"edition": "CLOSED"}, "list.not-closed"),
        ({"diagnosis_group": "XX"}, "list.group"),
        ({"enp": "1"}, "person.enp-format"),
    ],
)
def test_a_wrong_wish_is_refused_at_the_call(place: Region, wish: dict[str, object], code: str) -> None:
    with pytest.raises(GatewayError) as caught:
        begin(place, **wish)
    assert caught.value.code == code
    with place.store.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM operation")).scalar_one() == 0


def test_an_organisation_outside_the_set_has_no_list(place: Region) -> None:
    for call, organisation in ((caller(place), OTHER), (fund(place), "499999")):
        with pytest.raises(GatewayError) as caught:
            begin(place, call, organisation)
        assert caught.value.code == "object.not-found"


def test_one_audit_record_with_the_range(place: Region) -> None:
    fill(place, 12)
    operation_id = begin(place, start_record=3, records_per_file=4)
    perform(place, operation_id)
    with place.store.begin() as connection:
        rows = connection.execute(
            text("SELECT operation, organisation, first_record, records, outcome, login, snapshot_id FROM audit_record")
        ).all()
        snapshot = connection.execute(text("SELECT id FROM list_snapshot WHERE ends = '{12}'")).scalar_one()
    assert [tuple(row) for row in rows] == [("ExportList", CLINIC, 3, 10, "OK", "clinic", snapshot)]


def test_the_mailbox_is_that_of_the_organisation(place: Region) -> None:
    fill(place, 5)
    made = export(place, fund(place) if caller(place) else None, CLINIC, delivery="MAILBOX", records_per_file=2)
    assert [(one.mailbox, one.owner, one.kind) for one, _ in made] == [(True, Owner(CLINIC), "EXPORT")] * 3


def test_a_list_whose_images_are_gone_fails_by_name(place: Region) -> None:
    fill(place, 5)
    operation_id = begin(place)
    named(place, operation_id)
    with place.store.begin() as connection:
        connection.execute(text("UPDATE list_ledger SET forgotten = seq + 1, seq = seq + 1"))
    ended = perform(place, operation_id)
    assert (ended.state, ended.code) == (State.FAILED, "list.snapshot-expired")
    assert made_by(place.store, operation_id) == []


def test_a_client_that_lost_the_organisation_gets_nothing(place: Region) -> None:
    fill(place, 5)
    operation_id = begin(place)
    with place.store.begin() as connection:
        connection.execute(text("UPDATE client SET organisations = '{400002}' WHERE id = 1"))
    ended = perform(place, operation_id)
    assert (ended.state, ended.code) == (State.FAILED, "object.not-found")


def test_the_columns_of_files_are_those_of_lines() -> None:
    from gateway.lists.model import LINE_COLUMNS

    assert tuple(column.line for column in COLUMNS[1:]) == LINE_COLUMNS and NAMESPACE == "urn:dn-gateway:list:v1"
