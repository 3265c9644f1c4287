"""One unit in one process: sharing, rejection, accounting."""

from __future__ import annotations

import json
import shutil
import tarfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dentgen.conditions.decode import decode_record
from dentgen.conditions.painted import painted_entries
from dentgen.conditions.readers.raw import RawRecord
from dentgen.conditions.readers.source import index_shard, list_shards
from dentgen.conditions.splits import drawn_split
from dentgen.conditions.unit_records import RejectedRecord
from dentgen.diffusion.canvas import Canvas, Noise, Sampled
from dentgen.documents.ledger import LedgerRecord
from dentgen.errors import BuildError, EngineError
from dentgen.generation import attempts
from dentgen.generation.canvases import CanvasFactory
from dentgen.generation.engines import start_engine
from dentgen.generation.generator import Generator, load_planned_generator
from dentgen.generation.unit import generate_unit, record_groups
from dentgen.models.bundle import Bundle, find_bundle
from dentgen.models.checkpoints.file import write_tensors
from dentgen.pipeline.plan import make_plan
from dentgen.pipeline.run import build
from dentgen.records import SampleRequest
from dentgen.shards.ledger import read_ledger
from dentgen.shards.reader import read_samples, tar_samples
from tests.conditions.painted_records import WHITE, band, region, with_painted
from tests.conftest import problems, shard_bytes, small_spec, write_tar
from tests.generation.finding_records import record as finding_record
from tests.models.part_files import kohya_lora

Members = dict[str, dict[str, bytes]]


def made(source: Path, out: Path, **sections: dict[str, object]) -> tuple[bytes, LedgerRecord, Generator]:
    spec = small_spec(source, out, **sections)
    plan = make_plan(spec)
    generator = load_planned_generator(plan)
    result = generate_unit(plan, generator, plan.units[0], list_shards(str(source))[0], start_engine(generator).run)
    return result.shard, result.record, generator


def test_labels_travel_unchanged(tmp_path: Path, demo_members: Members) -> None:
    key = sorted(demo_members)[0]
    write_tar(tmp_path / "s" / "x.tar", {key: demo_members[key]})
    shard, _, _ = made(tmp_path / "s", tmp_path, conditions={"size": 128})
    samples = dict(tar_samples(shard))
    assert list(samples) == [f"{key}-v000", f"{key}-v001"]
    for members in samples.values():
        for label in ("seg.png", "fdi.png", "light.png"):
            found = np.asarray(Image.open(BytesIO(members[label])))
            assert (found == np.asarray(Image.open(BytesIO(demo_members[key][label])))).all(), label


@pytest.mark.integration
def test_a_damaged_record_is_rejected_and_its_neighbours_are_untouched(tmp_path: Path, demo_members: Members) -> None:
    keys = sorted(demo_members)[:2]
    good = {key: demo_members[key] for key in keys}
    write_tar(tmp_path / "good" / "x.tar", good)
    write_tar(tmp_path / "bad" / "x.tar", {**good, keys[0]: {**good[keys[0]], "light.png": b"torn"}})
    whole, _, _ = made(tmp_path / "good", tmp_path)
    rest, record, _ = made(tmp_path / "bad", tmp_path)
    assert (record.written, record.rejected) == (2, 2)
    reasons = {sample.key: sample.reason for sample in record.samples if sample.status == "rejected"}
    assert sorted(reasons) == [f"{keys[0]}-v000", f"{keys[0]}-v001"]
    for word in ("x.tar", keys[0], "light.png", "complete PNG image"):
        assert all(word in reason for reason in reasons.values())
    pictures = {key: members["png"] for key, members in tar_samples(whole)}
    assert {key: members["png"] for key, members in tar_samples(rest)} == {
        key: pictures[key] for key in pictures if key.startswith(keys[1])
    }


@pytest.mark.parametrize(("kept", "found"), [(slice(1, None), "1 written"), (slice(None), "2 written")])
def test_a_unit_whose_samples_do_not_add_up_is_an_error(
    kept: slice, found: str, tmp_path: Path, demo_members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be committed for good."""
    key = sorted(demo_members)[0]
    write_tar(tmp_path / "s" / "x.tar", {key: demo_members[key]})
    missed = [] if kept.start else [RejectedRecord(key, key, 1, "planted")]
    monkeypatch.setattr(attempts, "judge_samples", lambda decoded, _: (decoded[kept], missed))
    with pytest.raises(BuildError) as caught:
        made(tmp_path / "s", tmp_path)
    assert (caught.value.key, caught.value.expected) == ("unit 000000", "2 in all, as planned")
    assert found in caught.value.found


@pytest.mark.slow
def test_a_tar_that_breaks_off_is_used_as_far_as_it_goes(tmp_path: Path, demo_members: Members) -> None:
    source = tmp_path / "s"
    keys = sorted(demo_members)[:4]
    path = write_tar(source / "x.tar", {key: demo_members[key] for key in keys})
    build(small_spec(source, tmp_path / "whole"), use_ray=False)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 5 // 8])
    outcome = build(small_spec(source, tmp_path / "cut"), use_ray=False)
    assert (outcome.index.planned, outcome.index.written, outcome.index.rejected) == (6, 4, 2)
    assert shard_bytes(tmp_path / "cut")["000000.tar"] == shard_bytes(tmp_path / "whole")["000000.tar"]
    reasons = [sample.reason for sample in read_ledger(str(tmp_path / "cut"), "000001").samples]
    assert all("x.tar" in reason and "cut off" in reason for reason in reasons)


def test_a_source_that_changed_after_planning_fails_its_unit_by_name(tmp_path: Path, demo_members: Members) -> None:
    """It must not count as rejected: that would be for ever, and restoring the source mends it."""
    keys = sorted(demo_members)[:3]
    path = write_tar(tmp_path / "s" / "x.tar", {key: demo_members[key] for key in keys})
    plan = make_plan(small_spec(tmp_path / "s", tmp_path / "out"))
    generator = load_planned_generator(plan)
    engine = start_engine(generator)
    whole = path.read_bytes()
    for changed in (whole[:4096], b"x" * len(whole)):
        path.write_bytes(changed)
        (shard,) = list_shards(str(tmp_path / "s"))
        with pytest.raises(BuildError) as caught:
            generate_unit(plan, generator, plan.units[0], shard, engine.run)
        assert caught.value.file.endswith("x.tar")
        assert caught.value.key == "unit 000000"


@pytest.mark.integration
def test_ignored_members_are_named_in_the_spec(tmp_path: Path, demo_members: Members) -> None:
    key = sorted(demo_members)[0]
    write_tar(tmp_path / "s" / "x.tar", {key: {**demo_members[key], "notes.txt": b"mine"}})
    with pytest.raises(BuildError) as caught:
        build(small_spec(tmp_path / "s", tmp_path / "a"), use_ray=False)
    assert "notes.txt" in caught.value.found
    assert not (tmp_path / "a").exists(), "a start under which nothing was written leaves nothing behind"
    spec = small_spec(tmp_path / "s", tmp_path / "b", source={"ignore_members": ["notes.txt"]})
    assert build(spec, use_ray=False).index.written == 2


@pytest.mark.integration
def test_a_limit_is_the_beginning_of_the_build(small_source: Path, tmp_path: Path) -> None:
    build(small_spec(small_source, tmp_path / "whole"), use_ray=False)
    build(small_spec(small_source, tmp_path / "few", source={"limit": 3}), use_ray=False)

    def pictures(out: Path) -> dict[str, bytes]:
        return {key: members["png"] for key, members in read_samples(str(out))}

    whole, few = pictures(tmp_path / "whole"), pictures(tmp_path / "few")
    assert list(few) == list(whole)[:6]
    assert all(few[key] == whole[key] for key in few)


@pytest.mark.slow
def test_duplicate_keys_are_rejected_once(tmp_path: Path, demo_members: Members) -> None:
    keys = sorted(demo_members)[:3]
    write_tar(tmp_path / "s" / "a.tar", {key: demo_members[key] for key in keys[:2]})
    write_tar(tmp_path / "s" / "b.tar", {key: demo_members[key] for key in keys[1:]})
    outcome = build(small_spec(tmp_path / "s", tmp_path / "out"), use_ray=False)
    assert (outcome.index.planned, outcome.index.written, outcome.index.rejected) == (8, 6, 2)


@pytest.mark.integration
def test_the_first_of_two_neighbours_with_one_key_is_kept(tmp_path: Path, demo_members: Members) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first, second = sorted(demo_members)[:2]
    rows = [{"__key__": key, **demo_members[key]} for key in (first, second, first)]
    (tmp_path / "s").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "s" / "x.parquet")
    outcome = build(small_spec(tmp_path / "s", tmp_path / "out", pipeline={"samples_per_shard": 64}), use_ray=False)
    assert (outcome.index.planned, outcome.index.written, outcome.index.rejected) == (6, 4, 2)


@pytest.mark.integration
def test_planning_and_generating_agree_on_the_split_of_damaged_records(tmp_path: Path, demo_members: Members) -> None:
    """Whose split cannot be read is wanted, so that it is rejected; whose split is another's, is not."""
    members = demo_members[sorted(demo_members)[0]]
    train, other = b'{"split": "train"}', b'{"split": "other"}'
    (tmp_path / "s").mkdir()
    with tarfile.open(tmp_path / "s" / "x.tar", "w") as archive:
        for key, metadata, linked in (
            ("good", train, ""),
            ("linked-metadata", train, "json"),
            ("linked-map", train, "seg.png"),
            ("linked-map-of-another", other, "seg.png"),
            ("linked-map-without-metadata", None, "seg.png"),
        ):
            for name, content in {**members, "json": metadata}.items():
                info = tarfile.TarInfo(f"{key}.{name}")
                info.type, info.linkname = (tarfile.LNKTYPE, "x") if name == linked else (tarfile.REGTYPE, "")
                info.size = len(content) if content is not None and name != linked else 0
                if content is not None:
                    archive.addfile(info, BytesIO(content))
    outcome = build(small_spec(tmp_path / "s", tmp_path / "out", source={"split": "train"}), use_ray=False)
    assert (outcome.index.planned, outcome.index.written, outcome.index.rejected) == (6, 2, 4)


@pytest.mark.slow
@pytest.mark.parametrize("damaged", ["json", "seg.png"])
def test_a_damaged_page_under_a_split(damaged: str, tmp_path: Path, demo_members: Members) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "s").mkdir()
    path = tmp_path / "s" / "x.parquet"
    members = demo_members[sorted(demo_members)[0]]
    rows = [
        {"__key__": f"k{n}", **members, "json": json.dumps({"split": "train" if n % 2 else "other"}).encode()}
        for n in range(4)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2, compression="none", use_dictionary=False)
    group = pq.ParquetFile(path).metadata.row_group(0)
    (column,) = (i for i in range(group.num_columns) if group.column(i).path_in_schema == damaged)
    data, at = bytearray(path.read_bytes()), group.column(column).data_page_offset
    data[at : at + 20] = b"\xff" * 20
    path.write_bytes(bytes(data))
    outcome = build(small_spec(tmp_path / "s", tmp_path / "out", source={"split": "train"}), use_ray=False)
    rejected = 4 if damaged == "json" else 2
    assert (outcome.index.written, outcome.index.rejected) == (2, rejected), "two of unknown split, or one of train"


@pytest.mark.integration
def test_a_damaged_record_of_another_split_is_nobodys(tmp_path: Path, demo_members: Members) -> None:
    """It was never planned, so it is neither written nor rejected, and the sums still add up."""
    keys = sorted(demo_members)[:2]
    records = {key: dict(demo_members[key]) for key in keys}
    records[keys[0]]["json"], records[keys[1]]["json"] = b'{"split": "train"}', b'{"split": "other"}'
    del records[keys[1]]["light.png"]
    write_tar(tmp_path / "s" / "x.tar", records)
    outcome = build(small_spec(tmp_path / "s", tmp_path / "out", source={"split": "train"}), use_ray=False)
    assert (outcome.index.planned, outcome.index.written, outcome.index.rejected) == (2, 2, 0)


def test_another_bundle_than_planned_is_refused(small_source: Path, tmp_path: Path) -> None:
    plan = replace(make_plan(small_spec(small_source, tmp_path)), bundle_digest="0" * 64)
    with pytest.raises(BuildError) as caught:
        load_planned_generator(plan)
    assert caught.value.file == "bundle miniature"
    assert "0" * 64 in caught.value.expected


@pytest.mark.slow
def test_chosen_loras_and_words_decide_the_pictures(tmp_path: Path, demo_members: Members, miniature: Bundle) -> None:
    key = sorted(demo_members)[0]
    write_tar(tmp_path / "s" / "x.tar", {key: demo_members[key]})
    bundle = Path(shutil.copytree(find_bundle("miniature"), tmp_path / "bundle"))
    write_tensors(kohya_lora(miniature), bundle / "loras" / "look" / "lora.safetensors")
    write_tensors({"emb_params": torch.ones(2, 128)}, bundle / "embeddings" / "smile.safetensors")

    def pictures(prompt: str = "a photo of teeth", **model: object) -> list[bytes]:
        sections: dict[str, dict[str, object]] = {
            "model": {"bundle": str(bundle), **model},
            "sampling": {"prompt": prompt},
        }
        shard, record, _ = made(tmp_path / "s", tmp_path, **sections)
        assert record.rejected == 0
        return [members["png"] for _, members in tar_samples(shard)]

    base = pictures()
    assert pictures(loras={"look": 0.0}) == base
    assert pictures(loras={"look": 0.5}) != base
    assert pictures(embeddings=["smile"]) == base
    assert pictures("a photo of <smile> teeth", embeddings=["smile"]) != pictures("a photo of <smile> teeth")


def test_a_split_is_a_part(small_source: Path, tmp_path: Path) -> None:
    whole = make_plan(small_spec(small_source, tmp_path)).planned
    keys = [key for s in list_shards(str(small_source)) for key in index_shard(s, with_metadata=False).keys]
    groups = ["-".join(key.split("-")[:2]) for key in keys]
    splits = [drawn_split(group) for group in groups]
    for split in set(splits):
        part = make_plan(small_spec(small_source, tmp_path, source={"split": split})).planned
        assert part == whole * splits.count(split) // len(splits)
    with pytest.raises(BuildError) as caught:
        make_plan(small_spec(small_source, tmp_path, source={"split": "nobody"}))
    assert caught.value.found == "no record of split 'nobody'"


def test_a_prompt_that_is_too_long_rejects_its_record(tmp_path: Path, demo_members: Members) -> None:
    key = sorted(demo_members)[0]
    write_tar(tmp_path / "s" / "x.tar", {key: {**demo_members[key], "json": b'{"prompt": "' + b"teeth " * 90 + b'"}'}})
    _, record, _ = made(tmp_path / "s", tmp_path)
    assert record.rejected == 2
    assert "at most 77" in record.samples[0].reason


@pytest.mark.integration
@pytest.mark.parametrize(
    "sections",
    [
        pytest.param({"sampling": {"scheduler": "lcm", "guidance_scale": 2.0}}, marks=pytest.mark.slow),
        {
            "sampling": {"scheduler": "ddim", "steps": 6, "prompt": "a photo of upper teeth"},
            "output": {"image_format": "jpg"},
        },
        {"model": {"adapters": {}}, "conditions": {"use": ["lighting"]}, "output": {"image_format": "webp"}},
    ],
)
def test_other_settings_build_and_verify(
    sections: dict[str, dict[str, object]], small_source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    merged = {**sections, "output": {"path": str(out), **sections.get("output", {})}}
    spec = small_spec(small_source, out, **merged)
    build(spec, use_ray=False)
    assert problems(out) == []


@pytest.mark.integration
def test_what_is_prepared_ahead_has_the_same_bytes_as_what_is_prepared_first(
    tmp_path: Path, demo_members: Members
) -> None:
    """Five records in groups of two, on another thread, and all of them in one list."""
    keys = sorted(demo_members)[:5]
    write_tar(tmp_path / "s" / "x.tar", {key: demo_members[key] for key in keys})
    plan = make_plan(
        small_spec(
            tmp_path / "s", tmp_path, pipeline={"samples_per_shard": 5}, engine={"slots": 4, "codec_batch": 2},
            sampling={"variants": 1, "steps": 2},
        )
    )  # fmt: skip
    generator, (shard,) = load_planned_generator(plan), list_shards(str(tmp_path / "s"))
    engine, taken = start_engine(generator), list[int]()
    assert [len(group) for group in record_groups(generator, [finding_record(f"{n}") for n in range(5)])] == [2, 2, 1]

    def first(canvases: Iterable[Canvas]) -> Mapping[str, Sampled]:
        whole = list(canvases)
        taken.append(len(whole))
        return engine.run(whole)

    ahead, before = (generate_unit(plan, generator, plan.units[0], shard, run) for run in (engine.run, first))
    assert taken == [5]
    assert ahead.shard == before.shard
    assert [sample.key for sample in ahead.record.samples] == [f"{key}-v000" for key in keys]


@pytest.mark.integration
def test_a_sample_that_cannot_be_prepared_is_rejected_alone(
    tmp_path: Path, demo_members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = sorted(demo_members)[:3]
    write_tar(tmp_path / "s" / "x.tar", {key: demo_members[key] for key in keys})
    options: dict[str, dict[str, object]] = {"pipeline": {"samples_per_shard": 6}}
    whole, _, _ = made(tmp_path / "s", tmp_path, **options)
    noise = CanvasFactory._noise

    def failing(factory: CanvasFactory, request: SampleRequest) -> Noise:
        if request.key == f"{keys[1]}-v001":
            raise ZeroDivisionError("planted")
        return noise(factory, request)

    monkeypatch.setattr(CanvasFactory, "_noise", failing)
    rest, record, _ = made(tmp_path / "s", tmp_path, **options)
    (rejected,) = (sample for sample in record.samples if sample.status == "rejected")
    assert rejected.key == f"{keys[1]}-v001"
    assert "ZeroDivisionError" in rejected.reason
    expected = {key: members["png"] for key, members in tar_samples(whole) if key != rejected.key}
    assert {key: members["png"] for key, members in tar_samples(rest)} == expected


def test_a_device_without_memory_rejects_no_sample(
    tmp_path: Path, demo_members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does any other error that is not a sample's own; the thread that prepares has ended."""
    write_tar(tmp_path / "s" / "x.tar", {key: demo_members[key] for key in sorted(demo_members)[:2]})

    def failing(factory: CanvasFactory, requests: object) -> list[Canvas]:
        raise EngineError("planted")

    monkeypatch.setattr(CanvasFactory, "canvases", failing)
    with pytest.raises(EngineError):
        made(tmp_path / "s", tmp_path)
    assert not any(thread.name.startswith("dentgen-preparer") for thread in threading.enumerate())


def test_painted_regions_travel_and_samples_are_records_again(tmp_path: Path, demo_members: Members) -> None:
    """Two regions; one of the records has none, another one more than there may be."""
    keys, regions = sorted(demo_members)[:3], (region(band(128)), region(band(128, 0.25, 1.0), "teeth", WHITE))
    records = {
        keys[0]: with_painted(demo_members[keys[0]], regions),
        keys[1]: demo_members[keys[1]],
        keys[2]: with_painted(demo_members[keys[2]], [region(band(128), str(n)) for n in range(3)]),
    }
    source = tmp_path / "s"
    write_tar(source / "x.tar", records)
    options: dict[str, dict[str, object]] = {"pipeline": {"samples_per_shard": 6}, "sampling": {"variants": 1}}
    shard, ledger, _ = made(source, tmp_path, regions={"painted": 2}, **options)
    (rejected,) = (sample for sample in ledger.samples if sample.status == "rejected")
    assert (ledger.written, rejected.source_key) == (2, keys[2])
    assert all(fact in rejected.reason for fact in ("painted", "3 regions", "at most 2"))
    painted, plain = (members for _, members in tar_samples(shard))
    assert json.loads(plain["json"])["painted"] == []
    assert not np.asarray(Image.open(BytesIO(plain["painted.png"]))).any()
    raw = RawRecord("k", "x", {name: content for name, content in painted.items() if name != "png"}, is_sample=True)
    again = decode_record(raw, ("segmentation",), with_painted=True).painted
    assert painted_entries(again) == painted_entries(regions)
    assert [each.mask.tolist() for each in again] == [band(64).tolist(), band(64, 0.25, 1.0).tolist()]


@pytest.mark.integration
def test_painted_regions_that_are_not_asked_for_change_nothing(tmp_path: Path, demo_members: Members) -> None:
    """Not even where they are damaged; members and bytes are those of records without them."""
    key = min(demo_members)
    painted = {**with_painted(demo_members[key], [region(band(128))]), "painted.png": b"torn"}
    write_tar(tmp_path / "plain" / "x.tar", {key: demo_members[key]})
    write_tar(tmp_path / "painted" / "x.tar", {key: painted})
    (plain, _, _), (ignored, ledger, _) = (made(tmp_path / name, tmp_path) for name in ("plain", "painted"))
    assert ledger.rejected == 0
    assert ignored == plain


@pytest.mark.integration
def test_empty_regions_leave_the_bytes_of_pictures(tmp_path: Path, demo_members: Members) -> None:
    """A region of no strength, and rows for regions that no record has."""
    key = min(demo_members)
    weak = with_painted(demo_members[key], [region(band(128), strength=0.0)])
    write_tar(tmp_path / "plain" / "x.tar", {key: demo_members[key]})
    write_tar(tmp_path / "weak" / "x.tar", {key: weak})
    slots: dict[str, object] = {"control_slots": 4}  # otherwise as many as rows for regions need
    shards = [
        made(tmp_path / name, tmp_path, regions={"painted": most}, engine=slots)[0]
        for name, most in (("plain", 0), ("plain", 2), ("weak", 2))
    ]
    first, *others = ([members["png"] for _, members in tar_samples(shard)] for shard in shards)
    assert others == [first, first]
