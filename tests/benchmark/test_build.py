"""The benchmark of builds: what it rejects and computes, and a whole short round."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from dentgen.benchmark.build import _steady_rate, benchmark_build, count_flops, enlarge_source
from dentgen.conditions.readers.source import list_shards, read_records
from dentgen.errors import SpecError
from dentgen.spec.yaml_file import read_spec
from tests.conftest import JAWS, ROOT, problems

DEMO_SPEC = ROOT / "jobs" / "specs" / "demo.yaml"


def test_steady_rate_leaves_out_the_first_quarter() -> None:
    """4 of 16 samples by t=100, then 12 more in 6 s."""
    assert _steady_rate([(90.0, 1), (100.0, 3), (102.0, 4), (104.0, 4), (106.0, 4)]) == 12 / 6
    with pytest.raises(SpecError):
        _steady_rate([(5.0, 8), (5.0, 8)])
    with pytest.raises(SpecError):
        _steady_rate([])


def test_a_source_is_copied_under_other_keys(tmp_path: Path) -> None:
    spec = enlarge_source(read_spec(DEMO_SPEC, [f"source.path={JAWS}"]), tmp_path / "work")
    own = [raw for shard in list_shards(str(JAWS)) for raw in read_records(shard)]
    copies = [raw for shard in list_shards(spec.source.path) for raw in read_records(shard)]
    assert len({raw.key for raw in copies}) == len(copies) == 4 * len(own)
    assert [raw.members for raw in copies] == 4 * [raw.members for raw in own]
    assert Path(spec.output.path).parent == tmp_path / "work"


@pytest.mark.integration
def test_flops_differ_by_what_variants_share() -> None:
    """With one variant nothing is shared, but prompts are cached: a build saves the text encoder."""
    alone = count_flops(read_spec(DEMO_SPEC, ["sampling.variants=1"]))
    four = count_flops(read_spec(DEMO_SPEC, ["sampling.variants=4"]))
    assert alone["usual"] == four["usual"] > alone["build"] > four["build"]
    assert alone["usual"] / alone["build"] < 1.05


@pytest.mark.ray
@pytest.mark.slow
def test_three_contestants_generate_the_same_number_of_samples(tmp_path: Path) -> None:
    """Figures of one short round mean little, but every contestant generated what it should."""
    spec = read_spec(
        DEMO_SPEC, [f"source.path={JAWS}", "sampling.variants=2", "sampling.steps=2", "conditions.size=128"]
    )
    lines: list[str] = []
    done: list[tuple[int, int]] = []
    figures = benchmark_build(
        spec, str(tmp_path / "work"), 1, log=lines.append, progress=lambda *counts: done.append(counts)
    )
    assert (len(lines), done) == (1, [(0, 1), (1, 1)])
    assert set(figures["ratios"]) == {"build_over_engine", "build_over_usual", "predicted"}
    assert min(figures["ratios"]["build_over_engine"], figures["ratios"]["build_over_usual"]) > 0
    assert 1 < figures["ratios"]["predicted"]["build_over_usual"] < 2, "two variants share their control"
    assert problems(tmp_path / "work" / "build-0") == []
    names: list[str] = []
    for path in (tmp_path / "work" / "naive-0").glob("*.tar"):
        with tarfile.open(path) as shard:
            names += [name for name in shard.getnames() if name.endswith(".json")]
    assert len(names) == 4 * 20 * 2
