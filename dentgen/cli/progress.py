"""What commands say before they begin, and their progress."""

from __future__ import annotations

import sys

from dentgen.progress import ConsoleProgress as ConsoleProgress
from dentgen.redaction import shown_name


def announce(text: str) -> None:
    """Say what a command is about to do, before libraries that take seconds to import."""
    print(shown_name(text), file=sys.stderr, flush=True)  # noqa: T201 - its job
