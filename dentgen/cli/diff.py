"""``dentgen diff``: two builds, or two versions of one, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dentgen.cli.measurement import prepare_folder
from dentgen.cli.progress import announce
from dentgen.errors import SpecError
from dentgen.redaction import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dentgen.report.comparison.compare import Comparison

#: Attributes, and statistics of labels, that the summary names.
_MOST: Final = 5


def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="A finished build.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one; or a version of A, as a number.")],
    third: Annotated[str | None, typer.Argument(metavar="VERSION", help="Another version of A.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the whole comparison as a page.")] = None,
) -> None:
    """Compare two builds: settings, samples, attributes, labels, pictures; or two versions of one: what was added.

    Example: dentgen diff out/demo out/mine --html out/diff.html
    """
    if third is not None:
        _diff_versions(first, second, third, html)
        return
    announce(f"diff: {first} and {second}")
    prepare_folder(html)
    from dentgen.report.comparison.compare import compare_builds
    from dentgen.report.comparison.page import comparison_page

    comparison = compare_builds(first, second)
    for line in _summary(comparison):
        typer.echo(shown(line))
    if html is not None:
        html.write_text(comparison_page(comparison), encoding="utf-8")
        typer.echo(f"look at: {html}")


def _diff_versions(out: str, first: str, second: str, html: Path | None) -> None:
    from dentgen.report.comparison.versions import compare_versions

    if html is not None:
        raise SpecError(key="--html", found="two versions of one build", expected="two builds")
    numbers = [_number(text) for text in (first, second)]
    for line in compare_versions(out, *numbers).lines():
        typer.echo(shown(line))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise SpecError(key="VERSION", found=text, expected="a number; 'dentgen versions' lists them")
    return int(text)


def _summary(comparison: Comparison) -> Iterator[str]:
    for side in (comparison.first, comparison.second):
        index = side.summary.index
        yield f"{side.name}: {index.written} samples in {len(index.shards)} shards, {index.rejected} rejected"
    yield f"in both: {comparison.common} samples by key, {comparison.equal_shards} shards with the same bytes"
    yield from (f"setting {line}" for line in comparison.settings)
    teeth = [comparison.teeth] if comparison.teeth else []
    for kind in (comparison.distributions, teeth, comparison.labels):
        apart = [shared for shared in kind if shared.distance >= 0.005]  # below half a per cent it would read as 0 %
        yield from (f"{shared.title}: {100 * shared.distance:.0f} % apart" for shared in apart[:_MOST])
        if len(apart) > _MOST:
            yield f"and {len(apart) - _MOST} more, see --html"
