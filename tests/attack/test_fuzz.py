"""Fuzz target of the edge: whatever bytes come, an answer or a well-formed fault goes back, and the code is a known one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import KINDS
from gateway.store.engine import Store
from tests.attack import raw
from tests.serving import envelope
from tests.web.asgi import NAMESPACE, PATH, Bench, bench, close_gates, service

__all__ = ["close_gates"]

_SEEDS = [message.read_bytes().partition(b"\n\n")[2] for message in raw.MESSAGES]
_SEEDS = [seed for seed in _SEEDS if 0 < len(seed) < 3000]
_PIECES = [
    b"<", b">", b"/>", b"</", b'"', b"&", b"]]>", b"<![CDATA[", b"<!--", b"<!DOCTYPE x>", b"\0", b"\xff", b"&#1;",
    b"<s:Body>", b"</s:Body>", b"<s:Header>", b' s:mustUnderstand="1"', b' xmlns:s="urn:x"', "Ё".encode(), b"=" * 70,
    b"9" * 5000, b"<a>" * 40, b"@LOGIN@", b"@PASSWORD@",
]  # fmt: skip


@pytest.fixture
def made(store: Store, close_gates: None) -> Iterator[Bench]:
    def echo(desk: Any, connection: Any, call: Any, request: Any) -> dict[str, Any]:
        return {"text": request.text}

    yield bench(store, service(("FindPerson", "read", echo)))


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(_SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 40)))
        data[at:end] = draw(st.one_of(st.sampled_from(_PIECES), st.binary(max_size=8)))
    return bytes(data)


_bodies = st.one_of(st.binary(max_size=300), _mutated())
_types = st.sampled_from(
    ["text/xml", "text/xml; charset=utf-8", "text/xml;charset=utf-16", 'text/xml; charset="', "", "multipart/x", "\xff"]
)
_headers = st.lists(
    st.tuples(
        st.sampled_from(["soapaction", "authorization", "content-length", "x-forwarded-for", "content-encoding"]),
        st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=30),
    ),
    max_size=3,
)


@given(_bodies, _types, _headers, st.sampled_from(["POST", "GET", "BREW"]))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_request(made: Bench, body: bytes, kind: str, headers: list[tuple[str, str]], method: str) -> None:
    client = made.login
    filled = body.replace(b"@LOGIN@", client.login.encode()).replace(b"@PASSWORD@", client.password.encode())
    filled = re.sub(rb"urn:dn-gateway:\w+:v1", NAMESPACE.encode(), filled)
    answer = asyncio.run(made.post(filled, method=method, headers=[("content-type", kind), *headers]))
    assert answer.fault is None or answer.fault in KINDS
    assert answer.fault != "server.error"
    assert (made.edge._bytes, made.edge._calls) == (0, 0)


@given(st.text(max_size=60))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_or_is_refused(made: Bench, text: str) -> None:
    """Trial A4 at the edge: a text is answered as it came, byte for byte, or refused."""
    from xml.sax.saxutils import escape

    body = f'<FindPerson xmlns="{NAMESPACE}"><text>{escape(text)}</text></FindPerson>'
    try:
        data = envelope(body, made.login.header)
    except UnicodeEncodeError:
        return
    answer = asyncio.run(made.post(data, path=PATH))
    if answer.fault is None:
        expected = text.replace("\r\n", "\n").replace("\r", "\n")
        assert (answer.result.findtext("{*}text") or "") == expected
    else:
        assert answer.fault in ("request.malformed", "request.schema")
