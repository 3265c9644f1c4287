"""``dentgen pairs``: pictures of one mouth under several lights, drawn by a teacher and filtered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dentgen.cli.demo import spec_or_demo
from dentgen.cli.measurement import Overrides, SpecFile
from dentgen.cli.progress import announce
from dentgen.redaction import shown_name

if TYPE_CHECKING:
    from dentgen.curation.pairs.run import FilteredPairs


def pairs(
    source: Annotated[str, typer.Argument(metavar="RECORDS", help="Condition records with segmentation and normals.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="Folder or URL for panels and tables.")],
    count: Annotated[int | None, typer.Option(min=1, help="Records, the first ones; default: all.")] = None,
    lights: Annotated[int, typer.Option(min=2, max=100, help="Lights, and so panels, per record.")] = 4,
    layout: Annotated[
        Literal["row", "square", "shared"],
        typer.Option(help="Panels in a row or square on one canvas, or on canvases of their own with shared noise."),
    ] = "shared",
    seed: Annotated[int, typer.Option(help="Seed of lights and noise.")] = 0,
    spec: SpecFile = None,
    set_: Overrides = None,
    judges: Annotated[str, typer.Option(metavar="FOLDER", help="Judges: 'embedded', or a folder of your own.")] = (
        "embedded"
    ),
    least_luminance: Annotated[float, typer.Option(help="Darkest accepted panel, mean luminance, 0..1.")] = 0.02,
    most_luminance: Annotated[float, typer.Option(help="Brightest accepted panel.")] = 0.8,
    most_clipped: Annotated[float, typer.Option(help="Largest share of black and white pixels.")] = 0.2,
    least_miou: Annotated[float, typer.Option(help="Judges' mean IoU with the label map.")] = 0.7,
    least_light_correlation: Annotated[float, typer.Option(help="Of luminance and lighting map within teeth.")] = 0.2,
    least_agreement: Annotated[float, typer.Option(help="Judges' mean IoU between panels.")] = 0.7,
    least_identity: Annotated[float, typer.Option(help="Correlation of teeth without their light, of a pair.")] = 0.45,
    least_distinct: Annotated[float, typer.Option(help="Share of differing bits of perceptual hashes.")] = 0.01,
    least_light_difference: Annotated[float, typer.Option(help="Difference of light within teeth, of a pair.")] = 0.02,
) -> None:
    """Draw each record under several lights, and keep pairs that show one mouth.

    Panels go to OUT/panels as condition shards with photos; every panel is a
    row of OUT/panels.parquet, accepted or rejected with its reason, every
    accepted ordered pair a row of OUT/pairs.parquet. A run resumes where it
    stopped; with other limits it filters the panels that are there anew.

    Exits 1 if some records cannot be drawn.

    Example: dentgen pairs conditions/ work/pairs --count 128 --layout square
    """
    announce(f"pairs: {source} into {out}")
    from dentgen.curation.pairs.limits import PairLimits
    from dentgen.curation.pairs.run import filter_panels
    from dentgen.pipeline.pairs import PanelSettings, draw_panels
    from dentgen.spec.yaml_file import read_spec

    limits = PairLimits(
        least_luminance=least_luminance, most_luminance=most_luminance, most_clipped=most_clipped,
        least_miou=least_miou, least_light_correlation=least_light_correlation, least_agreement=least_agreement,
        least_identity=least_identity, least_distinct=least_distinct, least_light_difference=least_light_difference,
    )  # fmt: skip
    build_spec = read_spec(*spec_or_demo(spec, set_))
    drawn = draw_panels(source, out, build_spec, PanelSettings(layout, lights, seed, count))
    for line in drawn.problems:
        typer.echo(shown_name(line), err=True)
    _echo(filter_panels(out, limits, judges, records=drawn.records))
    if drawn.problems:
        raise typer.Exit(1)


def _echo(found: FilteredPairs) -> None:
    rejected = found.planned - found.accepted
    typer.echo(
        f"layout {found.layout}: {found.planned} panels planned = {found.accepted} accepted + {rejected} rejected "
        f"({found.acceptance:.1%} accepted), {found.pairs} ordered pairs"
    )
    for reason, count in found.reasons.items():
        typer.echo(f"rejected for {reason}: {count}")
