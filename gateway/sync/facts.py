"""Answers of the register of insured persons as columns of `person`: only what the register proves."""

from __future__ import annotations

from datetime import date
from typing import Any

from gateway.domain.insurance import Finding, Insured, Policy, Verdict, same_region
from gateway.domain.persons import name_key
from gateway.people.names import tidy

SPEAKING = (Finding.SAME, Finding.MOVED, Finding.NO_ATTACHMENT, Finding.NO_POLICY, Finding.LEFT, Finding.DEAD)
"""Findings whose facts are taken over; what is not clear changes nothing."""


def facts_of(person: Insured, found: Verdict, region: str) -> dict[str, Any]:
    """Names as in `gateway.people.refresh.FACTS`, and ``policy_since``; empty where the finding is not clear."""
    last, first, middle = tidy(person.last_name), tidy(person.first_name), tidy(person.middle_name or "") or None
    if found.finding not in SPEAKING or not last or not first:
        return {}
    facts: dict[str, Any] = {
        "last_name": last,
        "first_name": first,
        "middle_name": middle,
        "name_key": name_key(last, first, middle),
        "birth_date": person.birth_date.isoformat(),
        "sex": person.sex,
        "death_date": iso(person.death_date),
    }
    if found.policy is not None:
        facts |= _insurance(found.policy, region)
    if found.organisation is not None:
        facts |= {"attached_organisation": found.organisation, "attached_since": iso(found.since)}
    return facts


def numbered(person: Insured, found: Verdict, region: str) -> dict[str, Any]:
    """The same with the ЕНП of the policy in force, or of the latest one; empty without any."""
    policy = found.policy or max(person.policies, key=lambda one: one.since, default=None)
    facts = facts_of(person, found, region)
    return {"enp": policy.enp, **facts} if policy is not None and facts else {}


def _insurance(policy: Policy, region: str) -> dict[str, Any]:
    facts = {"insured_in_region": same_region(policy.okato, region), "policy_since": iso(policy.since)}
    return facts | ({"insurer": policy.insurer} if policy.insurer else {})


def iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
