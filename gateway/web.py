"""The one web application: SOAP services, their WSDL, files, the page for integrators, state and figures of the process.

Here, and nowhere else, features are made and handed to each other. SOAP and files go past the framework straight to
their doors.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4
from zoneinfo import ZoneInfo

from lxml import etree
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway import __version__, metrics
from gateway.access.gate import Gate
from gateway.domain.clock import Clock
from gateway.errors import GatewayError
from gateway.lists import Lists
from gateway.nsi.dictionaries import Nsi
from gateway.operations import queue, works
from gateway.people.sources import PersonSource
from gateway.services import file_door, file_visit, integrators, serving
from gateway.services.connection import Bounds
from gateway.services.contract import Desk, fault
from gateway.services.credentials import Proxies
from gateway.services.edge import Edge, Receive, Scope, Send, status_of
from gateway.services.published import SERVICES
from gateway.settings import Settings
from gateway.store import failures, migrate
from gateway.store.engine import Store
from gateway.sync.upstream import breaker

SOAP_PREFIX = "/soap/"
_log = logging.getLogger("gateway.web")


def make_desk(settings: Settings, clock: Clock | None = None) -> Desk:
    """The features of one process, wired; make it after a fork."""
    clock = clock or Clock(ZoneInfo(settings.time_zone))
    threads = settings.threads + file_door.THREADS + settings.hashing_threads
    store = Store(settings.database_url, size=threads + 2, zone=settings.time_zone)
    nsi = Nsi(store, clock)
    return Desk(
        store=store,
        settings=settings,
        clock=clock,
        nsi=nsi,
        lists=Lists(settings, nsi, clock),
        gate=Gate(store, settings, clock),
        version=__version__,
        services=SERVICES,
        source=_source(settings, store, clock),
    )


def _source(settings: Settings, store: Store, clock: Clock) -> PersonSource | None:
    """Where unknown people are looked for; the client of it is heavy and made only where one is named."""
    if settings.search_upstream == "off":
        return None
    from gateway.sync.upstream import search

    return search.made(settings, store, clock)


class Application:
    """ASGI: ``/soap/`` to the edge or to a WSDL, ``/files/`` to its door, the rest to the framework."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.desk = make_desk(settings, clock)
        self.edge = Edge(self.desk)
        self.files = file_door.FileDoor(self.desk)
        self._proxies = Proxies(settings.trusted_proxies)
        url = public_url(settings)
        self._wsdl = {service.path: service.wsdl(url) for service in SERVICES}
        self._pages = Starlette(routes=self._routes(), lifespan=self._lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(file_visit.PREFIX):
            await self.files(scope, receive, send)
        elif scope["type"] != "http" or not scope["path"].startswith(SOAP_PREFIX):
            await self._pages(scope, receive, send)
        elif scope["method"] in ("GET", "HEAD") and scope["query_string"].lower() in (b"wsdl", b"singlewsdl"):
            await self._send_wsdl(scope, receive, send)
        else:
            await self.edge(scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        for service in SERVICES:
            service.validate(etree.Element("warm"))
        try:
            yield
        finally:
            self.edge.close()
            self.files.close()
            self.desk.gate.close()
            self.desk.store.close()

    async def _send_wsdl(self, scope: Scope, receive: Receive, send: Send) -> None:
        document = self._wsdl.get(scope["path"])
        found = Response(document, media_type="text/xml") if document else Response(status_code=404)
        found.headers["X-Request-Id"] = uuid4().hex
        await found(scope, receive, send)

    def _routes(self) -> Sequence[BaseRoute]:
        return (
            Route("/", self._home),
            Route("/health", self._health),
            Route("/ready", self._ready),
            Route("/metrics", self._metrics),
            *integrators.routes(SERVICES, public_url(self.desk.settings)),
        )

    async def _home(self, _: Request) -> Response:
        return RedirectResponse("/wsdl/")

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "version": __version__})

    def _ready(self, _: Request) -> Response:
        """In a thread of the framework: the database answers and its schema is this program's."""
        try:
            with self.desk.store.begin() as connection:
                migrate.require_current(connection)
        except (GatewayError, SQLAlchemyError) as error:
            named = failures.named(error) or GatewayError("server.error")
            _log.warning("не готов к работе", exc_info=error)
            return JSONResponse({"status": "unavailable", "code": named.code}, status_code=503)
        return JSONResponse({"status": "ok"})

    def _metrics(self, request: Request) -> Response:
        if not self._local(request):
            return Response(status_code=404)
        text, kind = metrics.exposition(*self._long_work())
        return Response(text, headers={"content-type": kind})

    def _long_work(self) -> tuple[Mapping[tuple[str, str], int] | None, int | None, Mapping[str, bool] | None]:
        """Operations by kind and state, live workers, which upstream services are not asked; nothing while the database
        does not answer."""
        try:
            with self.desk.store.begin() as connection:
                open_ = {name: state.open for name, state in breaker.states(connection).items()}
                return works.counts(connection), queue.live_workers(connection), open_
        except SQLAlchemyError:
            return None, None, None

    def _local(self, request: Request) -> bool:
        """Whether the request comes from this machine or a trusted address, not through a proxy for somebody else."""
        peer = request.client.host if request.client else ""
        forwarded = request.headers.get("x-forwarded-for")
        address = self._proxies.client(peer, forwarded)
        if forwarded and address == peer:
            return False
        try:
            return ip_address(address).is_loopback or self._proxies.trust(address)
        except ValueError:
            return False


def create_app(settings: Settings, clock: Clock | None = None) -> Application:
    """The application of one process."""
    return Application(settings, clock)


def public_url(settings: Settings) -> str:
    """The address that clients are told, never taken from a request."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return settings.public_url.rstrip("/") or f"http://{host}:{settings.port}"


def _refusal(error: GatewayError) -> tuple[int, str, bytes]:
    """Status, request id and fault for what never becomes a request."""
    trace = uuid4().hex
    return status_of(error), trace, fault(SERVICES[0], error, trace)


def bounds_of(settings: Settings) -> Bounds:
    return Bounds(settings.header_seconds, settings.write_seconds, serving.CONNECTIONS, _refusal)


def serve(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT; the exit status. Expects the log to be set up and the database to be named."""
    listening = serving.Listening(settings.host, settings.port, settings.workers, bounds_of(settings))
    with TemporaryDirectory(prefix="dn-gateway-metrics-") as folder:
        metrics.prepare(Path(folder))
        return serving.serve(partial(create_app, settings), listening)
