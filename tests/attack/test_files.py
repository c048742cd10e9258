"""Files of any size and of any malice are read in bounded memory: measured as the peak of a process of its own."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.formats import listing_csv
from gateway.formats.listing import COLUMNS
from tests.formats.hostile import ENP, HEADING_END, ZAP, dbf, dn_list, elements, own_xml

GROWTH_MB = 48
"""How much the peak may rise over that of an interpreter that has read one record; pieces and records are far smaller."""

_READER = """
import resource, sys
from pathlib import Path
from gateway.errors import GatewayError
from gateway.formats import list_file

def read(path, name):
    folder = Path(path).parent / "scratch"
    count = 0
    try:
        for record in list_file.opened(Path(path), name, archive_bytes=1 << 30, folder=folder).records():
            count += 1
    except GatewayError as error:
        return error.code
    return count

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

read(sys.argv[1], "GSM190006_2605_1.xml")
before = peak()
found = read(sys.argv[2], sys.argv[3])
print(found, peak() - before)
"""


def measured(folder: Path, pieces: Iterator[bytes], name: str = "GSM190006_2605_1.xml") -> tuple[str, int]:
    """What reading the file came to, a count or a code, and by how many MiB the peak of memory rose."""
    small, large = folder / "small", folder / "large"
    small.write_bytes(dn_list())
    with large.open("wb") as out:
        for piece in pieces:
            out.write(piece)
    command = [sys.executable, "-c", _READER, str(small), str(large), name]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=250).stdout.split()
    return said[0], int(said[1])


# lists that are right -------------------------------------------------------------------------------------------------


def _dn_list(count: int) -> Iterator[bytes]:
    yield dn_list(SD_Z=str(count)).partition(HEADING_END)[0] + HEADING_END
    for number in range(count):
        yield f"<ZAP>{elements({**ZAP, 'CODE_L': str(number)})}</ZAP>\n".encode("cp1251")
    yield b"</DN_LIST>"


def _own_xml(count: int) -> Iterator[bytes]:
    head, _, _ = own_xml(count=count).partition(b"</ObservationList>")
    yield head
    for number in range(count):
        values = {"externalId": str(number), "enp": ENP, "diagnosis": "I10", "plannedMonths": "2026-05"}
        yield f"<entries>{elements(values)}</entries>\n".encode()
    yield b"</ObservationList>"


def _csv(count: int) -> Iterator[bytes]:
    yield listing_csv.head()
    known = {"enp": ENP, "diagnosis": "I10", "observedSince": "2024-02-01", "lastName": "Ёжиков"}
    row = [known.get(column.name) for column in COLUMNS[1:]]
    for number in range(count):
        yield listing_csv.line(number, row)


def _dbf(count: int) -> Iterator[bytes]:
    data = dbf(count=count, end=b"")
    row = data[-32:]
    yield data
    for _ in range(count - 1):
        yield row


_LISTS: dict[str, Callable[[int], Iterator[bytes]]] = {
    "DN_LIST": _dn_list, "XML": _own_xml, "CSV": _csv, "DBF": _dbf,
}  # fmt: skip


@pytest.mark.parametrize("format", _LISTS)
def test_a_hundred_thousand_records(tmp_path: Path, format: str) -> None:
    found, growth = measured(tmp_path, _LISTS[format](100_000))
    assert found == "100000"
    assert growth < GROWTH_MB


@pytest.mark.trial
@pytest.mark.parametrize("format", _LISTS)
def test_a_million_records(tmp_path: Path, format: str) -> None:
    found, growth = measured(tmp_path, _LISTS[format](1_000_000))
    assert found == "1000000"
    assert growth < GROWTH_MB


def test_a_hundred_thousand_records_zipped(tmp_path: Path) -> None:
    path = tmp_path / "made.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made,
        made.open("GSM190006_2605_1.xml", "w") as out,
    ):
        for piece in _dn_list(100_000):
            out.write(piece)
    found, growth = measured(tmp_path, iter([path.read_bytes()]), "GSM190006_2605_1.zip")
    assert found == "100000"
    assert growth < GROWTH_MB


# lists that lie -------------------------------------------------------------------------------------------------------

_MB = 1 << 20


def _filled(start: bytes, filling: bytes, megabytes: int = 60) -> Iterator[bytes]:
    yield start
    for _ in range(megabytes):
        yield filling * (_MB // len(filling))


def _names() -> Iterator[bytes]:
    yield b"<DN_LIST>"
    for number in range(500_000):
        yield b"<n%d%b/>" % (number, b"x" * 90)


def _namespaces() -> Iterator[bytes]:
    yield b"<DN_LIST>"
    for number in range(500_000):
        yield b"<ZAP xmlns:n%d='urn:%d%b'/>" % (number, number, b"x" * 60)


def _attributes() -> Iterator[bytes]:
    yield b"<DN_LIST><ZAP"
    for number in range(500_000):
        yield b" n%d%b = ''" % (number, b"x" * 90)


def _entities() -> Iterator[bytes]:
    yield b"<!DOCTYPE DN_LIST [<!ENTITY a 'aaaaaaaaaa'>"
    for number in range(9):
        yield b"<!ENTITY %c '%b'>" % (98 + number, b"&%c;" % (97 + number) * 10)
    yield b"]><DN_LIST><ZAP>&j;</ZAP></DN_LIST>"


_LIES: dict[str, tuple[Callable[[], Iterator[bytes]], str]] = {
    "different names": (_names, "file.structure"),
    "namespaces": (_namespaces, "file.structure"),
    "attributes": (_attributes, "file.structure"),
    "entities that grow": (_entities, "file.structure"),
    "a deep element": (lambda: _filled(b"<DN_LIST>", b"<a>"), "file.structure"),
    "a long text": (lambda: _filled(b"<DN_LIST><ZGLV><VERSION>", b"x"), "file.structure"),
    "a long attribute": (lambda: _filled(b"<DN_LIST><ZGLV a='", b"x"), "file.structure"),
    "a long name": (lambda: _filled(b"<DN_LIST><", b"x"), "file.structure"),
    "a long comment": (lambda: _filled(b"<DN_LIST><!--", b"x"), "file.structure"),
    "a long CDATA": (lambda: _filled(b"<DN_LIST><ZGLV><![CDATA[", b"x"), "file.structure"),
    "a long instruction": (lambda: _filled(b"<DN_LIST><?p ", b"x"), "file.structure"),
    "comments": (lambda: _filled(b"<DN_LIST>", b"<!-- c -->"), "file.structure"),
    "blanks": (lambda: _filled(b"<DN_LIST>", b" \n"), "file.structure"),
    "a comment before the root": (lambda: _filled(b"<!--", b"x"), "file.structure"),
    "blanks before anything": (lambda: _filled(b"", b" "), "file.format"),
    "a record without end": (lambda: _filled(b"<DN_LIST><ZGLV/><ZAP>", b"<ENP>1</ENP>"), "file.structure"),
    "a line of CSV": (lambda: _filled(b"enp;diagnosis\n", b"x"), "file.structure"),
    "a header of CSV": (lambda: _filled(b"enp;diagnosis;", b";"), "file.structure"),
    "a quote that does not close": (lambda: _filled(b'enp;diagnosis\n"', b"x"), "file.structure"),
    "binary": (lambda: _filled(b"enp;diagnosis\n", b"\0"), "file.structure"),
    "a table of 4 G records": (lambda: _filled(dbf(count=0xFFFFFFFF), b" "), "file.structure"),
    "empty lines": (lambda: _filled(b"enp;diagnosis\n", b"\n"), "file.structure"),
}


@pytest.mark.parametrize("case", _LIES)
def test_a_lie_costs_no_memory(tmp_path: Path, case: str) -> None:
    pieces, wanted = _LIES[case]
    found, growth = measured(tmp_path, pieces())
    assert found == wanted
    assert growth < GROWTH_MB
