"""A source of rows in a process of its own: a second core makes what the database takes meanwhile."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import active_count
from types import TracebackType
from typing import Any, Generic, TypeVar

from gateway.errors import GatewayError

T = TypeVar("T")


class Apart(Generic[T]):
    """Iterates over what ``source(*arguments)`` yields there; all of it must be picklable, ``source`` a function of a module.

    A refusal (`GatewayError`) there is raised here. Leaving early ends the process; it never outlives this one.
    """

    def __init__(self, source: Callable[..., Iterable[T]], *arguments: Any) -> None:
        # a copy of this process starts at once, but only a process of one thread may be copied
        context = get_context("fork") if active_count() == 1 else get_context("spawn")
        self._out, self._into = context.Pipe(duplex=False)
        work = (self._into, self._out, source, arguments)
        self._process = context.Process(target=_run, args=work, daemon=True)
        self._drained = False

    def __enter__(self) -> Iterator[T]:
        self._process.start()
        self._into.close()
        return self._items()

    def _items(self) -> Iterator[T]:
        while (sent := self._out.recv()) is not None:
            item, refusal = sent
            if refusal is not None:
                raised = GatewayError(refusal[0])
                raised.message = refusal[1]
                raise raised
            yield item
        self._drained = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._drained:
            self._process.terminate()
        self._process.join()
        self._out.close()


def _run(out: Connection, end: Connection, source: Callable[..., Iterable[Any]], arguments: tuple[Any, ...]) -> None:
    # Ctrl-C reaches the whole group of processes; the one that takes the rows decides and ends this one
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # with no other end of the pipe open here, writing fails as soon as nobody reads
    end.close()
    try:
        for item in source(*arguments):
            out.send((item, None))
        out.send(None)
    except GatewayError as refusal:
        out.send((None, (refusal.code, refusal.message)))
    except BrokenPipeError:
        return
