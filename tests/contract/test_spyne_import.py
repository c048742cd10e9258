"""spyne imports on every supported Python, quietly, and does not log what it is sent."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from gateway.services.observation_v1 import SERVICE
from tests.contract.reference import reference

EMULATED = """
import sys, importlib._bootstrap as bootstrap
bootstrap._find_spec_legacy = lambda *arguments: None  # Python 3.12 has no such fallback
import gateway.services.spyne_import
from spyne.util.six.moves.urllib.parse import quote
print(quote(" "))
"""


def test_it_imports_as_on_python_312() -> None:
    ran = subprocess.run([sys.executable, "-W", "error", "-c", EMULATED], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "%20\n", "")


@pytest.mark.parametrize("content", ["<open>СЕКРЕТ", '<GetList xmlns="urn:x">СЕКРЕТ</GetList>'])
def test_refused_requests_do_not_reach_the_log(content: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        reference(SERVICE).call(content.encode())
    assert "СЕКРЕТ" not in caplog.text
