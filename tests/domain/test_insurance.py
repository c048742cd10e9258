"""What facts of the register mean for a list: the table of findings, and that nothing doubtful ends or moves an entry."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.insurance import Attachment, Finding, Insured, Policy, region_of, same_region, verdict

DAY = date(2026, 11, 1)
HOME, AWAY = "40000", "41000"
POLICY = Policy("7856040891000016", date(2020, 1, 1), None, "Действующий", HOME, "40001")
CLINIC = Attachment("780901", "1", date(2020, 1, 1), None, "ДПП")


def person(**values) -> Insured:
    known = {
        "oip": "1", "last_name": "А", "first_name": "Б", "middle_name": None, "birth_date": date(1960, 1, 1), "sex": 1,
        "death_date": None, "merged_at": None, "policies": (POLICY,), "attachments": (CLINIC,),
    }  # fmt: skip
    return Insured(**(known | values))


def changed(one, **values):
    return type(one)(**{name: values.get(name, getattr(one, name)) for name in one.__dataclass_fields__})


@pytest.mark.parametrize(
    ("facts", "finding"),
    [
        ({}, Finding.SAME),
        ({"attachments": (changed(CLINIC, organisation="780902"),)}, Finding.MOVED),
        ({"attachments": (changed(CLINIC, organisation="780955", area="3"), CLINIC)}, Finding.SAME),
        ({"attachments": (changed(CLINIC, status="НАП"),)}, Finding.NO_ATTACHMENT),
        ({"attachments": (changed(CLINIC, until=date(2026, 10, 31)),)}, Finding.NO_ATTACHMENT),
        ({"attachments": (changed(CLINIC, since=date(2026, 11, 2)),)}, Finding.NO_ATTACHMENT),
        ({"attachments": (CLINIC, changed(CLINIC, organisation="780902"))}, Finding.UNCLEAR),
        ({"attachments": ()}, Finding.NO_ATTACHMENT),
        ({"death_date": DAY}, Finding.DEAD),
        ({"death_date": DAY + timedelta(1)}, Finding.SAME),
        ({"death_date": DAY, "policies": (), "attachments": ()}, Finding.DEAD),
        ({"merged_at": DAY, "death_date": DAY}, Finding.MERGED),
        ({"policies": ()}, Finding.NO_POLICY),
        ({"policies": (changed(POLICY, status="Приостановленный"),)}, Finding.NO_POLICY),
        ({"policies": (changed(POLICY, until=date(2026, 10, 31)),)}, Finding.NO_POLICY),
        ({"policies": (changed(POLICY, okato=AWAY),)}, Finding.LEFT),
        ({"policies": (changed(POLICY, okato="40260000000"),)}, Finding.SAME),
        ({"policies": (POLICY, changed(POLICY, okato=AWAY, since=date(2026, 10, 1)))}, Finding.UNCLEAR),
        (
            {
                "policies": (
                    changed(POLICY, until=date(2026, 9, 30)),
                    changed(POLICY, okato=AWAY, since=date(2026, 10, 1)),
                )
            },
            Finding.LEFT,
        ),
    ],
)
def test_findings(facts: dict, finding: Finding) -> None:
    assert verdict(person(**facts), day=DAY, region=HOME, known="780901").finding is finding


def test_regions_inside_others() -> None:
    assert region_of("11100000") != region_of("11000000")
    assert same_region("71100000", "71118000")
    assert not same_region("71100", "71140")
    assert not same_region("71000", "71140")


DAYS = st.dates(date(2026, 1, 1), date(2026, 12, 31))
POLICIES = st.builds(
    Policy, st.just("7856040891000016"), DAYS, st.none() | DAYS,
    st.sampled_from(["Действующий", "Приостановленный", "Аннулированный", "Временный", ""]), st.sampled_from([HOME, AWAY]),
)  # fmt: skip
ATTACHMENTS = st.builds(
    Attachment, st.sampled_from(["780901", "780902"]), st.sampled_from("12345"), DAYS, st.none() | DAYS,
    st.sampled_from(["ДПП", "НАП", "новое слово"]),
)  # fmt: skip


@given(st.lists(POLICIES, max_size=3), st.lists(ATTACHMENTS, max_size=4), st.none() | DAYS, st.none() | DAYS)
def test_nothing_doubtful_is_acted_on(policies, attachments, death, merged) -> None:
    one = person(policies=tuple(policies), attachments=tuple(attachments), death_date=death, merged_at=merged)
    found = verdict(one, day=DAY, region=HOME, known="780901")
    if found.finding is Finding.DEAD:
        assert death is not None
        assert death <= DAY
    if found.finding is Finding.LEFT:
        assert any(policy.in_force(DAY) and policy.okato == AWAY for policy in policies)
        assert not any(policy.in_force(DAY) and policy.okato == HOME for policy in policies)
    if found.finding is Finding.MOVED:
        clinics = {each.organisation for each in attachments if each.in_force(DAY)}
        assert clinics == {found.organisation} != {"780901"}
    if found.finding in (Finding.DEAD, Finding.LEFT, Finding.MOVED):
        assert found.since is not None
        assert found.since <= DAY
