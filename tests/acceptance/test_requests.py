"""B1: the same requestId many times at once, after a restart, and with another body: one effect, equal answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from tests.acceptance.messages import add
from tests.serving import OBSERVATION, PATHS, envelope


def test_one_effect_and_equal_answers(running: Any) -> None:
    with running() as gateway:
        request_id = str(uuid4())
        fields = f"<requestId>{request_id}</requestId>{add(gateway.persons[0])}{add(gateway.persons[1])}"
        message = envelope(f'<AddEntries xmlns="{OBSERVATION}">{fields}</AddEntries>', gateway.clients["clinic"].header)
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda _: gateway.post(PATHS[OBSERVATION], message), range(50)))
        assert {answer.status for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        assert [row.findtext("{*}code") for row in answers[0].result] == ["ok", "ok"]

        gateway.stop()
        gateway.start()
        assert gateway.post(PATHS[OBSERVATION], message).content == answers[0].content

        other = message.replace(gateway.persons[1].encode(), gateway.persons[2].encode())
        assert gateway.post(PATHS[OBSERVATION], other).fault == "conflict.request-reused"
        with gateway.owner.begin() as connection:
            counts = connection.execute(
                text("SELECT (SELECT count(*) FROM entry), (SELECT count(*) FROM entry_event),"
                     " (SELECT count(*) FROM audit_record WHERE service <> 'operator' AND code IS NULL)")
            ).one()  # fmt: skip
        assert tuple(counts) == (2, 2, 51)
