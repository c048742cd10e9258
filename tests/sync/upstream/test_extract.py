"""The extract of attachments: a line that is not of the form is never a line that is not there, and an extract that lost
lines makes nobody be asked about."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.sync.insured import work
from gateway.sync.upstream import attachments
from tests.sync.upstream.spoken import CLINIC, ENP, OTHER_ENP
from tests.sync.upstream_region import by_hand

DAY = date(2026, 11, 1)
NOVEMBER = Month(2026, 11)


def line(enp: str = ENP, **values: str) -> str:
    given = {
        "month": "11.2026", "organisation": CLINIC, "area": "1", "since": "2020-01-01", "until": "", "status": "ДПП",
        "doctor": "",
    } | values  # fmt: skip
    row = [
        given["month"], enp, "40001", "СМО", "40000", "1", "50", given["organisation"], "", "МО", "40000", "",
        given["area"], "", "2", given["since"], given["until"], given["doctor"], "", "", given["status"],
    ]  # fmt: skip
    return ",".join(row) + "\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "attach.csv"


def read(path: Path, text: str, encoding: str = "utf-8") -> list[str]:
    path.write_bytes(text.encode(encoding))
    return [one.enp for one in attachments.lines(path, DAY)]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1251"])
def test_what_is_in_force(path: Path, encoding: str) -> None:
    assert read(path, line(), encoding) == [ENP]
    assert read(path, line(status="дпп "), encoding) == [ENP]
    assert read(path, line(until="2026-11-01", since="2026-11-01"), encoding) == [ENP]
    for other in (
        {"until": "2026-10-31"}, {"since": "2026-11-02"}, {"area": "3"}, {"area": "12"}, {"status": "НАП"},
        {"status": "АННУЛИРОВАН"}, {"area": "2", "organisation": ""},
    ):  # fmt: skip
        assert read(path, line(**other) + line(OTHER_ENP), encoding) == [OTHER_ENP], other


@pytest.mark.parametrize(
    "wrong",
    [
        {"since": "31.12.2020"}, {"since": "20201231"}, {"since": ""}, {"since": "2020-02-30"}, {"since": "2020-01-01T00:00:00"},
        {"until": "01.01.2030"}, {"until": "31.12.2030"}, {"until": "zzz"}, {"until": "2030-1-1"}, {"until": "2026-11-31"},
        {"area": "01"}, {"area": ""}, {"area": "1.0"}, {"area": "терапевтический"}, {"status": ""}, {"status": "Д"},
        {"status": "1"}, {"status": "ДПП\x00"}, {"month": "10.2026"}, {"organisation": "4001"},
    ],
)  # fmt: skip
def test_a_line_that_is_not_of_the_form(path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(GatewayError) as refusal:
        read(path, line(OTHER_ENP) + line(**wrong))
    assert (refusal.value.code, "строка 2 выписки" in refusal.value.message) == ("upstream.unusable", True)


@pytest.mark.parametrize("wrong", [{"since": "31.12.2020"}, {"until": "01.01.2030"}, {"status": "Д"}])
def test_a_line_of_another_area_is_of_the_form_too(path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(GatewayError) as refusal:
        read(path, line(area="3", **wrong))
    assert refusal.value.code == "upstream.unusable"


@pytest.mark.parametrize("encoding", ["cp866", "koi8-r", "utf-16"])
def test_another_character_set(path: Path, encoding: str) -> None:
    with pytest.raises(GatewayError) as refusal:
        read(path, line(), encoding)
    assert refusal.value.code == "upstream.unusable"


@pytest.mark.parametrize(
    "text",
    [line() + line(doctor="1" * 200_000), line() + '"11.2026,', line() + '"11.2026"x,', line() + line()[:60], line()[:-3]],
    ids=["field-without-end", "open-quote", "after-a-quote", "in-a-line", "in-the-status"],
)  # fmt: skip
def test_a_file_that_breaks_off(path: Path, text: str) -> None:
    with pytest.raises(GatewayError) as refusal:
        read(path, text)
    assert refusal.value.code == "upstream.unusable"


def test_an_extract_that_shrank_makes_nobody_be_asked_about(store, owner) -> None:
    """A month without half of the region: only who died is asked about. Once an operator has said that the extract is
    right, the next comparison asks about those who are not in it."""
    with by_hand(store, owner, brake_shrink=3) as place:
        enps = [place.region.person() for _ in range(40)]
        entries = place.observe(*enps)
        place.begin()
        assert place.applied() == {}
        place.at(date(2026, 12, 10))
        for enp in enps[:20]:
            place.do("UPDATE upstream.attachment SET area = '3' WHERE oip = :oip", oip=place.oip(enp))
        place.die(enps[0], date(2026, 11, 15))
        asked = "SELECT reason, count(*) FROM reconcile_fact WHERE reconcile_id = :id GROUP BY reason ORDER BY reason"

        row = place.compare(NOVEMBER)
        assert (row["state"], [one["why"] for one in row["brake"]]) == ("BRAKED", ["EXTRACT", "CLINIC"])
        assert place.all(asked, id=row["id"]) == [{"reason": "DEATH", "count": 1}]
        said = "Выписка уменьшилась: о лицах, которых в ней нет, спросит сверка после решения approve"
        assert said in place.lines(row["id"])

        with store.begin() as connection:
            operation = work.approve(connection, login="test", trace="t")
        assert place.run(operation).state == "DONE"
        assert place.entry(entries[0])["exclusion_reason"] == "3"

        row = place.compare(NOVEMBER)
        assert (row["state"], row["brake"]) == ("APPLIED", [])
        assert {"reason": "ABSENT", "count": 19} in place.all(asked, id=row["id"])
        assert said not in place.lines(row["id"])
        assert row["counts"]["REPORT/NO_ATTACHMENT"] == 19
        assert {place.entry(one)["status"] for one in entries[1:]} == {"OBSERVED"}
