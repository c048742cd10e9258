"""Notes of new files to real peers: a mail server and an HTTP server on sockets. A failing note harms no file."""

from __future__ import annotations

import email
import email.policy
import hashlib
import hmac
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from gateway.domain.clock import Clock
from gateway.errors import GatewayError
from gateway.operations import files, notes
from gateway.operations.model import Owner
from gateway.operations.queries import jobs
from gateway.operations.queue import Work, Worker
from gateway.settings import Settings
from gateway.store.engine import Store

CLINIC = "400001"


class MailServer(socketserver.ThreadingTCPServer):
    """Takes letters as RFC 5321 says, no more; ``refuse`` is an answer to every RCPT."""

    allow_reuse_address = daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.letters: list[EmailMessage] = []
        self.refuse = b""

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.server_address[1]}"


class _Session(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self.say(b"220 peer")
        while line := self.rfile.readline():
            word = line.split(b" ")[0].strip().upper()
            if word == b"DATA":
                self.say(b"354 go on")
                content = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.server.letters.append(email.message_from_bytes(content, policy=email.policy.default))
                self.say(b"250 taken")
            elif word == b"QUIT":
                self.say(b"221 bye")
                return
            else:
                self.say(self.server.refuse if word == b"RCPT" and self.server.refuse else b"250 ok")

    def say(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")


class HttpServer(ThreadingHTTPServer):
    """Keeps what is posted and answers ``status``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.posted: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 204

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/note?key=1"


class _Request(BaseHTTPRequestHandler):
    server: HttpServer

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.posted.append((self.path, headers, content))
        self.send_response(self.server.status)
        self.send_header("location", "/elsewhere")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with served(MailServer()) as server:
        yield server


@pytest.fixture
def web() -> Iterator[HttpServer]:
    with served(HttpServer()) as server:
        yield server


@pytest.fixture
def work(store: Store, mail: MailServer, monkeypatch: pytest.MonkeyPatch) -> Work:
    monkeypatch.setattr(notes, "DELAY_SECONDS", 0)
    with store.begin() as connection:
        connection.execute(text("INSERT INTO organisation VALUES ('400001', 'МО', true, '2020-01-01', NULL)"))
    settings = Settings(smtp_url=mail.url, mail_from="dn@example.org", webhook_secret="ключ")
    return Work(store, None, settings, Clock())


def contact(work: Work, email: str | None = "clinic@example.org", webhook: str | None = None) -> None:
    with work.store.begin() as connection:
        notes.set_contact(connection, CLINIC, email, webhook)


def write(work: Work, *names: str, owner: Owner = Owner(CLINIC), mailbox: bool = True) -> list[UUID]:  # noqa: B008
    """Files that appear with one transaction."""
    made = []
    with work.store.begin() as connection:
        for name in names:
            with files.Writer(connection, work.settings, name=name, kind="EXPORT", owner=owner, mailbox=mailbox) as out:
                out.write(name.encode())
            made.append(out.file_id)
    return made


def run(work: Work, times: int = 3) -> None:
    for _ in range(times):
        Worker(work).run_waiting()


def states(work: Work) -> set[tuple[str, str, int]]:
    with work.store.begin() as connection:
        return {(job.task, job.status, job.attempts) for job in jobs.last_jobs(connection, 50)}


def test_letter(work: Work, mail: MailServer) -> None:
    contact(work)
    first, second = write(work, "Список 1.xml", "2.xml")
    run(work)
    (letter,) = mail.letters
    assert (letter["to"], letter["from"]) == ("clinic@example.org", "dn@example.org")
    assert letter["subject"] == "Новые файлы в абонентском пункте организации 400001: 2"
    said = letter.get_content()
    assert all(part in said for part in ("Выгрузка списка", str(first), str(second)))
    assert "Список 1.xml" not in said
    (third,) = write(work, "3.xml")
    run(work)
    assert str(third) in mail.letters[1].get_content()
    assert str(second) not in mail.letters[1].get_content()


def test_post_is_signed(work: Work, web: HttpServer) -> None:
    contact(work, None, web.url)
    (made,) = write(work, "Список.xml")
    run(work)
    ((path, headers, content),) = web.posted
    assert path == "/note?key=1"
    assert headers["content-type"] == "application/json; charset=utf-8"
    digest = hmac.new("ключ".encode(), content, hashlib.sha256).hexdigest()
    assert headers["x-dn-signature"] == f"sha256={digest}"
    with work.store.begin() as connection:
        found = files.get(connection, made)
    (file,) = json.loads(content)["files"]
    assert json.loads(content)["organisation"] == CLINIC
    assert file == {
        "fileId": str(made), "kind": "EXPORT", "size": found.size, "sha256": found.sha256,
        "readyAt": found.ready_at.isoformat(),
    }  # fmt: skip


def test_signature_is_not_told_of_apart(work: Work, web: HttpServer) -> None:
    contact(work, None, web.url)
    write(work, "a.xml", "a.xml.sig")
    run(work)
    assert [len(json.loads(content)["files"]) for _, _, content in web.posted] == [1]


def test_failing_ways_do_not_touch_each_other(work: Work, mail: MailServer, web: HttpServer) -> None:
    contact(work, webhook=web.url)
    web.status = 500
    (made,) = write(work, "a.xml")
    run(work)
    assert (len(mail.letters), len(web.posted)) == (1, 1)
    assert {("files.note.mail", "succeeded", 1), ("files.note.call", "todo", 1)} <= states(work)
    with work.store.begin() as connection:
        assert files.get(connection, made) is not None
        connection.execute(text("UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE status = 'todo'"))
    web.status = 200
    run(work)
    assert (len(mail.letters), len(web.posted)) == (1, 2)
    assert web.posted[0][2] == web.posted[1][2]


def test_notes_are_given_up_in_the_end(work: Work, web: HttpServer) -> None:
    contact(work, None, web.url)
    web.status = 404
    write(work, "a.xml")
    for _ in range(10):
        run(work, 1)
        with work.store.begin() as connection:
            connection.execute(text("UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE status = 'todo'"))
    assert ("files.note.call", "failed", 7) in states(work)
    assert len(web.posted) == 7


def test_redirects_are_not_followed(work: Work, web: HttpServer) -> None:
    web.status = 302
    with pytest.raises(notes.Undelivered):
        notes.post(web.url, b"{}", "")
    assert [path for path, _, _ in web.posted] == ["/note?key=1"]
    assert "x-dn-signature" not in web.posted[0][1]


def test_peer_that_answers_a_byte_at_a_time_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "TIMEOUT_SECONDS", 1)
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            peer, _ = listener.accept()
            with peer:
                try:
                    while not stop.wait(0.2):
                        peer.sendall(b"H")
                except OSError:
                    pass

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(notes.Undelivered):
            notes.post(f"http://127.0.0.1:{listener.getsockname()[1]}/", b"{}", "")
        stop.set()
        thread.join()


def test_refused_recipient_is_tried_again(work: Work, mail: MailServer) -> None:
    contact(work)
    mail.refuse = b"450 later"
    write(work, "a.xml")
    run(work)
    assert ("files.note.mail", "todo", 1) in states(work)


def test_nobody_is_told_without_a_contact(work: Work, mail: MailServer) -> None:
    (before,) = write(work, "a.xml")
    write(work, "b.xml", owner=Owner(insurer="40001"))
    contact(work)
    write(work, "c.xml", mailbox=False)
    assert states(work) == set()
    (after,) = write(work, "d.xml")
    run(work)
    (letter,) = mail.letters
    assert str(after) in letter.get_content()
    assert str(before) not in letter.get_content()


def test_contact_that_is_gone_is_not_told(work: Work, mail: MailServer) -> None:
    contact(work)
    (untold,) = write(work, "a.xml")
    with work.store.begin() as connection:
        notes.drop_contact(connection, CLINIC)
    run(work)
    contact(work)
    (told,) = write(work, "b.xml")
    run(work)
    (letter,) = mail.letters
    assert (str(untold) in letter.get_content(), str(told) in letter.get_content()) == (False, True)


def test_no_file_is_forgotten_while_notes_are_written(work: Work, web: HttpServer) -> None:
    """Writers commit late while notes are gathered all the time: each file is told of exactly once."""
    contact(work, None, web.url)
    made: list[UUID] = []

    def produce() -> None:
        for _ in range(8):
            with work.store.begin() as connection:
                with files.Writer(
                    connection, work.settings, name="a", kind="EXPORT", owner=Owner(CLINIC), mailbox=True
                ) as out:
                    out.write(b"a")
                connection.execute(text("SELECT pg_sleep(0.02)"))
            made.append(out.file_id)

    threads = [threading.Thread(target=produce) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        run(work, 1)
    run(work)
    told = [UUID(one["fileId"]) for _, _, content in web.posted for one in json.loads(content)["files"]]
    assert len(told) == len(set(told)) == 24
    assert set(told) == set(made)


@pytest.mark.parametrize(
    ("address", "webhook"),
    [
        (None, None), ("", ""), ("clinic", None), ("a@b\nBcc: c@d", None), ("a@b, c@d", None), (None, "ftp://a/b"),
        (None, "http://"), (None, "http://user:secret@host/"), (None, "http://a/" + "x" * 500), (None, "http://a\r\nb/"),
        (None, "http://a:99999/"),
    ],
)  # fmt: skip
def test_addresses_that_are_none(work: Work, address: str | None, webhook: str | None) -> None:
    with work.store.begin() as connection, pytest.raises(GatewayError, match="mailbox.contact"):
        notes.set_contact(connection, CLINIC, address, webhook)
    with work.store.begin() as connection, pytest.raises(GatewayError, match="client.organisation"):
        notes.set_contact(connection, "499999", "a@example.org", None)
