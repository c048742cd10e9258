"""The document for integrators says everything that the contract says: every field has its documented refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import ACCEPTED, KINDS
from gateway.services import guide
from gateway.services.published import SERVICES
from gateway.services.types import Field, Model

DOCUMENT = (Path(__file__).parents[2] / "docs" / "integrators.md").read_text(encoding="utf-8")


def fields(given: tuple[Field, ...]) -> Iterator[Field]:
    for field in given:
        yield field
        if isinstance(field.type, Model):
            yield from fields(field.type.fields)


EVERY = [
    (operation, field)
    for service in SERVICES
    for operation in service.operations.values()
    for field in fields(operation.request)
]


def test_the_tables_are_those_of_the_contract() -> None:
    assert guide.refreshed(DOCUMENT) == DOCUMENT, "python -m gateway.services.guide docs/integrators.md"


@pytest.mark.parametrize("code", [*KINDS, *ACCEPTED])
def test_every_code_is_in_the_document(code: str) -> None:
    assert f"| `{code}` |" in DOCUMENT


def test_every_field_has_refusals_and_each_is_known() -> None:
    for operation, field in EVERY:
        codes = guide.refusals_of(field)
        assert codes, (operation.name, field.name)
        assert KINDS.keys() >= set(codes), (operation.name, field.name)


def test_every_service_and_address_is_in_the_document() -> None:
    for service in SERVICES:
        assert f"| `{service.path}` | `{service.path}?wsdl` | `{service.namespace}` |" in DOCUMENT


def test_a_document_without_a_mark_is_refused() -> None:
    with pytest.raises(LookupError):
        guide.refreshed("")
