"""What an operator of the demonstration sees: a month passes in the invented register, the comparison does what an independent
query over the register's tables says, and a second one changes nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from gateway.cli.root import clock_of
from gateway.demo import free_port
from gateway.domain.periods import Month
from gateway.settings import Settings
from gateway.store.embedded import Server
from gateway.store.place import open_place

pytestmark = [pytest.mark.trial, pytest.mark.timeout(600)]

INDEPENDENT = """
WITH register AS (
    SELECT u.enp, u.merged_at, u.death_date,
        (SELECT left(y.okato, 2) FROM upstream.policy y WHERE y.oip = u.oip AND y.status = 'Действующий'
            AND %(day)s BETWEEN y.since AND coalesce(y.until, '9999-12-31') ORDER BY y.since DESC LIMIT 1) AS land,
        (SELECT a.organisation FROM upstream.attachment a WHERE a.oip = u.oip AND a.area = '1' AND a.status = 'ДПП'
            AND %(day)s BETWEEN a.since AND coalesce(a.until, '9999-12-31')) AS clinic
    FROM upstream.person u
), fate AS (
    SELECT CASE WHEN r.merged_at <= %(day)s THEN 'MERGE' WHEN r.death_date <= %(day)s THEN 'DEATH'
                WHEN s.since > %(day)s THEN 'NEWER' WHEN r.land = '41' THEN 'DEPARTURE'
                WHEN r.land = '40' AND r.clinic <> e.organisation AND e.by_attachment THEN 'MOVE' END AS cause
    FROM entry e JOIN register r ON r.enp = e.enp
    JOIN observation_segment s ON s.entry_id = e.id AND s.until IS NULL WHERE e.status = 'OBSERVED'
)
SELECT cause, count(*) FROM fate WHERE cause <> 'NEWER' GROUP BY cause
"""
"""Entries under observation by what the register's tables mean for them; nothing of the gateway's own queries. What began only
after the day is left to the next month."""


@pytest.fixture
def demo(folder: Path) -> Iterator[Path]:
    """A demonstration with a data folder and a port of its own."""
    data, command = folder / "data", [sys.executable, "-m", "gateway.cli", "demo"]
    options = ["--data", str(data), "--port", str(free_port("127.0.0.1")), "--persons", "24000", "--entries", "24000"]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=log)
    try:
        until = time.monotonic() + 240
        while not (data / "demo.json").exists():
            assert process.poll() is None and time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.2)
        assert json.loads((data / "demo.json").read_text())["upstream"]["ferzl"]
        yield data
    finally:
        process.terminate()
        process.wait(60)
        Server(data).stop(force=True)


def command(data: Path, *arguments: str) -> str:
    """What a command of the operator says."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "--data", str(data), *arguments],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def independent(data: Path, day: date) -> dict[str, int]:
    with open_place(Settings(data_dir=str(data))) as place, psycopg.connect(place.owner_url) as connection:
        rows: list[Any] = connection.execute(INDEPENDENT, {"day": day}).fetchall()
    return dict(rows)


def test_a_month_of_the_demonstration(demo: Path) -> None:
    month = Month.of(clock_of(Settings()).today()).shift(-1)
    assert "уже прожит" in command(demo, "sandbox", "month", str(month))
    expected = independent(demo, month.shift(1).first_day)
    assert expected.keys() == {"MERGE", "DEATH", "DEPARTURE", "MOVE"}
    said = command(demo, "reconcile", "insured", "--period", str(month))
    planned = {
        cause: int(count) for cause, count in re.findall(r"\((DEATH|DEPARTURE|MERGE|MOVE)\): записей (\d+)", said)
    }
    assert planned == expected, said
    made = re.search(r"Применено\. (.*)", said)
    assert made is not None
    counts = {name: int(count) for name, count in re.findall(r"([^;:]+): (\d+)", made[1])}
    counts = {name.strip(): count for name, count in counts.items()}
    assert (counts["исключено по смерти"], counts["исключено по выезду"]) == (expected["DEATH"], expected["DEPARTURE"])
    # of those that merged, some move or end as their successors did
    merged = counts.get("записей перешло преемнику", 0) + counts.get("записей объединено с записями преемника", 0)
    assert (counts["перешло в другую организацию"], merged) == (expected["MOVE"], expected["MERGE"])
    assert independent(demo, month.shift(1).first_day) == {}
    assert "Применено. Изменений нет" in command(demo, "reconcile", "insured", "--period", str(month))
