"""Draw ``docs/pictures/status.svg``: what ``dentgen status --watch`` shows of a real build, in the middle of it.

Run as ``python -m docs.generate.status_picture FOLDER [--no-ray]``; the folder gets the build.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from dentgen.cli.demo import demo_conditions
from dentgen.cli.status_view import panel
from dentgen.shards.standing import BuildWatch, Standing

PICTURE: Final = Path(__file__).parent.parent / "pictures" / "status.svg"
_SETTINGS: Final = (
    "sampling.variants=2",
    "sampling.steps=2",
    "pipeline.samples_per_shard=4",
    "pipeline.lease_seconds=6",
    "quality.max_rejected=0.2",
)


def damaged_conditions(folder: Path) -> Path:
    """The demo's condition records, of which one in nine has a torn label map."""
    source = folder / "conditions"
    source.mkdir(parents=True)
    for shard in sorted(demo_conditions().glob("*.tar")):
        with (
            tarfile.open(shard) as read,
            tarfile.open(source / shard.name, "w", format=tarfile.USTAR_FORMAT) as written,
        ):
            for number, member in enumerate(sorted(read.getmembers(), key=lambda one: one.name)):
                content = read.extractfile(member)
                if member.name.endswith(".seg.png") and number % 9 == 0:
                    member.size = 20
                written.addfile(member, content)
    return source


def watched(out: str, build: subprocess.Popen[bytes]) -> Standing:
    """How the build stands once more than half is done, and its driver has told figures."""
    watch = BuildWatch(out)
    standing: Standing | None = None
    while build.poll() is None:
        time.sleep(0.5)
        if Path(out).exists():
            standing = watch.look() or standing
        done = 0.0 if standing is None else standing.samples_done / standing.samples
        if standing is not None and done > 1 / 2 and standing.lease is not None and standing.lease.live is not None:
            return standing
    raise SystemExit("the build ended too early to be drawn")


def drawn(standing: Standing) -> str:
    """The panel on a colour terminal as an SVG document, which fetches no font and has the same names every time."""
    console = Console(record=True, width=110, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(panel("out/demo", standing))
    svg = console.export_svg(title="dentgen status out/demo --watch", unique_id="status")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


def main() -> None:
    """Build, watch, draw."""
    folder, options = Path(sys.argv[1]), sys.argv[2:]
    out = str(folder / "out")
    changes = [f"source.path={damaged_conditions(folder)}", f"output.path={out}", *_SETTINGS]
    words = [word for change in changes for word in ("--set", change)]
    command = [sys.executable, "-m", "dentgen", "generate", "demo", *words, *options]
    with subprocess.Popen(command) as build:  # noqa: S603 - this package's own
        PICTURE.write_text(drawn(watched(out, build)), encoding="utf-8")


if __name__ == "__main__":
    main()
