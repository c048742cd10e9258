"""Records of XML files of any size: encodings, limits, files that break off; memory is bounded."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.formats.xml import Stream, StreamLimits, fields

LIMITS = StreamLimits(record_bytes=200_000, elements=50, depth=4, attributes=8, names=30, name_chars=20)
TEXT = "Ёж № 5 <&"
FILL = b"<r><v>1</v></r>" * 20_000


def read(data: bytes, limits: StreamLimits = LIMITS) -> list[list[tuple[str, str | None]]]:
    return [fields(record) for record in Stream(io.BytesIO(data), ("list", "{urn:x}list"), limits).records()]


def refused(data: bytes) -> str:
    with pytest.raises(GatewayError) as found:
        read(data)
    assert found.value.code == "file.structure"
    return found.value.message


@pytest.mark.parametrize("number", [0, 1, 2, 50_000])
def test_every_record_once(number: int) -> None:
    body = b"".join(b"<r><v>%d</v></r>\n" % one for one in range(number))
    assert read(b"<list>\n" + body + b"</list>\n") == [[("v", str(one))] for one in range(number)]


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        (None, "utf-8"),
        (None, "utf-8-sig"),
        ("UTF-8", "utf-8-sig"),
        ("utf-16", "utf-16"),
        (None, "utf-16-le"),
        (None, "utf-16-be"),
        ("windows-1251", "cp1251"),
    ],
)
def test_encodings(declared: str | None, encoding: str) -> None:
    head = f"<?xml version='1.0' encoding='{declared}'?>" if declared else ""
    text = TEXT.replace("&", "&amp;").replace("<", "&lt;")
    body = f"{head}<list>{f'<r><v>{text}</v></r>' * 10_000}</list>".encode(encoding)
    assert read(body) == [[("v", TEXT)]] * 10_000


def test_what_a_record_holds() -> None:
    assert read(b"<list><r> <a> 1 </a><!-- c --><b/>\n<c><![CDATA[<&]]>&#33;</c><?p?></r></list>") == [
        [("a", "1"), ("b", ""), ("c", "<&!")]
    ]
    assert read(b"<list><r>text<a><b/></a><c/>text</r></list>") == [[("r", None), ("a", None), ("c", None)]]
    assert read(b"<x:list xmlns:x='urn:x'><x:r><x:a>1</x:a></x:r></x:list>") == [[("{urn:x}a", "1")]]


@pytest.mark.parametrize("data", [b"<other/>", b"<list xmlns='urn:y'/>", b"<!--" + b"-" * 200_000 + b"x--><list/>"])
def test_another_root(data: bytes) -> None:
    with pytest.raises(GatewayError) as found:
        read(data)
    assert found.value.code in ("file.format", "file.structure")


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE list [<!ENTITY a 'aaaa'>]><list><r><v>&a;</v></r></list>",
        b"<!DOCTYPE list SYSTEM 'file:///etc/passwd'><list/>",
        b"<!-- c --><?p?>\n<!DOCTYPE list><list/>",
        b"<!--" + b" " * 65_530 + b"--><!DOCTYPE list><list/>",
        "<?xml version='1.0' encoding='utf-16'?><!DOCTYPE list><list/>".encode("utf-16"),
        b"<?xml version='1.0' encoding='windows-1251'?><!DOCTYPE list><list/>",
    ],
)
def test_doctype_is_refused(data: bytes) -> None:
    assert "DOCTYPE" in refused(data)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"<list>" + FILL + b"<r><v>1</v>", "оборван"),
        (b"<list>" + FILL + b"<r><v>1</r></list>", "разметка"),
        (b"<list>" + FILL + b"</list><list/>", "разметка"),
        (b"<list>" + FILL + b"</list>text", "разметка"),
        (b"<list>" + FILL + b"<r>&unknown;</r></list>", ""),
        (b"<list>" + FILL + b"<r>&unknown;</r>" + FILL + b"</list>", ""),
        (b"<list>" + FILL + b"<r>\xff</r></list>", "кодировке"),
        (b"<list>" + FILL + b"<r>\x01</r></list>", "недопустимы"),
        (b"<list>" + FILL + b"<r>\0</r></list>", ""),
        (b"<?xml version='1.0' encoding='windows-1251'?><list>" + FILL + b"<r>\x98</r></list>", "кодировке"),
        (b"<?xml version='1.0' encoding='koi8-r'?><list/>", "кодировка"),
        (b"\xef\xbb\xbf<?xml version='1.0' encoding='windows-1251'?><list/>", "кодировка"),
        ("<list></list>".encode("utf-16")[:-1], "кодировке"),
        (b"<list>" + FILL + b"<list/><r/></list>", "повторяется"),
        (b"<list><r>" + b"x" * 400_000 + b"</r></list>", "запись больше"),
        (b"<list><r>" + b"<v>1</v>" * 100_000 + b"</r></list>", "запись больше"),
        (b"<list>" + b"<!-- c -->" * 60_000 + b"</list>", "запись больше"),
        (b"<list>" + b" " * 400_000 + b"</list>", "запись больше"),
        (b"<list>text" + FILL + b"</list>", "текст вне записей"),
        (b"<list><r/>text<r/></list>", "текст вне записей"),
        (b"<list><r/>text</list>", "текст вне записей"),
        (b"<list>text</list>", "текст вне записей"),
        (b"<list><r>" + b"<v/>" * 50 + b"</r></list>", "элементов"),
        (b"<list><r>" + b"<v>" * 4 + b"</v>" * 4 + b"</r></list>", "вложенность"),
        (b"<list><r>" + b"<v>" * 5000 + b"</v>" * 5000 + b"</r></list>", ""),
        (b"<list><r a='' b='' c='' d='' e='' f='' g='' h='' i=''/></list>", "атрибутов"),
        (b"<list>" + b"<r a = '1'/>" * 9 + b"</list>", "атрибутов"),
        (b"<list>" + b"<r xmlns='urn:%d'/>" * 9 + b"</list>", "атрибутов"),
        (b"<list><r><" + b"n" * 21 + b"/></r></list>", "знаков в имени"),
        (b"<list>" + b"".join(b"<r><n%d/></r>" % one for one in range(30)) + b"</list>", "разных имён"),
        (b"<?xml version='1.0'?>", "оборван"),
        (b"<", ""),
        (b"", "оборван"),
    ],
    ids=range(33),
)
def test_broken(data: bytes, what: str) -> None:
    assert what in refused(data)


def test_the_line_is_named() -> None:
    assert "строка 30001:" in refused(b"<list>" + b"<r/>\n" * 30_000 + b"</r></list>")
    head = b"<?xml version='1.0' encoding='windows-1251'?><list>"
    assert "строка 30001:" in refused(head + b"<r/>\n" * 30_000 + b"\x98</list>")


def test_limits_are_inclusive() -> None:
    read(b"<list><r>" + b"<v/>" * 49 + b"</r></list>")
    read(b"<list><r>" + b"<v>" * 3 + b"</v>" * 3 + b"</r></list>")
    read(b"<list><r a='' b='' c='' d='' e='' f='' g='' h=''/></list>")
    read(b"<list><r><" + b"n" * 20 + b"/></r></list>")
    read(b"<list><r>" + b"x" * 190_000 + b"</r></list>")


_PIECES = [
    b"<list>", b"</list>", b"<r>", b"</r>", b"<v>1</v>", b"<", b">", b"&", b"&lt;", b"<!DOCTYPE list>", b"<!--", b"-->",
    b"<![CDATA[", b"]]>", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"<?xml version='1.0' encoding='", b"utf-16'?>",
    b"windows-1251'?>", b" a='1'", "Ё".encode(), b"\n",
]  # fmt: skip


@given(st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(_PIECES), max_size=12).map(b"".join)))
def test_any_bytes_are_records_or_a_refusal(data: bytes) -> None:
    try:
        read(data)
    except GatewayError as error:
        assert error.code in ("file.structure", "file.format")
