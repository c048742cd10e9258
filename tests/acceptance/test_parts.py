"""Files in parts of the published size through the running gateway: whatever bytes, byte for byte, in bounded memory."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Callable
from uuid import uuid4

import pytest

from tests.acceptance.messages import part
from tests.serving import EXCHANGE, Gateway, envelope

MEGABYTE = 1024 * 1024


def limit_of(gateway: Gateway) -> int:
    return int(gateway.call("GetLimits", namespace=EXCHANGE).result.findtext("{*}filePartBytes") or 0)


def put(gateway: Gateway, fields: str) -> str:
    answer = gateway.change("PutFilePart", fields, namespace=EXCHANGE)
    return answer.result.findtext("{*}fileId") or ""


def wrapped(fields: str) -> str:
    """The same with base64 in lines of 76, as MIME has it."""
    before, _, rest = fields.partition("<content>")
    content, _, after = rest.partition("</content>")
    lines = "\n".join(content[at : at + 76] for at in range(0, len(content), 76))
    return f"{before}<content>\n{lines}\n</content>{after}"


def plain(fields: str) -> str:
    return fields


@pytest.mark.parametrize("shape", [plain, wrapped])
def test_the_largest_part_comes_back_byte_for_byte(gateway: Gateway, shape: Callable[[str], str]) -> None:
    limit = limit_of(gateway)
    content = random.Random(7).randbytes(limit + 10)
    file = put(gateway, shape(part(content[:limit], last=False)))
    put(gateway, shape(part(content[limit:], limit, file=file)))
    taken = b""
    for more in ("true", "false"):
        asked = f"<fileId>{file}</fileId><offset>{len(taken)}</offset>"
        answer = gateway.call("GetFile", asked, namespace=EXCHANGE).result
        taken += base64.b64decode(answer.findtext("{*}content") or "")
        assert answer.findtext("{*}more") == more
    assert taken == content
    assert answer.findtext("{*}sha256") == hashlib.sha256(content).hexdigest()


def test_many_large_parts_take_no_memory_for_ever(gateway: Gateway) -> None:
    limit = limit_of(gateway)
    content = random.Random(8).randbytes(limit)

    def there_and_back() -> None:
        file = put(gateway, part(content))
        assert gateway.call("GetFile", f"<fileId>{file}</fileId>", namespace=EXCHANGE).fault is None

    for _ in range(4):
        there_and_back()
    before = gateway.rss()
    for _ in range(10):
        there_and_back()
    assert gateway.rss() - before < 100 * MEGABYTE


@pytest.mark.parametrize("content", ["A", "=", "A===", "QQ==QQ==", "Q*==", "Я", "<a/>", "QR==", "&#0;"])
def test_what_is_no_base64_is_refused(gateway: Gateway, content: str) -> None:
    fields = part(b"x").replace("<content>eA==", f"<content>{content}")
    answer = gateway.change("PutFilePart", fields, namespace=EXCHANGE)
    assert answer.fault in ("request.schema", "request.malformed")


@pytest.mark.parametrize("offset", ["-1", "1", "9223372036854775807"])
def test_a_part_outside_its_place_is_refused(gateway: Gateway, offset: str) -> None:
    fields = part(b"x").replace("<offset>0", f"<offset>{offset}")
    fault = gateway.change("PutFilePart", fields, namespace=EXCHANGE).fault
    assert fault == ("file.range" if offset == "-1" else "file.offset")


def test_a_resend_of_a_part_is_answered_as_before(gateway: Gateway) -> None:
    fields, request_id = part(b"one", last=False), str(uuid4())
    first = gateway.change("PutFilePart", fields, request_id=request_id, namespace=EXCHANGE)
    again = gateway.change("PutFilePart", fields, request_id=request_id, namespace=EXCHANGE)
    assert again.content == first.content
    file = first.result.findtext("{*}fileId") or ""
    assert put(gateway, part(b"one", last=False, file=file)) == file
    assert put(gateway, part(b"two", 3, file=file)) == file
    answer = gateway.call("GetFile", f"<fileId>{file}</fileId>", namespace=EXCHANGE).result
    assert base64.b64decode(answer.findtext("{*}content") or "") == b"onetwo"


def test_a_small_file_is_loaded_at_once(gateway: Gateway) -> None:
    content = base64.b64encode(b"enp;diagnosis\r\n").decode()
    answer = gateway.change("UploadList", f"<fileName>a.csv</fileName><content>{content}</content>")
    assert answer.result.findtext("{*}operationId")
    both = f"<fileId>{uuid4()}</fileId><fileName>a.csv</fileName><content>{content}</content>"
    assert gateway.change("UploadList", both).fault == "file.content"
    sha256 = "0" * 64
    wrong = f"<fileName>a.csv</fileName><content>{content}</content><sha256>{sha256}</sha256>"
    assert gateway.change("UploadList", wrong).fault == "file.sha256"


def test_a_part_without_a_client_is_not_decoded(gateway: Gateway) -> None:
    body = f'<PutFilePart xmlns="{EXCHANGE}"><requestId>{uuid4()}</requestId>{part(b"x" * MEGABYTE)}</PutFilePart>'
    assert gateway.post("/soap/exchange/v1", envelope(body)).fault == "access.no-credentials"
    assert gateway.post("/soap/observation/v1", envelope(body)).fault == "request.operation"
