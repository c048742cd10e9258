"""The compiled decoder and encoder against spyne's own, over every operation of every service."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from gateway.errors import GatewayError
from gateway.lists.model import LINE_COLUMNS, REGISTER_COLUMNS
from gateway.services import codec
from gateway.services import observation_types as t
from gateway.services.contract import Operation, Service, fault
from gateway.services.observation_v1 import RENDER, RENDER_CHANGES, SERVICE
from gateway.services.published import SERVICES
from gateway.services.types import Field, Model, needed
from tests.contract import values
from tests.contract.reference import canonical, plain, reference

EVERY = [
    pytest.param(service, operation, id=operation.name)
    for service in SERVICES
    for operation in service.operations.values()
]
few = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


def line_of(entry: dict[str, Any], columns: tuple[str, ...] = LINE_COLUMNS) -> tuple[str | None, ...]:
    """An entry as the row of text that the lists feature hands out."""

    def text(name: str) -> str | None:
        value = entry.get(name)
        if name == "planned_months":
            return " ".join(value)
        if isinstance(value, bool):
            return "true" if value else "false"
        return value.isoformat() if hasattr(value, "isoformat") else None if value is None else str(value)

    return tuple(text(name) for name in columns)


def entry_of(values_: dict[str, Any], number: int | None, columns: tuple[str, ...] = LINE_COLUMNS) -> dict[str, Any]:
    """What an entry of hypothesis looks like once it has been a row: the number apart, extra by the columns that are no
    fields."""
    items = [
        {"name": name, "value": values_[name]}
        for name in columns
        if name in ("outside", *REGISTER_COLUMNS) and values_[name]
    ]
    extra = {"item": items} if items else None
    return {**values_, "record_number": number, "extra": extra}


MONTHS = st.lists(st.dates().map(lambda day: f"{day:%Y-%m}"), max_size=3)
OUTSIDE = st.none() | st.sampled_from(["ORDER", "CHILD"])
ENTRY = st.builds(
    lambda entry, months, outside, register: {**entry, "planned_months": months, "outside": outside, **register},
    values.of_model(t.ENTRY),
    MONTHS,
    OUTSIDE,
    st.fixed_dictionaries({name: st.none() | values.TEXT for name in REGISTER_COLUMNS}),
)


def answers(fields: tuple[Field, ...]) -> st.SearchStrategy[tuple[dict[str, Any], dict[str, Any]]]:
    """Pairs of one answer: as handlers give it (entries are rows), and as spyne wants it (entries are mappings)."""

    def pair(field: Field) -> st.SearchStrategy[tuple[Any, Any]]:
        if isinstance(field.type, Model) and field.type.columns:
            columns = field.type.columns
            one = ENTRY.map(lambda entry: (line_of(entry, columns), entry_of(entry, None, columns)))
        elif isinstance(field.type, Model):
            one = answers(field.type.fields)
        else:
            one = values.simple(field.type).map(lambda value: (value, value))
        if field.many:
            many = st.lists(one, min_size=field.least, max_size=3)
            return many.map(lambda pairs: ([ours for ours, _ in pairs], [theirs for _, theirs in pairs]))
        return one if field.least else st.just((None, None)) | one

    pairs = st.fixed_dictionaries({field.attribute: pair(field) for field in fields})
    return pairs.map(
        lambda made: ({name: one[0] for name, one in made.items()}, {name: one[1] for name, one in made.items()})
    )


def request_of(service: Service, operation: Operation, given_: dict[str, Any]) -> bytes:
    """The element of a request; the encoder writes it as it writes answers."""
    return codec.element(operation.input, service.namespace)(given_).encode()


def spyne_answer(service: Service, operation: Operation, theirs: dict[str, Any]) -> bytes:
    """What spyne serialises for an answer, asked by any valid request."""
    made = reference(service)
    returned = [made.value(field, theirs[field.attribute]) for field in operation.response]
    seen, out = made.call(minimal(service, operation), returned[0] if len(returned) == 1 else returned)
    assert seen is not None, out
    return out


def minimal(service: Service, operation: Operation) -> bytes:
    def filled(fields: tuple[Field, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for field in fields:
            if field.least:
                one: Any = filled(field.type.fields) if isinstance(field.type, Model) else _sample(field)
                made[field.attribute] = [one] if field.many else one
        return made

    return request_of(service, operation, filled(operation.request))


def _sample(field: Field) -> Any:
    assert not isinstance(field.type, Model)
    if field.type.pattern:
        return "00000000-0000-4000-8000-000000000000"
    if field.type.base == "base64Binary":
        return b"\0"
    samples = {"string": "1", "int": 1, "long": 1, "boolean": True, "date": "2026-01-01"}
    return samples.get(field.type.base, "2026-01-01T00:00:00+03:00")


@pytest.mark.parametrize(("service", "operation"), EVERY)
def test_the_decoder_reads_what_spyne_reads(service: Service, operation: Operation) -> None:
    made = reference(service)

    @few
    @given(values.of_fields(operation.request))
    def check(sent: dict[str, Any]) -> None:
        element = request_of(service, operation, sent)
        ours = operation.decode(etree.fromstring(element))
        seen, out = made.call(element, _nothing(operation))
        assert seen is not None, out
        theirs = {field.attribute: plain(field, value) for field, value in zip(operation.request, seen, strict=True)}
        assert vars(ours) == theirs

    check()


def changes(value: list[dict[str, Any]]) -> bytes:
    """Changes with heads as the lists feature hands them out: text without markup."""
    names = [field.attribute for field in t.CHANGE.fields[:-1]]
    heads = [tuple(codec.escape(text_of(one[name])) for name in names) for one in value]
    return RENDER_CHANGES(heads, [one["entry"] for one in value])


def text_of(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def encoded(operation: Operation, ours: dict[str, Any], first: int) -> bytes:
    """The envelope; what an operation takes as ready bytes is rendered as its door does it."""
    if not operation.splice:
        return operation.encode(ours)
    value = ours[operation.splice]
    if operation.splice == "entries":
        body = RENDER.join(first, RENDER(value))
    elif operation.splice == "changes":
        body = changes(value)
    else:
        body = codec.binary(operation.splice, value)
    return operation.encode(SimpleNamespace(**ours, body=body))


def _nothing(operation: Operation) -> Any:
    return None if len(operation.response) == 1 else [None] * len(operation.response)


@pytest.mark.parametrize(("service", "operation"), EVERY)
def test_the_encoder_writes_what_spyne_writes(service: Service, operation: Operation) -> None:
    @few
    @given(answers(operation.response))
    def check(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
        ours, theirs = pair
        if operation.splice == "entries":
            numbered = [{**entry, "record_number": n} for n, entry in enumerate(theirs["entries"], 7)]
            theirs = {**theirs, "entries": numbered}
        assert canonical(encoded(operation, ours, 7)) == canonical(spyne_answer(service, operation, theirs))

    check()


@pytest.mark.parametrize(("service", "operation"), EVERY)
def test_answers_are_valid_by_the_published_schema(service: Service, operation: Operation) -> None:
    from gateway.services.wsdl import schema_of

    schema = etree.XMLSchema(schema_of(service))

    @few
    @given(answers(operation.response))
    def check(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
        (answer,) = etree.fromstring(encoded(operation, pair[0], 1))[0]
        assert schema.validate(answer), schema.error_log

    check()


def test_objects_and_mappings_give_the_same_bytes() -> None:
    operation = SERVICE.operations["AddEntries"]
    result = {"number": 1, "id": "7", "code": "ok", "message": "Принято"}
    assert operation.encode([SimpleNamespace(**result)]) == operation.encode({"results": [result]})


def test_strings_are_escaped_and_cleaned() -> None:
    model = Model("M", "", (needed("a", values_string(), ""),))
    write = codec.element(model, "urn:x")
    assert write({"a": "a<b>&\r\n\x00\x0b\ufffe"}) == '<M xmlns="urn:x"><a>a&lt;b&gt;&amp;&#13;\n</a></M>'


def values_string() -> Any:
    from gateway.services.types import STRING

    return STRING


def test_a_row_is_escaped_and_cleaned_like_any_string() -> None:
    row: list[str | None] = ["1"] * len(LINE_COLUMNS)
    row[LINE_COLUMNS.index("last_name")] = "<i>&\x00\x01Ё"
    row[LINE_COLUMNS.index("outside")] = None
    (line,) = RENDER([tuple(row)])
    assert "<lastName>&lt;i&gt;&amp;Ё</lastName>".encode() in line
    assert b"<extra>" not in line
    assert b"\0" not in line


def test_no_rows_are_no_bytes() -> None:
    assert RENDER([]) == []
    assert RENDER.join(1, []) == b""


def test_a_time_without_a_zone_is_not_answered() -> None:
    ping = SERVICES[1].operations["Ping"]
    with pytest.raises(ValueError, match="zone"):
        ping.encode({"version": "1", "time": datetime(2026, 11, 1), "database": "ok"})


def test_a_mandatory_value_that_is_absent_is_not_answered() -> None:
    with pytest.raises(ValueError, match="PingResponse/version"):
        SERVICES[1].operations["Ping"].encode({"version": None, "time": "2026-11-01T00:00:00Z", "database": "ok"})


@pytest.mark.parametrize(
    ("text", "day"),
    [("2026-11-01", 1), ("2026-11-03Z", 3), ("2026-11-04+03:00", 4), ("2026-11-05-09:30", 5)],
)
def test_days_may_carry_a_zone(text: str, day: int) -> None:
    operation = SERVICE.operations["GetDoctors"]
    element = etree.fromstring(f'<GetDoctors xmlns="{SERVICE.namespace}"><onDate>{text}</onDate></GetDoctors>')
    assert SERVICE.validate(element) == []
    assert operation.decode(element).on_date.day == day


_WRITTEN = st.text(max_size=30) | st.from_regex(
    r"\A\s?-?[0-9]{4,5}-[01][0-9]-[0-3][0-9](T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?)?(Z|[+-][01][0-9]:[0-5][0-9])?\s?\Z"
)


@given(_WRITTEN)
@settings(max_examples=400, deadline=None)
def test_any_text_is_a_day_and_a_moment_or_refused(text: str) -> None:
    """Fuzz target of dates: what the schema lets through is read or named, never a failure."""
    exchange = next(service for service in SERVICES if service.name == "Exchange")
    for service, name, fields in ((SERVICE, "GetDoctors", ("onDate",)), (exchange, "GetMyCalls", ("from", "to"))):
        element = etree.Element(f"{{{service.namespace}}}{name}")
        for one in fields:
            child = etree.SubElement(element, f"{{{service.namespace}}}{one}")
            try:
                child.text = text
            except ValueError:
                return
        if service.validate(element):
            continue
        try:
            service.operations[name].decode(element)
        except GatewayError as error:
            assert {field.code for field in error.fields} == {"field.format"}


@pytest.mark.parametrize("text", ["12026-11-01", "-2026-11-01"])
def test_days_that_the_calendar_does_not_have_are_named(text: str) -> None:
    operation = SERVICE.operations["ExcludeEntries"]
    item = f"<items><entryId>1</entryId><excludedOn>{text}</excludedOn><exclusionReason>3</exclusionReason></items>"
    element = etree.fromstring(
        f'<ExcludeEntries xmlns="{SERVICE.namespace}"><requestId>00000000-0000-4000-8000-000000000000</requestId>'
        f"{item.replace(text, '2026-01-01')}{item}</ExcludeEntries>"
    )
    assert SERVICE.validate(element) == []
    with pytest.raises(GatewayError) as refused:
        operation.decode(element)
    assert [(error.field, error.code) for error in refused.value.fields] == [("items[2]/excludedOn", "field.format")]


def test_a_fault_is_a_soap_fault_with_a_valid_detail() -> None:
    from gateway.errors import field_error
    from gateway.services.wsdl import schema_of

    error = GatewayError("request.schema", fields=[field_error("items[1]/enp", "field.length")], retry_after=3)
    for service in SERVICES:
        root = etree.fromstring(fault(service, error, "trace-1"))
        (body,) = root
        (shown,) = body
        assert [child.tag for child in shown] == ["faultcode", "faultstring", "detail"]
        assert shown.findtext("faultcode") == "soap:Client"
        (detail,) = shown.find("detail")
        assert etree.XMLSchema(schema_of(service)).validate(detail)
        assert detail.findtext("{*}code") == "request.schema"
        assert detail.findtext("{*}requestId") == "trace-1"
        assert detail.findtext("{*}retryAfter") == "3"
        assert detail.findtext("{*}errors/{*}error/{*}field") == "items[1]/enp"
