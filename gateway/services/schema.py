"""Validation of requests by the service's own XSD, one compiled copy per thread, with errors that hold no value.

libxml2 keeps the errors of a schema object in that object: threads that share one read each other's texts, and the
texts repeat what was sent. So every thread compiles its own, and of an error only its kind and its place are used.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from copy import deepcopy

from lxml import etree

from gateway.errors import FieldError, field_error
from gateway.services.types import Field, Model

MOST_ERRORS = 100

_LENGTH = frozenset({"LENGTH", "MINLENGTH", "MAXLENGTH"})
_RANGE = frozenset({"MININCLUSIVE", "MINEXCLUSIVE", "MAXINCLUSIVE", "MAXEXCLUSIVE", "TOTALDIGITS", "FRACTIONDIGITS"})
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
        for entry in schema.error_log:
            place, node, chain = _resolve(element, model, entry.path or "")
            error = _explain(entry.type_name, entry.message, place, node, chain)
            found.setdefault(error.field, error)
            if len(found) == MOST_ERRORS:
                break
        return list(found.values()) or [field_error("", "field.format")]


def _resolve(root: etree._Element, model: Model | None, path: str) -> tuple[str, etree._Element, Model | None]:
    """The place in words of the contract, the element, and the model of its parent, by libxml2's node path.

    A path counts elements of a default namespace among all siblings (``*[3]``) and others among those of their name.
    """
    node, parent, place = root, None, []
    for step in path.strip("/").split("/")[1:]:
        match = _STEP.fullmatch(step)
        if match is None:
            break
        name, number = match[1], int(match[2] or 1)
        children = [child for child in node if isinstance(child.tag, str)]
        if name != "*":
            children = [child for child in children if etree.QName(child).localname == name]
        if len(children) < number:
            break
        child = children[number - 1]
        parent = model
        field = model.field(etree.QName(child).localname) if model else None
        place.append(_name(child, field))
        model = field.type if field and isinstance(field.type, Model) else None
        node = child
    return "/".join(place), node, parent


def _name(child: etree._Element, field: Field | None) -> str:
    """A known name with its number where it may repeat; an unknown one could hold anything and is not repeated."""
    if field is None:
        return "?"
    if not field.many:
        return field.name
    before = sum(1 for one in child.itersiblings(preceding=True) if one.tag == child.tag)
    return f"{field.name}[{before + 1}]"


def _explain(kind: str, message: str, place: str, node: etree._Element, parent: Model | None) -> FieldError:
    facet = kind.removeprefix("SCHEMAV_CVC_").split("_")[0]
    if facet in _LENGTH:
        return field_error(place, "field.length")
    if facet in _RANGE:
        return field_error(place, "field.range")
    if kind == "SCHEMAV_ELEMENT_CONTENT":
        return _content_error(message, place, node, parent)
    if kind in ("SCHEMAV_CVC_ELT_1", "SCHEMAV_CVC_COMPLEX_TYPE_3_2_1", "SCHEMAV_CVC_TYPE_3_1_2"):
        return field_error(place, "field.unknown")
    return field_error(place, "field.format")


def _content_error(message: str, place: str, node: etree._Element, parent: Model | None) -> FieldError:
    """An element that is missing, repeated too often, unknown or out of order.

    What libxml2 expected are names of the schema, safe to repeat; they stand after the words that quote the request.
    """
    expected = list(_expected(message))
    if "Missing child element(s)" in message:
        return field_error(_join(place, expected[0] if expected else ""), "field.missing")
    name = etree.QName(node).localname
    before = node.getprevious()
    if before is not None and before.tag == node.tag and parent and parent.field(name):
        return field_error(re.sub(r"\[\d+\]$", "", place), "field.count")
    above = node.getparent()
    if len(expected) == 1 and above is not None and above.find(f"{{*}}{expected[0]}") is None:
        return field_error(_join(place.rpartition("/")[0], expected[0]), "field.missing")
    return field_error(place, "field.unknown")


def _expected(message: str) -> Iterator[str]:
    match = _EXPECTED.search(message)
    for name in match[1].split(", ") if match else ():
        yield name.rpartition("}")[2]


def _join(place: str, name: str) -> str:
    return f"{place}/{name}" if place and name else place or name
