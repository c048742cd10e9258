"""A packet on its way into the temporary tables: what of it speaks of dispensary observation, or of care to be counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from itertools import islice
from typing import Any

from sqlalchemy import Connection

from gateway.domain import persons
from gateway.domain.diagnoses import within
from gateway.errors import GatewayError
from gateway.formats.zl_list import DISPENSARY, Case, Episode, Packet
from gateway.sync.marks import queries

PORTION = 2_000
ONCOLOGY = (("C00", "C97"), ("D00", "D09"))
"""Diagnoses whose examinations and treatments are kept, as order 548н has them."""


def stage(connection: Connection, packet: Packet, *, clinic: str | None, advance: Callable[[int], None]) -> int:
    """Reads both files to their end; how many cases the packet has. ``clinic`` is the only one whose cases may stand in it,
    where a clinic has put it. Raises ``file.structure``."""
    queries.open_tables(connection)
    queries.copy(connection, "mark_patient", queries.PATIENT, _patients(packet))
    if queries.is_patient_repeated(connection):
        raise GatewayError("file.structure", what="ID_PAC повторяется в персональном файле")
    cases = packet.cases()
    total = lines = 0
    while portion := list(islice(cases, PORTION)):
        rows: dict[str, list[tuple[Any, ...]]] = {"mark_case": [], "mark_line": [], "care_line": []}
        for case in portion:
            lines = _staged(case, clinic, lines, rows)
        for table, columns in (("mark_case", queries.CASE), ("mark_line", queries.LINE), ("care_line", queries.CARE)):
            if rows[table]:
                queries.copy(connection, table, columns, rows[table])
        total += len(portion)
        advance(total)
    queries.analyze(connection)
    return total


def _patients(packet: Packet) -> Iterator[tuple[str, str | None, date | None]]:
    for one in packet.patients():
        key = None
        if one.last_name and one.first_name:
            key = persons.name_key(one.last_name, one.first_name, one.middle_name)
        yield one.id, key, one.birth_date


def _staged(case: Case, clinic: str | None, lines: int, rows: dict[str, list[tuple[Any, ...]]]) -> int:
    """Adds the rows of a case, if it matters; the number of the last mark."""
    cares = [] if case.declined or case.problems else list(_cares(case))
    if not (case.marked or cares):
        return lines
    code, field = _refusal(case, clinic)
    if code is None or case.refused:
        enp = case.enp if case.enp and not case.newborn else None
    else:
        enp = None
    rows["mark_case"].append(
        (
            case.number, case.record[:100], case.id, case.first_id, case.corrected, case.refused, case.patient, enp,
            case.organisation, code, field,
        )
    )  # fmt: skip
    if code is not None:
        return lines
    for episode in case.episodes:
        for claim in episode.claims:
            lines += 1
            row = (lines, case.number, episode.id, claim.carrier, claim.code, claim.diagnosis, episode.ends)
            rows["mark_line"].append(row)
    rows["care_line"] += cares
    return lines


def _refusal(case: Case, clinic: str | None) -> tuple[str | None, str | None]:
    """Why a case is refused for what it says alone: code and element."""
    if case.problems:
        return case.problems[0].code, case.problems[0].field
    if clinic is not None and case.organisation != clinic:
        return "mark.organisation", "LPU"
    if case.refused:
        return "mark.refused", "OPLATA"
    if case.newborn:
        return "mark.newborn", "NOVOR"
    if case.enp and (wrong := persons.enp_error(case.enp)):
        return wrong, "NPOLIS"
    return None, None


def _cares(case: Case) -> Iterator[tuple[Any, ...]]:
    """Care in the order of `queries.CARE`: visits and services of dispensary observation, and of oncology diagnoses whatever
    was done: a treatment where one is named, else an examination."""
    for episode in case.episodes:
        if episode.purpose == DISPENSARY and episode.diagnosis:
            yield case.number, episode.id, "DN_VISIT", None, episode.diagnosis, episode.ends
        if episode.diagnosis and is_oncology(episode.diagnosis):
            kind = "TREATMENT" if episode.treated else "EXAMINATION"
            yield case.number, episode.id, kind, None, episode.diagnosis, episode.ends
        yield from _services(case.number, episode)


def _services(number: int, episode: Episode) -> Iterator[tuple[Any, ...]]:
    for service in episode.services:
        diagnosis = service.diagnosis or episode.diagnosis
        if diagnosis is None:
            continue
        if service.dispensary:
            yield number, episode.id, "DN_SERVICE", service.code, diagnosis, service.day
        elif is_oncology(diagnosis) and not (episode.diagnosis and is_oncology(episode.diagnosis)):
            yield number, episode.id, "EXAMINATION", service.code, diagnosis, service.day


def is_oncology(diagnosis: str) -> bool:
    return any(within(diagnosis, first, last) for first, last in ONCOLOGY)
