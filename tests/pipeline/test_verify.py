"""Every way to tamper with a sealed build is named, and repair mends it without making anything worse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dentgen.errors import BuildError, SpecChangedError
from dentgen.pipeline.repair import repair
from dentgen.pipeline.run import build
from dentgen.pipeline.verify import verify
from tests.conftest import shard_bytes, small_spec, write_tar
from tests.pipeline.tampering import LEASES, TAMPERINGS


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, demo_members: dict[str, dict[str, bytes]]) -> Path:
    """A finished build of three units; one record of the last is rejected."""
    folder = tmp_path_factory.mktemp("sound")
    keys = sorted(demo_members)[:6]
    members = {key: dict(demo_members[key]) for key in keys}
    members[keys[5]]["seg.png"] = b"torn"
    write_tar(folder / "conditions" / "a.tar", members)
    build(small_spec(folder / "conditions", folder / "out", sampling={"steps": 1}), use_ray=False)
    return folder / "out"


@pytest.fixture
def out(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound.parent / "conditions", tmp_path / "conditions")
    return Path(shutil.copytree(sound, tmp_path / "out"))


def content(out: Path) -> dict[str, bytes]:
    """Every file of a build but the report and what carries times."""
    names = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in names.items() if name != "report.html" and "ledger" not in name}


def records(out: Path) -> dict[str, object]:
    found = {path.name: json.loads(path.read_bytes()) for path in (out / "ledger").iterdir()}
    return {name: {**record, "timing": None} for name, record in found.items()}


def test_a_sound_build_has_no_problem(sound: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert list(verify(str(sound), lambda *counts: seen.append(counts))) == []
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("case", TAMPERINGS)
def test_tampering_is_named(case: str, out: Path) -> None:
    tamper, place = TAMPERINGS[case]
    tamper(out)
    places = {problem.place.split(": ")[0] for problem in verify(str(out))}
    assert place in places


@pytest.mark.slow
@pytest.mark.parametrize("case", TAMPERINGS)
def test_tampering_is_mended(case: str, sound: Path, out: Path) -> None:
    TAMPERINGS[case][0](out)
    outcome = repair(str(out), use_ray=False)
    assert outcome.left == ()
    assert records(out) == records(sound)
    assert content(out) == content(sound)


FORGED = ["ledger with another hash", "ledger with another split", "ledger with another light"]


@pytest.mark.parametrize("case", FORGED)
def test_a_second_run_does_not_seal_a_forged_ledger(case: str, sound: Path, out: Path) -> None:
    """Its witnesses would be lost."""
    TAMPERINGS[case][0](out)
    before = content(out)
    with pytest.raises(BuildError) as caught:
        build(small_spec(out.parent / "conditions", out, sampling={"steps": 1}), use_ray=False)
    assert "dentgen repair" in caught.value.advice
    assert content(out) == before
    assert list(verify(str(sound))) == []


def test_a_run_does_not_continue_under_a_forged_plan(out: Path) -> None:
    (out / "ledger" / "000002.json").unlink()
    TAMPERINGS["plan with another seed"][0](out)
    with pytest.raises(SpecChangedError) as caught:
        build(small_spec(out.parent / "conditions", out, sampling={"steps": 1}), use_ray=False)
    assert "stored plan" in caught.value.message


def test_other_names_among_the_versions_do_no_harm(out: Path) -> None:
    (out / "versions" / ".DS_Store").write_bytes(b"")
    assert list(verify(str(out))) == []


def test_a_head_that_decides_the_same_is_named_and_no_copy_is_lost(out: Path) -> None:
    copied = (out / "versions" / "0" / "plan.json").read_bytes()
    head = json.loads((out / "plan" / "000000.json").read_bytes())
    head["spec"]["source"]["path"] = "./elsewhere"
    (out / "plan" / "000000.json").write_text(json.dumps(head))
    assert [problem.place for problem in verify(str(out))] == ["versions/0/plan.json"]
    repair(str(out), use_ray=False)
    assert (out / "versions" / "0" / "plan.json").read_bytes() == copied


@pytest.mark.parametrize("case", LEASES)
def test_a_lease_that_nobody_wrote_is_named(case: str, out: Path) -> None:
    (out / "lease.json").write_text(LEASES[case])
    assert [problem.place for problem in verify(str(out))] == ["lease.json"]


def test_a_plan_without_a_copy_is_not_mended_and_nothing_changes(out: Path) -> None:
    """Its seed was changed, and the copy that was sealed is gone."""
    TAMPERINGS["plan with another seed"][0](out)
    (out / "versions" / "0" / "plan.json").unlink()
    before = content(out)
    with pytest.raises(BuildError) as caught:
        repair(str(out), use_ray=False)
    assert caught.value.file == str(out / "plan" / "000000.json")
    assert content(out) == before


@pytest.mark.integration
def test_a_source_replaced_between_kill_and_resume_is_named(sound: Path, out: Path) -> None:
    """A map of a record is exchanged at equal size, before and after its unit was committed."""
    spec = small_spec(out.parent / "conditions", out, sampling={"steps": 1})
    (out / "ledger" / "000002.json").unlink()
    (out / "_SUCCESS").unlink()
    source = out.parent / "conditions" / "a.tar"
    whole = source.read_bytes()
    for place in (whole.find(b"IDAT") + 20, whole.rfind(b"IDAT") + 20):
        source.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(BuildError) as caught:
            build(spec, use_ray=False)
        assert "a.tar" in str(caught.value)
        assert not (out / "_SUCCESS").exists()
    source.write_bytes(whole)
    build(spec, use_ray=False)
    assert list(verify(str(out))) == []
    assert shard_bytes(out) == shard_bytes(sound)
