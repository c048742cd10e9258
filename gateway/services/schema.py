"""Validation of requests by the service's own XSD, one compiled copy per thread, with errors that hold no value.

libxml2 keeps the errors of a schema object in that object: threads that share one read each other's texts, and the
texts repeat what was sent. So every thread compiles its own, and of an error only its kind and its place are used.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

from lxml import etree

from gateway.errors import FieldError, field_error
from gateway.services.types import Model

MOST_ERRORS = 100

_LENGTH = frozenset({"LENGTH", "MINLENGTH", "MAXLENGTH"})
_RANGE = frozenset({"MININCLUSIVE", "MINEXCLUSIVE", "MAXINCLUSIVE", "MAXEXCLUSIVE", "TOTALDIGITS", "FRACTIONDIGITS"})
_UNKNOWN = frozenset(
    {
        "SCHEMAV_CVC_ELT_1",
        "SCHEMAV_CVC_COMPLEX_TYPE_3_2_1",
        "SCHEMAV_CVC_TYPE_3_1_1",
        "SCHEMAV_CVC_TYPE_3_1_2",
    }
)
_EXPECTED = re.compile(r"Expected is (?:one of )?\( (.*?) \)\.")
_STEP = re.compile(r"(?:[^/\[\]:]+:)?([^/\[\]:]+)(?:\[(\d+)\])?")


class Checker:
    """The schema of a service; ``inputs`` are the models of its requests by element name."""

    def __init__(self, schema: etree._Element, inputs: Mapping[str, Model]) -> None:
        self._source = schema
        self._inputs = inputs
        self._lock = threading.Lock()
        self._local = threading.local()

    def _schema(self) -> etree.XMLSchema:
        schema: etree.XMLSchema | None = getattr(self._local, "schema", None)
        if schema is None:
            with self._lock:
                schema = self._local.schema = etree.XMLSchema(deepcopy(self._source))
        return schema

    def errors(self, element: etree._Element) -> list[FieldError]:
        """What is wrong, in the order of the document, one error per place."""
        schema = self._schema()
        if schema.validate(element):
            return []
        model = self._inputs.get(etree.QName(element).localname)
        found: dict[str, FieldError] = {}
        children: Children = {}
        for entry in schema.error_log:
            error = _explain(entry.type_name, entry.message, _resolve(element, model, entry.path or "", children))
            found.setdefault(error.field, error)
            if len(found) == MOST_ERRORS:
                break
        return list(found.values()) or [field_error("", "field.format")]


@dataclass(frozen=True, slots=True)
class _Place:
    """An element of a request: its path in words of the contract, its own model and that of its parent, if known."""

    path: str
    node: etree._Element
    model: Model | None
    parent: Model | None


Children = dict[etree._Element, dict[str, list[etree._Element]]]
"""Children of elements by local name, and all of them as ``*``: looked through once, however many errors they hold."""


def _children(node: etree._Element, known: Children) -> dict[str, list[etree._Element]]:
    named = known.get(node)
    if named is None:
        named = known[node] = {"*": list(node)}
        for child in named["*"]:
            named.setdefault(etree.QName(child).localname, []).append(child)
    return named


def _resolve(root: etree._Element, model: Model | None, path: str, known: Children) -> _Place:
    """The element of a libxml2 node path, which counts elements of a default namespace among all siblings (``*[3]``)
    and others among those of their name."""
    node, parent, place = root, None, []
    for step in path.strip("/").split("/")[1:]:
        match = _STEP.fullmatch(step)
        named = _children(node, known)
        if match is None or len(named.get(match[1], ())) < int(match[2] or 1):
            break
        node = named[match[1]][int(match[2] or 1) - 1]
        name = etree.QName(node).localname
        field = model.field(name) if model else None
        # an unknown name could hold anything and is not repeated
        place.append("?" if field is None else f"{name}[{named[name].index(node) + 1}]" if field.many else name)
        model, parent = (field.type if field and isinstance(field.type, Model) else None), model
    return _Place("/".join(place), node, model, parent)


def _explain(kind: str, message: str, place: _Place) -> FieldError:
    facet = kind.removeprefix("SCHEMAV_CVC_").split("_")[0]
    if facet in _LENGTH:
        return field_error(place.path, "field.length")
    if facet in _RANGE:
        return field_error(place.path, "field.range")
    if kind == "SCHEMAV_ELEMENT_CONTENT":
        return _content_error(message, place)
    return field_error(place.path, "field.unknown" if kind in _UNKNOWN else "field.format")


def _content_error(message: str, place: _Place) -> FieldError:
    """An element that is missing, repeated too often, unknown or out of order.

    What libxml2 expected are names of the schema, safe to repeat; they stand after the words that quote the request.
    """
    if "Missing child element(s)" in message:
        missing = _missing(message, place.node, place.model)
        return field_error(_join(place.path, missing or "?"), "field.missing")
    name = etree.QName(place.node).localname
    before, above = place.node.getprevious(), place.node.getparent()
    if before is not None and before.tag == place.node.tag and place.parent and place.parent.field(name):
        return field_error(re.sub(r"\[\d+\]$", "", place.path), "field.count")
    missing = None if above is None else _missing(message, above, place.parent)
    if missing:
        return field_error(_join(place.path.rpartition("/")[0], missing), "field.missing")
    return field_error(place.path, "field.unknown")


def _missing(message: str, node: etree._Element, model: Model | None) -> str | None:
    """The first mandatory field of a type that was expected and is not there at all."""
    match = _EXPECTED.search(message)
    names = [name.rpartition("}")[2] for name in match[1].split(", ")] if match else []
    present = {etree.QName(child).localname for child in node}
    fields = [field for name in names if model and (field := model.field(name))]
    return next((field.name for field in fields if field.least and field.name not in present), None)


def _join(place: str, name: str) -> str:
    return f"{place}/{name}" if place else name
