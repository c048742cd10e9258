"""Faults of calls that run at once are never mixed up: the validator of spyne leaks values between threads, ours not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.serving import OBSERVATION, PATHS, Answer, Gateway, envelope

THREADS, CALLS = 8, 60


def _storm(gateway: Gateway, thread: int) -> list[tuple[str, Answer]]:
    """Bad requests whose wrong field is the thread's own."""
    fields = ("enp", "snils", "lastName", "firstName", "birthDate", "limit", "middleName", "organisation")
    order = ("organisation", "enp", "snils", "lastName", "firstName", "middleName", "birthDate", "limit")
    assert set(fields) == set(order)
    name = order[thread]
    client = gateway.clients["clinic"]
    found = []
    with httpx.Client(trust_env=False, timeout=30) as http:
        for number in range(CALLS):
            marker = f"MARK{thread}x{number}x" * 60
            body = f'<FindPerson xmlns="{OBSERVATION}"><{name}>{marker}</{name}></FindPerson>'
            answer = http.post(
                gateway.url + PATHS[OBSERVATION],
                content=envelope(body, client.header),
                headers={"content-type": "text/xml"},
            )
            found.append((name, Answer(answer.status_code, answer.headers, answer.content)))
    return found


def test_faults_of_parallel_calls(gateway: Gateway) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        results = [one for found in pool.map(lambda n: _storm(gateway, n), range(THREADS)) for one in found]
    assert len(results) == THREADS * CALLS
    for name, answer in results:
        assert answer.fault == "request.schema"
        assert [error.findtext("{*}field") for error in answer.root.iter("{*}error")] == [name]
        assert b"MARK" not in answer.content
    assert "MARK" not in gateway.log_text
