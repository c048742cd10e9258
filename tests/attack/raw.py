"""Raw HTTP messages: read from files, filled in, sent over a bare socket, answers taken apart.

A file is named ``wanted code--what it is.http`` (``ok`` for a message that must be answered). Lines up to the first
empty one are the request line and headers, sent with CRLF; the rest is the body, byte for byte. Filled in: @HOST@,
@CANARY@ (a listener that must never be called), @LOGIN@, @PASSWORD@, @BASIC@ of a client, @LENGTH@ of the body.
"""

from __future__ import annotations

import base64
import socket
import threading
from pathlib import Path

from tests.serving import Answer, Gateway

MESSAGES = sorted((Path(__file__).parent / "messages").glob("*.http"))


class Canary:
    """A listener that counts who calls."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.calls = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.calls += 1
            connection.close()

    def close(self) -> None:
        self._socket.close()


def wanted(message: Path) -> str | None:
    code = message.name.split("--", 1)[0]
    return None if code == "ok" else code


def filled(message: Path, gateway: Gateway, canary: str) -> bytes:
    head, _, body = message.read_bytes().partition(b"\n\n")
    client = gateway.clients["clinic"]
    values = {
        b"@HOST@": f"127.0.0.1:{gateway.port}",
        b"@CANARY@": canary,
        b"@LOGIN@": client.login,
        b"@PASSWORD@": client.password,
        b"@BASIC@": base64.b64encode(f"{client.login}:{client.password}".encode()).decode(),
    }
    for name, value in values.items():
        head = head.replace(name, value.encode())
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            body = body.replace(name.decode().encode(encoding), value.encode(encoding))
    head = head.replace(b"@LENGTH@", str(len(body)).encode())
    return head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body


def exchange(gateway: Gateway, data: bytes, *, seconds: float = 10, half_close: bool = True) -> Answer:
    """Sends bytes, closes the sending side, reads one answer."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=seconds) as connection:
        try:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return read_answer(connection)


def read_answer(connection: socket.socket) -> Answer:
    """One answer with a Content-Length, past any 100 Continue."""
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            part = connection.recv(65536)
            if not part:
                raise ConnectionError(f"закрыто без ответа: {data[:200]!r}")
            data += part
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        if status != 100:
            break
        data = rest
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = int(headers["content-length"])
    while len(rest) < length:
        part = connection.recv(65536)
        if not part:
            raise ConnectionError("ответ оборван")
        rest += part
    return Answer(status, headers, rest[:length])
