"""multipart/related answers (MTOM, SwA): the envelope and the bytes that its `xop:Include` names."""

from __future__ import annotations

import mmap
import tempfile
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from typing import IO
from urllib.parse import unquote

from gateway.sync.upstream.answers import unusable

_PARTS = 16
_HEADER = 64 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message: where its bytes stand in the body."""

    headers: Message
    start: int
    end: int

    @property
    def content_id(self) -> str:
        return str(self.headers.get("content-id", "")).strip().strip("<>")


def parts(body: IO[bytes], kind: Message) -> tuple[Part, list[Part]]:
    """The root part and the others. A message without its closing boundary was cut and is refused."""
    boundary = kind.get_param("boundary")
    if not isinstance(boundary, str) or not 1 <= len(boundary) <= 200:
        raise unusable("составное сообщение без границы")
    mark = b"--" + boundary.encode("ascii", "ignore")
    found: list[Part] = []
    with _mapped(body) as data:
        at = data.find(mark)
        while at >= 0:
            after = at + len(mark)
            if data[after : after + 2] == b"--":
                return _root(found, kind)
            head = data.find(b"\r\n\r\n", after, after + _HEADER)
            following = data.find(b"\r\n" + mark, max(head, after))
            if head < 0 or following < 0 or len(found) >= _PARTS:
                break
            headers = BytesHeaderParser().parsebytes(data[after + 2 : head + 4])
            if str(headers.get("content-transfer-encoding", "binary")).lower() not in ("binary", "8bit", "7bit"):
                raise unusable("кодировка части")
            found.append(Part(headers, head + 4, following))
            at = following + 2
    raise unusable("составное сообщение оборвано")


def _root(found: list[Part], kind: Message) -> tuple[Part, list[Part]]:
    if not found:
        raise unusable("составное сообщение без частей")
    start = kind.get_param("start")
    root = next((part for part in found if isinstance(start, str) and part.content_id == start.strip("<>")), found[0])
    return root, [part for part in found if part is not root]


def included(others: list[Part], href: str) -> Part:
    """The part that ``cid:…`` names."""
    name = unquote(href.removeprefix("cid:"))
    chosen = [part for part in others if part.content_id == name]
    if not href.startswith("cid:") or len(chosen) != 1:
        raise unusable("часть сообщения не найдена")
    return chosen[0]


def _mapped(body: IO[bytes]) -> mmap.mmap:
    body.seek(0)
    if isinstance(body, tempfile.SpooledTemporaryFile):
        body.rollover()
    body.flush()
    try:
        return mmap.mmap(body.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:
        raise unusable("пустой ответ") from None
