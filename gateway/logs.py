"""The process log: one JSON object per line, without bodies, names or values of failed statements.

A line has ``time`` (UTC), ``level``, ``logger``, ``message`` and, within a call, ``trace``: the id that the answer carries
in X-Request-Id. Exceptions are written as a type with the places it passed, never with their texts: texts of database
and parser errors repeat the values that were sent.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

from gateway.errors import GatewayError
from gateway.settings import Settings

trace: ContextVar[str | None] = ContextVar("trace", default=None)
"""The id of the call that the current thread or task works on."""

FIELDS = (
    "trace", "service", "operation", "outcome", "code", "milliseconds", "client", "address", "status", "bytes",
    "sha256", "job", "period",
)  # fmt: skip
"""What may be added to a line by ``extra={...}``; everything else is left out."""

_SILENT = ("spyne.protocol.soap.soap11.invalid", "spyne.protocol.xml.invalid")
_QUIET = ("alembic", "apscheduler", "asyncio", "procrastinate", "spyne", "sqlalchemy", "urllib3", "zeep")
_FRAMES = 30


def describe(error: BaseException) -> dict[str, object]:
    """An exception without its text: type, code of refusal or of SQL, constraint, causes, and its places in the code."""
    found: dict[str, object] = {"type": f"{type(error).__module__}.{type(error).__qualname__}"}
    if isinstance(error, GatewayError):
        found["code"] = error.code
    origin = getattr(error, "orig", None) or error
    if sqlstate := getattr(origin, "sqlstate", None):
        found["sqlstate"] = sqlstate
        found["constraint"] = getattr(getattr(origin, "diag", None), "constraint_name", None)
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    found["places"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and cause is not error:
        found["cause"] = describe(cause)
    return found


def _message(record: logging.LogRecord) -> str:
    """The text of a record; an exception given as the text or as an argument is named by its type alone."""
    if isinstance(record.msg, BaseException):
        return type(record.msg).__qualname__
    args = record.args
    if isinstance(args, tuple):
        args = tuple(type(one).__qualname__ if isinstance(one, BaseException) else one for one in args)
    try:
        return str(record.msg) % args if args else str(record.msg)
    except (TypeError, ValueError, KeyError):
        return str(record.msg)


_encode = json.JSONEncoder(ensure_ascii=False, default=lambda value: type(value).__qualname__).encode


class JsonLines(logging.Formatter):
    """The formatter of every handler of the gateway."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        if (current := trace.get()) is not None:
            line["trace"] = current
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = describe(record.exc_info[1])
        return _encode(line)


def _log_uncaught(kind: type[BaseException], error: BaseException, places: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, places)
        return
    logging.getLogger("gateway").critical("необработанное исключение", exc_info=(kind, error, places))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def setup(settings: Settings, stream: TextIO | None = None) -> None:
    """Sends the log of the whole process to ``stream`` (standard error if absent) as JSON lines.

    Loggers of libraries speak from WARNING on; those of spyne that write whole requests are silenced.
    """
    # a line per call is on the hot path: nothing is looked up that no line shows
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SILENT:
        logging.getLogger(name).disabled = True
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
