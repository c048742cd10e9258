"""Files made byte by byte, so that they can say one thing and be another: ZIP archives, DBF tables, DN_LIST."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from gateway.domain.persons import make_enp
from gateway.formats.listing import NAMESPACE

ENP = make_enp(19, date(1960, 1, 15), 2, 1)


@dataclass
class Entry:
    """A file of an archive; what is None is told truly."""

    name: bytes
    content: bytes = b""
    flags: int = 0
    method: int = 8
    crc: int | None = None
    packed: int | None = None
    size: int | None = None
    attributes: int = 0
    local_name: bytes | None = None
    local_size: int | None = None
    local_offset: int | None = None
    data: bytes | None = None
    descriptor: bytes = b""
    extra: bytes = b""
    disk: int = 0

    def packed_data(self) -> bytes:
        if self.data is not None:
            return self.data
        if self.method != 8:
            return self.content
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(self.content) + packer.flush()


def zipped(
    *entries: Entry,
    before: bytes = b"",
    between: bytes = b"",
    after: bytes = b"",
    comment: bytes = b"",
    count: int | None = None,
    disk: int = 0,
    shift: int = 0,
) -> bytes:
    body, directory = bytearray(before), bytearray()
    for entry in entries:
        data = entry.packed_data()
        crc = zlib.crc32(entry.content) if entry.crc is None else entry.crc
        packed = len(data) if entry.packed is None else entry.packed
        size = len(entry.content) if entry.size is None else entry.size
        local = size if entry.local_size is None else entry.local_size
        name = entry.name if entry.local_name is None else entry.local_name
        offset = len(body) if entry.local_offset is None else entry.local_offset
        head = (20, entry.flags, entry.method, 0, 0)
        told = (0, 0, 0) if entry.flags & 8 else (crc, packed, local)
        body += (
            struct.pack("<4s5H3I2H", b"PK\3\4", *head, *told, len(name), 0) + name + data + entry.descriptor + between
        )
        directory += struct.pack(
            "<4s6H3I5H2I",
            b"PK\1\2",
            3 << 8 | 20,
            *head,
            crc,
            packed,
            size,
            len(entry.name),
            len(entry.extra),
            0,
            entry.disk,
            0,
            entry.attributes,
            offset,
        )
        directory += entry.name + entry.extra
    number = len(entries) if count is None else count
    end = struct.pack(
        "<4s4H2IH", b"PK\5\6", disk, disk, number, number, len(directory), len(body) + shift, len(comment)
    )
    return bytes(body + directory + end + comment + after)


# lists ----------------------------------------------------------------------------------------------------------------

ZAP: dict[str, str] = {
    "CODE_L": "L-1", "ENP": ENP, "CODE_PINF": "ДН", "DIAG_CODE": "I10", "DIAG_DATE": "2024-01-20",
    "DATE_DN_IN": "2024-02-01", "DN_PRVS": "76", "STATUS_DN_IN": "1", "REASON_DN_IN": "101", "MCOD": "190006",
    "DATE_CHECKING": "2026-05-01",
}  # fmt: skip
ZGLV: dict[str, str] = {
    "VERSION": "P1.20", "FILE_TYPE": "GSM", "DATA": "2026-05-01", "FILENAME": "GSM190006_2605_1", "REGION_CD": "19",
    "NN_FILE": "1", "SD_Z": "1",
}  # fmt: skip
HEADING_END = b"</ZGLV>"


def elements(values: dict[str, str]) -> str:
    return "".join(f"<{name}>{text}</{name}>" for name, text in values.items())


def dn_list(*records: str, encoding: str = "windows-1251", head: str = "", **heading: str) -> bytes:
    """The file; without records one that is right. ``heading`` replaces elements of ZGLV."""
    records = records or (elements(ZAP),)
    zglv = elements({**ZGLV, "SD_Z": str(len(records)), **heading})
    text = f"<?xml version='1.0' encoding='{encoding}'?>{head}<DN_LIST><ZGLV>{zglv}{HEADING_END.decode()}"
    return (text + "".join(f"<ZAP>{one}</ZAP>\n" for one in records) + "</DN_LIST>").encode(encoding)


def own_xml(*records: str, count: int | None = None) -> bytes:
    head = f'<ObservationList xmlns="{NAMESPACE}"><header><period>2026-05</period>'
    head += f"<records>{len(records) if count is None else count}</records></header>"
    return (head + "".join(f"<entries>{one}</entries>" for one in records) + "</ObservationList>").encode()


def dbf(
    fields: Iterable[tuple[str, str, int]] = (("ENP", "C", 16), ("DS", "C", 7), ("DN_IN", "D", 8)),
    rows: Sequence[Sequence[str]] = ((ENP, "I10", "20240201"),),
    *,
    version: int = 3,
    page: int = 0x65,
    encoding: str = "cp866",
    marks: str = "",
    count: int | None = None,
    header: int | None = None,
    length: int | None = None,
    flags: int = 0,
    encrypted: int = 0,
    padding: bytes = b"",
    end: bytes = b"\x1a",
) -> bytes:
    fields = list(fields)
    described = b"".join(
        struct.pack("<11sc4xBB14x", name.encode(encoding), kind.encode(), width, 0) for name, kind, width in fields
    )
    start = 33 + len(described) + len(padding) if header is None else header
    record = 1 + sum(width for *_, width in fields) if length is None else length
    told = len(rows) if count is None else count
    head = struct.pack("<4BIHH3xB12xBB2x", version, 126, 5, 1, told, start, record, encrypted, flags, page)
    body = b"".join(
        (marks[number : number + 1] or " ").encode()
        + b"".join(value.encode(encoding).ljust(field[2])[: field[2]] for field, value in zip(fields, row, strict=True))
        for number, row in enumerate(rows)
    )
    return head + described + b"\r" + padding + body + end
