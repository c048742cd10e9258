"""Hypothesis strategies for requests and answers, made from the declared fields."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from gateway.services.types import Field, Model, Simple

# every character that XML 1.0 can hold; lxml normalises none of them
TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="￾￿")
    .filter(lambda one: one >= " " or one in "\t\n")
    .filter(lambda one: not "\x7f" <= one <= "\x9f"),
    min_size=1,
    max_size=20,
)
# no west zone with minutes: spyne 2.14 reads -09:30 as -08:30
_ZONES = st.sampled_from(
    [UTC, timezone(timedelta(hours=3)), timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-9))]
)
_UUIDS = st.uuids().map(str)
_DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)


def simple(kind: Simple) -> st.SearchStrategy[Any]:
    if kind.base == "string":
        if kind.pattern:
            return _UUIDS if kind.longest == 36 else _DIGESTS
        return TEXT if kind.longest is None else TEXT.map(lambda text: text[: kind.longest])
    return {
        "boolean": st.booleans(),
        "int": st.integers(-(2**31), 2**31 - 1),
        "long": st.integers(-(2**63), 2**63 - 1),
        "decimal": st.decimals(-(10**9), 10**9, places=2),
        "date": st.dates(date(1, 1, 1), date(9999, 12, 31)),
        "base64Binary": st.binary(min_size=1, max_size=60),  # spyne reads empty content as absent
        "dateTime": st.datetimes(datetime(1900, 1, 2), datetime(9998, 12, 30), timezones=_ZONES),
    }[kind.base]


def of_field(field: Field) -> st.SearchStrategy[Any]:
    one = of_model(field.type) if isinstance(field.type, Model) else simple(field.type)
    if field.many:
        return st.lists(one, min_size=field.least, max_size=3)
    return one if field.least else st.none() | one


def of_model(model: Model) -> st.SearchStrategy[dict[str, Any]]:
    """Values by snake_case names; every optional field is there in about half of them."""
    return of_fields(model.fields)


def of_fields(fields: tuple[Field, ...]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({field.attribute: of_field(field) for field in fields})
