"""The command line as users run it: the README's commands on small inputs, exit codes, messages."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.main import get_command

from dentgen.cli.app import app, main
from dentgen.conditions.decode import decode_record
from dentgen.conditions.readers.raw import RawRecord
from tests.conftest import DEMO, ROOT, problems, small_spec, write_tar


def command_paths() -> Iterator[tuple[str, ...]]:
    """Words of every command, those of groups included."""
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]  # a group
        inner = getattr(command, "commands", {})
        yield from ((name, last) for last in inner) if inner else iter([(name,)])


def dentgen(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dentgen", *arguments],
        cwd=cwd, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """The command line in this process: the same code without the seconds that a new process takes to import."""

    def run(*arguments: str) -> Finished:
        monkeypatch.setattr(sys, "argv", ["dentgen", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Finished(int(ended.value.code or 0), printed.out, printed.err)

    return run


def test_damage_is_exit_code_1_and_repaired(small_source: Path, tmp_path: Path, here: Callable[..., Finished]) -> None:
    out, spec = tmp_path / "out", tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(small_spec(small_source, out).model_dump(mode="json")))
    assert here("generate", str(spec), "--no-ray").returncode == 0
    (out / "shards" / "000001.tar").unlink()
    stray = out / "orphans" / "000001-0123456789abcdef.tar"
    stray.parent.mkdir()
    stray.write_bytes(b"stray")
    broken = here("verify", str(out))
    assert broken.returncode == 1
    assert "shards/000001.tar: missing" in broken.stderr
    repaired = here("repair", str(out), "--no-ray")
    assert repaired.returncode == 0, repaired.stderr
    assert "1 problems, 1 units regenerated, 0 left" in repaired.stdout
    assert stray.name in here("gc", str(out)).stdout
    assert stray.exists(), "listing removes nothing"
    assert "1 files, 5 bytes removed" in here("gc", str(out), "--remove").stdout
    assert not stray.exists()


@pytest.mark.ray
@pytest.mark.slow
def test_the_demo_builds_as_a_command(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    run = dentgen("generate", "jobs/specs/demo.yaml", "--set", f"output.path={out}")
    assert run.returncode == 0, run.stderr
    assert "80 samples written, 0 rejected, of 80 planned" in run.stdout
    assert "Traceback" not in run.stderr
    assert re.search(r"actor on .*: start-up \d+\.\d s, engine busy \d+% of the time", run.stderr)
    assert problems(out) == []


def test_version_and_groups(here: Callable[..., Finished]) -> None:
    assert here("--version").stdout.split() == ["dentgen", version("dentgen")]
    text = here("--help").stdout
    places = [text.index(word) for word in (" Conditions ", " Datasets ", " Models ", " Measurements ")]
    assert places == sorted(places)
    for command, place in {"phantom": 0, "generate": 1, "train": 2, "benchmark": 3}.items():
        assert max(n for n, at in enumerate(places) if at < text.index(f" {command} ")) == place


@pytest.mark.parametrize("command", list(command_paths()))
def test_every_command_explains_itself_with_an_example(command: tuple[str, ...], here: Callable[..., Finished]) -> None:
    shown = here(*command, "--help")
    assert shown.returncode == 0
    assert f"dentgen {' '.join(command)}" in " ".join(shown.stdout.split()), "usage"
    if command != ("schemas",):  # hidden: for developers
        assert "Example" in shown.stdout


def test_too_many_rejected_samples_are_no_success(
    tmp_path: Path, demo_members: dict[str, dict[str, bytes]], here: Callable[..., Finished]
) -> None:
    keys = sorted(demo_members)[:2]
    records = {key: dict(demo_members[key]) for key in keys}
    records[keys[0]]["seg.png"] = b"damaged"
    write_tar(tmp_path / "s" / "x.tar", records)
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(small_spec(tmp_path / "s", tmp_path / "out").model_dump(mode="json")))
    run = here("generate", str(spec), "--no-ray")
    assert run.returncode == 1
    assert "quality.max_rejected" in run.stderr
    assert "50.0%" in run.stderr
    assert run.stdout == "", "what failed prints no success"
    tolerant = here("generate", str(spec), "--no-ray", "--set", "quality.max_rejected=0.5")
    assert tolerant.returncode == 0
    assert tolerant.stdout.startswith("2 samples written, 2 rejected, of 4 planned\n")


@pytest.mark.slow
@pytest.mark.parametrize("ray", [False, pytest.param(True, marks=pytest.mark.ray)])
def test_ctrl_c_ends_with_one_clean_line_and_resumes(ray: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    few = ("source.limit=6", "sampling.variants=1", "sampling.steps=2", "pipeline.samples_per_shard=1",
           f"output.path={out}")  # fmt: skip
    settings = [word for setting in few for word in ("--set", setting)]
    arguments = ["generate", "demo", *settings, *([] if ray else ["--no-ray"])]
    command = [sys.executable, "-m", "dentgen", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("generating"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest.splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in rest
    assert not (out / "lease.json").exists()
    done = len(list((out / "ledger").iterdir()))
    assert 0 < done < 6
    if not ray:
        assert f"{6 - done} pending" in dentgen(*arguments).stderr


def test_wrong_use_is_exit_code_2(tmp_path: Path, here: Callable[..., Finished]) -> None:
    (tmp_path / "bad.yaml").write_text("sampling: {stpes: 4}")
    run = here("generate", str(tmp_path / "bad.yaml"))
    assert run.returncode == 2
    assert "sampling.stpes" in run.stderr
    assert "Traceback" not in run.stderr
    assert here("no-such-command").returncode == 2
    (tmp_path / "empty.yaml").write_text("{}")
    for command in ("generate", "plan"):
        empty = here(command, str(tmp_path / "empty.yaml"))
        assert empty.returncode == 2
        assert "source.path and output.path: found nothing" in empty.stderr
    assert here("generate", str(tmp_path / "not-there.yaml")).returncode == 2


@pytest.mark.slow
def test_phantoms_are_rendered_once_and_never_mixed(tmp_path: Path, here: Callable[..., Finished]) -> None:
    arguments = ("phantom", str(tmp_path / "p"), "--count", "6", "--seed", "2026", "--size", "48", "--shard-size", "3")
    assert "2 shards rendered now" in here(*arguments).stdout
    assert "0 shards rendered now" in here(*arguments).stdout
    other = here(*arguments[:-1], "2")
    assert other.returncode == 2
    assert "choose another folder" in other.stderr


def relit_samples(folder: Path) -> dict[str, dict[str, bytes]]:
    """Members of relit records by key."""
    from dentgen.conditions.readers.source import list_shards, read_records

    return {raw.key: raw.members for shard in list_shards(str(folder)) for raw in read_records(shard)}


@pytest.mark.slow
def test_records_are_relit_and_nothing_else_changes(
    small_source: Path, tmp_path: Path, here: Callable[..., Finished]
) -> None:
    """Two shards in two processes; run again, and with one output gone, to equal bytes."""
    out = tmp_path / "relit"
    arguments = ("relight", str(small_source), str(out), "--lightings", "3", "--seed", "7")
    first = here(*arguments)
    assert first.returncode == 0, first.stderr
    assert "5 records relit, 3 lightings each, from 2 shards" in first.stdout
    before, after = relit_samples(small_source), relit_samples(out)
    assert len(after) == 15
    for key, members in before.items():
        made = [decode_record(RawRecord(f"{key}-l{n:02d}", "", after[f"{key}-l{n:02d}"]), ()) for n in range(3)]
        record = decode_record(RawRecord(key, "", members), ())
        assert record.fdi is not None
        for relit in made:
            assert relit.fdi is not None
            assert (relit.group, relit.split, relit.license) == (record.group, record.split, record.license)
            assert relit.attributes == {**record.attributes, "lighting": "relit"}
            assert relit.prompt == ", ".join([*record.prompt.split(", ")[:-1], "clinical lighting"]), "no ring flash"
            assert (relit.fdi == record.fdi).all()
            for name, array in record.conditions.items():
                assert (array == relit.conditions[name]).all() == (name != "lighting"), name
        assert len({relit.conditions["lighting"].tobytes() for relit in made}) == 3
        assert not any(name.startswith("photo") for name in after[f"{key}-l00"]), "it shows another light"
        assert "no cast shadows" in json.loads(after[f"{key}-l00"]["json"])["source"]
    shards = {path.name: path.read_bytes() for path in out.glob("*.tar")}
    (out / "b.tar").unlink()
    assert "2 records relit," in here(*arguments).stdout
    assert {path.name: path.read_bytes() for path in out.glob("*.tar")} == shards
    other = here(*arguments[:-1], "8")
    assert other.returncode == 2
    assert "choose another folder" in other.stderr


@pytest.mark.slow
def test_relit_records_can_be_built_from(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    from dentgen.relight.shards import Relighting, write_relit

    key = min(demo_members)
    write_tar(tmp_path / "x.tar", {key: {**demo_members[key], "json": b"{}"}})
    write_relit(str(tmp_path / "x.tar"), str(tmp_path / "relit"), Relighting(2, 0))
    assert {decode_record(RawRecord(k, "", m), ()).group for k, m in relit_samples(tmp_path / "relit").items()} == {key}
    assert len(build_with("real-conditions.yaml", tmp_path / "relit" / "x.tar", tmp_path / "out")) == 8


def test_what_cannot_be_relit_is_named_every_time(
    tmp_path: Path, demo_members: dict[str, dict[str, bytes]], here: Callable[..., Finished]
) -> None:
    keys = sorted(demo_members)[:3]
    records = {key: dict(demo_members[key]) for key in keys}
    del records[keys[1]]["normal.png"]
    records["k" * 78] = demo_members[keys[0]]
    whole = write_tar(tmp_path / "source" / "x.tar", records).read_bytes()
    arguments = ("relight", str(tmp_path / "source"), str(tmp_path / "relit"), "--lightings", "2")
    first = here(*arguments)
    assert first.returncode == 1
    assert re.search(rf"{keys[1]}: found members \[.*\], expected a member 'normal.png'", first.stderr)
    assert re.search(r"k{78}: found a key that is too long", first.stderr)
    assert "2 records relit," in first.stdout
    assert "2 problems" in first.stdout
    assert set(relit_samples(tmp_path / "relit")) == {f"{key}-l0{n}" for key in (keys[0], keys[2]) for n in (0, 1)}
    again = here(*arguments)
    assert again.returncode == 1, "what an earlier run left out is still not there"
    assert f"x.tar: {keys[1]}: not in " in again.stderr
    assert "0 records relit," in again.stdout
    (tmp_path / "source" / "x.tar").write_bytes(whole[: len(whole) // 2])
    cut = here("relight", str(tmp_path / "source"), str(tmp_path / "cut"))
    assert cut.returncode == 1
    assert "cut off at byte" in cut.stderr


def test_relit_shards_never_become_their_own_source(small_source: Path, here: Callable[..., Finished]) -> None:
    for out in (small_source, small_source / "relit"):
        refused = here("relight", str(small_source), str(out))
        assert refused.returncode == 2
        assert f"{out}: OUT: found" in refused.stderr
    assert sorted(path.name for path in small_source.iterdir()) == ["a.tar", "b.tar"]


def build_with(spec_name: str, source: Path, out: Path, *overrides: str) -> dict[str, bytes]:
    """Pictures of a build by sample key."""
    from dentgen.pipeline.run import build
    from dentgen.shards.reader import read_samples
    from dentgen.spec.yaml_file import read_spec

    settings = [f"source.path={source}", f"output.path={out}", *overrides]
    outcome = build(read_spec(ROOT / "jobs" / "specs" / spec_name, settings), use_ray=False)
    assert outcome.index.rejected == 0
    return {key: members["png"] for key, members in read_samples(str(out))}


@pytest.mark.slow
def test_a_folder_and_a_tar_give_the_same_pictures(tmp_path: Path, demo_members: dict[str, dict[str, bytes]]) -> None:
    few = {key: demo_members[key] for key in sorted(demo_members)[:3]}
    write_tar(tmp_path / "x.tar", few)
    (tmp_path / "folder").mkdir()
    for key, members in few.items():
        for extension, content in members.items():
            (tmp_path / "folder" / f"{key}.{extension}").write_bytes(content)
    from_tar = build_with("real-conditions.yaml", tmp_path / "x.tar", tmp_path / "1")
    assert len(from_tar) == 12
    assert build_with("real-conditions.yaml", tmp_path / "folder", tmp_path / "2") == from_tar


@pytest.mark.skipif("DENTGEN_REAL_CONDITIONS" not in os.environ, reason="DENTGEN_REAL_CONDITIONS names no folder")
def test_maps_of_real_photographs(tmp_path: Path) -> None:
    """720 x 540 maps of real teeth, from a folder and from the tar in it."""
    folder = Path(os.environ["DENTGEN_REAL_CONDITIONS"])
    (tar,) = folder.glob("*.tar")
    from_tar = build_with("real-conditions.yaml", tar, tmp_path / "1")
    assert len(from_tar) == 20
    assert build_with("real-conditions.yaml", folder, tmp_path / "2", "source.format=folder") == from_tar


def test_the_demo_shard_is_what_the_renderer_makes() -> None:
    """The ready-made shard is no drawing by hand: rendering its first patient again gives the same labels."""
    from io import BytesIO

    from dentgen.conditions.readers.source import list_shards, read_records
    from dentgen.phantom.render import render_patient

    raw = next(read_records(list_shards(str(DEMO))[0]))
    (phantom,) = render_patient(2026, 0, 128, ("frontal",))
    assert raw.key == phantom.key
    assert (np.asarray(Image.open(BytesIO(raw.members["seg.png"]))) == phantom.maps["seg"]).mean() > 0.999
