"""`make bench`: the figures of design.md's table, each beside its floor, as medians of interleaved pairs.

Writes `bench/results.json`: rows of name, value, unit, floor, ratio, scale.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path

import psycopg

from bench import export, extract, feed, floor, indicator, load, month_close, plain_spyne, upload
from bench import insured as insured_month
from bench.load import Target
from gateway import settings as configuration
from gateway import web
from gateway.access import clients, rights
from gateway.access.model import ClientKind
from gateway.domain.periods import Month
from gateway.lists.model import LINE_COLUMNS
from gateway.people.load import load_insured
from gateway.sandbox import region
from gateway.services import serving
from gateway.services.observation_v1 import RENDER
from gateway.services.published import SERVICES
from gateway.store.embedded import Server, create_database
from gateway.store.engine import Store
from gateway.store.place import Place
from gateway.upgrade import upgrade

HERE = Path(__file__).parent
NS = "urn:dn-gateway:observation:v1"
PATH = "/soap/observation/v1"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
LOGIN = "bench"


@dataclass
class Bench:
    """The filled database, where servers listen, and the rows found so far."""

    server: Server
    database: str
    scale: str
    seconds: float
    rounds: int
    only: str | None = None
    rows: list[dict[str, object]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.server.url(self.database)

    def row(self, name: str, value: float, unit: str, floor_: float, ratio: float, at_least: float | None) -> None:
        goal = "" if at_least is None else f"(нужно {at_least:g})"
        print(f"{name:28} {value:12.1f} {unit:9} основа {floor_:12.1f}  отношение {ratio:8.2f} {goal}", flush=True)
        self.rows.append(
            {
                "name": name, "value": round(value, 2), "unit": unit, "floor": round(floor_, 2),
                "ratio": round(ratio, 3), "scale": self.scale,
            }
        )  # fmt: skip


# servers --------------------------------------------------------------------------------------------------------------


def _wait(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"порт {port} не отвечает")


@contextmanager
def process(work: Callable[[], object]) -> Iterator[int]:
    """Runs ``work`` in a child until the block ends."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


def serve(
    settings: configuration.Settings, make: Callable[[configuration.Settings], serving.Application] | None
) -> object:
    """The gateway, or another application on the same server."""
    if make is None:
        return web.serve(settings)
    place = serving.Listening(settings.host, settings.port, settings.workers, web.bounds_of(settings))
    return serving.serve(partial(make, settings), place)


@contextmanager
def php(bench: Bench, port: int) -> Iterator[bool]:
    """PHP's own server with as many processes; False where there is no PHP with soap and pdo_pgsql."""
    modules = ""
    if shutil.which("php"):
        modules = subprocess.run(["php", "-m"], capture_output=True, text=True, check=False).stdout
    if "soap" not in modules or "pdo_pgsql" not in modules:
        yield False
        return
    with tempfile.TemporaryDirectory(prefix="dn-gateway-bench-") as folder:
        paths = {name: Path(folder) / name for name in ("page.sql", "person.sql", "contract.wsdl")}
        paths["contract.wsdl"].write_bytes(SERVICES[0].wsdl(f"http://127.0.0.1:{port}"))
        paths["page.sql"].write_text(_named(floor.PAGE, [_camel(name) for name in LINE_COLUMNS]))
        person = [*map(_camel, floor.PERSON_COLUMNS), "observedText", "id"]
        paths["person.sql"].write_text(_named(floor.PERSON, person))
        address = psycopg.conninfo.conninfo_to_dict(bench.url)
        environ = os.environ | {
            "PHP_CLI_SERVER_WORKERS": str(os.cpu_count()),
            "BENCH_DSN": f"pgsql:host={address['host']};dbname={address['dbname']};port={address.get('port', 5432)}",
            "BENCH_USER": str(address["user"]),
            "BENCH_PAGE_SQL": str(paths["page.sql"]),
            "BENCH_PERSON_SQL": str(paths["person.sql"]),
            "BENCH_WSDL": str(paths["contract.wsdl"]),
        }
        command = [
            "php",
            "-d",
            "memory_limit=512M",
            "-d",
            "opcache.enable_cli=1",
            "-S",
            f"127.0.0.1:{port}",
            str(HERE / "peer.php"),
        ]
        child = subprocess.Popen(
            command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            _wait(port)
            yield True
        finally:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait()


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def _named(sql: str, names: list[str]) -> str:
    """The floor's statement with column names for PDO, and its placeholders."""
    listed = ", ".join(f'"{name}"' for name in names)
    return f"WITH r({listed}) AS MATERIALIZED ({sql.replace('%s', '?')}) SELECT * FROM r"


# requests -------------------------------------------------------------------------------------------------------------


def envelope(body: str, password: str) -> bytes:
    header = (
        f'<s:Header><w:Security xmlns:w="{WSSE}"><w:UsernameToken><w:Username>{LOGIN}</w:Username>'
        f"<w:Password>{password}</w:Password></w:UsernameToken></w:Security></s:Header>"
    )
    return (
        f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">{header}<s:Body>{body}</s:Body></s:Envelope>'
    ).encode()


def get_list(organisation: str, *, day: date, edition: str = "CURRENT", start: int = 1, snapshot: str = "") -> str:
    named = f"<snapshotId>{snapshot}</snapshotId>" if snapshot else ""
    return (
        f'<GetList xmlns="{NS}"><organisation>{organisation}</organisation><year>{day.year}</year><month>{day.month}</month>'
        f"<listType>OBSERVED</listType><edition>{edition}</edition><startRecord>{start}</startRecord>"
        f"<recordCount>1000</recordCount>{named}</GetList>"
    )


# measurements ---------------------------------------------------------------------------------------------------------


def lists_and_persons(bench: Bench) -> None:
    """Everything that is measured over HTTP."""
    store = Store(bench.url, size=2)
    with store.driver() as driver:
        sizes = driver.execute(
            "SELECT organisation, count(*) FROM entry WHERE status = 'OBSERVED' GROUP BY 1 HAVING count(*) >= 2000"
            " ORDER BY 2 DESC LIMIT 20"
        ).fetchall()
        enps = [
            row[0] for row in driver.execute("SELECT enp FROM person TABLESAMPLE SYSTEM (0.5) LIMIT 2000").fetchall()
        ]
        driver.execute("DELETE FROM client_secret WHERE client_id IN (SELECT id FROM client WHERE login = %s)", [LOGIN])
        driver.execute("DELETE FROM client WHERE login = %s", [LOGIN])
    if not sizes:
        raise SystemExit("нет организаций с 2000 записей: увеличьте --entries")
    organisations = [row[0] for row in sizes]
    random.Random(1).shuffle(enps)
    today = date.today()
    month = Month.of(today).shift(-1)
    with store.begin() as connection:
        password = clients.add(
            connection, LOGIN, ClientKind.MO, organisations=organisations, rights=rights.ALL, requests_per_minute=10**8
        )
    closed = organisations[0]
    desk = web.make_desk(configuration.load(database_url=bench.url, environ={}))
    with store.driver() as driver:
        done = driver.execute(
            "SELECT 1 FROM closed_month WHERE organisation = %s AND month = %s", [closed, month.number]
        ).fetchone()
    if not done:
        with desk.store.begin() as connection:
            desk.lists.close(connection, closed, month, "bench", RENDER)
    desk.gate.close()
    desk.store.close()

    base = configuration.load(database_url=bench.url, environ={})
    ports = {"gateway": 18411, "floor": 18412, "spyne": 18413, "php": 18414}
    at = {name: _with(base, port=port) for name, port in ports.items()}
    with (
        process(partial(serve, at["gateway"], None)),
        process(partial(serve, at["floor"], floor.application)),
        process(partial(serve, at["spyne"], plain_spyne.application)),
        php(bench, ports["php"]) as has_php,
    ):
        for name in ("gateway", "floor", "spyne"):
            _wait(ports[name])

        def target(name: str, bodies: list[str]) -> Target:
            return Target(ports[name], PATH, [envelope(body, password) for body in bodies])

        lists = [get_list(one, day=today) for one in organisations]
        answer = load.once(target("gateway", [get_list(closed, day=today)])).decode()
        snapshot = answer.split("<snapshotId>")[1].split("<")[0]
        later = [
            get_list(closed, day=today, start=start, snapshot=snapshot)
            for start in range(1001, sizes[0][1] - 1000, 1000)
        ]
        sealed_day = month.first_day
        sealed = [
            get_list(closed, day=sealed_day, edition="CLOSED", start=start)
            for start in range(1, sizes[0][1] - 1500, 1000)
        ]
        find = [
            f'<FindPerson xmlns="{NS}"><organisation>{closed}</organisation><enp>{enp}</enp></FindPerson>'
            for enp in enps
        ]
        for warm in (lists, later, sealed, find[:50]):
            for body in warm:
                load.once(target("gateway", [body]))
        pair = partial(load.pairs, seconds=bench.seconds, rounds=bench.rounds)
        if bench.only in (None, "http", "feed"):
            rate, base_rate, ratio = feed.measure(target, store, organisations[-1], bench.seconds, bench.rounds)
            bench.row("change_feed", rate, "изм/с", base_rate, ratio, 0.7)
        if bench.only == "feed":
            return
        if bench.only != "find":
            _cold(bench, target, closed, sizes[0][1], today)
            rate, base_rate, ratio = pair(target("gateway", lists), target("floor", lists))
            bench.row("list_page", rate, "стр/с", base_rate, ratio, 0.75)
            rate, base_rate, ratio = pair(target("gateway", later), target("floor", lists))
            bench.row("list_page_snapshot", rate, "стр/с", base_rate, ratio, 2.5)
            kept = rate
            rate, base_rate, ratio = pair(target("gateway", sealed), target("floor", lists))
            bench.row("list_page_closed", rate, "стр/с", base_rate, ratio, 2.5)
            plain = load.pairs(target("gateway", lists), target("spyne", lists), 10.0, 3)
            bench.row("list_page_vs_spyne", plain[0], "стр/с", plain[1], plain[2], 20)
            bench.row("list_page_closed_vs_spyne", kept, "стр/с", plain[1], kept / plain[1], 60)
            _after_change(bench, target, organisations, today)
            _deep(bench, target, password, today)
            if has_php:
                rate, base_rate, ratio = pair(target("gateway", lists), target("php", lists))
                bench.row("list_page_vs_php", rate, "стр/с", base_rate, ratio, 1.2)
                rate, base_rate, ratio = pair(target("gateway", later), target("php", lists))
                bench.row("list_page_snapshot_vs_php", rate, "стр/с", base_rate, ratio, 4)
        rate, base_rate, ratio = pair(target("gateway", find), target("floor", find))
        bench.row("find_person", rate, "зап/с", base_rate, ratio, 0.7)
        if has_php:
            rate, base_rate, ratio = pair(target("gateway", find), target("php", find))
            bench.row("find_person_vs_php", rate, "зап/с", base_rate, ratio, 0.8)
    store.close()


def _cold(bench: Bench, target: Callable[[str, list[str]], Target], organisation: str, size: int, today: date) -> None:
    """Later pages the first time: each block is read, rendered and stored on the way."""
    _touch(bench, organisation)
    first = load.once(target("gateway", [get_list(organisation, day=today)])).decode()
    snapshot = first.split("<snapshotId>")[1].split("<")[0]
    cold, bare = [], []
    for start in range(1001, size - 1000, 1000):
        began = time.perf_counter()
        load.once(target("gateway", [get_list(organisation, day=today, start=start, snapshot=snapshot)]))
        cold.append(time.perf_counter() - began)
        began = time.perf_counter()
        load.once(target("floor", [get_list(organisation, day=today)]))
        bare.append(time.perf_counter() - began)
    ratio = statistics.median(bare) / statistics.median(cold)
    bench.row(
        "list_page_snapshot_first", 1 / statistics.median(cold), "стр/с", 1 / statistics.median(bare), ratio, None
    )


def _touch(bench: Bench, organisation: str) -> None:
    """Changes one entry of a list, as another client would."""
    with psycopg.connect(bench.server.owner_url_of(bench.database)) as connection:
        connection.execute(
            "WITH l AS (UPDATE list_ledger SET seq = seq + 1 WHERE organisation = %s RETURNING seq, organisation), e AS ("
            " SELECT e.id FROM entry e WHERE e.organisation = %s AND e.status = 'OBSERVED' LIMIT 1), v AS ("
            " INSERT INTO entry_event (entry_id, version, organisation, seq, effective_on, kind, cause, source, before)"
            " SELECT e.id, n.version + 1, l.organisation, l.seq, current_date, 'PLANNED', 'PLAN', 'MO', to_jsonb(n)"
            " FROM e JOIN entry n ON n.id = e.id, l)"
            " UPDATE entry SET version = entry.version + 1, seq = l.seq FROM e, l WHERE entry.id = e.id",
            [organisation, organisation],
        )


def _after_change(
    bench: Bench, target: Callable[[str, list[str]], Target], organisations: list[str], today: date
) -> None:
    """First pages of lists that have just changed: membership and order are fixed anew each time."""
    fresh, bare = [], []
    for number in range(40):
        organisation = organisations[number % len(organisations)]
        _touch(bench, organisation)
        for name, times in (("gateway", fresh), ("floor", bare)):
            began = time.perf_counter()
            load.once(target(name, [get_list(organisation, day=today)]))
            times.append(time.perf_counter() - began)
    ratio = statistics.median(bare) / statistics.median(fresh)
    bench.row("list_page_after_change", 1 / statistics.median(fresh), "стр/с", 1 / statistics.median(bare), ratio, None)


def _deep(bench: Bench, target: Callable[[str, list[str]], Target], password: str, today: date) -> None:
    """The last page of the list of the whole region beside its first: both of one snapshot, both asked for before."""
    store = Store(bench.url, size=1)
    login = LOGIN + "-fund"
    with store.driver() as driver:
        driver.execute("DELETE FROM client_secret WHERE client_id IN (SELECT id FROM client WHERE login = %s)", [login])
        driver.execute("DELETE FROM client WHERE login = %s", [login])
    with store.begin() as connection:
        clients.add(
            connection, login, ClientKind.FUND, rights=rights.ALL, requests_per_minute=10**8, secret=password
        )  # fmt: skip
    store.close()

    def asked(start: int, snapshot: str = "") -> Target:
        body = get_list("", day=today, start=start, snapshot=snapshot).replace("<organisation></organisation>", "")
        one = target("gateway", [body])
        changed = [text.replace(f">{LOGIN}<".encode(), f">{login}<".encode()) for text in one.bodies]
        return replace(one, bodies=changed)

    answer = load.once(asked(1)).decode()
    snapshot, total = (answer.split(f"<{name}>")[1].split("<")[0] for name in ("snapshotId", "totalRecords"))
    first, last = asked(1, snapshot), asked((int(total) - 1) // 1000 * 1000 - 999, snapshot)
    for one in (first, last):
        load.once(one)
    rate, base_rate, ratio = load.pairs(last, first, bench.seconds, bench.rounds)
    bench.row("list_page_deep", rate, "стр/с", base_rate, ratio, None)


def insured(bench: Bench, count: int) -> None:
    """The load of the insured beside making the same COPY lines from the same file in Python."""
    name = f"dn_bench_load_{os.getpid()}"
    with (
        psycopg.connect(bench.server.admin_url(), autocommit=True) as admin,
        tempfile.TemporaryDirectory(prefix="dn-gateway-bench-") as folder,
    ):
        path = Path(folder) / "insured.csv"
        source = Store(bench.url, size=1)
        with (
            source.driver() as driver,
            path.open("wb") as out,
            driver.cursor() as cursor,
            cursor.copy(
                "COPY (SELECT enp, snils, last_name, first_name, middle_name, birth_date, sex, policy_kind, policy_number, insurer,"
                " CASE WHEN insured_in_region THEN 1 ELSE 0 END AS insured_in_region, attached_organisation, attached_since,"
                f" death_date FROM person LIMIT {count}) TO STDOUT (FORMAT csv, HEADER, DELIMITER ';')"
            ) as copy,
        ):
            for block in copy:
                out.write(block)
        with source.driver() as driver:
            places = driver.execute("SELECT code, name, valid_from FROM organisation").fetchall()
            companies = driver.execute("SELECT code, name, valid_from FROM insurer").fetchall()
        source.close()
        loads, floors, repeats, lines = [], [], [], 0
        for number in range(3):
            database = f"{name}_{number}"
            create_database(admin, database)
            place = Place(bench.server.url(database), bench.server.owner_url_of(database))
            upgrade(place, configuration.load(environ={}))
            owner = Store(place.owner_url, size=4)
            with owner.driver() as driver:
                for table, rows in (("organisation", places), ("insurer", companies)):
                    driver.cursor().executemany(
                        f"INSERT INTO {table} (code, name, valid_from) VALUES (%s, %s, %s)", rows
                    )
            began = time.perf_counter()
            lines = _lines(path)
            floors.append(lines / (time.perf_counter() - began))
            began = time.perf_counter()
            load_insured(owner, path)
            loads.append(lines / (time.perf_counter() - began))
            began = time.perf_counter()
            load_insured(owner, path)
            repeats.append(lines / (time.perf_counter() - began))
            owner.close()
            admin.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())
        pairs = [one / two for one, two in zip(loads, floors, strict=True)]
        scale, bench.scale = bench.scale, f"{lines} строк"
        bench.row(
            "load_insured",
            statistics.median(loads),
            "строк/с",
            statistics.median(floors),
            statistics.median(pairs),
            0.5,
        )
        again = statistics.median([one / two for one, two in zip(repeats, floors, strict=True)])
        bench.row("load_insured_again", statistics.median(repeats), "строк/с", statistics.median(floors), again, None)
        bench.scale = scale


def exported(bench: Bench) -> None:
    """The list of the whole region as files; the second row of a format is beside COPY in the order of the list."""
    for name, form, per_file, wanted in (
        ("export_xml", "XML", export.PER_FILE, 0.3),
        ("export_xml_small_files", "XML", 1000, None),
        ("export_csv", "CSV", export.PER_FILE, None),
    ):
        found = export.measure(
            bench.url, bench.server.owner_url_of(bench.database), form, bench.rounds, per_file=per_file
        )  # fmt: skip
        scale, bench.scale = bench.scale, f"{found.records} записей по {per_file}, память +{found.grown:.0f} МиБ"
        bench.row(name, found.rate, "зап/с", found.floor, found.ratio, wanted)
        if form == "XML" and wanted:
            bench.row("export_xml_vs_ordered", found.rate, "зап/с", found.rate / found.ordered, found.ordered, None)
        bench.scale = scale
    ours, theirs, ratio = export.dbf_rates(bench.url, 5000, bench.rounds)
    bench.row("dbf_write", ours, "зап/с", theirs, ratio, 5)


def uploaded(bench: Bench, records: int = 100_000) -> None:
    """A whole list taken over, beside parsing the same file and copying the same rows."""
    found = upload.measure(bench.server, records)
    said = f"{records} записей GSM, под замком {found.locked:.1f} с, память +{found.grown:.0f} МиБ"
    scale, bench.scale = bench.scale, said
    bench.row("upload_list", found.rate, "зап/с", found.floor, found.rate / found.floor, None)
    bench.scale = scale


def closed(bench: Bench) -> None:
    """A month closed for all organisations beside a table made of the same lines."""
    found = month_close.measure(bench.server, bench.database)
    bench.row("month_close", found.rate, "зап/с", found.floor, found.rate / found.floor, None)
    print(f"{'':28} строк {found.lines}, прирост памяти {found.grown:.0f} МиБ", flush=True)


def compared(bench: Bench) -> None:
    """The monthly comparison with the insured beside the join that finds no change; extracts of two sizes on their way in."""
    scale = bench.scale
    source = insured_month.filled(bench.server, bench.database)
    for lines in (500_000, insured_month.PERSONS):
        taken = extract.measure(bench.server, source, lines, 1)
        bench.scale = f"{taken.lines} строк, память +{taken.grown:.0f} МиБ"
        name = "load_extract" if lines == insured_month.PERSONS else "load_extract_small"
        bench.row(name, taken.rate, "строк/с", taken.floor, taken.ratio, None)
    found = insured_month.measure(bench.server, source, 2)
    bench.scale = found.said
    bench.row("reconcile_insured", found.seconds, "с", found.floor, 1 / found.ratio, round(1 / insured_month.MOST, 3))
    bench.scale = scale


def _lines(path: Path) -> int:
    """The floor: the file's rows as COPY lines, made in Python, going nowhere."""
    count = 0
    with path.open(encoding="utf-8", newline="") as source:
        rows = csv.reader(source, delimiter=";")
        next(rows)
        for row in rows:
            line = "\t".join([value or "\\N" for value in row]) + "\n"
            count += len(line.encode()) > 0
    return count


def indicators(bench: Bench) -> None:
    """An indicator of the region beside a sequential scan of the segments that it reads; goal: under five scans."""
    taken, bare, _ = indicator.measure(bench.url, bench.rounds)
    bench.row("indicator", 1000 * taken, "мс", 1000 * bare, bare / taken, 0.2)


def _with(settings: configuration.Settings, **values: object) -> configuration.Settings:
    return replace(settings, **values)  # type: ignore[arg-type]


# the whole ------------------------------------------------------------------------------------------------------------


@contextmanager
def filled(folder: Path, persons: int, entries: int) -> Iterator[tuple[Server, str]]:
    """The embedded server with an invented region of this size, kept for the next run."""
    database = f"bench_{persons}_{entries}"
    with Server(folder) as server:
        with psycopg.connect(server.admin_url(), autocommit=True) as admin:
            there = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone()
            if there:
                upgrade(
                    Place(server.url(database), server.owner_url_of(database)), configuration.load(environ={})
                )  # an older program may have filled it
            else:
                create_database(admin, database + "_new")
                place = Place(server.url(database + "_new"), server.owner_url_of(database + "_new"))
                settings = configuration.load(environ={})
                upgrade(place, settings)
                owner = Store(place.owner_url, size=4)
                began = time.perf_counter()
                region.fill(owner, settings, persons=persons, entries=entries)
                owner.close()
                print(f"регион: {persons} лиц, {entries} записей за {time.perf_counter() - began:.0f} с", flush=True)
                admin.execute(f"ALTER DATABASE {database}_new RENAME TO {database}".encode())
        yield server, database


def main() -> None:
    options = argparse.ArgumentParser(prog="bench", description="Измерения шлюза рядом с их основами")
    options.add_argument("--data", default="/var/lib/dn-gateway-bench" if os.getuid() == 0 else ".bench")
    options.add_argument("--persons", type=int, default=1_600_000)
    options.add_argument("--entries", type=int, default=2_000_000)
    options.add_argument("--lines", type=int, default=1_000_000, help="строк для загрузки застрахованных")
    options.add_argument("--seconds", type=float, default=3.0)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument(
        "--only", choices=("http", "find", "feed", "load", "upload", "export", "indicator", "close", "insured")
    )
    given = options.parse_args()
    with filled(Path(given.data), given.persons, given.entries) as (server, database):
        scale = f"{given.persons} лиц, {given.entries} записей"
        bench = Bench(server, database, scale, given.seconds, given.rounds, given.only)
        if given.only in (None, "http", "find", "feed"):
            lists_and_persons(bench)
        if given.only in (None, "load"):
            insured(bench, given.lines)
        if given.only in (None, "upload"):
            uploaded(bench)
        if given.only in (None, "export"):
            exported(bench)
        if given.only in (None, "indicator"):
            indicators(bench)
        if given.only in (None, "close"):
            closed(bench)
        if given.only in (None, "insured"):
            compared(bench)
    results = HERE / "results.json"
    former = json.loads(results.read_text(encoding="utf-8")) if results.exists() else []
    measured = {row["name"] for row in bench.rows}
    rows = [*bench.rows, *(row for row in former if row["name"] not in measured)]
    results.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
