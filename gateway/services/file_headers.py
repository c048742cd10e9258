"""What HTTP says of a file: its name, a range of it, its state at the client; and refusals as small JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from gateway.errors import GatewayError
from gateway.operations.model import FileInfo

Headers = list[tuple[bytes, bytes]]

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_PLAIN = re.compile(r"[^A-Za-z0-9 !#$&+.^_`{}~()-]")
_DISPOSED = re.compile(
    r'filename\*\s*=\s*utf-8\'[^\']*\'([^;\s]+)|filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))', re.I
)
_SHA256 = re.compile(r"[0-9a-f]{64}")

_STATUS = {
    "file.complete": 409,
    "file.incomplete": 404,
    "file.method": 405,
    "file.name-differs": 409,
    "file.offset": 409,
    "file.range": 416,
    "file.too-large": 413,
    "access.forbidden": 403,
    "access.rate": 429,
    "object.not-found": 404,
    "request.compressed": 415,
    "request.timeout": 408,
    "server.busy": 503,
    "server.database": 503,
    "server.disk-full": 507,
    "server.error": 500,
}
"""The other refusals are 401 where they are of access, 400 where they are not."""


def status_of(error: GatewayError) -> int:
    return _STATUS.get(error.code) or (401 if error.code.startswith("access.") else 400)


def refusal(error: GatewayError, trace: str, size: int | None) -> tuple[Headers, bytes]:
    """Headers and body of a refusal; ``size`` is that of the file, where it is known."""
    body = {"code": error.code, "message": error.message, "requestId": trace}
    headers = [(b"content-type", b"application/json; charset=utf-8")]
    status = status_of(error)
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="dn-gateway", charset="UTF-8"'))
    if status == 405:
        headers.append((b"allow", b"GET, HEAD, PUT"))
    if status == 416 and size is not None:
        headers.append((b"content-range", b"bytes */%d" % size))
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    return headers, json.dumps(body, ensure_ascii=False).encode()


def described(file: FileInfo) -> bytes:
    """The answer to a file that was taken."""
    body = {"fileId": str(file.file_id), "fileName": file.name, "size": file.size, "sha256": file.sha256}
    return json.dumps(body, ensure_ascii=False).encode()


def etag(file: FileInfo) -> str:
    return f'"{file.sha256}"'


def of_content(file: FileInfo) -> Headers:
    """The headers under which a file is given; a browser saves it and shows nothing of it."""
    plain = _PLAIN.sub("_", file.name)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file.name, safe='')}"
    return [
        (b"content-type", b"application/octet-stream"),
        (b"content-disposition", disposition.encode()),
        (b"etag", etag(file).encode()),
        (b"accept-ranges", b"bytes"),
    ]


def unchanged(headers: Mapping[str, str], file: FileInfo) -> bool:
    """Whether the client says that it has this content."""
    known = [one.strip().removeprefix("W/") for one in headers.get("if-none-match", "").split(",")]
    return etag(file) in known or "*" in known


def range_of(headers: Mapping[str, str], file: FileInfo) -> tuple[int, int] | None:
    """The first byte and the one after the last of a single range (RFC 9110, section 14); ``None``: the whole file.

    What is no single range of bytes is no range. Raises ``file.range`` for one that lies outside the file.
    """
    found = _RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if found is None or headers.get("if-range", etag(file)) != etag(file):
        return None
    first, last = found.groups()
    if not first:
        if not last:
            return None
        start, end = max(0, file.size - int(last)), file.size
    else:
        start, end = int(first), min(file.size, int(last) + 1 if last else file.size)
        if last and int(last) < start:
            return None
    if start >= end:
        raise GatewayError("file.range")
    return start, end


def name_of(headers: Mapping[str, str]) -> str | None:
    """The name that a client gives: X-File-Name (UTF-8, may be percent-encoded), or that of Content-Disposition."""
    if given := headers.get("x-file-name"):
        return unquote(_utf8(given), errors="replace")
    found = _DISPOSED.search(headers.get("content-disposition", ""))
    if found is None:
        return None
    extended, quoted, token = found.groups()
    if extended is not None:
        return unquote(extended, errors="replace")
    return _utf8(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else token)


def _utf8(text: str) -> str:
    """A value as its bytes were meant: headers are read as Latin-1."""
    return text.encode("latin-1").decode("utf-8", errors="replace")


def sha256_of(headers: Mapping[str, str]) -> str | None:
    """What X-Content-SHA256 says, in hex. Raises ``file.sha256`` for what is no such sum."""
    given = headers.get("x-content-sha256")
    if given is None:
        return None
    if not _SHA256.fullmatch(given.strip().lower()):
        raise GatewayError("file.sha256")
    return given.strip().lower()
