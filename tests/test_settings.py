"""Settings: values that would stop or quietly harm the gateway are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.settings import Settings, load


@pytest.mark.parametrize(
    "values",
    [
        {"records_per_page": 0},
        {"requests_per_minute": -1},
        {"snapshot_hours": 0},
        {"body_bytes": 0},
        {"request_days": 0},
        {"change_days": 1, "snapshot_hours": 24},
        {"secret_memory_seconds": 61},
        {"workers": -1},
        {"guess_delay_seconds": -0.1},
        {"time_zone": "Europe/Nowhere"},
        {"time_zone": "../etc/passwd"},
        {"observation_key": "chapter"},
    ],
)
def test_impossible_values_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(GatewayError, match=r"setting\.invalid"):
        Settings(**values)


@pytest.mark.parametrize("line", ["threads = 2.5", "threads = true", 'threads = "two"', "host = 1", "unknown = 1"])
def test_a_file_with_a_wrong_line_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(GatewayError, match=r"setting\.invalid"):
        load(path, {})


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("threads = 2\nport = 9000", encoding="utf-8")
    made = load(path, {"DN_GATEWAY_THREADS": "3"})
    assert (made.threads, made.port) == (3, 9000)
