"""The same as a client sees it: FindPerson of a running gateway, whose source speaks over HTTP."""

from __future__ import annotations

from typing import Any

from gateway.people import sources
from tests.markers import note_numbers
from tests.sync.upstream.spoken import ENP, OTHER_ENP, Question, Said, Spoken, error, pd


def known(question: Question) -> Said:
    """The service knows one person."""
    return Said(pd() if question.value("enp") == ENP else error("409.00.1"))


def test_find_person_says_that_its_source_is_down(running: Any, service: Spoken) -> None:
    note_numbers(ENP, OTHER_ENP)
    service.say = known
    with running(ferzl_url=service.url, search_upstream="ferzl") as gateway:
        answer = gateway.call("FindPerson", f"<enp>{ENP}</enp>").result
        assert (answer.findtext("{*}persons/{*}lastName"), answer.findtext("{*}persons/{*}source")) == (
            "Вымыслов",
            "FERZL",
        )
        assert answer.find("{*}extra") is None
        service.say = lambda _: None
        answer = gateway.call("FindPerson", f"<enp>{OTHER_ENP}</enp>").result
        assert answer.find("{*}persons") is None
        assert (answer.findtext("{*}extra/{*}item/{*}name"), answer.findtext("{*}extra/{*}item/{*}value")) == (
            "upstream", sources.UNANSWERED,
        )  # fmt: skip
