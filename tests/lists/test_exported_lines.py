"""Lines rendered in the database are byte for byte what the renderers of the gateway make, whatever the values hold."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.string import ByteaBinaryLoader

from gateway.formats import listing_csv, listing_xml
from gateway.lists import readout
from gateway.lists.model import Line
from gateway.services.observation_v1 import RENDER
from gateway.store.engine import Store

NASTY = "\t\n\r\x01\x0b\x1f\x7f\"';=+-@&<>\\%:,|\u00a0\u2028\ue000\ufffe№ёЁ𝒳"
WORDS = st.text(st.one_of(st.sampled_from(NASTY + "АБв1"), st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=12)  # fmt: skip
DAYS = st.dates(date(1890, 1, 1), date(2100, 1, 1))
NEEDED = ("enp", "last_name", "first_name", "diagnosis", "diagnosis_group", "organisation", "source", "status")
FREE = ("external_id", "snils", "middle_name", "insurer", "attached_organisation", "doctor_snils", "specialty")
FREE += ("last_visit_result", "exclusion_reason", "outside")
LATER = ("death_date", "diagnosed_on", "last_visit_on", "next_visit_by", "excluded_on")

ENTRIES = st.fixed_dictionaries(
    {
        "id": st.integers(1, 10**17), "version": st.integers(1, 10**6), "sex": st.integers(1, 2),
        "by_attachment": st.booleans(), "birth_date": DAYS, "observed_since": DAYS,
        "changed_at": st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
        "planned_months": st.lists(st.sampled_from(["2026-11", "2027-01", "2027-12"]), max_size=4),
        **dict.fromkeys(NEEDED, WORDS.filter(bool)),
        **dict.fromkeys(FREE, st.one_of(st.none(), WORDS)),
        **dict.fromkeys(LATER, st.one_of(st.none(), DAYS)),
    }
)  # fmt: skip


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=st.lists(ENTRIES, min_size=1, max_size=5))
def test_lines(store: Store, entries: list[dict[str, object]]) -> None:
    lines, xml, csv = _read(store, entries)
    start = b"<entries><recordNumber>%d</recordNumber>"
    stored = RENDER(lines)
    assert xml == [start % n + line + b"\n" for n, line in enumerate(stored, 1)]
    assert xml == listing_xml.sealed(1, stored)
    assert csv == [listing_csv.line(n, line) for n, line in enumerate(lines, 1)]


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=st.lists(ENTRIES, min_size=1, max_size=5))
def test_what_closed_lists_keep_gives_its_values_back(store: Store, entries: list[dict[str, object]]) -> None:
    lines = _read(store, entries)[0]
    kept = [tuple(value if value is None else _in_xml(value) for value in line) for line in lines]
    assert [listing_xml.values_of(line) for line in RENDER(lines)] == kept


def _in_xml(value: str) -> str:
    dropped = {*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF}
    return "".join(one for one in value if ord(one) not in dropped)


def _read(store: Store, entries: list[dict[str, object]]) -> tuple[list[Line], list[bytes], list[bytes]]:
    """The entries as lines, and in the forms that the database renders."""
    source = (
        "SELECT {line} FROM jsonb_array_elements(%(rows)s::jsonb) WITH ORDINALITY AS r(v, n),"
        " LATERAL jsonb_populate_record(NULL::entry, r.v) AS e ORDER BY r.n"
    )

    def sent(form: readout.Form[Any]) -> list[Any]:
        with driver.cursor() as cursor:
            if form.binary:
                cursor.adapters.register_loader("text", ByteaBinaryLoader)
            query = source.replace("{line}", form.sql)
            found = cursor.execute(query, {"rows": json.dumps(entries, default=str)}, binary=form.binary).fetchall()
        return form.fresh(1, found)

    with store.driver() as driver:
        return [line for _, line in sent(readout.ROW)], sent(readout.XML), sent(readout.CSV)
