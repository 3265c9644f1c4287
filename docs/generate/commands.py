"""The command line reference, from the typer application itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import typer

from dentgen.cli.app import CONDITIONS, DATASETS, MEASUREMENTS, MODELS, app

#: Panels of ``dentgen --help``, in its order.
PANELS: Final = (CONDITIONS, DATASETS, MODELS, MEASUREMENTS)
_EXAMPLE: Final = re.compile(r"^Example: (dentgen .*(?:\n(?!\n).*)*)", re.MULTILINE)
#: What typer adds to a help text: "[default: 4; x>=1; required]".
_EXTRA: Final = re.compile(r"  \[((?:default: |required|-?\d+<|x[<>]).*)\]$")
_PLACEHOLDERS: Final = {"<int range>": "N", "<int>": "N", "<str>": "TEXT", "<path>": "PATH"}
_IN_CODE: Final = re.compile(r"(?<![`\w./-])(--[a-z][\w-]*|[a-z]+\.[a-z_]+\b(?!/))(?![\w`])")


@dataclass(frozen=True, slots=True)
class Command:
    """A command by its full name, such as "dentgen models import"."""

    name: str
    panel: str
    command: Any


def visible_commands() -> list[Command]:
    """Every command that ``--help`` shows, groups replaced by their commands."""
    root: Any = typer.main.get_command(app)
    return [
        leaf
        for name, command in root.commands.items()
        if not command.hidden
        for leaf in _leaves(f"dentgen {name}", str(command.rich_help_panel), command)
    ]


def command_reference() -> str:
    """Every command with its arguments, options and example, grouped as in ``dentgen --help``."""
    commands = visible_commands()
    parts = []
    for panel in PANELS:
        parts.append(f"## {panel}\n")
        parts += [_section(command) for command in commands if command.panel == panel]
    return "\n".join(parts)


def _leaves(name: str, panel: str, command: Any) -> Iterator[Command]:
    if not hasattr(command, "commands"):
        yield Command(name, panel, command)
        return
    for child in command.commands:
        yield from _leaves(f"{name} {child}", panel, command.commands[child])


def _section(command: Command) -> str:
    """Heading, description, usage, arguments and options, example."""
    context = typer.Context(command.command, info_name=command.name)
    parameters = [parameter for parameter in command.command.get_params(context) if parameter.name != "help"]
    text, example = _split_example(command.command.help or "")
    arguments = [_argument(p.get_help_record(context)[0]) for p in parameters if p.param_type_name == "argument"]
    has_options = len(arguments) < len(parameters)
    usage = " ".join([command.name, *arguments, *(["[OPTIONS]"] if has_options else [])])
    parts = [f"### {command.name}\n", _markdown(text), f"\n```text\n{usage}\n```\n"]
    if parameters:
        rows = [_row(parameter, context) for parameter in parameters]
        parts += ["| argument or option | default | meaning |", "|---|---|---|", *rows, ""]
    parts += [f"```sh\n{example}\n```\n"] if example else []
    return "\n".join(parts)


def _split_example(text: str) -> tuple[str, str]:
    found = _EXAMPLE.search(text)
    if found is None:
        return text.strip(), ""
    return (text[: found.start()] + text[found.end() :]).strip(), " ".join(found[1].split())


def _row(parameter: Any, context: Any) -> str:
    name, text = parameter.get_help_record(context)
    meaning, default = _split_extra(text)
    spelling = _argument(name) if parameter.param_type_name == "argument" else _option(name)
    return f"| {_code(spelling)} | {default} | {_markdown(meaning).replace('|', '&#124;')} |"


def _split_extra(text: str) -> tuple[str, str]:
    """A help text without what typer adds to it, and the default in it."""
    found = _EXTRA.search(text)
    if found is None:
        return " ".join(text.split()), ""
    extras = found[1].split("; ")
    defaults = [extra.removeprefix("default: ") for extra in extras if extra.startswith("default: ")]
    default = "required" if "required" in extras else "".join(defaults)
    bare = default.startswith("(") or default in {"", "required"}  # as "(the demo's)"
    return " ".join(text[: found.start()].split()), default.strip("()") if bare else f"`{default}`"


def _argument(name: str) -> str:
    """``OUT`` for typer's "out <str>"."""
    return name.partition(" ")[0].upper()


def _option(name: str) -> str:
    """``--count N`` for typer's "--count <int range>"."""
    for shown, placeholder in _PLACEHOLDERS.items():
        name = name.replace(shown, placeholder)
    return name.replace("<", "").replace(">", "")


def _markdown(text: str) -> str:
    """Help text as Markdown: keys and option names in code."""
    return _IN_CODE.sub(r"`\1`", text.replace("<", "&lt;"))


def _code(text: str) -> str:
    """Code in a cell of a table, whose bars must not end the cell."""
    return f"<code>{text.replace('|', '&#124;')}</code>"
