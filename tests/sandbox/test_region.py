"""The invented region: the same for the same seed, and right by every rule that the gateway itself enforces."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from gateway.access.model import ClientKind
from gateway.domain import diagnoses, schedule
from gateway.domain.clock import Clock
from gateway.domain.persons import enp_error, name_key, snils_error
from gateway.nsi.dictionaries import Nsi
from gateway.sandbox import chronicle, region
from gateway.settings import Settings

TODAY = date(2026, 11, 22)
PERSONS, ENTRIES = 3000, 5000


@pytest.fixture(scope="module")
def filled(server, make_module_database):
    """A filled database and what `fill` answered."""
    from gateway.store.engine import Store

    owner = Store(server.owner_url_of(make_module_database()), size=4)
    demo = region.fill(owner, Settings(), persons=PERSONS, entries=ENTRIES, seed=5, today=TODAY)
    yield owner, demo
    owner.close()


@pytest.fixture(scope="module")
def make_module_database(server, template):
    import os

    import psycopg

    from gateway.store.embedded import create_database

    made = []

    def make():
        name = f"dn_sandbox_{os.getpid()}_{len(made)}"
        with psycopg.connect(server.admin_url(), autocommit=True) as admin:
            create_database(admin, name, template)
        made.append(name)
        return name

    yield make
    for name in made:
        with psycopg.connect(server.admin_url(), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def ask(filled):
    owner, _ = filled

    def run(query, *values):
        with owner.driver() as driver:
            return driver.execute(query, values or None).fetchall()

    return run


def digest(store):
    """One number per table, from all its rows."""
    with store.driver() as driver:
        return {
            table: driver.execute(f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {table} t").fetchone()
            for table in (*chronicle.TABLES, "organisation", "insurer", "doctor")
        }


def test_the_same_seed_and_day_give_the_same_region(server, filled, make_module_database):
    from gateway.store.engine import Store

    owner, _ = filled
    digests = []
    for seed in (5, 6):
        other = Store(server.owner_url_of(make_module_database()), size=2)
        region.fill(other, Settings(), persons=PERSONS, entries=ENTRIES, seed=seed, today=TODAY)
        digests.append(digest(other))
        other.close()
    assert digests[0] == digest(owner)
    assert digests[1]["entry"] != digests[0]["entry"]


def test_a_region_that_is_there_is_left_alone(filled):
    owner, demo = filled
    before = digest(owner)
    again = region.fill(owner, Settings(), persons=10, entries=10, seed=9, today=TODAY)
    assert (demo.made, again.made) == (True, False)
    assert digest(owner) == before
    assert {one.login for one in again.clients} == {one.login for one in demo.clients}
    assert not {one.password for one in again.clients} & {one.password for one in demo.clients}


def test_the_clients_of_the_region(filled):
    _, demo = filled
    clinic, city, insurer, fund = demo.clients
    assert (len(clinic.organisations), len(city.organisations)) == (1, 20)
    assert (insurer.kind, fund.kind) == (ClientKind.INSURER, ClientKind.FUND)
    assert {"AddEntries", "GetList", "Ping"} <= set(clinic.rights)
    assert "AddEntries" not in insurer.rights
    assert len({one.password for one in demo.clients}) == 4


def test_sizes(ask):
    assert ask("SELECT count(*) FROM person") == [(PERSONS,)]
    assert ask("SELECT count(*) FROM organisation") == [(40,)]
    assert ask("SELECT count(*) FROM insurer") == [(6,)]
    assert ask("SELECT min(n) >= 12 FROM (SELECT count(*) AS n FROM doctor GROUP BY organisation) AS d") == [(True,)]
    ((entries,),) = ask("SELECT count(*) FROM entry")
    assert entries == pytest.approx(ENTRIES, rel=0.01)


def test_people_have_right_numbers_and_names(ask):
    for enp, snils, *names, key, birth, death in ask(
        "SELECT enp, snils, last_name, first_name, middle_name, name_key, birth_date, death_date FROM person"
    ):
        assert enp_error(enp) is None
        assert snils is None or snils_error(snils) is None
        assert key == name_key(*names)
        assert 0 <= (TODAY - birth).days <= 96 * 366
        assert death is None or birth <= death < TODAY
    assert ask("SELECT count(*) > 0 FROM person WHERE last_name LIKE '%ё%'") == [(True,)]
    assert all(snils_error(snils) is None for (snils,) in ask("SELECT snils FROM doctor"))
    assert ask("SELECT bool_or(NOT insured_in_region), bool_or(death_date IS NOT NULL) FROM person") == [(True, True)]


NONE_OF = {
    "an entry copies its person": """
        SELECT 1 FROM entry e JOIN person p ON p.id = e.person_id
        WHERE (e.enp, e.snils, e.last_name, e.first_name, e.middle_name, e.name_key, e.birth_date, e.sex, e.death_date,
               e.insurer, e.attached_organisation) IS DISTINCT FROM
              (p.enp, p.snils, p.last_name, p.first_name, p.middle_name, p.name_key, p.birth_date, p.sex, p.death_date,
               p.insurer, p.attached_organisation) OR NOT p.insured_in_region""",
    "one open entry per person and disease": """
        SELECT 1 FROM entry WHERE status = 'OBSERVED' GROUP BY person_id, diagnosis_key HAVING count(*) > 1""",
    "the chain of an entry has no gap and ends as the entry says": """
        SELECT 1 FROM (SELECT s.*, lead(since) OVER w AS next, count(*) OVER (PARTITION BY entry_id) AS n,
                              row_number() OVER w AS i FROM observation_segment s
                       WINDOW w AS (PARTITION BY entry_id ORDER BY id)) AS s JOIN entry e ON e.id = s.entry_id
        WHERE (next IS NOT NULL AND until IS DISTINCT FROM next)
           OR (i = 1 AND (since <> e.observed_since OR cause_in <> 'TAKEN'))
           OR (i = n AND (until IS DISTINCT FROM e.excluded_on OR s.organisation <> e.organisation))
           OR (i < n AND (cause_out <> 'MOVE' OR s.organisation = e.organisation))
           OR (cause_out IS NULL) <> (until IS NULL)""",
    "status and exclusion agree": "SELECT 1 FROM entry WHERE (status = 'EXCLUDED') <> (excluded_on IS NOT NULL)",
    "the dead are not observed": "SELECT 1 FROM entry WHERE status = 'OBSERVED' AND death_date IS NOT NULL",
    "nothing lies in the future": """
        SELECT 1 FROM entry_event WHERE effective_on >= %(today)s OR recorded_at >= %(today)s
        UNION ALL SELECT 1 FROM visit WHERE conducted_on >= %(today)s OR recorded_at >= %(today)s""",
    "versions of an entry are its events": """
        SELECT 1 FROM entry e JOIN LATERAL (
            SELECT count(*) AS n, min(version) AS low, max(version) AS high, max(seq) FILTER (WHERE version = e.version)
                   AS seq FROM entry_event v WHERE v.entry_id = e.id) AS v ON true
        WHERE (v.n, v.low, v.high, v.seq) IS DISTINCT FROM (e.version::bigint, 1, e.version, e.seq)""",
    "events of an entry follow each other in time": """
        SELECT 1 FROM (SELECT recorded_at, lag(recorded_at) OVER (PARTITION BY entry_id ORDER BY version) AS before
                       FROM entry_event) AS v WHERE before > recorded_at""",
    "a ledger numbers the events of its organisation": """
        SELECT 1 FROM list_ledger l LEFT JOIN (
            SELECT organisation, count(*) AS n, max(seq) AS last, min(seq) AS first FROM entry_event GROUP BY 1) AS v
            USING (organisation) WHERE (l.seq, l.seq) IS DISTINCT FROM (coalesce(v.n, 0), coalesce(v.last, 0))""",
    "numbers grow with time": """
        SELECT 1 FROM (SELECT recorded_at, lag(recorded_at) OVER (PARTITION BY organisation ORDER BY seq) AS before
                       FROM entry_event) AS v WHERE before > recorded_at""",
    "every organisation has a ledger": """
        SELECT 1 FROM organisation o WHERE NOT EXISTS (SELECT FROM list_ledger l WHERE l.organisation = o.code)""",
    "the last visit is the entry's": """
        SELECT 1 FROM entry e LEFT JOIN LATERAL (SELECT conducted_on, result FROM visit v WHERE v.entry_id = e.id
            AND NOT attempt ORDER BY conducted_on DESC LIMIT 1) AS v ON true
        WHERE (e.last_visit_on, e.last_visit_result) IS DISTINCT FROM (v.conducted_on, v.result)""",
    "visits lie inside the observation, attempts have their own place and result": """
        SELECT 1 FROM visit v JOIN entry e ON e.id = v.entry_id JOIN observation_segment s ON s.entry_id = e.id
            AND s.organisation = v.organisation
        WHERE v.conducted_on < s.since OR v.conducted_on > coalesce(s.until, %(today)s)
           OR (v.place = '9') <> v.attempt OR (v.result = '8') <> v.attempt OR v.conducted_on > e.death_date
           OR (v.result = '9') <> (e.excluded_on = v.conducted_on AND e.exclusion_reason IN ('1', '2')
                                   AND v.conducted_on = e.last_visit_on AND NOT v.attempt)""",
    "doctors of visits and entries work in the organisation": """
        SELECT 1 FROM visit v LEFT JOIN doctor d ON d.organisation = v.organisation AND d.snils = v.doctor_snils
            AND d.doctor_type = v.doctor_type AND d.valid_to IS NULL WHERE d.id IS NULL
        UNION ALL SELECT 1 FROM entry e LEFT JOIN doctor d ON d.organisation = e.organisation
            AND d.snils = e.doctor_snils AND d.specialty = e.specialty WHERE e.doctor_snils IS NOT NULL AND d.id IS NULL""",
    "plans are not empty, sorted, within 24 months": """
        SELECT 1 FROM entry WHERE NOT cardinality(planned_months) BETWEEN 1 AND 24
            OR planned_months[1] < to_char(observed_since, 'YYYY-MM')
            OR planned_months[cardinality(planned_months)] > to_char(observed_since + interval '24 months', 'YYYY-MM')
            OR NOT array_to_string(planned_months, ' ') ~ '^(\\d{4}-\\d\\d ?)+$'
            OR planned_months <> (SELECT array_agg(m ORDER BY m) FROM unnest(planned_months) AS m)""",
    "a move keeps the line as it stood": """
        SELECT 1 FROM entry_event v, LATERAL jsonb_populate_record(NULL::entry, v.before) AS b
        WHERE v.kind = 'MOVED_OUT' AND (b.organisation, b.version, b.id, b.status)
              IS DISTINCT FROM (v.organisation, v.version - 1, v.entry_id, 'OBSERVED')
        UNION ALL SELECT 1 FROM entry_event WHERE kind = 'MOVED_OUT' AND before IS NULL""",
}  # fmt: skip


@pytest.mark.parametrize("rule", NONE_OF)
def test_no_row_breaks_a_rule(filled, rule):
    owner, _ = filled
    with owner.driver() as driver:
        assert driver.execute(f"SELECT count(*) FROM ({NONE_OF[rule]}) AS broken", {"today": TODAY}).fetchone() == (0,)


def test_there_is_something_of_everything(ask):
    kinds = {kind for (kind,) in ask("SELECT DISTINCT kind FROM entry_event")}
    assert kinds == {"TAKEN", "VISITED", "ATTEMPTED", "EXCLUDED", "MOVED_IN", "MOVED_OUT"}
    assert {group for (group,) in ask("SELECT DISTINCT diagnosis_group FROM entry")} == {"БСК", "ОНКО", "СД", "ПРОЧИЕ"}
    assert {reason for (reason,) in ask("SELECT DISTINCT exclusion_reason FROM entry")} >= {"1", "3", "6"}
    assert ask(
        "SELECT count(*) > 0 FROM entry e JOIN organisation o ON o.code = e.organisation WHERE NOT o.primary_care"
    ) == [(True,)]


def test_groups_and_terms_are_those_of_the_rules(filled, ask):
    owner, _ = filled
    nsi = Nsi(owner, Clock())
    seen = set()
    for diagnosis, key, group, specialty, birth, since, last, outside, due, change in ask(
        "SELECT e.diagnosis, diagnosis_key, diagnosis_group, specialty, birth_date, observed_since, last_visit_on, outside,"
        " next_visit_by, changed_at::date FROM entry e"
    ):
        assert nsi.diagnosis_error(diagnosis, TODAY) is None
        assert key == diagnoses.rubric(diagnosis)
        assert group == nsi.group_of(diagnosis, TODAY)
        found = schedule.appointment(
            diagnosis,
            profile=nsi.profile_of(specialty, TODAY) if specialty else None,
            birth_date=birth,
            observed_since=since,
            last_visit_on=last,
            on=change,
        )
        assert (outside, due) == (found.outside, found.by)
        seen.add(outside)
    assert seen >= {None, "CHILD"}


def test_new_ids_follow_the_given_ones(filled):
    owner, _ = filled
    with owner.driver() as driver:
        for table in ("person", "entry", "visit", "entry_event", "observation_segment"):
            query = f"SELECT nextval(pg_get_serial_sequence('{table}', 'id')) > (SELECT max(id) FROM {table})"
            assert driver.execute(query).fetchone() == (True,)


def test_indexes_and_constraints_are_all_there(filled, store):
    query = (
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
        " UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2"
    )
    owner, _ = filled
    with owner.driver() as filled_one, store.driver() as empty_one:
        assert filled_one.execute(query).fetchall() == empty_one.execute(query).fetchall()


def test_an_abort_leaves_nothing(owner):
    def abort(stage, done):
        if stage.startswith("Построение"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        region.fill(owner, Settings(), persons=100, entries=100, today=TODAY, progress=abort)
    with owner.driver() as driver:
        assert driver.execute("SELECT count(*) FROM organisation").fetchone() == (0,)
    assert region.fill(owner, Settings(), persons=100, entries=100, today=TODAY + timedelta(1)).made
