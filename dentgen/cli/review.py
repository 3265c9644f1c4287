"""``dentgen review``: people look at some pictures of a dataset, and their verdicts are compared with the gate's."""

from __future__ import annotations

from typing import Annotated

import typer

from dentgen.cli.build_options import Out
from dentgen.cli.measurement import JsonFile, prepare_folder, print_figures
from dentgen.cli.progress import announce

app = typer.Typer(no_args_is_help=True, help="Let people look at pictures of a dataset, and count what they say.")


@app.command()
def sheet(
    out: Out,
    page: Annotated[str, typer.Argument(metavar="PAGE", help="HTML file to write, outside of OUT.")],
    count: Annotated[int, typer.Option(min=1, help="Pictures to look at.")] = 200,
    seed: Annotated[int, typer.Option(min=0, max=2**53 - 1, help="Names the draw.")] = 0,
) -> None:
    """Write a check sheet: a page on which somebody accepts or rejects pictures, one key each.

    The page needs no server, holds its pictures, and does not tell what the
    gate said. Half of the pictures are some that failed the gate, if the
    build kept them (quality.gate.on_failure: record).

    Example: dentgen review sheet out/demo work/sheet.html
    """
    announce(f"review sheet: {count} pictures of {out}")
    from dentgen import storage
    from dentgen.curation.check_sheet import draw_sheet
    from dentgen.storage.overlap import require_apart
    from dentgen.studio.check_form.page import form_page

    require_apart("PAGE", page, "OUT", out)
    drawn = draw_sheet(out, count, seed)
    storage.overwrite(page, form_page(out, drawn).encode())
    typer.echo(f"{len(drawn.entries)} pictures: {page}")


@app.command()
def verdicts(
    out: Out,
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Filled-in check sheets, one a reviewer.")],
    json: JsonFile = None,
) -> None:
    """Read filled-in check sheets, keep them in OUT/review, and say whether people and gate agree.

    'agree' and 'usable' count over all written pictures, 'accepted' and the
    kappas over the sheet. Sheets that were kept before count too; one that
    is read again replaces what was kept of it.

    Example: dentgen review verdicts out/demo check-verdicts.json
    """
    announce(f"review verdicts: {len(files)} filled-in sheets of {out}")
    from dentgen.curation.check_agreement import keep_and_compare

    prepare_folder(json)
    print_figures(keep_and_compare(out, files).figures, json)
