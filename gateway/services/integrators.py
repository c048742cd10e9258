"""The page for integrators at ``/wsdl/``: WSDLs, schemas, samples in six languages, a SoapUI project, codes of refusal.

Everything is made once from the contract itself and the files in ``pages/``; nothing comes from a request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway import __version__
from gateway.errors import KINDS
from gateway.formats import listing_xml
from gateway.services import examples, wsdl
from gateway.services.contract import Service
from gateway.services.soapui import project

_PAGES = files("gateway.services") / "pages"

SAMPLES = (
    ("curl", "curl.sh.txt", "curl.sh"),
    ("PHP", "php.php.txt", "sample.php"),
    ("Python", "python.py.txt", "sample.py"),
    ("C#", "csharp.cs.txt", "Sample.cs"),
    ("Java", "java.java.txt", "Sample.java"),
    ("1С", "1c.bsl.txt", "sample-1c.bsl"),
)
"""Language, template, name of the file that is downloaded."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file of the page; ``download`` says that a browser should save it."""

    media_type: str
    body: bytes
    download: bool = True


def documents(services: Sequence[Service], public_url: str) -> dict[str, Document]:
    """Every file by its name under ``/wsdl/``; the page itself is the empty name."""
    made: dict[str, Document] = {}
    for service in services:
        name = f"{service.name}.{service.version}"
        made[f"{name}.wsdl"] = Document("text/xml", service.wsdl(public_url))
        made[f"{name}.xsd"] = Document("text/xml", wsdl.schema(service))
    made[wsdl.LIST_SCHEMA] = Document("text/xml", listing_xml.schema())
    for _, template, name in SAMPLES:
        made[name] = Document("text/plain; charset=utf-8", _sample(template, public_url).encode())
    made["soapui-project.xml"] = Document("text/xml", project(services, public_url))
    made[""] = Document("text/html; charset=utf-8", _page(services, public_url).encode(), download=False)
    return made


def routes(services: Sequence[Service], public_url: str) -> list[BaseRoute]:
    """Routes of the web framework for the page and its files."""
    made = documents(services, public_url)

    async def send(request: Request) -> Response:
        name = request.path_params.get("name", "")
        document = made.get(name)
        if document is None:
            return Response(status_code=404)
        headers = {
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        }
        if document.download:
            headers["Content-Disposition"] = f"attachment; filename={quote(name)}"
        return Response(document.body, media_type=document.media_type, headers=headers)

    async def home(_: Request) -> Response:
        return RedirectResponse("/wsdl/")

    return [Route("/wsdl", home), Route("/wsdl/", send), Route("/wsdl/{name}", send)]


def _read(name: str) -> str:
    return (_PAGES / name).read_text(encoding="utf-8")


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"@@{name}@@", value)
    return text


def _sample(template: str, public_url: str) -> str:
    """A sample that calls this gateway with invented values."""
    address = urlsplit(public_url)
    secure = address.scheme == "https"
    month = examples.MONTH
    return _filled(
        _read(template),
        {
            "URL": public_url,
            "HOST": address.hostname or "",
            "PORT": str(address.port or (443 if secure else 80)),
            "SECURE": ", Новый ЗащищенноеСоединениеOpenSSL" if secure else "",
            "ENP": examples.ENP,
            "MONTH": month,
            "YEAR": month[:4],
            "MONTH_NUMBER": str(int(month[5:])),
        },
    )


def _page(services: Sequence[Service], public_url: str) -> str:
    return _filled(
        _read("index.html"),
        {
            "VERSION": __version__,
            "SERVICES": _table(("Служба", "Адрес", "Файлы"), _services(services, public_url)),
            "FILES": "".join(f'<li><a href="{escape(name)}">{escape(label)}</a></li>' for label, name in _files()),
            "SAMPLES": "".join(
                f"<details><summary>{escape(label)}</summary><pre>{escape(_sample(template, public_url))}</pre></details>"
                for label, template, _ in SAMPLES
            ),
            "OPERATIONS": "".join(_operations(services)),
            "FAULTS": _table(("Код", "Сторона", "Текст", "Что делать"), _faults()),
        },
    )


def _files() -> Iterator[tuple[str, str]]:
    for label, _, name in SAMPLES:
        yield f"{label}: {name}", name
    yield "SoapUI: soapui-project.xml", "soapui-project.xml"
    yield f"Список как файл XML: {wsdl.LIST_SCHEMA}", wsdl.LIST_SCHEMA


def _services(services: Sequence[Service], public_url: str) -> Iterator[tuple[str, ...]]:
    for service in services:
        name = f"{service.name}.{service.version}"
        url = public_url + service.path
        yield (
            f"<b>{escape(service.name)}</b><br>{escape(service.doc)}",
            f'<code>{escape(url)}</code><br><a href="{escape(url)}?wsdl">?wsdl</a>',
            f'<a href="{name}.wsdl">WSDL</a> · <a href="{name}.xsd">схема</a>',
        )


def _operations(services: Sequence[Service]) -> Iterator[str]:
    for service in services:
        yield f"<h3>{escape(service.name)}</h3>"
        for operation in service.operations.values():
            request = examples.request(service, operation)
            yield (
                f"<details><summary><b>{operation.name}</b> — {escape(operation.doc)}</summary>"
                f"<pre>{escape(request)}</pre></details>"
            )


def _faults() -> Iterator[tuple[str, ...]]:
    for kind in KINDS.values():
        if not kind.code.startswith(_OURS):
            yield f"<code>{kind.code}</code>", str(kind.side), escape(kind.shown), escape(kind.remedy)


_OURS = ("load.", "setting.", "store.", "demo.", "client.", "dictionary.file", "mailbox.")
"""Codes of the operator's command line: no client ever gets them."""


def _table(heads: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    """A table of ready cells."""
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
