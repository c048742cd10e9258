"""ZIP archives that lie (trial A8): each is refused with a line that says why, nothing is written outside."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.formats import archive
from tests.formats.hostile import Entry, zipped

LIMIT = 50 * 1024 * 1024
XML = b"<a>content</a>"
DATA = Entry(b"GSM190006_2605_1.xml", XML)
SIGNATURE = Entry(b"GSM190006_2605_1.xml.sig", b"signature")


def unpacked(folder: Path, data: bytes, limit: int = LIMIT) -> tuple[bytes, str]:
    path = folder / "archive"
    path.write_bytes(data)
    assert archive.is_archive(path)
    target, name = archive.unpacked(path, folder / "scratch" / "run", archive_bytes=limit)
    return target.read_bytes(), name


def descriptor(crc: int, packed: int, size: int, *, mark: bytes = b"PK\7\x08", form: str = "<I2I") -> bytes:
    return mark + struct.pack(form, crc, packed, size)


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()


def noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


BOMB = bomb(64 << 20)
LINK = (0o120777 << 16) & 0xFFFFFFFF
CASES: dict[str, tuple[bytes, str]] = {
    "bomb that says its size": (zipped(Entry(b"a.xml", data=noise(1 << 20), size=64 << 20)), "больше 52428800 байт"),
    "bomb within the limit": (
        zipped(Entry(b"a.xml", data=bomb(40 << 20), size=40 << 20, crc=0)),
        "более чем в 250 раз",
    ),
    "bomb that hides its size": (zipped(Entry(b"a.xml", data=BOMB, size=1000, crc=0)), "не равен объявленному"),
    "bomb of recursion": (zipped(Entry(b"a.xml", zipped(Entry(b"b.xml", zipped(DATA))))), "архив внутри архива"),
    "nested by name": (zipped(Entry(b"a.zip", XML)), "архив внутри архива"),
    "nested rar": (zipped(Entry(b"a.xml", b"Rar!\x1a\7")), "архив внутри архива"),
    "overlapping files": (
        zipped(Entry(b"a.xml", noise(90), packed=200, size=200, method=0), Entry(b"a.xml.sig", noise(90), method=0)),
        "накладываются",
    ),
    "one content for two files": (
        zipped(DATA, Entry(b"GSM190006_2605_1.xml.sig", XML, local_offset=0)),
        "накладываются",
    ),
    "parent folder": (zipped(Entry(b"../a.xml", XML)), "выходит из каталога"),
    "parent folder of Windows": (zipped(Entry(b"..\\a.xml", XML)), "выходит из каталога"),
    "parent folder within": (zipped(Entry(b"a/../../b.xml", XML)), "выходит из каталога"),
    "absolute": (zipped(Entry(b"/etc/cron.d/a", XML)), "полный путь"),
    "absolute of Windows": (zipped(Entry(b"\\\\server\\share\\a.xml", XML)), "полный путь"),
    "drive letter": (zipped(Entry(b"C:\\a.xml", XML)), "полный путь"),
    "drive letter alone": (zipped(Entry(b"C:a.xml", XML)), "полный путь"),
    "directory part": (zipped(Entry(b"list/a.xml", XML)), "каталог"),
    "directory part of Windows": (zipped(Entry(b"list\\a.xml", XML)), "каталог"),
    "directory": (zipped(Entry(b"list/"), DATA), "каталог"),
    "directory by attribute": (zipped(Entry(b"list", attributes=0x10)), "каталог"),
    "symlink": (zipped(Entry(b"a.xml", b"/etc/passwd", attributes=LINK)), "ссылка"),
    "device node": (zipped(Entry(b"a.xml", XML, attributes=0o020666 << 16)), "особый файл"),
    "stream of NTFS": (zipped(Entry(b"a.xml:evil.exe", XML)), "недопустимые знаки"),
    "device of Windows": (zipped(Entry(b"con.xml", XML)), "имя файла недопустимо"),
    "trailing dot": (zipped(Entry(b"a.xml.", XML)), "недопустимые знаки"),
    "NUL in name": (zipped(Entry(b"a.xml\0.exe", XML)), "недопустимые знаки"),
    "line end in name": (zipped(Entry(b"a\n.xml", XML)), "недопустимые знаки"),
    "text turned round in name": (zipped(Entry("a\u202elmx.exe".encode(), XML, flags=0x800)), "недопустимые знаки"),
    "empty name": (zipped(Entry(b"", XML)), "полный путь"),
    "long name": (zipped(Entry(b"a" * 300 + b".xml", XML)), "имя файла недопустимо"),
    "name that is no UTF-8": (zipped(Entry(b"\xff.xml", XML, flags=0x800)), "не читается"),
    "duplicate names": (zipped(DATA, DATA), "повторяется"),
    "duplicate names by case": (zipped(DATA, Entry(b"gsm190006_2605_1.XML", XML)), "повторяется"),
    "two data files": (zipped(DATA, Entry(b"b.xml", XML)), "в архиве 2 файлов"),
    "signature of another file": (zipped(DATA, Entry(b"b.xml.sig", b"s")), "имя подписи"),
    "signature alone": (zipped(SIGNATURE), "в архиве 1 файлов"),
    "signature with a wrong checksum": (zipped(DATA, Entry(SIGNATURE.name, b"s", crc=1)), "контрольная сумма"),
    "signature too large": (zipped(DATA, Entry(SIGNATURE.name, noise(1100000), method=0)), "подпись больше"),
    "wrong checksum": (zipped(Entry(b"a.xml", XML, crc=1)), "контрольная сумма"),
    "size too small": (zipped(Entry(b"a.xml", XML, size=5)), "не равен объявленному"),
    "size too large": (zipped(Entry(b"a.xml", XML, size=50)), "не равен объявленному"),
    "stored size too large": (zipped(Entry(b"a.xml", XML, method=0, size=50)), "не равен объявленному"),
    "sizes differ in header and directory": (zipped(Entry(b"a.xml", XML, local_size=50)), "не равен оглавлению"),
    "names differ in header and directory": (zipped(Entry(b"a.xml", XML, local_name=b"b.xml")), "не равен оглавлению"),
    "packed data cut": (zipped(Entry(b"a.xml", XML, data=Entry(b"", XML).packed_data()[:-3])), "данные"),
    "packed data with more behind": (zipped(Entry(b"a.xml", XML, data=Entry(b"", XML).packed_data() + b"x")), "данными"),
    "packed data that is noise": (zipped(Entry(b"a.xml", XML, data=b"\xff" * 20)), "нарушены"),
    "descriptor that lies": (
        zipped(Entry(b"a.xml", XML, flags=8, descriptor=descriptor(1, 2, 3))),
        "не равны объявленным",
    ),
    "size beyond any file": (
        zipped(Entry(b"a.xml", XML, flags=8, packed=0xFFFFFFFF, size=5, extra=struct.pack("<2HQ", 1, 8, 2**63))),
        "накладываются",
    ),
    "60k entries": (zipped(*[Entry(b"%06d" % number) for number in range(60_000)]), "в архиве 60000 файлов"),
    "65k entries that are not there": (zipped(DATA, count=65_000), "в архиве 65000 файлов"),
    "entries fewer than listed": (zipped(DATA, SIGNATURE, count=1), "число файлов"),
    "entries more than listed": (zipped(DATA, count=2), "оборван"),
    "encrypted": (zipped(Entry(b"a.xml", XML, flags=1)), "зашифрован"),
    "encrypted by AES": (zipped(Entry(b"a.xml", XML, flags=1, method=99)), "зашифрован"),
    "directory encrypted": (zipped(Entry(b"a.xml", XML, flags=0x2000)), "зашифрован"),
    "unsupported compression": (zipped(Entry(b"a.xml", XML, method=14)), "способ сжатия"),
    "split": (zipped(DATA, disk=1), "многотомный"),
    "split entry": (zipped(Entry(b"a.xml", XML, disk=1)), "многотомный"),
    "data before": (zipped(DATA, before=b"PK\3\4 program"), "посторонние данные"),
    "data before, offsets as without": (b"PK\3\4" + zipped(DATA), "не там"),
    "data between": (zipped(DATA, between=b"something"), "посторонние данные"),
    "data after": (zipped(DATA, after=b"something"), "за архивом"),
    "comment that is an archive": (zipped(DATA, comment=zipped(Entry(b"evil.xml", XML))), "не там"),
    "cut": (zipped(DATA)[:-10], "оборван"),
    "no directory": (b"PK\3\4" + bytes(100), "оборван"),
    "no entries": (zipped(), "архив пуст"),
    "directory elsewhere": (zipped(DATA, shift=5), "не там"),
    "ZIP64 locator to nowhere": (
        b"PK\3\4" + bytes(26) + struct.pack("<4sIQI", b"PK\6\7", 0, 2**60, 1) + zipped(count=0xFFFF),
        "ZIP64",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refused(tmp_path: Path, case: str) -> None:
    data, wanted = CASES[case]
    with pytest.raises(GatewayError) as refused:
        unpacked(tmp_path, data)
    assert refused.value.code == "file.archive"
    assert wanted in refused.value.message
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()} <= {
        "archive",
        "scratch/run/content",
    }


def test_what_is_written_of_a_bomb_ends_at_the_size_it_declares(tmp_path: Path) -> None:
    with pytest.raises(GatewayError):
        unpacked(tmp_path, CASES["bomb that hides its size"][0])
    assert (tmp_path / "scratch/run/content").stat().st_size <= 1000


def test_a_workbook_is_named(tmp_path: Path) -> None:
    with pytest.raises(GatewayError) as refused:
        unpacked(tmp_path, zipped(Entry(b"[Content_Types].xml", XML), Entry(b"xl/workbook.xml", XML)))
    assert refused.value.code == "file.format"
    assert "CSV" in refused.value.message


WIDE = struct.pack("<2H2Q", 1, 16, len(XML), len(DATA.packed_data()))
RIGHT: dict[str, tuple[bytes, str]] = {
    "one file": (zipped(DATA), "GSM190006_2605_1.xml"),
    "stored": (zipped(Entry(b"a.xml", XML, method=0)), "a.xml"),
    "with signature": (zipped(DATA, SIGNATURE), "GSM190006_2605_1.xml"),
    "signature first": (zipped(SIGNATURE, DATA), "GSM190006_2605_1.xml"),
    "comment": (zipped(DATA, comment="Выгрузка".encode("cp866")), "GSM190006_2605_1.xml"),
    "name in cp866": (zipped(Entry("Список ДН.xml".encode("cp866"), XML)), "Список ДН.xml"),
    "name in UTF-8": (zipped(Entry("Список ДН.xml".encode(), XML, flags=0x800)), "Список ДН.xml"),
    "regular file of Unix": (zipped(Entry(b"a.xml", XML, attributes=0o100644 << 16)), "a.xml"),
    "archive attribute of Windows": (zipped(Entry(b"a.xml", XML, attributes=0x20)), "a.xml"),
    "ZIP64 sizes": (zipped(Entry(b"a.xml", XML, flags=8, packed=0xFFFFFFFF, size=0xFFFFFFFF, extra=WIDE,
        descriptor=descriptor(zlib.crc32(XML), len(DATA.packed_data()), len(XML), form="<I2Q"))), "a.xml"),
} | {
    f"descriptor {len(mark)} {form}": (zipped(Entry(b"a.xml", XML, flags=8, descriptor=descriptor(
        zlib.crc32(XML), len(DATA.packed_data()), len(XML), mark=mark, form=form))), "a.xml")
    for mark in (b"PK\7\x08", b"") for form in ("<I2I", "<I2Q")
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHT)
def test_taken(tmp_path: Path, case: str) -> None:
    data, name = RIGHT[case]
    assert unpacked(tmp_path, data) == (XML, name)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_what_zipfile_writes_is_read(tmp_path: Path, streamed: bool, method: int, size: int) -> None:
    class Pipe(io.RawIOBase):
        """Can not be sought, so that the writer must describe contents behind them."""

        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:
            self.data += data
            return len(data)

    content = noise(size)
    pipe = Pipe()
    plain = io.BytesIO()
    with (
        zipfile.ZipFile(pipe if streamed else plain, "w", method) as made,
        made.open("Ёж.csv", "w", force_zip64=streamed) as out,
    ):
        out.write(content)
    data = bytes(pipe.data) if streamed else plain.getvalue()
    assert unpacked(tmp_path, data) == (content, "Ёж.csv")


def test_the_limit_is_inclusive(tmp_path: Path) -> None:
    assert unpacked(tmp_path, zipped(DATA), len(XML))[0] == XML
    with pytest.raises(GatewayError):
        unpacked(tmp_path, zipped(DATA), len(XML) - 1)


_SEEDS = [*(data for data, _ in RIGHT.values()), CASES["sizes differ in header and directory"][0]]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(_SEEDS)))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(data)


@settings(max_examples=300)
@given(st.one_of(mutated(), st.binary(max_size=200).map(lambda data: b"PK\3\4" + data)))
def test_any_bytes_are_a_file_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("zip") / "archive"
    path.write_bytes(data)
    try:
        archive.unpacked(path, path.parent / "scratch", archive_bytes=10_000)
    except GatewayError as error:
        assert error.code in ("file.archive", "file.format")
