"""How the contract is declared: one list of fields from which the spyne types, the decoder and the encoder are made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Base = Literal["string", "boolean", "int", "long", "decimal", "date", "dateTime", "base64Binary"]

UNBOUNDED = 0
"""``Field.most`` of a repeated field without an upper bound."""


@dataclass(frozen=True, slots=True)
class Simple:
    """A simple type of the schema. A named one is restricted by its facets; a plain one is the bare ``xs:`` type."""

    base: Base
    name: str = ""
    shortest: int | None = None
    longest: int | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """An element of a type. ``most`` is how often it may repeat (0: without bound), ``refusals`` the codes that it can
    be refused with beside those of the schema."""

    name: str
    type: Simple | Model
    doc: str
    least: int = 1
    most: int = 1
    refusals: tuple[str, ...] = ()

    @property
    def attribute(self) -> str:
        """The name of the value in Python."""
        return snake(self.name)

    @property
    def many(self) -> bool:
        return self.most != 1


@dataclass(frozen=True, slots=True)
class Model:
    """A complex type: a sequence of fields. ``columns`` names the order of values where they come as a row of text."""

    name: str
    doc: str
    fields: tuple[Field, ...]
    columns: tuple[str, ...] = ()

    def field(self, name: str) -> Field | None:
        return next((field for field in self.fields if field.name == name), None)


def snake(name: str) -> str:
    """``lastVisitOn`` as ``last_visit_on``; ``from`` is a word of Python and becomes ``from_``."""
    return "from_" if name == "from" else re.sub("([A-Z])", r"_\1", name).lower()


STRING = Simple("string")
BOOLEAN = Simple("boolean")
INT = Simple("int")
LONG = Simple("long")
DECIMAL = Simple("decimal")
DATE = Simple("date")
TIME = Simple("dateTime")
BYTES = Simple("base64Binary")

UUID = Simple("string", "Uuid", 36, 36, "[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
CODE = Simple("string", "Code", 1, 32)
KEY = Simple("string", "Key", 1, 64)
NAME = Simple("string", "Name", 1, 128)
NOTE = Simple("string", "Note", 1, 1000)
TOKEN = Simple("string", "Token", 1, 16384)
NAME_OF_FILE = Simple("string", "FileName", 1, 255)
SHA256 = Simple("string", "Sha256", 64, 64, "[0-9A-Fa-f]{64}")


def needed(name: str, type: Simple | Model, doc: str, refusals: str = "") -> Field:
    """A field that is always there."""
    return Field(name, type, doc, refusals=tuple(refusals.split()))


def maybe(name: str, type: Simple | Model, doc: str, refusals: str = "") -> Field:
    """A field that may be left out."""
    return Field(name, type, doc, least=0, refusals=tuple(refusals.split()))


def some(name: str, type: Simple | Model, doc: str, least: int = 0, most: int = UNBOUNDED, refusals: str = "") -> Field:
    """A repeated field."""
    return Field(name, type, doc, least, most, tuple(refusals.split()))


def as_answer(field: Field) -> Field:
    """A field of a request as answers carry it: strings without facets, no refusals."""
    plain = isinstance(field.type, Simple) and field.type.base == "string"
    return Field(field.name, STRING if plain else field.type, field.doc, field.least, field.most)


ITEM = Model(
    "Item",
    "Именованное значение",
    (needed("name", STRING, "Имя"), needed("value", STRING, "Значение")),
)

EXTRA = Model(
    "Extra",
    "Дополнительные сведения. Новые сведения первой версии добавляются только сюда; незнакомые имена пропускайте",
    (some("item", ITEM, "Значение"),),
)

ITEM_RESULT = Model(
    "ItemResult",
    "Итог по одному элементу вызова: принятые элементы действуют, остальные отклонены с кодом",
    (
        needed("number", INT, "Номер элемента в вызове, с 1"),
        maybe("id", STRING, "Идентификатор созданного или изменённого"),
        needed("code", STRING, "Код: ok, ok.… — принято; остальные — отказ"),
        needed("message", STRING, "Пояснение по-русски, без переданных значений"),
    ),
)

ERROR = Model(
    "Error",
    "Ошибка поля запроса",
    (
        needed("field", STRING, "Путь поля, например items[3]/conductedOn"),
        needed("code", STRING, "Код ошибки"),
        needed("message", STRING, "Пояснение по-русски, без переданного значения"),
    ),
)

ERRORS = Model("Errors", "Ошибки полей запроса", (some("error", ERROR, "Ошибка поля"),))

GATEWAY_FAULT = Model(
    "GatewayFault",
    "Подробности отказа, элемент detail сообщения Fault",
    (
        needed("code", STRING, "Код отказа: не меняется, перечень в документации"),
        needed("message", STRING, "Пояснение по-русски, без переданных значений"),
        maybe("requestId", STRING, "Номер вызова в журнале шлюза, он же в заголовке ответа X-Request-Id"),
        maybe("retryAfter", INT, "Через сколько секунд повторить вызов"),
        maybe("errors", ERRORS, "Ошибки полей"),
    ),
)

REQUEST_ID = needed(
    "requestId",
    UUID,
    "Идентификатор вызова (UUID), свой у каждого изменения: повтор с тем же содержанием получает первый ответ",
    "conflict.request-reused",
)
ORGANISATION = maybe(
    "organisation",
    CODE,
    "Код МО; обязателен, если клиенту доступно несколько организаций",
    "organisation.required object.not-found",
)
ACTING_ORGANISATION = maybe(
    "organisation", CODE, "Код МО, от имени которой сделан вызов; можно не указывать", "object.not-found"
)
EXTRA_FIELD = maybe("extra", EXTRA, "Дополнительные сведения")
START_RECORD = maybe("startRecord", LONG, "Номер первой записи, с 1; по умолчанию 1", "list.page")


def record_count(default: int) -> Field:
    """The size of a page."""
    return maybe(
        "recordCount", INT, f"Количество записей, по умолчанию {default}; предел сообщает GetLimits", "list.page"
    )


def page_of(rows: Field) -> tuple[Field, ...]:
    """The fields of an answer that is a page of ``rows``."""
    return (
        needed("totalRecords", LONG, "Всего записей"),
        needed("startRecord", LONG, "Номер первой записи ответа"),
        needed("returnedRecords", INT, "Записей в ответе"),
        rows,
    )
