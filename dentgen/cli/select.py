"""``dentgen select``: some samples of a build, as a file that readers and exports take."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from dentgen.cli.progress import announce


def select(
    out: Annotated[str, typer.Argument(metavar="OUT", help="A finished build.")],
    count: Annotated[int, typer.Option(min=1, help="Samples to choose.")],
    to: Annotated[str, typer.Option(metavar="FILE", help="Parquet file that takes the selection, outside of OUT.")],
    by: Annotated[
        Literal["coverage", "random"],
        typer.Option(help="The farthest apart as judges see them (greedy k-centre), or at random."),
    ] = "coverage",
    balance: Annotated[
        str, typer.Option(metavar="ATTRIBUTE", help="Equal shares of its values, as far as they reach.")
    ] = "",
    without_duplicates: Annotated[
        bool, typer.Option("--without-duplicates", help="Of near-duplicates, only the first by key.")
    ] = False,
    passed: Annotated[bool, typer.Option("--passed", help="Only samples that passed the quality gate.")] = False,
    judges: Annotated[str, typer.Option(metavar="FOLDER", help="Judges: 'embedded', or a folder of your own.")] = (
        "embedded"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Names the draw of --by random.")] = 0,
) -> None:
    """Choose samples of a build, for open_dataset and export.

    The file names the index that it was made of; a dataset that has grown
    since needs another selection. One of K samples is the beginning of one
    of K + 1.

    Example: dentgen select out/demo --count 16 --by coverage --to work/selection.parquet
    """
    announce(f"select: {count} samples of {out}")
    from dentgen.curation.build_selection import SelectionSettings, select_samples
    from dentgen.shards.selection_file import write_selection
    from dentgen.storage.overlap import require_apart

    require_apart("--to", to, "OUT", out)
    settings = SelectionSettings(count, by, balance, without_duplicates, passed, judges, seed)
    selection = select_samples(out, settings)
    write_selection(to, selection)
    typer.echo(f"{len(selection.keys)} samples of {len(selection.by_shard)} shards: {to}")
