"""One person asked about: what the register answers, as the facts and the finding that are kept in the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from gateway.domain.insurance import Finding, Insured, Verdict, verdict
from gateway.errors import GatewayError
from gateway.sync.facts import facts_of, iso, numbered

if TYPE_CHECKING:
    from gateway.sync.upstream.ferzl import Ferzl

_MERGES_MOST = 5

_HERE = (Finding.SAME, Finding.MOVED, Finding.NO_ATTACHMENT)
"""Findings of people insured in the region: where their policy has another ЕНП, that one is theirs now."""


@dataclass(frozen=True, slots=True)
class Question:
    """A person by our number and ЕНП; ``known`` is the clinic that we think is the primary one."""

    person_id: int
    enp: str
    known: str | None


class Asking:
    """Questions to the register as of one day, for a region (ОКАТО)."""

    def __init__(self, ferzl: Ferzl, day: date, region: str) -> None:
        self._ferzl = ferzl
        self._day = day
        self._region = region

    def answer(self, question: Question) -> dict[str, Any]:
        """The answer as a row of `queries.keep_answers`; what cannot be used has a code and no finding.

        Raises ``upstream.down``: nothing was answered, the question stays open.
        """
        try:
            return {"person_id": question.person_id, **self._answered(question)}
        except GatewayError as error:
            if error.code == "upstream.down":
                raise
            return {"person_id": question.person_id, "code": error.code}

    def _answered(self, question: Question) -> dict[str, Any]:
        person = self._ferzl.person(question.enp, self._day)
        if person is None:
            return {"finding": Finding.UNKNOWN}
        found = self._verdict(person, question.known)
        if found.finding is Finding.MERGED:
            return self._merged(person, found, question)
        policy = found.policy
        if found.finding in _HERE and policy is not None and policy.enp != question.enp:
            return _row(Verdict(Finding.MERGED, policy.since), self._heir(person, found))
        return _row(found, facts_of(person, found, self._region))

    def _verdict(self, person: Insured, known: str | None) -> Verdict:
        return verdict(person, day=self._day, region=self._region, known=known)

    def _merged(self, person: Insured, merged: Verdict, question: Question) -> dict[str, Any]:
        """The person that a merged one went on as, and what became of it; no facts where the register does not say.

        Where that person has the very ЕНП that was asked about, it is simply the person of that number.
        """
        for _ in range(_MERGES_MOST):
            oip = self._ferzl.successor(person.oip)
            heir = self._ferzl.person_by_oip(oip, self._day) if oip else None
            if heir is None:
                break
            found = self._verdict(heir, question.known)
            if found.finding is not Finding.MERGED:
                facts = self._heir(heir, found)
                if facts and facts["successor"]["enp"] == question.enp:
                    return _row(found, facts_of(heir, found, self._region))
                return _row(merged, facts)
            person = heir
        return _row(merged, {})

    def _heir(self, person: Insured, found: Verdict) -> dict[str, Any]:
        facts = numbered(person, found, self._region)
        then = {"finding": found.finding, "since": iso(found.since), "organisation": found.organisation}
        return {"successor": facts, "then": then} if facts else {}


def _row(found: Verdict, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "finding": found.finding,
        "since": iso(found.since),
        "organisation": found.organisation,
        "insurer": facts.get("insurer"),
        "facts": facts or None,
    }
