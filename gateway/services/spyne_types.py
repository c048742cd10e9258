"""The declared contract as spyne types and a spyne application: the source of schema and WSDL, and the reference."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gateway.services import spyne_import as spyne
from gateway.services.types import GATEWAY_FAULT, Field, Model, Simple

if TYPE_CHECKING:
    from gateway.services.contract import Operation, Service

_BASES = {
    "string": spyne.Unicode,
    "boolean": spyne.Boolean,
    "int": spyne.Integer32,
    "long": spyne.Integer64,
    "decimal": spyne.Decimal,
    "date": spyne.Date,
    "dateTime": spyne.DateTime,
    "base64Binary": spyne.ByteArray,
}


class Types:
    """The spyne types of one namespace, each made once."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._models: dict[str, Any] = {}

    def model(self, model: Model) -> Any:
        made = self._models.get(model.name)
        if made is None:
            members = [(field.name, self.member(field)) for field in model.fields]
            made = self._models[model.name] = type(spyne.ComplexModel)(
                model.name,
                (spyne.ComplexModel,),
                {
                    "__namespace__": self.namespace,
                    "__type_name__": model.name,
                    "_type_info": members,
                },
            )
            made.Annotations.doc = model.doc
        return made

    def member(self, field: Field) -> Any:
        """The type of a field with its occurrence and documentation; nothing is nillable."""
        occurs = {
            "min_occurs": field.least,
            "max_occurs": field.most or Decimal("inf"),
            "nillable": False,
            "doc": documentation(field),
        }
        if isinstance(field.type, Model):
            return self.model(field.type).customize(**occurs)
        return self._simple(field.type, occurs)

    def _simple(self, simple: Simple, occurs: dict[str, Any]) -> Any:
        if not simple.name:
            return _BASES[simple.base].customize(**occurs)
        facets = {"min_len": simple.shortest, "max_len": simple.longest, "pattern": simple.pattern}
        made = spyne.Unicode(
            type_name=simple.name, **{name: value for name, value in facets.items() if value is not None}, **occurs
        )
        made.__namespace__ = self.namespace
        return made


def documentation(field: Field) -> str:
    """What the schema says of a field: its meaning and the codes of its refusals."""
    return f"{field.doc}. Отказы: {', '.join(field.refusals)}" if field.refusals else field.doc


def _method(types: Types, operation: Operation, run: Callable[..., Any]) -> Any:
    """A spyne method that hands the arguments of an operation to ``run(operation, arguments)``."""

    def method(ctx: Any, *arguments: Any) -> Any:
        return run(operation, arguments)

    method.__name__ = operation.name
    method.__doc__ = operation.doc
    returns = [types.member(field) for field in operation.response]
    names = [field.name for field in operation.response]
    single = len(returns) == 1
    return spyne.rpc(
        *(types.member(field) for field in operation.request),
        _args=[field.name for field in operation.request],
        _returns=returns[0] if single else returns,
        _throws=[types.model(GATEWAY_FAULT)],
        **({"_out_variable_name": names[0]} if single else {"_out_variable_names": names}),
    )(method)


def _unused(operation: Operation, arguments: tuple[Any, ...]) -> Any:
    """The body of a method where spyne only makes types, schema and WSDL."""
    raise AssertionError(f"{operation.name}: spyne dispatches in tests alone")


def application(service: Service, run: Callable[[Operation, tuple[Any, ...]], Any] | None = None) -> Any:
    """The service as a spyne application. With ``run``, which answers calls, spyne also validates and dispatches; the
    gateway itself takes only schema and WSDL from it."""
    types = Types(service.namespace)
    methods = {name: _method(types, operation, run or _unused) for name, operation in service.operations.items()}
    door = type(spyne.ServiceBase)(service.name, (spyne.ServiceBase,), {**methods, "__doc__": service.doc})
    made = spyne.Application(
        [door],
        service.namespace,
        name=service.name,
        in_protocol=spyne.Soap11(validator="lxml" if run else None),
        out_protocol=spyne.Soap11(),
    )
    made.transport = "http://schemas.xmlsoap.org/soap/http"
    return made
