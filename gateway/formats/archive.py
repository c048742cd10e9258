"""ZIP archives from strangers: one data file or a pair, perhaps the detached signature ``NAME.sig`` of each, nothing else.

The format is APPNOTE.TXT 6.3.3 as МИС write it: stored or deflated, with or without ZIP64 fields and data descriptors,
names in UTF-8 or, where bit 11 does not say so, cp866. Whatever says two things in two places is refused: what another
program would make of such an archive is not what is taken here. Names are never used to write.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from gateway.errors import GatewayError

ENTRIES_MOST = 16
"""How many entries are listed to say what is wrong with them; an archive of more is refused unread."""

RATIO_MOST = 250
RATIO_FROM = 1024 * 1024
"""Contents from this size on may be so many times larger than they are packed; deflate reaches 1032 with zeros."""

SIGNATURE_BYTES = 1024 * 1024

_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_CENTRAL, _LOCAL, _DESCRIPTOR = b"PK\x01\x02", b"PK\x03\x04", b"PK\x07\x08"
_COMMENT = 0xFFFF
_ENCRYPTED, _DESCRIBED, _PATCHED, _STRONG, _UTF8, _MASKED = 0x1, 0x8, 0x20, 0x40, 0x800, 0x2000
_STORED, _DEFLATED = 0, 8
_PIECE = 256 * 1024
_NAME_CHARS = 200
_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{device}{number}" for device in ("com", "lpt") for number in range(1, 10)))
)
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"Rar!", b"7z\xbc\xaf", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the central directory."""

    raw_name: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    directory: bool
    link: bool


def is_archive(path: Path) -> bool:
    """By the first bytes; an empty archive is one."""
    with path.open("rb") as source:
        return source.read(4) in (_LOCAL, _END, b"PK\x07\x08")


def unpacked(path: Path, folder: Path, *, archive_bytes: int) -> tuple[Path, str]:
    """Unpacks the data file into ``folder`` under a name of our own; returns where it is and its name in the archive.

    Raises ``file.archive``; what was written then is not to be used. ``archive_bytes`` bounds the content.
    """
    return _unpacked(path, folder, archive_bytes, 1)[0]


def unpacked_pair(path: Path, folder: Path, *, archive_bytes: int) -> list[tuple[Path, str]]:
    """The same for an archive of exactly two data files, whose contents together ``archive_bytes`` bounds."""
    return _unpacked(path, folder, archive_bytes, 2)


def _unpacked(path: Path, folder: Path, archive_bytes: int, count: int) -> list[tuple[Path, str]]:
    made = []
    with path.open("rb") as source:
        entries, directory = _directory(source, count)
        data, signatures = _chosen(entries, count)
        if sum(entry.size for entry in data) > archive_bytes:
            raise _refused(f"содержимое больше {archive_bytes} байт")
        starts = _checked(source, entries, directory)
        for signature in signatures:
            if signature.size > SIGNATURE_BYTES:
                raise _refused(f"подпись больше {SIGNATURE_BYTES} байт")
            for _ in _content(source, signature, starts[signature.offset]):
                pass
        folder.mkdir(parents=True, exist_ok=True)
        for number, entry in enumerate(data):
            target = folder / ("content" if not number else f"content{number}")
            with target.open("wb") as out:
                for piece in _content(source, entry, starts[entry.offset]):
                    if not out.tell() and piece.startswith(_ARCHIVES):
                        raise _refused("архив внутри архива")
                    out.write(piece)
            made.append((target, entry.name))
    return made


def _directory(source: BinaryIO, wanted: int) -> tuple[list[_Entry], int]:
    """The entries, and where the central directory begins: up to there everything must belong to an entry."""
    end, count, size, start = _end(source)
    if count > ENTRIES_MOST:
        raise _refused(
            f"в архиве {count} файлов, а нужен один" if wanted == 1 else f"в архиве {count} файлов, а не два"
        )
    if count == 0:
        raise _refused("архив пуст")
    if start + size != end or size > ENTRIES_MOST * (_COMMENT + 46):
        raise _refused("оглавление архива не там, где сказано, или в архиве посторонние данные")
    source.seek(start)
    data = source.read(size)
    entries = []
    at = 0
    for _ in range(count):
        entry, at = _entry(data, at)
        entries.append(entry)
    if at != len(data):
        raise _refused("число файлов в оглавлении не равно объявленному")
    return entries, start


def _end(source: BinaryIO) -> tuple[int, int, int, int]:
    """Of the end record: where it begins, the number of entries, size and start of the central directory."""
    whole = source.seek(0, 2)
    source.seek(max(0, whole - _COMMENT - 22))
    tail = source.read()
    found = tail.rfind(_END)
    if found < 0 or len(tail) - found < 22:
        raise _refused("архив оборван")
    disk, first, here, count, size, start, comment = struct.unpack_from("<4H2IH", tail, found + 4)
    at = whole - len(tail) + found
    if found + 22 + comment != len(tail):
        raise _refused("за архивом стоят посторонние данные")
    if 0xFFFFFFFF in (size, start) or 0xFFFF in (here, count):
        return _end64(source, at)
    if disk or first or here != count:
        raise _refused("многотомный архив")
    return at, count, size, start


def _end64(source: BinaryIO, after: int) -> tuple[int, int, int, int]:
    source.seek(max(0, after - 20))
    mark, _, at, disks = _unpack("<4sIQI", source.read(20))
    if mark != _LOCATOR64 or disks != 1 or at > after:
        raise _refused("запись ZIP64 нарушена")
    source.seek(at)
    mark, length, _, _, disk, first, here, count, size, start = _unpack("<4sQ2H2I4Q", source.read(56))
    if mark != _END64 or at + 12 + length + 20 != after:
        raise _refused("запись ZIP64 нарушена")
    if disk or first or here != count:
        raise _refused("многотомный архив")
    return at, count, size, start


def _entry(data: bytes, at: int) -> tuple[_Entry, int]:
    """The entry of the central directory that begins at ``at``, and where the next one begins."""
    mark, _, _, flags, method, _, _, crc, packed, size, *lengths, disk, _, attributes, offset = _unpack(
        "<4s6H3I5H2I", data[at : at + 46]
    )
    if mark != _CENTRAL:
        raise _refused("оглавление архива нарушено")
    name_end = at + 46 + lengths[0]
    extra_end = name_end + lengths[1]
    raw_name = data[at + 46 : name_end]
    size, packed, offset, disk = _wide(data[name_end:extra_end], size, packed, offset, disk)
    if disk:
        raise _refused("многотомный архив")
    name = _decoded(raw_name, flags)
    kind = attributes >> 16 & 0xF000
    entry = _Entry(
        raw_name=raw_name,
        name=name,
        flags=flags,
        method=method,
        crc=crc,
        packed=packed,
        size=size,
        offset=offset,
        directory=kind == 0x4000 or bool(attributes & 0x10) or name.endswith(("/", "\\")),
        link=kind not in (0, 0x4000, 0x8000),
    )
    return entry, extra_end + lengths[2]


def _wide(extra: bytes, size: int, packed: int, offset: int = 0, disk: int = 0) -> tuple[int, int, int, int]:
    """The values, each taken from the ZIP64 field where its own place holds the mark of one."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            field = extra[at + 4 : at + 4 + length]
            values = iter(_unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            size = next(values, size) if size == 0xFFFFFFFF else size
            packed = next(values, packed) if packed == 0xFFFFFFFF else packed
            offset = next(values, offset) if offset == 0xFFFFFFFF else offset
            return size, packed, offset, 0 if disk == 0xFFFF else disk
        at += 4 + length
    return size, packed, offset, disk


def _decoded(name: bytes, flags: int) -> str:
    try:
        return name.decode("utf-8" if flags & _UTF8 else "cp866")
    except UnicodeDecodeError:
        raise _refused("имя файла не читается") from None


def _chosen(entries: list[_Entry], count: int) -> tuple[list[_Entry], list[_Entry]]:
    """The data files and their signatures."""
    if any(entry.raw_name == b"[Content_Types].xml" for entry in entries):
        raise GatewayError("file.format", what="книга Excel: сохраните лист в CSV")
    for entry in entries:
        if wrong := _fault(entry):
            raise _refused(wrong)
    names = {entry.name.casefold(): entry for entry in entries}
    if len(names) != len(entries):
        raise _refused("имя файла повторяется")
    data = {name: entry for name, entry in names.items() if not name.endswith(".sig")}
    if len(data) != count or len(entries) > 2 * count:
        wanted = (
            "нужен один файл списка и, если есть, подпись к нему" if count == 1 else "нужны медицинский и персональный"
        )
        raise _refused(f"в архиве {len(entries)} файлов, а {wanted}")
    signatures = [entry for name, entry in names.items() if name not in data]
    if any(entry.name.casefold()[: -len(".sig")] not in data for entry in signatures):
        raise _refused("имя подписи не равно имени файла с добавлением .sig")
    return list(data.values()), signatures


def _fault(entry: _Entry) -> str | None:
    if wrong := _name_fault(entry.name):
        return wrong
    if entry.directory:
        return "каталог"
    if entry.link:
        return "ссылка или особый файл"
    if entry.flags & (_ENCRYPTED | _STRONG | _MASKED):
        return "файл зашифрован"
    if entry.method not in (_STORED, _DEFLATED) or entry.flags & _PATCHED:
        return "способ сжатия не поддерживается"
    if entry.method == _STORED and entry.packed != entry.size:
        return "размер файла не равен объявленному"
    if entry.size >= RATIO_FROM and entry.size > RATIO_MOST * entry.packed:
        return f"содержимое больше сжатого более чем в {RATIO_MOST} раз"
    return None


def _name_fault(name: str) -> str | None:
    parts = name.replace("\\", "/").split("/")
    if ".." in parts:
        return "имя файла выходит из каталога"
    if parts[0] == "" or name[1:2] == ":":
        return "имя файла — полный путь"
    if len(parts) > 1:
        return "каталог"
    if not name.isprintable() or ":" in name or name != name.strip(" ."):
        return "имя файла содержит недопустимые знаки"
    if len(name) > _NAME_CHARS or name.split(".")[0].strip().casefold() in _DEVICES:
        return "имя файла недопустимо"
    if name.casefold().endswith((".zip", ".rar", ".7z", ".gz")):
        return "архив внутри архива"
    return None


def _checked(source: BinaryIO, entries: list[_Entry], directory: int) -> dict[int, int]:
    """Where the content of each entry begins, by its offset; local headers must say what the directory says."""
    starts: dict[int, int] = {}
    expected = 0
    ordered = sorted(entries, key=lambda entry: entry.offset)
    for entry, after in zip(ordered, [*(entry.offset for entry in ordered[1:]), directory], strict=True):
        if entry.offset != expected:
            raise _refused("в архиве посторонние данные")
        source.seek(entry.offset)
        mark, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _unpack(
            "<4s5H3I2H", source.read(30)
        )
        name, extra = source.read(name_length), source.read(extra_length)
        size, packed, _, _ = _wide(extra, size, packed)
        if mark != _LOCAL or name != entry.raw_name or flags != entry.flags or method != entry.method:
            raise _refused("заголовок файла не равен оглавлению архива")
        described = bool(flags & _DESCRIBED)
        if not described and (crc, packed, size) != (entry.crc, entry.packed, entry.size):
            raise _refused("заголовок файла не равен оглавлению архива")
        start = entry.offset + 30 + name_length + extra_length
        end = start + entry.packed
        if end > after:
            raise _refused("файлы архива накладываются друг на друга")
        if described:
            source.seek(end)
            end += _descriptor(source.read(min(25, after - end)), entry)
        starts[entry.offset] = start
        expected = end
    if expected != directory:
        raise _refused("в архиве посторонние данные")
    return starts


def _descriptor(data: bytes, entry: _Entry) -> int:
    """The length of the data descriptor, which has four shapes."""
    for mark in (_DESCRIPTOR, b""):
        for form in ("<I2I", "<I2Q"):
            wanted = mark + struct.pack(form, entry.crc, entry.packed, entry.size)
            if data == wanted:
                return len(wanted)
    raise _refused("размер или контрольная сумма файла не равны объявленным")


def _content(source: BinaryIO, entry: _Entry, start: int) -> Iterator[bytes]:
    """The content in pieces; sizes and checksum are found wrong as soon as they are."""
    source.seek(start)
    size = crc = 0
    for piece in _stored(source, entry) if entry.method == _STORED else _inflated(source, entry):
        size += len(piece)
        crc = zlib.crc32(piece, crc)
        if size > entry.size:
            break
        yield piece
    if size != entry.size:
        raise _refused("размер файла не равен объявленному")
    if crc != entry.crc:
        raise _refused("контрольная сумма файла не сходится")


def _stored(source: BinaryIO, entry: _Entry) -> Iterator[bytes]:
    left = entry.packed
    while left and (piece := source.read(min(_PIECE, left))):
        left -= len(piece)
        yield piece


def _inflated(source: BinaryIO, entry: _Entry) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    left = entry.packed
    try:
        while not inflater.eof:
            packed = inflater.unconsumed_tail
            if not packed:
                packed = source.read(min(_PIECE, left))
                left -= len(packed)
            piece = inflater.decompress(packed, _PIECE)
            if not packed and not piece:
                raise _refused("сжатые данные оборваны")
            yield piece
    except zlib.error:
        raise _refused("сжатые данные нарушены") from None
    if left or inflater.unused_data:
        raise _refused("за сжатыми данными стоят посторонние")


def _unpack(form: str, data: bytes) -> tuple[Any, ...]:
    try:
        return struct.unpack(form, data)
    except struct.error:
        raise _refused("архив оборван") from None


def _refused(what: str) -> GatewayError:
    return GatewayError("file.archive", what=what)
