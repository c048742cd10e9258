"""The floors: bare handlers on the same server with the same statements and the same templates, no guard, no rights."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from lxml import etree

from gateway.lists.queries import LINE_SQL
from gateway.services import codec
from gateway.services.observation_v1 import RENDER, SERVICE
from gateway.services.serving import Application
from gateway.settings import Settings
from gateway.store.engine import Driver, Store

_NOW = datetime.now(UTC)
NS = "{urn:dn-gateway:observation:v1}"

PAGE = f"""
    SELECT {LINE_SQL.format(e="e")} FROM entry e WHERE e.organisation = %s AND e.status = 'OBSERVED'
    ORDER BY e.name_key, e.birth_date, e.id LIMIT %s
"""
PERSON = """
    SELECT p.enp, p.snils, p.last_name, p.first_name, p.middle_name, p.birth_date::text, p.sex::text,
           p.death_date::text, p.insurer, p.insured_in_region::text, p.attached_organisation, p.attached_since::text,
           p.source, to_char(p.as_of, 'YYYY-MM-DD"T"HH24:MI:SS.MSTZH:TZM'),
           (SELECT string_agg(o.entry_id || ' ' || o.diagnosis, ',') FROM observed_entry o
            WHERE o.person_id = p.id AND o.organisation = ANY(%s)), p.id
    FROM person p WHERE p.enp = %s
"""
PERSON_COLUMNS = (
    "enp", "snils", "last_name", "first_name", "middle_name", "birth_date", "sex", "death_date", "insurer",
    "insured_in_region", "attached_organisation", "attached_since", "source", "as_of",
    )  # fmt: skip
AUDIT = (
    "INSERT INTO audit_record (trace, client_id, login, service, operation, outcome, persons, records)"
    " VALUES (%s, 1, 'bench', 'DispensaryObservation', %s, 'OK', %s, %s)"
)


def page(driver: Driver, request: etree._Element) -> bytes:
    organisation, count = request.findtext(NS + "organisation"), int(request.findtext(NS + "recordCount") or 1000)
    lines = driver.execute(PAGE, (organisation, count)).fetchall()
    driver.execute(AUDIT, ("bench", "GetList", None, len(lines)))
    return _GET_LIST(
        {
            "snapshot_id": "0", "edition": "CURRENT", "as_of": _NOW, "change_token": "0", "total_records": len(lines),
            "start_record": 1, "returned_records": len(lines),
        },
        RENDER.join(1, RENDER(lines)),
    )  # fmt: skip


def person(driver: Driver, request: etree._Element) -> bytes:
    rows = driver.execute(PERSON, (["400001"], request.findtext(NS + "enp"))).fetchall()
    driver.execute(AUDIT, ("bench", "FindPerson", [row[-1] for row in rows], len(rows)))
    return SERVICE.operations["FindPerson"].encode(
        {"persons": [dict(zip(PERSON_COLUMNS, row[:14], strict=True)) | {"observed": ()} for row in rows]}
    )


class _Page:
    """What the encoder of GetList takes."""

    def __init__(self, values: dict[str, Any], body: bytes) -> None:
        self.__dict__.update(values)
        self.body = body


def _GET_LIST(values: dict[str, Any], body: bytes) -> bytes:
    return SERVICE.operations["GetList"].encode(_Page(values, body))


HANDLERS: dict[str, Callable[[Driver, etree._Element], bytes]] = {NS + "GetList": page, NS + "FindPerson": person}


def application(settings: Settings) -> Application:
    """The bare application for one worker."""
    store = Store(settings.database_url, size=settings.threads)
    pool = ThreadPoolExecutor(settings.threads)
    parser = etree.XMLParser(resolve_entities=False, no_network=True)

    def answer(body: bytes) -> bytes:
        request = etree.fromstring(body, parser).find("{" + codec.SOAP + "}Body")[0]  # type: ignore[index]
        with store.driver() as driver:
            return HANDLERS[request.tag](driver, request)

    async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        parts = []
        while True:
            message = await receive()
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        out = await asyncio.get_running_loop().run_in_executor(pool, answer, b"".join(parts))
        headers = [(b"content-type", b"text/xml; charset=utf-8"), (b"content-length", str(len(out)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": out})

    return app
