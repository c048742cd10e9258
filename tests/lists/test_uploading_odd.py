"""Uploads at their edges: names of files that are names of people, and where they must not come to."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from gateway.operations import works
from tests.lists import uploads
from tests.lists.region import Region

NAME = "Ванин Пётр Ильич 4055600000000017.csv"


def test_the_name_of_a_file_is_in_no_parameter_line_or_job(place: Region) -> None:
    done = uploads.upload(place, uploads.table({"enp": place.person(), "diagnosis": "I10"}), NAME)
    assert done.state == "DONE"
    with place.store.begin() as connection:
        said = " ".join(line.text for line in works.lines(connection, done.operation_id))
        row: dict[str, Any] = dict(connection.execute(text("SELECT * FROM operation")).mappings().one())
        jobs = str(connection.execute(text("SELECT args FROM procrastinate_jobs")).all())
        audit = str(connection.execute(text("SELECT details FROM audit_record")).all())
    held = {"lines": said, "message": done.message, "jobs": jobs, "audit": audit}
    held |= {name: row[name] for name in ("parameters", "progress")}
    assert [name for name, value in held.items() if "Ванин" in str(value)] == []
