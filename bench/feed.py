"""The change feed: pages of 1000 changes over HTTP beside a bare handler with the same statements and template."""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from bench import floor, load
from bench.load import Target
from gateway.lists import queries
from gateway.lists.model import ChangePage
from gateway.lists.tokens import Token
from gateway.services.observation_v1 import RENDER_CHANGES, SERVICE
from gateway.store import eras
from gateway.store.engine import Driver, Store

PAGE = 1000
_CHANGED = 5000

_CHANGE = """
    WITH chosen AS MATERIALIZED (
        SELECT id, row_number() OVER (ORDER BY id) AS n FROM (
            SELECT id FROM entry WHERE organisation = %(organisation)s AND status = 'OBSERVED' ORDER BY id LIMIT %(count)s
        ) AS s
    ), l AS (
        UPDATE list_ledger SET seq = seq + (SELECT count(*) FROM chosen) WHERE organisation = %(organisation)s
        RETURNING seq - (SELECT count(*) FROM chosen) AS base
    ), event AS (
        INSERT INTO entry_event (entry_id, version, organisation, seq, effective_on, kind, cause, source, before)
        SELECT e.id, e.version + 1, e.organisation, l.base + c.n, current_date, 'PLANNED', 'PLAN', 'MO', to_jsonb(e)
        FROM l, chosen c JOIN entry e ON e.id = c.id
    )
    UPDATE entry SET version = version + 1, seq = l.base + c.n, changed_at = now() FROM l, chosen c WHERE entry.id = c.id
"""


def prepare(store: Store, organisation: str) -> tuple[int, int, str]:
    """Changes of which the first half is followed by others of the same entries: their numbers (after, up to), the era."""
    with store.driver() as driver:
        era = str(eras.current(driver))
        ends = []
        for number in range(3):
            if number:
                driver.execute(_CHANGE, {"organisation": organisation, "count": _CHANGED})
            row = driver.execute(queries.LEDGER, {"organisation": organisation}).fetchone()
            assert row is not None
            ends.append(row[1])
        driver.execute("ANALYZE entry_event")
    return ends[0], ends[-1], era


def requests(organisation: str, after: int, upto: int, era: str) -> list[str]:
    """One call for each page between two numbers."""
    return [
        f'<GetChanges xmlns="{floor.NS[1:-1]}"><organisation>{organisation}</organisation>'
        f"<token>{Token(era, organisation, {organisation: seq})}</token><count>{PAGE}</count></GetChanges>"
        for seq in range(after, upto - PAGE + 1, PAGE)
    ]


def page(driver: Driver, request: etree._Element) -> bytes:
    """The floor: the rows, the images, the template, one record; no look at eras, ledgers and rights."""
    organisation = request.findtext(floor.NS + "organisation")
    after = int(str(request.findtext(floor.NS + "token")).rpartition(".")[2])
    values = {"organisations": [organisation], "after": [after], "upto": [after + PAGE], "insured": False}
    rows = driver.execute(queries.CHANGES, values).fetchall()
    gone = [row[0] for row in rows if row[1]]
    images = {row[0]: row[2:] for row in driver.execute(queries.IMAGES, {"ids": gone})} if gone else {}
    body = RENDER_CHANGES([row[5:10] for row in rows], [images[row[0]] if row[1] else row[11:] for row in rows])
    driver.execute(floor.AUDIT, ("bench", "GetChanges", None, len(rows)))
    return SERVICE.operations["GetChanges"].encode(ChangePage("0", True, len(rows), body))


floor.HANDLERS[floor.NS + "GetChanges"] = page


def measure(
    target: Callable[[str, list[str]], Target], store: Store, organisation: str, seconds: float, rounds: int
) -> tuple[float, float, float]:
    """Changes a second of the gateway and of the floor, and the ratio."""
    bodies = requests(organisation, *prepare(store, organisation))
    for name in ("gateway", "floor"):
        for body in bodies:
            answer = load.once(target(name, [body]))
            if answer.count(b"<changes>") != PAGE:
                raise SystemExit(f"{name}: {answer[:1000].decode('utf-8', 'replace')}")
    rate, base, ratio = load.pairs(target("gateway", bodies), target("floor", bodies), seconds, rounds)
    return rate * PAGE, base * PAGE, ratio
