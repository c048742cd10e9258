"""Candidates asked about one by one: several at a time, answers kept in portions, so that a new run asks who is left."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from sqlalchemy import Connection

from gateway.access import audit
from gateway.errors import GatewayError
from gateway.lists import errand
from gateway.operations.works import Run
from gateway.sync.insured import queries
from gateway.sync.insured.facts import Asking, Question

PORTION = 200
READ = "ReconcileRead"
"""How the audit names a portion of questions."""

FAILURES_MOST = 50
"""So many unusable answers in a row end the run: the source is not itself."""

_LOOK_SECONDS = 0.2


class Confirming:
    """The questions of one comparison."""

    def __init__(self, run: Run, asking: Asking) -> None:
        self._run = run
        self._asking = asking
        self._in_a_row = 0

    def all(self) -> None:
        """Asks about everybody who is left; those whose answer could not be used are asked once more at the end."""
        run = self._run
        self._round("Подтверждение по лицам")
        if "again" not in run.progress:
            with run.begin() as connection:
                opened = queries.ask_again(connection, run.id)
                run.progress["again"] = opened
            if opened:
                self._round("Повторные вопросы")

    def _round(self, stage: str) -> None:
        run = self._run
        with run.begin() as connection:
            left, total, _ = queries.asked(connection, run.id)
        run.stage(stage, total)
        done = total - left
        pool = ThreadPoolExecutor(run.work.settings.ferzl_concurrency, thread_name_prefix="ferzl")
        try:
            while True:
                run.advance(done)
                with run.begin() as connection:
                    portion = [Question(*row) for row in queries.unasked(connection, run.id, PORTION)]
                if not portion:
                    return
                done += self._portion(pool, portion, done)
        finally:
            # who waits for an answer is not waited for
            pool.shutdown(wait=False, cancel_futures=True)

    def _portion(self, pool: ThreadPoolExecutor, portion: list[Question], done: int) -> int:
        """Keeps what was answered even where the source broke down on the way."""
        pending: set[Future[dict[str, Any]]] = {pool.submit(self._asking.answer, one) for one in portion}
        answers: list[dict[str, Any]] = []
        failure: GatewayError | None = None
        while pending and failure is None:
            ready, pending = wait(pending, _LOOK_SECONDS, FIRST_COMPLETED)
            self._run.check()
            for one in ready:
                try:
                    answers.append(self._heard(one.result()))
                except GatewayError as error:
                    failure = error
            self._run.advance(done + len(answers))
        for one in pending:
            one.cancel()
        with self._run.begin() as connection:
            queries.keep_answers(connection, self._run.id, answers)
            self._note(connection, [answer["person_id"] for answer in answers])
        if failure is not None:
            raise failure
        if self._in_a_row >= FAILURES_MOST:
            self._open_all()
            raise GatewayError("upstream.unusable", what=f"{self._in_a_row} ответов подряд")
        return len(answers)

    def _open_all(self) -> None:
        """What a source that is not itself has answered is asked anew by the next attempt."""
        with self._run.begin() as connection:
            queries.ask_again(connection, self._run.id)
            self._run.progress.pop("again", None)

    def _note(self, connection: Connection, asked: list[int]) -> None:
        """A portion of questions leaves one record of whom they were about, also where nothing is applied later."""
        if asked:
            call = errand.call_of(connection, self._run, READ)
            call.covers(asked)
            audit.write(connection, call)

    def _heard(self, answer: dict[str, Any]) -> dict[str, Any]:
        self._in_a_row = 0 if answer.get("finding") else self._in_a_row + 1
        return answer
