"""Documents with one great base64 element: the tree without its text, and the decoded bytes as they come."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import IO, Any

from lxml import etree

from gateway.errors import GatewayError

_PIECE = 64 * 1024
_ELEMENTS = 2_000_000


class _Split:
    """A parser's target: builds the tree, but hands the text of one element over to a sink."""

    def __init__(self, name: str, sink: Callable[[bytes], object]) -> None:
        self._tree = etree.TreeBuilder()
        self._name = name
        self._sink = sink
        self._inside = False
        self._rest = ""
        self._elements = 0
        self.found = 0

    def start(self, tag: str, attributes: Any) -> None:
        self._elements += 1
        if self._elements > _ELEMENTS or self._inside:
            # an element inside the content is an xop:Include or nonsense: the content is not here
            self._inside = False
        if self._elements > _ELEMENTS:
            raise GatewayError("request.limits", what="элементов", limit=_ELEMENTS)
        self._tree.start(tag, dict(attributes))
        if tag.rpartition("}")[2] == self._name:
            self._inside = True
            self.found += 1

    def data(self, text: str) -> None:
        if not self._inside:
            self._tree.data(text)
            return
        text = self._rest + "".join(text.split())
        whole = len(text) // 4 * 4
        self._rest = text[whole:]
        self._decode(text[:whole])

    def _decode(self, text: str) -> None:
        try:
            self._sink(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            raise GatewayError("request.malformed", line=0) from None

    def end(self, tag: str) -> None:
        if self._inside and tag.rpartition("}")[2] == self._name:
            if self._rest:
                raise GatewayError("request.malformed", line=0)
            self._inside = False
        self._tree.end(tag)

    def doctype(self, *_: Any) -> None:
        raise GatewayError("request.doctype")

    def comment(self, _: str) -> None:
        return

    def pi(self, *_: Any) -> None:
        return

    def close(self) -> etree._Element:
        return self._tree.close()


def split(source: IO[bytes], name: str, sink: Callable[[bytes], object]) -> etree._Element:
    """The root of a document read in pieces; the decoded text of elements called ``name`` goes to ``sink``.

    Raises ``request.malformed``, ``request.doctype``, ``request.limits``. Memory does not depend on the content.
    """
    target = _Split(name, sink)
    parser: Any = etree.XMLParser(  # type: ignore[call-overload]
        target=target, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True, recover=False
    )
    try:
        while piece := source.read(_PIECE):
            parser.feed(piece)
        root: etree._Element = parser.close()
        return root
    except GatewayError:
        raise
    except (etree.XMLSyntaxError, AssertionError, ValueError):
        raise GatewayError("request.malformed", line=0) from None
