"""The stand-in as an HTTP server: mpiPersonInfoService and mpiAsyncOperationsService, with faults to order.

A fault is ordered by ``POST /faults`` with JSON ``{"fault": name, "operation"?: name, "times"?: n, "seconds"?: n}``;
``DELETE /faults`` takes all back. Names: see `FAULTS`. Loopback only, invented people only.
"""

from __future__ import annotations

import base64
import io
import json
import re
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

from lxml import etree

from gateway.formats import xml
from gateway.sandbox.ferzl import queries, replies
from gateway.store.engine import Store, driver_of

FAULTS = (
    "delay", "http-500", "error-item-500", "fault", "unknown-field", "cut-zip", "wrong-charset", "mtom", "endless-processing",
    "empty-content", "no-needed-field", "wrapped-field", "gzip-bomb", "drop",
)  # fmt: skip
"""What can be ordered: a slow answer, an HTTP error without SOAP, a business error 500, a SOAP fault, newer fields, a ZIP
that breaks off, an extract in windows-1251 called UTF-8, content by MTOM, a poll that never ends, an answer without its
content, without a field that must be there, with a needed field inside an unknown one, a bomb, a connection cut."""

_NAMESPACE = re.compile(r"http://ffoms\.ru/types/((?:[0-9.]+/)?)(\w+)")


@dataclass(slots=True)
class Fault:
    """An ordered fault: for an operation or all, ``times`` more answers."""

    name: str
    operation: str | None
    times: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes out."""

    body: bytes
    kind: str = "text/xml; charset=utf-8"
    status: int = 200
    encoding: str | None = None


class StandIn:
    """The service over the tables of `queries`. ``token`` is the X-Auth-Token it accepts; an operation is done with
    its poll number ``ready_after``."""

    def __init__(
        self, store: Store, *, okato: str, token: str, host: str = "127.0.0.1", port: int = 0, ready_after: int = 2
    ) -> None:
        self._store = store
        self._okato = okato
        self._token = token
        self._ready_after = ready_after
        self.waiting: str | None = None
        """The operation whose answer is being delayed."""

        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer((host, port), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """The address without a path."""
        return f"http://{self._server.server_address[0]!s}:{self._server.server_port}"

    def run(self) -> None:
        """Serves until `stop`."""
        self._server.serve_forever(0.2)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def order(self, name: str, operation: str | None = None, times: int = 1, seconds: float = 1.0) -> None:
        """Orders a fault."""
        if name not in FAULTS:
            raise KeyError(name)
        with self._lock:
            self._faults.append(Fault(name, operation, times, seconds))

    def calm(self) -> None:
        """Takes all faults back."""
        with self._lock:
            self._faults.clear()

    def _due(self, operation: str) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and fault.operation in (None, operation):
                    fault.times -= 1
                    return Fault(fault.name, operation, 1, fault.seconds)
        return None

    def answer(self, request: bytes, token: str | None) -> Reply | None:
        """The answer to a call; None cuts the connection."""
        if token != self._token:
            return Reply(b"", "text/plain", 401)
        root = xml.parse(request, xml.Limits())
        (message,) = root.findall("{http://schemas.xmlsoap.org/soap/envelope/}Body/*")
        named = etree.QName(message)
        match = _NAMESPACE.fullmatch(named.namespace or "")
        operation = named.localname.removesuffix("Request")
        if match is None or operation not in _OPERATIONS:
            return Reply(replies.fault("Validation error").encode(), status=500)
        fault = self._due(operation)
        self.waiting = operation if fault is not None and fault.name == "delay" else None
        if fault is not None and (early := _early(fault)) is not None:
            return early.reply
        values = {
            etree.QName(one).localname: (one.text or "").strip() for one in message.iter() if isinstance(one.tag, str)
        }
        name, body = _OPERATIONS[operation](self, values, fault)
        text = replies.envelope(name, match[2], match[1], values.get("externalRequestId", ""), body)
        return _sent(text, fault)

    # operations -------------------------------------------------------------------------------------------------------

    def person_data(self, values: dict[str, str], fault: Fault | None) -> tuple[str, str]:
        name = "getPersonDataResponse"
        if fault and fault.name == "error-item-500":
            return name, replies.error("500", "Внутренняя ошибка сервиса")
        with self._store.begin() as connection:
            row = queries.person(connection, enp=values.get("enp"), oip=values.get("oip"), snils=values.get("snils"))
            if row is None:
                return name, replies.error("409.00.1", "Персона не найдена", "personDataSearchParams/personSearchInfo")
            policies, attached = queries.policies(connection, row["oip"]), queries.attachments(connection, row["oip"])
        body = replies.person(row, policies, attached, newer=bool(fault and fault.name == "unknown-field"))
        if fault and fault.name == "no-needed-field":
            body = re.sub(r"<c:pcyStatus>.*?</c:pcyStatus>|<c:moCode>.*?</c:moCode>", "", body)
        if fault and fault.name == "wrapped-field":
            body = re.sub(r"(<t:deathDate>.*?</t:deathDate>|<c:moCode>.*?</c:moCode>)", r"<t:newer>\1</t:newer>", body)
        return name, body

    def search(self, values: dict[str, str], fault: Fault | None) -> tuple[str, str]:
        name = "findPersonsByPersCriteriaResponse"
        if fault and fault.name == "error-item-500":
            return name, replies.error("500", "Внутренняя ошибка сервиса")
        page, per_page = int(values.get("pageNumber") or 1), min(100, int(values.get("itemPerPage") or 25))
        with self._store.begin() as connection:
            rows = queries.search(
                connection, death_from=values.get("deathDateFrom"), death_to=values.get("deathDateTo"),
                born_from=values.get("birthDayFrom"), born_to=values.get("birthDayTo"), last=values.get("surname"),
                first=values.get("firstName"), count=per_page, start=(page - 1) * per_page,
            )  # fmt: skip
        return name, replies.found(rows, rows[0]["total"] if rows else 0, page, per_page)

    def successor(self, values: dict[str, str], fault: Fault | None) -> tuple[str, str]:
        with self._store.begin() as connection:
            row = queries.person(connection, oip=values.get("oip"))
        if row is None or row["merged_into"] is None:
            return "getMergeAncessorOipResponse", ""
        inside = replies.element("whenMerged", row["merged_at"]) + replies.element(
            "mergeAncessorOip", row["merged_into"]
        )
        return "getMergeAncessorOipResponse", f"<t:mergeAncessorOip>{inside}</t:mergeAncessorOip>"

    def start_changes(self, values: dict[str, str], fault: Fault | None) -> tuple[str, str]:
        return "getInsuranceStatusChangesStartResponse", self._started(
            "changes", values["dtFrom"], values["dtTo"], fault
        )

    def start_attachments(self, values: dict[str, str], fault: Fault | None) -> tuple[str, str]:
        day = values.get("dt")
        if day is None:
            with self._store.begin() as connection:
                day = queries.current(connection).isoformat()
        return "getViewDataAttachStartResponse", self._started("attachments", day, None, fault)

    def _started(self, kind: str, since: str, until: str | None, fault: Fault | None) -> str:
        if fault and fault.name == "error-item-500":
            return replies.error("500", "Внутренняя ошибка сервиса")
        token = uuid4().hex
        with self._store.begin() as connection:
            queries.start(
                connection, token, kind, date.fromisoformat(since), date.fromisoformat(until) if until else None
            )
        return replies.element("opToken", token, "c")

    def poll_changes(self, values: dict[str, str], fault: Fault | None) -> tuple[str, str]:
        name = "getInsuranceStatusChangesPollResponse"
        row, state = self._polled(values, fault)
        if row is None or state is not None:
            return name, state or ""
        lists: dict[str, list[str]] = {"ARRIVED": [], "DEPARTED": [], "CHANGED": []}
        with self._store.begin() as connection:
            for kind, enp in queries.changed(connection, row["since"], row["until"]):
                lists[kind].append(enp)
        body = _status(values, "COMPLETED")
        for kind, tag in (("ARRIVED", "enpArrived"), ("DEPARTED", "enpDeparted"), ("CHANGED", "enpChanged")):
            if lists[kind]:
                body += replies.element(tag, " ".join(lists[kind]))
        return name, body

    def poll_attachments(self, values: dict[str, str], fault: Fault | None) -> tuple[str, str]:
        name = "getViewDataAttachPollResponse"
        row, state = self._polled(values, fault)
        if row is None or state is not None:
            return name, state or ""
        content = self._extract(row["since"], fault)
        if fault and fault.name == "cut-zip":
            content = content[: len(content) * 2 // 3]
        if fault and fault.name == "empty-content":
            return name, _status(values, "COMPLETED")
        return name, _status(values, "COMPLETED") + f"<t:content>{base64.b64encode(content).decode()}</t:content>"

    def _polled(self, values: dict[str, str], fault: Fault | None) -> tuple[Any, str | None]:
        if fault and fault.name == "error-item-500":
            return None, replies.error("500", "Внутренняя ошибка сервиса")
        with self._store.begin() as connection:
            row = queries.poll(connection, values["opToken"])
        if row is None:
            return None, replies.error("409.00.2", "Операция не найдена", "opToken")
        if row["polls"] < self._ready_after or (fault and fault.name == "endless-processing"):
            return None, _status(values, "PROCESSING")
        return row, None

    def _extract(self, day: date, fault: Fault | None) -> bytes:
        statement = queries.EXTRACT.replace("{okato}", self._okato).replace("{region}", self._okato[:2])
        out = io.BytesIO()
        with (
            zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            archive.open("attach.csv", "w") as target,
            self._store.begin() as connection,
            driver_of(connection).cursor() as cursor,
            cursor.copy(statement.encode(), {"day": day}) as copy,
        ):
            for block in copy:
                text = bytes(block)
                target.write(text.decode().encode("cp1251") if fault and fault.name == "wrong-charset" else text)
        return out.getvalue()


@dataclass(frozen=True, slots=True)
class _Early:
    reply: Reply | None


def _early(fault: Fault) -> _Early | None:
    """Faults that need no answer to spoil."""
    if fault.name == "delay":
        time.sleep(fault.seconds)
    if fault.name == "drop":
        return _Early(None)
    if fault.name == "http-500":
        return _Early(Reply(b"<html>Internal Server Error</html>", "text/html", 500))
    if fault.name == "fault":
        return _Early(Reply(replies.fault("Validation error").encode(), status=500))
    if fault.name == "gzip-bomb":
        import gzip

        return _Early(Reply(gzip.compress(b" " * (64 << 20)), encoding="gzip"))
    return None


def _sent(text: str, fault: Fault | None) -> Reply:
    if fault and fault.name == "mtom" and "<t:content>" in text:
        head, _, rest = text.partition("<t:content>")
        content, _, tail = rest.partition("</t:content>")
        include = '<xop:Include xmlns:xop="http://www.w3.org/2004/08/xop/include" href="cid:content@upstream"/>'
        envelope = f"{head}<t:content>{include}</t:content>{tail}"
        mark = uuid4().hex
        body = b"".join(
            (
                f"--{mark}\r\nContent-Type: application/xop+xml; charset=utf-8; type=\"text/xml\"\r\n"
                f"Content-ID: <root@upstream>\r\n\r\n{envelope}\r\n".encode(),
                f"--{mark}\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: binary\r\n"
                "Content-ID: <content@upstream>\r\n\r\n".encode(),
                base64.b64decode(content), f"\r\n--{mark}--\r\n".encode(),
            )
        )  # fmt: skip
        kind = f'multipart/related; type="application/xop+xml"; start="<root@upstream>"; start-info="text/xml"; boundary="{mark}"'
        return Reply(body, kind)
    return Reply(text.encode())


def _status(values: dict[str, str], status: str) -> str:
    return replies.element("opToken", values.get("opToken"), "c") + replies.element("processingStatus", status, "c")


_OPERATIONS: dict[str, Callable[[StandIn, dict[str, str], Fault | None], tuple[str, str]]] = {
    "getPersonData": StandIn.person_data,
    "findPersonsByPersCriteria": StandIn.search,
    "getMergeAncessorOip": StandIn.successor,
    "getInsuranceStatusChangesStart": StandIn.start_changes,
    "getInsuranceStatusChangesPoll": StandIn.poll_changes,
    "getViewDataAttachStart": StandIn.start_attachments,
    "getViewDataAttachPoll": StandIn.poll_attachments,
}


def _handler(service: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.path == "/faults":
                wanted = json.loads(body)
                service.order(
                    wanted["fault"], wanted.get("operation"), wanted.get("times", 1), float(wanted.get("seconds", 1))
                )
                self._send(Reply(b"", "text/plain", 204))
                return
            reply = service.answer(body, self.headers.get("x-auth-token"))
            if reply is None:
                self.close_connection = True
                return
            self._send(reply)

        def do_DELETE(self) -> None:
            service.calm()
            self._send(Reply(b"", "text/plain", 204))

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            self.send_header("Content-Length", str(len(reply.body)))
            if reply.encoding:
                self.send_header("Content-Encoding", reply.encoding)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: Any) -> None:
            return

    return Handler
