"""Files over HTTP: ranges, names, whole bodies, who may; slow clients hold nothing."""

from __future__ import annotations

import hashlib
import json
import random
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from gateway.access import clients
from gateway.access.model import ClientKind
from gateway.operations import files
from gateway.operations.model import Owner
from gateway.settings import Settings
from tests.serving import CLINIC, INSURER, OTHER, Gateway, running_gateway

CONTENT = random.Random(1).randbytes(3_000_000)


class Door:
    """A client of ``/files/``."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def __call__(self, method: str, file_id: object, client: str | None = "clinic", **given: Any) -> httpx.Response:
        headers = given.pop("headers", {})
        if client is not None:
            headers = {"authorization": basic(self.gateway, client)} | headers
        return self.gateway.http.request(method, f"{self.gateway.url}/files/{file_id}", headers=headers, **given)

    def make(self, content: bytes = CONTENT, name: str = "list.xml", owner: Owner | None = None) -> UUID:
        chosen = owner or Owner(CLINIC)
        with (
            self.gateway.store.begin() as connection,
            files.Writer(connection, Settings(), name=name, kind="EXPORT", owner=chosen, mailbox=True) as out,
        ):
            out.write(content)
        return out.file_id

    def records(self, trace: str) -> list[tuple[Any, ...]]:
        with self.gateway.owner.begin() as connection:
            rows = connection.execute(
                text("SELECT service, operation, outcome, code, details FROM audit_record WHERE trace = :trace"),
                {"trace": trace},
            )
            return [tuple(row) for row in rows]


def basic(gateway: Gateway, client: str) -> str:
    login = gateway.clients[client]
    return "Basic " + b64encode(f"{login.login}:{login.password}".encode()).decode()


@pytest.fixture(scope="module")
def door(gateway: Gateway) -> Door:
    return Door(gateway)


@pytest.fixture(scope="module")
def strict(server: Any, template: str) -> Iterator[Door]:
    """A gateway with short limits."""
    limits = {"body_seconds": 1, "file_bytes": 2_000_000, "write_seconds": 2, "workers": 1}
    with running_gateway(server, template, trusted_proxies="127.0.0.1", **limits) as made:
        yield Door(made)


def code(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body.keys() == {"code", "message", "requestId"}
    assert body["requestId"] == answer.headers["x-request-id"]
    return answer.status_code, body["code"]


# giving ---------------------------------------------------------------------------------------------------------------


def test_whole_file(door: Door) -> None:
    file_id = door.make(name="Список «ДН» №1.xml")
    answer = door("GET", file_id)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    digest = hashlib.sha256(CONTENT).hexdigest()
    expected = {
        "content-type": "application/octet-stream", "content-length": "3000000", "etag": f'"{digest}"',
        "cache-control": "no-store", "x-content-type-options": "nosniff", "accept-ranges": "bytes",
    }  # fmt: skip
    assert expected.items() <= dict(answer.headers).items()
    plain, extended = answer.headers["content-disposition"].removeprefix("attachment; ").split("; ")
    assert plain.isascii()
    assert unquote(extended.removeprefix("filename*=UTF-8''")) == "Список «ДН» №1.xml"
    ((service, operation, outcome, _, details),) = door.records(answer.headers["x-request-id"])
    assert (service, operation, outcome) == ("Files", "GetFile", "OK")
    assert details == {"file": str(file_id), "kind": "EXPORT", "extension": "xml"}


def test_head(door: Door) -> None:
    answer = door("HEAD", door.make())
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "3000000")
    assert len(door.records(answer.headers["x-request-id"])) == 1


@pytest.mark.parametrize("asked", ["bytes=0-0", "bytes=3000000-"])
def test_a_range_is_asked_of_get_alone(door: Door, asked: str) -> None:
    answer = door("HEAD", door.make(), headers={"range": asked})
    assert (answer.status_code, answer.headers["content-length"]) == (200, "3000000")


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=1048570-1048580", 206, 1048570, 1048581),
        ("bytes=2999990-", 206, 2999990, 3000000),
        ("bytes=-5", 206, 2999995, 3000000),
        ("bytes=-99999999", 206, 0, 3000000),
        ("bytes=5-99999999", 206, 5, 3000000),
        ("bytes=5-1", 200, 0, 3000000),
        ("bytes=0-1,5-6", 200, 0, 3000000),
        ("lines=1-2", 200, 0, 3000000),
        ("bytes=-", 200, 0, 3000000),
    ],
)
def test_ranges(door: Door, asked: str, status: int, start: int, end: int) -> None:
    answer = door("GET", door.make(), headers={"range": asked})
    assert (answer.status_code, answer.content) == (status, CONTENT[start:end])
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/3000000"


def test_range_outside_and_conditions(door: Door) -> None:
    file_id = door.make()
    outside = door("GET", file_id, headers={"range": "bytes=3000000-"})
    assert code(outside) == (416, "file.range")
    assert outside.headers["content-range"] == "bytes */3000000"
    digest = hashlib.sha256(CONTENT).hexdigest()
    other = door("GET", file_id, headers={"range": "bytes=0-1", "if-range": '"other"'})
    assert (other.status_code, len(other.content)) == (200, 3000000)
    same = door("GET", file_id, headers={"range": "bytes=0-1", "if-range": f'"{digest}"'})
    assert same.status_code == 206
    known = door("GET", file_id, headers={"if-none-match": f'"{digest}"'})
    assert (known.status_code, known.content) == (304, b"")
    assert door("GET", door.make(b"")).content == b""


# who ------------------------------------------------------------------------------------------------------------------


def test_foreign_file_answers_like_a_missing_one(door: Door) -> None:
    foreign = [door.make(owner=owner) for owner in (Owner(OTHER), Owner(insurer=INSURER), Owner())]
    answers = [door("GET", one) for one in (*foreign, uuid4(), "nothing", "..%2F..%2Fetc%2Fpasswd", "")]
    assert {code(one) for one in answers} == {(404, "object.not-found")}
    assert len({tuple(sorted(set(one.headers) - {"x-request-id", "date"})) for one in answers}) == 1
    marks = [door.records(one.headers["x-request-id"])[0][4] for one in answers]
    assert [bool(mark and mark.get("foreign")) for mark in marks] == [True, True, True, False, False, False, False]
    assert door("GET", foreign[1], "insurer").status_code == 200
    assert all(door("GET", one, "fund").status_code == 200 for one in foreign)


def test_begun_file_is_not_there(door: Door) -> None:
    file_id = uuid4()
    with door.gateway.store.begin() as connection:
        files.put_part(
            connection, Settings(), owner=Owner(CLINIC), client_id=1, file_id=file_id, name="a", offset=0,
            content=b"a", last=False, sha256=None,
        )  # fmt: skip
    assert code(door("GET", file_id)) == (404, "file.incomplete")
    assert code(door("GET", file_id, "other")) == (404, "object.not-found")


def test_refused_clients(door: Door) -> None:
    file_id = door.make()
    nobody = door("GET", file_id, None)
    assert code(nobody) == (401, "access.no-credentials")
    assert nobody.headers["www-authenticate"].startswith("Basic ")
    wrong = door("GET", file_id, headers={"authorization": "Basic " + b64encode(b"clinic:wrong").decode()})
    assert code(wrong) == (401, "access.denied")
    for method, client in (("GET", "nobody"), ("PUT", "nobody"), ("PUT", "reader")):
        refused = door(method, file_id, client)
        assert code(refused) == (403, "access.forbidden")
        assert door.records(refused.headers["x-request-id"])[0][2:4] == ("REFUSED", "access.forbidden")
    for refused in (nobody, wrong):
        assert len(door.records(refused.headers["x-request-id"])) == 1
    posted = door("POST", file_id)
    assert code(posted) == (405, "file.method")
    assert posted.headers["allow"] == "GET, HEAD, PUT"


def test_certificate_that_a_proxy_vouches_for(strict: Door, door: Door) -> None:
    fingerprint = "ab" * 32
    for one in (strict, door):
        with one.gateway.store.begin() as connection:
            clients.add_certificate(connection, "clinic", fingerprint)
    headers = {"x-client-cert-sha256": fingerprint}
    assert strict("GET", strict.make(b"a"), None, headers=headers).content == b"a"
    assert code(strict("GET", strict.make(b"a"), headers=headers)) == (401, "access.two-credentials")
    assert code(door("GET", door.make(b"a"), None, headers=headers)) == (401, "access.no-credentials")


def test_rate(strict: Door) -> None:
    with strict.gateway.store.begin() as connection:
        given = {"organisations": (CLINIC,), "rights": ("GetFile",), "requests_per_minute": 2}
        password = clients.add(connection, "hasty", ClientKind.MO, **given)
    made = strict.make(b"a")
    headers = {"authorization": "Basic " + b64encode(f"hasty:{password}".encode()).decode()}
    answers = [strict("GET", made, None, headers=headers) for _ in range(6)]
    refused = [one for one in answers if one.status_code != 200]
    assert len(refused) >= 2
    assert {code(one) for one in refused} == {(429, "access.rate")}
    assert all(int(one.headers["retry-after"]) > 0 for one in refused)


# taking ---------------------------------------------------------------------------------------------------------------


def test_put_and_get(door: Door) -> None:
    file_id = uuid4()
    answer = door("PUT", file_id, content=CONTENT, headers={"x-file-name": quote("Список.xml")})
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert answer.status_code == 201
    assert answer.json() == {"fileId": str(file_id), "fileName": "Список.xml", "size": 3000000, "sha256": digest}
    assert door("GET", file_id).content == CONTENT
    again = door("PUT", file_id, content=CONTENT, headers={"x-content-sha256": digest.upper()})
    assert (again.status_code, again.json()) == (200, answer.json())
    for one in (answer, again):
        ((_, operation, outcome, _, details),) = door.records(one.headers["x-request-id"])
        assert (operation, outcome, details["length"]) == ("PutFilePart", "OK", 3000000)
        assert "Список" not in json.dumps(details, ensure_ascii=False)
    for given in ({}, {"x-content-sha256": "0" * 64}):
        assert code(door("PUT", file_id, content=b"other", headers=given)) == (409, "file.complete")
    assert code(door("PUT", file_id, "other", content=CONTENT)) == (404, "object.not-found")


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"x-file-name": "Список.xml".encode()}, "Список.xml"),
        ({"content-disposition": "attachment; filename*=UTF-8''" + quote("Список.xml")}, "Список.xml"),
        ({"content-disposition": 'attachment; filename="a \\"b\\".xml"'}, 'a "b".xml'),
        ({"content-disposition": "attachment; filename=a.xml"}, "a.xml"),
        ({"content-disposition": "attachment"}, None),
        ({}, None),
    ],
)
def test_names(door: Door, headers: dict[str, Any], name: str | None) -> None:
    file_id = uuid4()
    answer = door("PUT", file_id, content=b"a", headers=headers)
    assert answer.json()["fileName"] == (name or str(file_id))


def test_refused_bodies(door: Door) -> None:
    for status, refusal, content, headers in (
        (400, "file.name", b"a", {"x-file-name": "..%2Fa"}),
        (400, "file.name", b"a", {"x-file-name": "a%0Ab"}),
        (400, "file.sha256", b"a", {"x-content-sha256": "xyz"}),
        (400, "file.sha256", b"a", {"x-content-sha256": "0" * 64}),
        (400, "file.part-size", b"", {}),
        (415, "request.compressed", b"a", {"content-encoding": "gzip"}),
    ):
        file_id = uuid4()
        answer = door("PUT", file_id, content=content, headers=headers)
        assert code(answer) == (status, refusal)
        assert len(door.records(answer.headers["x-request-id"])) == 1
        assert code(door("GET", file_id))[0] == 404


def test_organisation_of_a_client_with_several(door: Door) -> None:
    file_id = uuid4()
    assert code(door("PUT", file_id, "region", content=b"a")) == (400, "organisation.required")
    assert door("PUT", f"{file_id}?organisation={OTHER}", "region", content=b"a").status_code == 201
    assert door("GET", file_id, "other").status_code == 200
    assert code(door("GET", file_id, "clinic"))[0] == 404
    assert code(door("PUT", f"{uuid4()}?organisation={OTHER}", "clinic", content=b"a")) == (404, "object.not-found")


@pytest.mark.parametrize("organisation", ["499999", "%00", "400001%00", "..", "%D0%99" * 50])
@pytest.mark.parametrize("client", ["fund", "region"])
def test_organisation_that_there_is_not(door: Door, client: str, organisation: str) -> None:
    file_id = uuid4()
    answer = door("PUT", f"{file_id}?organisation={organisation}", client, content=b"a")
    assert code(answer) == (404, "object.not-found")
    assert code(door("GET", file_id, "fund")) == (404, "object.not-found")


def test_streamed_body_and_its_limit(strict: Door) -> None:
    def body(count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield b"a" * 100_000

    file_id = uuid4()
    answer = strict("PUT", file_id, content=body(20))
    assert (answer.status_code, answer.json()["size"]) == (201, 2_000_000)
    over = uuid4()
    assert code(strict("PUT", over, content=body(21))) == (413, "file.too-large")
    assert code(strict("GET", over)) == (404, "file.incomplete")
    assert strict("PUT", over, content=body(19)).status_code == 201
    assert strict("GET", over).content == b"a" * 1_900_000


def test_same_file_put_at_once(door: Door) -> None:
    file_id = uuid4()
    answers: list[httpx.Response] = []

    def send() -> None:
        with httpx.Client(timeout=30, trust_env=False) as client:
            headers = {"authorization": basic(door.gateway, "clinic")}
            answers.append(client.put(f"{door.gateway.url}/files/{file_id}", content=CONTENT, headers=headers))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.status_code for one in answers} <= {200, 201, 409}
    assert door("PUT", file_id, content=CONTENT).status_code in (200, 201)
    assert door("GET", file_id).content == CONTENT


def test_declared_length_over_the_limit_is_refused_before_the_body(door: Door) -> None:
    one = raw(door, f"PUT /files/{uuid4()} HTTP/1.1")
    one.sendall(b"Expect: 100-continue\r\nContent-Length: 1000000000000\r\n\r\n")
    answer = one.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"file.too-large" in answer
    one.close()


# slow clients ---------------------------------------------------------------------------------------------------------


def raw(door: Door, head: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", door.gateway.port), timeout=20)
    credentials = basic(door.gateway, "clinic")
    connection.sendall(f"{head}\r\nHost: a\r\nAuthorization: {credentials}\r\n".encode())
    return connection


def test_slow_bodies_hold_no_thread(strict: Door) -> None:
    """More bodies that stop than the process has threads; others are served meanwhile, each stopped one is told."""
    made = strict.make(b"x" * 100)
    waiting = []
    for _ in range(20):
        one = raw(strict, f"PUT /files/{uuid4()} HTTP/1.1")
        one.sendall(b"Content-Length: 1000\r\n\r\nabc")
        waiting.append(one)
    assert strict("GET", made).status_code == 200
    for one in waiting:
        answer = one.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"request.timeout" in answer
        one.close()


def test_dripping_body_is_cut(strict: Door) -> None:
    one = raw(strict, f"PUT /files/{uuid4()} HTTP/1.1")
    one.sendall(b"Content-Length: 1000\r\n\r\n")
    one.settimeout(0.3)
    answer = b""
    for _ in range(60):
        try:
            one.sendall(b"a")
            answer = one.recv(10)
            break
        except TimeoutError:
            continue
    assert answer.startswith(b"HTTP/1.1 4")
    one.close()


def test_readers_that_stop_hold_no_thread(strict: Door) -> None:
    made = strict.make(CONTENT[:2_000_000] * 4)
    waiting = []
    for _ in range(12):
        one = raw(strict, f"GET /files/{made} HTTP/1.1")
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.sendall(b"\r\n")
        waiting.append(one)
    time.sleep(0.5)
    assert strict("GET", strict.make(b"y")).content == b"y"
    for one in waiting:
        one.close()
    assert len(strict("GET", made).content) == 8_000_000


def test_broken_put_leaves_nothing_to_see(strict: Door) -> None:
    file_id = uuid4()
    one = raw(strict, f"PUT /files/{file_id} HTTP/1.1")
    one.sendall(b"Content-Length: 1900000\r\n\r\n" + b"a" * 1_500_000)
    time.sleep(0.3)
    one.close()
    assert code(strict("GET", file_id))[0] == 404
    assert strict("PUT", file_id, content=b"b" * 10).status_code == 201
    assert strict("GET", file_id).content == b"b" * 10


def test_killed_worker_leaves_nothing_to_see(strict: Door) -> None:
    file_id = uuid4()
    one = raw(strict, f"PUT /files/{file_id} HTTP/1.1")
    one.sendall(b"Content-Length: 1900000\r\n\r\n" + b"a" * 1_800_000)
    time.sleep(0.3)
    strict.gateway.kill_worker()
    assert one.makefile("rb").read() == b""
    strict.gateway.await_health()
    strict.gateway.http.close()
    strict.gateway.http = httpx.Client(timeout=30, trust_env=False)
    assert code(strict("GET", file_id))[0] == 404
    assert strict("PUT", file_id, content=b"c" * 1_900_000).status_code == 201
    assert strict("GET", file_id).content == b"c" * 1_900_000
