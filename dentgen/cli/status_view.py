"""How a build's standing looks: a panel that is drawn again and again on a terminal, or one line for a log."""

from __future__ import annotations

from datetime import timedelta

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dentgen.redaction import shown_name
from dentgen.shards.lease import lease_line
from dentgen.shards.standing import Standing


def panel(out: str, standing: Standing, note: str = "") -> Panel:
    """A panel with a bar, figures, who builds, and what was rejected.

    Args:
        out: The build.
        standing: How it stands.
        note: What else there is to say, such as that the storage cannot be reached.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _facts(standing):
        table.add_row(name, Text(value))
    head = Table.grid(expand=True)  # a bar alone would not end its line
    head.add_column(ratio=1)
    head.add_row(ProgressBar(total=max(1, standing.samples), completed=standing.samples_done))
    lines: list[RenderableType] = [head, Text(_counts(standing)), Text(""), table]
    lines += [Text(shown_name(note), style="red")] if note else []
    return Panel(Group(*lines), title=Text(shown_name(out)), title_align="left", expand=True)


def line(standing: Standing) -> str:
    """The same on one line."""
    parts = [_counts(standing), *(f"{name} {value}" for name, value in _facts(standing) if name != "last rejected")]
    return ", ".join(parts)


def _counts(standing: Standing) -> str:
    share = standing.samples_done / standing.samples if standing.samples else 1.0
    return (
        f"{standing.samples_done} of {standing.samples} samples, {standing.units_done} of {standing.units} units, "
        f"{share:.0%}"
    )


def _facts(standing: Standing) -> list[tuple[str, str]]:
    """Names and values, as far as anything is known."""
    facts = [("state", _state(standing))]
    if not standing.finished:
        rate = "unknown" if standing.rate is None else f"{standing.rate:.3g} samples/s over the last minute"
        left = standing.seconds_left
        facts += [("rate", rate), ("left", "unknown" if left is None else str(timedelta(seconds=round(left))))]
    facts += _live(standing)
    total = sum(standing.rejected.values())
    classes = ", ".join(f"{count} {name}" for name, count in standing.rejected.items())
    unread = f" ({standing.unread} ledger records still to be read)" if standing.unread else ""
    facts.append(("rejected", f"{total}{f': {classes}' if classes else ''}{unread}"))
    if standing.retried:
        facts.append(("tried again", _counted(standing.retried, "unit")))
    return facts + [("last rejected", shown_name(reason)) for reason in standing.last_rejected]


def _state(standing: Standing) -> str:
    if standing.finished:
        return "finished"
    if standing.lease is None:
        return "nobody is building"
    return shown_name(f"{lease_line(standing.lease)}; unchanged for {standing.silence:.0f} s")


def _live(standing: Standing) -> list[tuple[str, str]]:
    """What the driver told at its last renewal; older versions tell nothing."""
    live = standing.lease.live if standing.lease is not None else None
    if live is None or standing.finished:
        return []
    actors = f"{_counted(live.actors, 'actor')} alive, " if live.actors else ""
    return [("driver", f"{actors}{live.rate:.3g} samples/s, {live.samples} samples done at the last renewal")]


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
