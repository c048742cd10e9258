"""Finding insured persons: by ЕНП, by СНИЛС and birth date, or by exact name and birth date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from gateway.access import audit
from gateway.access.model import Call, ClientKind
from gateway.domain.persons import enp_error, name_key, snils_digits, snils_error
from gateway.errors import FieldError, GatewayError, field_error
from gateway.people import queries, sources
from gateway.people.names import tidy
from gateway.people.sources import PersonSource, Wanted
from gateway.store import failures
from gateway.store.engine import Store

LIMIT_DEFAULT = 20
LIMIT_MOST = 100


@dataclass(frozen=True, slots=True)
class Criteria:
    """What is known of the person. Enough is: enp; snils and birth_date; last_name, first_name and birth_date.

    Whatever else is given narrows the search; a first name needs a last name, a middle name both. Names are compared without case, ё as е; a double surname is one name.
    """

    enp: str | None = None
    snils: str | None = None
    last_name: str | None = None
    first_name: str | None = None
    middle_name: str | None = None
    birth_date: date | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """An entry under observation that the caller may see."""

    entry_id: str
    diagnosis: str


@dataclass(frozen=True, slots=True)
class FoundPerson:
    """A person as the contract's `Person` shows it. All values are text as XML wants it: days ``yyyy-MM-dd``, ``as_of``
    with zone, ``insured_in_region`` ``true`` or ``false``; ``sex`` 1 male, 2 female; ``source`` LOCAL or FERZL.
    """

    enp: str
    snils: str | None
    last_name: str
    first_name: str
    middle_name: str | None
    birth_date: str
    sex: str
    death_date: str | None
    insurer: str | None
    insured_in_region: str
    attached_organisation: str | None
    attached_since: str | None
    source: str
    as_of: str
    observed: tuple[Observed, ...] = ()


def find(
    store: Store, call: Call, criteria: Criteria, limit: int | None = None, source: PersonSource | None = None
) -> list[FoundPerson]:
    """Persons by exact criteria, by name; whoever observes or attaches them. An insurer finds only its insured.

    ``limit`` is 1..100, 20 if absent. `observed` holds entries of the caller's own organisations (all for the fund and
    an insurer). One statement reads and leaves the audit record, so ``call.audited`` is set.

    Whom nobody knows here is looked for in ``source``; where that does not answer, ``call.note`` says so.

    Raises ``search.criteria``, ``field.range`` for the limit, and the codes of ЕНП and СНИЛС.
    """
    conditions = _conditions(criteria)
    limit = LIMIT_DEFAULT if limit is None else limit
    if not 1 <= limit <= LIMIT_MOST:
        raise GatewayError("field.range", fields=[field_error("limit", "field.range")])
    bounded = call.caller.kind is ClientKind.MO
    if call.caller.kind is ClientKind.INSURER:
        conditions["insurer"] = call.caller.insurer or ""
    bounds = {"limit": limit, "organisations": list(call.caller.organisations)}
    statement = queries.find(tuple(conditions), bounded)

    def read(final: bool) -> list[Any]:
        values = audit.parameters(call) | conditions | bounds | {"final": final}
        return failures.on_driver(store, lambda driver: driver.execute(statement, values, prepare=True).fetchall())

    rows = read(source is None)
    if not rows and source is not None:
        heard = sources.learn(store, source, [_wanted(criteria)])
        call.details["upstream"] = "unanswered" if heard.unanswered else f"found {len(heard.persons)}"
        call.note = sources.UNANSWERED if heard.unanswered else None
        rows = read(True)
    call.audited = True
    return [FoundPerson(*(*person, _observed(observed))) for *person, observed in rows]


def _wanted(criteria: Criteria) -> Wanted:
    return Wanted(
        enp=criteria.enp or None,
        snils=snils_digits(criteria.snils) if criteria.snils else None,
        last_name=tidy(criteria.last_name or "") or None,
        first_name=tidy(criteria.first_name or "") or None,
        middle_name=tidy(criteria.middle_name or "") or None,
        birth_date=criteria.birth_date.isoformat() if criteria.birth_date else None,
    )


def _conditions(criteria: Criteria) -> dict[str, object]:
    """Checked criteria under the names of `queries.CONDITIONS`."""
    last, first, middle = (tidy(name or "") for name in (criteria.last_name, criteria.first_name, criteria.middle_name))
    named = bool(last and first)
    dated = criteria.birth_date is not None
    enough = criteria.enp or (dated and (criteria.snils or named))
    if not enough or (first and not last) or (middle and not first):
        raise GatewayError("search.criteria")
    wrong: list[FieldError] = []
    conditions: dict[str, object] = {}
    if criteria.enp:
        conditions["enp"] = criteria.enp
        if code := enp_error(criteria.enp):
            wrong.append(field_error("enp", code))
    if criteria.snils:
        conditions["snils"] = snils_digits(criteria.snils)
        if code := snils_error(criteria.snils):
            wrong.append(field_error("snils", code))
    if wrong:
        raise GatewayError(wrong[0].code, fields=wrong)
    if criteria.birth_date is not None:
        conditions["birth_date"] = criteria.birth_date.isoformat()
    if last:
        conditions["full_name" if middle else "any_middle_name"] = name_key(last, first, middle or None)
    return conditions


def _observed(joined: str | None) -> tuple[Observed, ...]:
    if not joined:
        return ()
    return tuple(Observed(*pair.split(" ", 1)) for pair in joined.split(","))
