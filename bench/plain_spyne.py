"""Plain spyne over the same rows: its own dispatch, validation and serialisation of objects, as a user would write it."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench.floor import AUDIT, PAGE
from gateway.lists.model import LINE_COLUMNS
from gateway.services import spyne_import  # noqa: F401 - makes spyne importable on every Python
from gateway.services.serving import Application
from gateway.settings import Settings
from gateway.store.engine import Store

NAMESPACE = "urn:dn-gateway:observation:v1"


def _wsgi(store: Store) -> Callable[..., Any]:
    from spyne import Application as SpyneApplication
    from spyne import Boolean, ComplexModel, Date, DateTime, Integer32, Service, Unicode, rpc
    from spyne.protocol.soap import Soap11
    from spyne.server.wsgi import WsgiApplication

    kinds = {"by_attachment": Boolean, "version": Integer32, "changed_at": DateTime}
    kinds |= dict.fromkeys(
        ("birth_date", "death_date", "diagnosed_on", "observed_since", "last_visit_on", "next_visit_by", "excluded_on"),
        Date,
    )
    fields = [("recordNumber", Integer32)] + [(name, kinds.get(name, Unicode)) for name in LINE_COLUMNS]
    entry = type("Entry", (ComplexModel,), {"__namespace__": NAMESPACE, "_type_info": fields})
    answer = type(
        "ListAnswer",
        (ComplexModel,),
        {
            "__namespace__": NAMESPACE,
            "_type_info": [("total", Integer32), ("entries", entry.customize(max_occurs="unbounded"))],
        },
    )

    class Lists(Service):
        @rpc(Unicode, Integer32, Integer32, Unicode, Unicode, Integer32, Integer32, _returns=answer,
             _in_variable_names={"type_": "listType"})  # fmt: skip
        def GetList(ctx, organisation, year, month, listType, edition, startRecord, recordCount):
            from datetime import date, datetime

            def value(name: str, text: str | None) -> Any:
                kind = kinds.get(name)
                if text is None or kind is None:
                    return text
                if kind is Date:
                    return date.fromisoformat(text)
                return (
                    text == "true"
                    if kind is Boolean
                    else datetime.fromisoformat(text)
                    if kind is DateTime
                    else int(text)
                )

            with store.driver() as driver:
                lines = driver.execute(PAGE, (organisation, recordCount or 1000)).fetchall()
                driver.execute(AUDIT, ("bench", "GetList", None, len(lines)))
            rows = [
                entry(
                    recordNumber=number,
                    **{name: value(name, text) for name, text in zip(LINE_COLUMNS, line, strict=True)},
                )
                for number, line in enumerate(lines, 1)
            ]
            return answer(total=len(rows), entries=rows)

    logging.getLogger("spyne").setLevel(logging.ERROR)
    return WsgiApplication(
        SpyneApplication([Lists], NAMESPACE, in_protocol=Soap11(validator="lxml"), out_protocol=Soap11())
    )


def application(settings: Settings) -> Application:
    """The same server in front of spyne's WSGI application, in a thread pool."""
    wsgi = _wsgi(Store(settings.database_url, size=settings.threads))
    pool = ThreadPoolExecutor(settings.threads)

    def answer(body: bytes) -> tuple[int, bytes]:
        status: list[str] = []
        environ = {
            "REQUEST_METHOD": "POST", "PATH_INFO": "/", "SCRIPT_NAME": "", "QUERY_STRING": "", "SERVER_NAME": "bench",
            "SERVER_PORT": "80", "wsgi.url_scheme": "http", "CONTENT_TYPE": "text/xml; charset=utf-8",
            "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body),
        }  # fmt: skip
        out = b"".join(wsgi(environ, lambda line, headers: status.append(line)))
        return int(status[0].split()[0]), out

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
        status, out = await asyncio.get_running_loop().run_in_executor(pool, answer, b"".join(parts))
        headers = [(b"content-type", b"text/xml; charset=utf-8"), (b"content-length", str(len(out)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": out})

    return app
