"""The undisturbed build, and the table of faults that is printed at the end of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dentgen.pipeline.run import build
from tests.conftest import write_tar
from tests.faults.drivers import Rig
from tests.faults.matrix_build import matrix_spec
from tests.faults.oracle import Verdict

#: Rows travel with the report of a test, which also comes from other processes.
_ROW = "fault, outcome, cost"
#: Adds a row: fault, outcome, and cost (a verdict, or text).
Tell = Callable[[str, str, Verdict | str], None]


@pytest.fixture(scope="session")
def matrix_source(tmp_path_factory: pytest.TempPathFactory, demo_members: dict[str, dict[str, bytes]]) -> Path:
    """Six records in two shards: six units."""
    folder = tmp_path_factory.mktemp("matrix-conditions")
    keys = sorted(demo_members)[:6]
    for name, chosen in (("a.tar", keys[:3]), ("b.tar", keys[3:])):
        write_tar(folder / name, {key: demo_members[key] for key in chosen})
    return folder


@pytest.fixture(scope="session")
def undisturbed(matrix_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build in this process without any fault."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    build(matrix_spec(matrix_source, out), use_ray=False)
    return out


@pytest.fixture
def rig(matrix_source: Path, undisturbed: Path, tmp_path: Path) -> Rig:
    """A build to be disturbed, with the real miniature."""
    return Rig(matrix_spec(matrix_source, tmp_path / "out"), tmp_path, undisturbed)


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Tell:
    """Adds a row to the table of faults."""

    def row(fault: str, outcome: str, cost: Verdict | str) -> None:
        if isinstance(cost, Verdict):
            cost = f"{cost.redone} of {cost.interrupted} interrupted" + (f", {cost.strays} strays" * bool(cost.strays))
        request.node.user_properties.append((_ROW, [fault, outcome, cost]))

    return row


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print faults, outcomes and repeated work; write the same as Markdown to pytest's cache."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    properties = [pair for report in reports if report.when == "call" for pair in report.user_properties]
    rows = [row for name, row in properties if name == _ROW]
    if not rows:
        return
    header = ("fault", "outcome", "units repeated")
    widths = [max(len(row[n]) for row in [header, *rows]) for n in range(3)]
    terminalreporter.section("faults")
    for row in [header, *rows]:
        terminalreporter.write_line("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)))
    lines = [f"| {' | '.join(row)} |" for row in (header, ("---",) * 3, *rows)]
    if hasattr(config, "cache") and config.cache is not None:
        place = Path(str(config.cache.mkdir("faults"))) / "table.md"
        place.write_text("\n".join(lines) + "\n")
        terminalreporter.write_line(f"as Markdown: {place}")
