"""The upstream contracts that stand in ``wsdl/upstream`` for people to read."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from gateway.cli import main
from gateway.sync.upstream import contracts

ROOT = Path(__file__).parents[3]


def test_pinned_files_are_those_of_the_program() -> None:
    found = {path.name: path.read_bytes() for path in (ROOT / "wsdl" / "upstream").iterdir()}
    assert found == {path.name: content for path, content in contracts.pinned(str(ROOT)).items()}
    assert set(found) == {"mpiPersonInfoService.wsdl", "mpiAsyncOperationsService.wsdl", "Ident.wsdl"}
    assert not any(b"{" in content.split(b"-->", 1)[1] for content in found.values())


def test_a_difference_is_named(tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert run(main, ["wsdl", "export", "--root", str(tmp_path)]).exit_code == 0
    (tmp_path / "wsdl" / "upstream" / "Ident.wsdl").write_text("<other/>")
    refused = run(main, ["wsdl", "check", "--root", str(tmp_path)])
    assert refused.exit_code == 1 and "Ident.wsdl" in refused.output
