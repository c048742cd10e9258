"""The parser of strangers' XML: encodings, limits, and that nothing but a named refusal ever comes out."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.formats.xml import Limits, parse

LIMITS = Limits(depth=8, elements=50, attributes=5, name_chars=20)
TEXT = "Ёж № 5"


def _code(data: bytes, charset: str | None = None, limits: Limits = LIMITS) -> str:
    with pytest.raises(GatewayError) as refused:
        parse(data, limits, charset)
    return refused.value.code


@pytest.mark.parametrize(
    ("declared", "encoding", "charset"),
    [
        (None, "utf-8", None),
        (None, "utf-8", "UTF-8"),
        (None, "utf-8-sig", "utf-8"),
        ("utf-8", "utf-8", "us-ascii"),
        ("utf-16", "utf-16", None),
        ("UTF-16", "utf-16", "utf-16"),
        ("utf-16le", "utf-16-le", None),
        (None, "utf-16-be", "utf-16"),
        ("windows-1251", "cp1251", None),
        ("Windows-1251", "cp1251", "windows-1251"),
        (None, "cp1251", "cp1251"),
    ],
)
def test_encodings(declared: str | None, encoding: str, charset: str | None) -> None:
    head = f"<?xml version='1.0' encoding='{declared}'?>\n" if declared else ""
    assert parse(f"{head}<a>{TEXT}</a>".encode(encoding), LIMITS, charset).text == TEXT


@pytest.mark.parametrize(
    ("data", "charset"),
    [
        (b"<a/>", "koi8-r"),
        (b"<a/>", "idna"),
        (b"<?xml version='1.0' encoding='ebcdic-cp-us'?><a/>", None),
        (b"<?xml version='1.0' encoding='utf-7'?><a/>", None),
        (b"<?xml version='1.0' encoding='windows-1251'?><a/>", "utf-8"),
        (b"\xef\xbb\xbf<a/>", "windows-1251"),
        ("<a/>".encode("utf-16"), "utf-8"),
        (b"<a>\xff</a>", None),
        (b"<a>\x98</a>", "windows-1251"),
        (b"<\0a\0/\0>", None),
    ],
)
def test_encoding_refused(data: bytes, charset: str | None) -> None:
    assert _code(data, charset) == "request.encoding"


def test_what_is_dropped() -> None:
    root = parse(b"<?p?><!-- c --><a>x<!-- c -->y<?q z?><![CDATA[<&]]></a><!-- d -->", LIMITS)
    assert (root.text, len(root)) == ("xy<&", 0)


def test_limits_are_inclusive() -> None:
    parse(b"<a>" * 8 + b"</a>" * 8, LIMITS)
    parse(b"<a>" + b"<b/>" * 49 + b"</a>", LIMITS)
    parse(b"<a q='' b='' c='' d='' e='='/>", LIMITS)
    parse(b"<" + b"n" * 20 + b"/>", LIMITS)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"<a>" * 9 + b"</a>" * 9, "вложенность не более 8"),
        (b"<a>" + b"<b/>" * 50 + b"</a>", "элементов не более 50"),
        (b"<a b='' c='' d='' e='' f='' g=''/>", "атрибутов у элемента не более 5"),
        (b"<a b='>' xmlns:c='u' xmlns:d='u' xmlns:e='u' xmlns:f='u' g='u'/>", "атрибутов у элемента не более 5"),
        (b"<a>" + b"<b c='' d='' e=''/>" * 17 + b"</a>", "атрибутов в документе не более 50"),
        (b"<" + b"n" * 21 + b"/>", "знаков в имени не более 20"),
        (b"<a " + b"n" * 21 + b"=''/>", "знаков в имени не более 20"),
        (f"<a><{'ы' * 21}/></a>".encode(), "знаков в имени не более 20"),
    ],
)
def test_limit_is_named(data: bytes, what: str) -> None:
    with pytest.raises(GatewayError) as refused:
        parse(data, LIMITS)
    assert refused.value.code == "request.limits"
    assert what in refused.value.message


@pytest.mark.parametrize("text", ["=" * 200, "a=1 b=2 c=3 d=4 e=5 f=6", "<![CDATA[" + "<" * 200 + "]]>", "y" * 300])
def test_text_is_not_taken_for_markup(text: str) -> None:
    root = parse(f"<a><b q='{'=' * 60}'>{text}</b></a>".encode(), LIMITS)
    assert root[0].text == text.removeprefix("<![CDATA[").removesuffix("]]>")


def test_line_of_a_mistake() -> None:
    with pytest.raises(GatewayError) as refused:
        parse("<a>\n\n<Иванов></a>".encode(), LIMITS)
    assert refused.value.message == "Запрос не является правильным XML (строка 3)"


_markup = st.lists(
    st.sampled_from(
        ["<a>", "</a>", "<a/>", "<!--", "-->", "<!DOCTYPE a", "[<!ENTITY x 'y'>]>", "<![CDATA[", "]]>", "<?xml ",
         "?>", "encoding='", "'", '"', "=", "&x;", "&#0;", "&amp;", "xmlns:q='u'", "<q:a", ">", "Ё", "\0", "\ufeff", " "]
    )
).map("".join)  # fmt: skip


@given(
    st.one_of(st.binary(), _markup.map(str.encode), _markup.map(lambda text: text.encode("utf-16"))),
    st.sampled_from([None, "utf-8", "utf-16", "windows-1251", "bogus", ""]),
)
def test_anything_is_parsed_or_refused_by_name(data: bytes, charset: str | None) -> None:
    try:
        root = parse(data, LIMITS, charset)
    except GatewayError as refusal:
        assert refusal.code.startswith("request.")
    else:
        assert root.getroottree().docinfo.doctype == ""


def test_new_names_do_not_stay_in_memory() -> None:
    """libxml2 keeps names as long as their thread lives: documents full of new ones must not grow the process."""
    script = """
import resource
from pathlib import Path
from gateway.formats.xml import Limits, parse
limits = Limits(elements=50_000)

def rss():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() >> 20

def body(turn):
    names = (f"<n{turn}_{number}_{'x' * 200}/>" for number in range(40_000))
    return ("<r>" + "".join(names) + "</r>").encode()

for turn in range(3):
    parse(body(turn), limits)
before = rss()
for turn in range(3, 15):
    assert len(parse(body(turn), limits)) == 40_000
print(rss() - before)
"""
    grown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(grown.stdout) < 50
