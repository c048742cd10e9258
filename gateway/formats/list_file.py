"""Files of lists that clients upload: recognised by what they hold, opened as a stream of records."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gateway.errors import GatewayError
from gateway.formats import archive, dbf_reader, dn_list, list_csv_reader, list_xml_reader
from gateway.formats.listing import ListRecord
from gateway.formats.xml import Stream

_HEAD = 1024
_FOREIGN = (
    (b"\xd0\xcf\x11\xe0", "книга Excel прежнего вида"),
    (b"%PDF", "документ PDF"),
    (b"Rar!", "архив RAR"),
    (b"7z\xbc\xaf", "архив 7z"),
    (b"\x1f\x8b", "архив gzip"),
    (codecs.BOM_UTF16_LE, "кодировка UTF-16"),
    (codecs.BOM_UTF16_BE, "кодировка UTF-16"),
)
_XML = (b"<", codecs.BOM_UTF8 + b"<", codecs.BOM_UTF16_LE + b"<\0", codecs.BOM_UTF16_BE + b"\0<", b"\0<")


class _Reader(Protocol):
    def records(self) -> Iterator[ListRecord]: ...


@dataclass(frozen=True, slots=True)
class ListFile:
    """An opened list: ``format`` DN_LIST, XML, CSV or DBF, ``name`` of the data file (inside of its archive), ``header``
    what the file says of itself."""

    format: str
    name: str
    header: Mapping[str, str]
    _path: Path
    _names: tuple[str, ...]

    def records(self) -> Iterator[ListRecord]:
        """Reads the file from its beginning. Raises ``file.structure``, perhaps only after the last record, if the file
        is not what it says: no record is to take effect before all were read."""
        with self._path.open("rb") as source:
            reader: _Reader
            if self.format == "DBF":
                reader = dbf_reader.DbfTable(source)
            elif self.format == "CSV":
                reader = list_csv_reader.ListCsv(source)
            else:
                reader = _xml(Stream(source, _ROOTS), self._names)
            yield from reader.records()


_ROOTS = (dn_list.ROOT, list_xml_reader.ROOT)


def opened(path: Path, name: str, *, archive_bytes: int, folder: Path) -> ListFile:
    """Opens the file at ``path`` that its sender calls ``name``; what an archive holds is unpacked into ``folder``.

    Raises ``file.format`` for what is no list, ``file.archive`` and ``file.structure`` for a file that is broken.
    """
    names = [name]
    if archive.is_archive(path):
        path, inner = archive.unpacked(path, folder, archive_bytes=archive_bytes)
        names.append(inner)
    return _plain(path, tuple(names))


def _plain(path: Path, names: tuple[str, ...]) -> ListFile:
    def made(format: str, header: Mapping[str, str]) -> ListFile:
        return ListFile(format, names[-1], header, path, names)

    with path.open("rb") as source:
        head = source.read(_HEAD)
        source.seek(0)
        if not head.strip():
            raise GatewayError("file.format", what="файл пуст")
        if head.lstrip().startswith(_XML):
            stream = Stream(source, _ROOTS)
            return made("DN_LIST" if stream.root == dn_list.ROOT else "XML", _xml(stream, names).header)
        for start, what in _FOREIGN:
            if head.startswith(start):
                raise GatewayError("file.format", what=what)
        if dbf_reader.is_table(head):
            dbf_reader.DbfTable(source)
            return made("DBF", {})
        list_csv_reader.ListCsv(source)
        return made("CSV", {})


def _xml(stream: Stream, names: tuple[str, ...]) -> Any:
    if stream.root == dn_list.ROOT:
        return dn_list.DnList(stream, names)
    return list_xml_reader.ListXml(stream)
