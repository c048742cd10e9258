"""Services and operations as data, what handlers get, and the way of a call from its element to its answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from lxml import etree

from gateway.access import calls
from gateway.access.model import Call
from gateway.errors import FieldError, GatewayError
from gateway.services import codec, wsdl
from gateway.services.schema import Checker
from gateway.services.types import GATEWAY_FAULT, Field, Model

if TYPE_CHECKING:
    from gateway.access.gate import Gate
    from gateway.domain.clock import Clock
    from gateway.lists import Lists
    from gateway.nsi.dictionaries import Nsi
    from gateway.people.sources import PersonSource
    from gateway.settings import Settings
    from gateway.store.engine import Store

Kind = Literal["change", "read", "own", "open"]
"""How a call runs. change: one idempotent transaction (`calls.change`); read: one transaction with its audit record
(`calls.read`); own: the handler looks after both; open: as own, and needs no right beyond authentication."""

Handler = Callable[..., Any]
"""``(desk, connection, call, request)`` of a change or a read, ``(desk, call, request)`` of own and open."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What handlers work with; made once per process."""

    store: Store
    settings: Settings
    clock: Clock
    nsi: Nsi
    lists: Lists
    gate: Gate
    version: str
    services: tuple[Service, ...]
    source: PersonSource | None = None


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation, declared once. ``splice`` names a repeated last field of the answer that comes as rendered bytes;
    its service fills in ``namespace``."""

    name: str
    kind: Kind
    handler: Handler
    request: tuple[Field, ...]
    response: tuple[Field, ...]
    doc: str
    splice: str = ""
    namespace: str = ""
    before: Callable[[Desk, Call, Any], None] | None = None
    """What a change does before its transaction begins."""

    @property
    def input(self) -> Model:
        return Model(self.name, f"Запрос операции {self.name}", self.request)

    @property
    def output(self) -> Model:
        return Model(self.name + "Response", f"Ответ операции {self.name}", self.response)

    @property
    def open(self) -> bool:
        """Whether any authenticated client may call it."""
        return self.kind == "open"

    @cached_property
    def _decode(self) -> Callable[[etree._Element], SimpleNamespace]:
        return codec.decoder(self.input, self.namespace)

    @cached_property
    def _encode(self) -> Callable[[Any], bytes]:
        return codec.envelope(self.output, self.namespace, self.splice)

    def decode(self, element: etree._Element) -> SimpleNamespace:
        """The values of a valid request by snake_case names: absent ones None, repeated ones tuples.

        Raises ``request.schema`` for a date or time that XML can write and the calendar does not have.
        """
        return self._decode(element)

    def encode(self, result: Any) -> bytes:
        """The whole envelope of an answer, from an object or mapping with the response's names in snake_case.

        A bare list is the value of the only field of its answer.
        """
        if isinstance(result, list):
            (only,) = self.response
            result = {only.attribute: result}
        return self._encode(result)


@dataclass(frozen=True, eq=False)
class Service:
    """A published service: its operations by name, its schema, its WSDL."""

    name: str
    path: str
    namespace: str
    doc: str
    operations: Mapping[str, Operation] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, path: str, namespace: str, doc: str, operations: tuple[Operation, ...]) -> Service:
        return cls(name, path, namespace, doc, {one.name: replace(one, namespace=namespace) for one in operations})

    @property
    def version(self) -> str:
        """``v1``, the last part of the namespace."""
        return self.namespace.rpartition(":")[2]

    @cached_property
    def definitions(self) -> etree._Element:
        """The WSDL as a tree, with a placeholder as its address; not to be changed."""
        return wsdl.definitions(self)

    @cached_property
    def pinned(self) -> bytes:
        """The WSDL as it is pinned, with a placeholder as its address."""
        return wsdl.document(self)

    @cached_property
    def _checker(self) -> Checker:
        return Checker(wsdl.schema_of(self), {one.name: one.input for one in self.operations.values()})

    def operation_of(self, qname: str) -> Operation | None:
        """The operation that an element ``{namespace}Name`` asks for."""
        namespace, _, name = qname.rpartition("}")
        return self.operations.get(name) if namespace == "{" + self.namespace else None

    def validate(self, element: etree._Element) -> list[FieldError]:
        """What is wrong with a request by the schema, at most 100 places; the texts hold no sent value."""
        return self._checker.errors(element)

    def soap_action(self, operation: Operation) -> str:
        return f"{self.namespace}/{operation.name}"

    def wsdl(self, public_url: str) -> bytes:
        """The WSDL with ``soap:address`` at ``public_url``, the address of the gateway without a path."""
        return wsdl.at(self.pinned, self, public_url)


def fault(service: Service, error: GatewayError, trace: str | None = None) -> bytes:
    """The envelope of a refusal: `Fault` with a `GatewayFault` in the namespace of the service."""
    return codec.fault(
        error.kind.side.value,
        error.message,
        codec.element(GATEWAY_FAULT, service.namespace)(
            {
                "code": error.code,
                "message": error.message,
                "request_id": trace,
                "retry_after": error.retry_after,
                "errors": {"error": error.fields} if error.fields else None,
            }
        ),
    )


def perform(desk: Desk, service: Service, operation: Operation, call: Call, element: etree._Element) -> bytes:
    """A guarded, authorised and valid call: decoded, handled, encoded. Blocking; raises `GatewayError`."""
    request = operation.decode(element)
    handler = operation.handler
    if operation.kind == "change":
        call.request_id = UUID(request.request_id)
        if not call.body_sha256:
            call.body_sha256 = hashlib.sha256(etree.tostring(element, method="c14n", exclusive=True)).digest()
        if operation.before is not None:
            operation.before(desk, call, request)
        return calls.change(
            desk.store, call, lambda connection: handler(desk, connection, call, request), operation.encode
        )
    if operation.kind == "read":
        return operation.encode(
            calls.read(desk.store, call, lambda connection: handler(desk, connection, call, request))
        )
    return operation.encode(handler(desk, call, request))
