"""The build report: what stands on the page, that it adds up, and that nothing can be loaded or injected."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from dentgen import storage
from dentgen.documents import LedgerRecord, SampleStatus, Unit, UnitTiming
from dentgen.errors import StorageError
from dentgen.pipeline.run import build
from dentgen.report.html import pictures, tally
from dentgen.report.html.formatting import byte_size, duration, share, shortened
from dentgen.report.html.page import write_report
from dentgen.report.html.pick_records import ChosenRecord, ChosenSample, choose_records
from dentgen.report.html.pictures import embed_records
from dentgen.report.html.rejects import RejectGroups, generalised
from dentgen.report.html.speed import UnitSpan, measure_speed
from dentgen.report.html.speed_chart import draw_speed
from dentgen.report.html.tally import Tally
from dentgen.shards.index import read_index, seal
from dentgen.shards.ledger import digest_of, ledger_url, shard_url
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import read_plan
from dentgen.shards.tar import json_bytes, png_bytes, tar_bytes
from dentgen.spec.build import BuildSpec
from tests.conftest import small_spec

START = 1_800_000_000.0
VIEWS = ("frontal", "left", "right")
HOSTILE = "<script>alert(1)</script>\"><img src=https://evil.example/x onerror=alert(2)>, teeth'"


def written(number: int, *, variants: int = 2, **fields: Any) -> list[SampleStatus]:
    """Samples of one usable record."""
    key = f"jaw-{number:03d}"
    values: dict[str, Any] = {
        "group": f"patient-{number // 3}",
        "split": "train" if number % 4 else "validation",
        "prompt": f"a photo of teeth, {VIEWS[number % 3]} view",
        "attributes": {"view": VIEWS[number % 3]},
        "teeth": (11, 21, 36),
        "light_level": 100 + number,
        **fields,
    }
    return [
        SampleStatus(key=f"{key}-v{v:03d}", source_key=key, variant=v, status="written", **values)
        for v in range(variants)
    ]


def rejected(number: int, reason: str, *, variants: int = 2) -> list[SampleStatus]:
    """Samples of one record that could not be used."""
    key = f"bad-{number:03d}"
    return [
        SampleStatus(key=f"{key}-v{v:03d}", source_key=key, variant=v, status="rejected", reason=reason)
        for v in range(variants)
    ]


def members(sample: SampleStatus, size: int = 16) -> dict[str, bytes]:
    noise = np.random.default_rng(len(sample.key)).integers(0, 255, (size, size, 3), np.uint8)
    seg = np.zeros((size, size), np.uint8)
    seg[4:8], seg[8:12] = 1, 2
    metadata = sample.model_dump(mode="json", include={"source_key", "group", "variant", "prompt", "attributes"})
    return {
        "png": png_bytes(noise),
        "seg.png": png_bytes(seg),
        "light.png": png_bytes(noise[..., 0].copy()),
        "json": json_bytes(metadata),
    }


def fake_build(out: Path, units: Sequence[list[SampleStatus]], timings: Sequence[UnitTiming | None] = ()) -> Plan:
    """A sealed build without a model: shards, ledger and index as a real one writes them."""
    spec = BuildSpec.model_validate({"output": {"path": str(out)}, "sampling": {"variants": 2}})
    plan = Plan(
        segment=0,
        spec=spec.model_dump(mode="json"),
        spec_digest="5" * 64,
        bundle_digest="b" * 64,
        environment={"dentgen": "0.1.0", "device": "cpu"},
        units=tuple(
            Unit(id=n, shard="a.tar", start=0, stop=1, records=len(samples) // 2, shard_bytes=1)
            for n, samples in enumerate(units)
        ),
    )
    for number, (unit, samples) in enumerate(zip(plan.units, units, strict=True)):
        good = [sample for sample in samples if sample.status == "written"]
        shard = tar_bytes((sample.key, members(sample)) for sample in good) if good else b""
        record = LedgerRecord(
            unit=unit.id,
            spec_digest=plan.spec_digest,
            bundle_digest=plan.bundle_digest,
            shard=f"{unit.name}.tar" if shard else "",
            bytes=len(shard),
            sha256=digest_of(shard),
            samples=tuple(samples),
            timing=timings[number] if timings else None,
        )
        if shard:
            storage.put_if_absent(shard_url(str(out), unit), shard)
        storage.put_if_absent(ledger_url(str(out), unit.name), json_bytes(record.model_dump(mode="json")))
    seal(str(out), plan)
    return plan


@dataclass
class Table:
    """A table of the page: its caption and the texts of its rows."""

    caption: str = ""
    rows: list[list[str]] = field(default_factory=list)


class Page(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.tables: list[Table] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in {"meta", "img", "link", "br"}:
            self._open.append(tag)
        if tag == "table":
            self.tables.append(Table())
        elif tag == "tr":
            self.tables[-1].rows.append([])
        elif tag in {"td", "th"}:
            self.tables[-1].rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.raw:
            self.raw[self._open[-1]].append(data)
            return
        self.text += data
        if "caption" in self._open:
            self.tables[-1].caption += data
        elif {"td", "th"} & set(self._open):
            self.tables[-1].rows[-1][-1] += data

    def table(self, caption: str) -> Table:
        return next(table for table in self.tables if table.caption.strip().startswith(caption))

    def resources(self) -> list[str]:
        """Everything that a browser would load or follow."""
        names = {"src", "href", "srcset", "poster", "data", "action", "xlink:href", "background"}
        found = [value for _, attrs in self.tags for name, value in attrs.items() if name in names]
        css = [*self.raw["style"], *(attrs.get("style", "") for _, attrs in self.tags)]
        return found + [url for text in css for url in re.findall(r"url\(([^)]*)\)|@import\s+(\S+)", text)]


def report_of(out: Path, plan: Plan) -> Page:
    url = write_report(str(out), plan)
    assert url == f"{out}/report.html"
    return Page(Path(url).read_text())


def samples_in(table: Table) -> int:
    """Sum of a bar list's counts."""
    return sum(int(row[-1].split()[0].replace(",", "")) for row in table.rows if row[-1].split()[0].isdigit())


def test_a_real_build_has_a_report_that_loads_nothing(small_source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(small_spec(small_source, out), use_ray=False)
    page = report_of(out, read_plan(str(out)))
    assert "10 samples written, 0 rejected of 10 planned; 3 shards" in page.text
    images = [attrs for tag, attrs in page.tags if tag == "img" and "src" in attrs]
    assert len(images) == 5 * (2 + 2), "five records: two conditions, two variants"
    assert all(attrs["alt"] for attrs in images)
    assert all(url.startswith(("data:image/", "#")) for url in page.resources())
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    assert samples_in(page.table("View")) == 10
    assert [row[0] for row in page.table("Shards").rows[1:]] == [
        f"{shard.name} {shard.sha256}" for shard in read_index(str(out)).shards
    ]


def test_only_the_page_s_own_script_may_run(tmp_path: Path) -> None:
    page = report_of(tmp_path, fake_build(tmp_path, [written(0)]))
    (script,) = page.raw["script"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}';" in policy


def test_numbers_add_up_to_the_index(tmp_path: Path) -> None:
    units = [
        [*written(0), *written(1), *rejected(2, "a.tar: x: found 1, expected 2")],
        [*written(3), *written(4, attributes={}, light_level=None), *written(5, prompt="")],
    ]
    page = report_of(tmp_path, fake_build(tmp_path, units))
    index = read_index(str(tmp_path))
    assert (index.written, index.rejected) == (10, 2)
    assert "10 samples written, 2 rejected of 12 planned" in page.text
    for caption in ("View", "Split", "Mean lighting level", "Most frequent prompts"):
        assert samples_in(page.table(caption)) == index.written, caption
    assert "Shade" not in page.text, "empty everywhere"
    assert ["not named", "", "2 20 %"] in [[cell.strip() for cell in row] for row in page.table("View").rows]
    chart = page.table("Teeth").rows
    assert [cell[:2] for cell in chart[0] if cell] == [str(n) for n in (*range(18, 10, -1), *range(21, 29))]
    assert [cell[:2] for cell in chart[1] if cell] == [str(n) for n in (*range(48, 40, -1), *range(31, 39))]
    assert [cell for row in chart for cell in row if cell.endswith("100")] == ["11100", "21100", "36100"]
    assert "Deciduous" not in page.text
    assert "16.7 % of the samples were rejected" in page.text
    assert ("p", {"class": "status attention"}) in page.tags
    shards = page.table("Shards").rows[1:]
    assert sum(int(row[1]) for row in shards) == index.written


def test_milk_teeth_have_a_chart_of_their_own(tmp_path: Path) -> None:
    page = report_of(tmp_path, fake_build(tmp_path, [written(0, teeth=(55, 71))]))
    rows = page.table("Deciduous teeth").rows
    assert [cell[:2] for cell in rows[0] if cell] == ["55", "54", "53", "52", "51", "61", "62", "63", "64", "65"]


def test_text_of_a_source_stays_text(tmp_path: Path) -> None:
    hostile = written(0, prompt=HOSTILE, group=HOSTILE, split=HOSTILE, attributes={"view": HOSTILE, "gum": HOSTILE})
    units = [[*hostile, *rejected(1, f"{HOSTILE}: found {HOSTILE}, expected a map")]]
    timing = UnitTiming(started=START, seconds=1.0, worker=HOSTILE)
    page = report_of(tmp_path, fake_build(tmp_path, units, [timing]))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert all(url.startswith(("data:image/", "#")) for url in page.resources())
    assert page.text.count(HOSTILE) >= 6, "shown as it is written, wherever it belongs"


def test_a_long_text_does_not_fill_the_page(tmp_path: Path) -> None:
    long = written(0, prompt="x" * 500_000, attributes={"view": "y" * 500_000})
    write_report(str(tmp_path), fake_build(tmp_path, [long]))
    assert (tmp_path / "report.html").stat().st_size < 100_000


def test_secrets_of_a_url_are_not_shown(tmp_path: Path) -> None:
    plan = fake_build(tmp_path, [written(0)])
    spec = {**plan.spec, "source": {"path": "s3://bucket/set?X-Amz-Signature=hunter2"}}
    page = report_of(tmp_path, plan.model_copy(update={"spec": spec}))
    assert "s3://bucket/set" in page.text
    assert "hunter2" not in Path(tmp_path / "report.html").read_text()


def test_rejects_are_grouped_with_examples(tmp_path: Path) -> None:
    damaged = [
        sample
        for n in range(5)
        for sample in rejected(n, f"a.tar: bad-{n}.seg.png: found class values [{n + 6}], expected only [0, 1]")
    ]
    other = rejected(9, "prompt 'a: b': found 99 tokens, expected at most 77")
    page = report_of(tmp_path, fake_build(tmp_path, [[*written(0), *damaged, *other]]))
    assert "found class values [N], expected only [0, 1]" in page.text
    assert "10 samples, 83.3 % of the rejected ones" in page.text
    assert "found N tokens, expected at most 77" in page.text
    examples = re.findall(r"a\.tar: bad-\d\.seg\.png: found class values \[\d+\], expected only \[0, 1\]", page.text)
    assert len(examples) == 3


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("a.tar: k: found 3 x 5 pixels, expected at most 99 in all", "found N x N pixels, expected at most 99 in all"),
        (
            "k: found members ['json', 'seg.png'], expected a member 'x'",
            "found members ['…', …], expected a member 'x'",
        ),
        ("k: found sizes {'seg': (8, 9), 'fdi': (7, 8)}, expected one", "found sizes {'…': (N, …), …}, expected one"),
        ("k: found <Bytes at 0x7fA1>, expected a whole PNG", "found <Bytes at N>, expected a whole PNG"),
        ("k-v000: sampling gave values that are not finite", "sampling gave values that are not finite"),
        ("a.tar: cannot be read: error 5", "cannot be read: error N"),
        ("something odd", "something odd"),
        ("x: found only this", "found only this"),
        ("", "no reason given"),
    ],
)
def test_kinds_of_reasons(reason: str, kind: str) -> None:
    assert generalised(reason) == kind


def test_made_up_reasons_do_not_grow_for_ever() -> None:
    groups = RejectGroups()
    words = [f"k: word{chr(97 + n % 26)}{chr(97 + n // 26 % 26)} is wrong" for n in range(26 * 26)]
    groups.add(pa.array(words))
    ranked = groups.ranked()
    assert len(ranked) == 501
    assert (ranked[0].reason, ranked[0].samples, len(ranked[0].examples)) == ("other reasons", 176, 3)
    assert sum(group.samples for group in ranked) == 676


def test_a_build_of_which_everything_was_rejected(tmp_path: Path) -> None:
    reason = "a.tar: found bytes that are no tar, expected a whole, uncompressed tar"
    timing = UnitTiming(started=START, seconds=0.0, worker="vm:1")
    page = report_of(tmp_path, fake_build(tmp_path, [rejected(0, reason), rejected(1, reason)], [timing, timing]))
    assert "0 samples written, 4 rejected of 4 planned; 0 shards, 0 bytes" in page.text
    assert ("p", {"class": "status attention"}) in page.tags
    assert "100 % of the samples were rejected" in page.text
    for sentence in ("No picture was written.", "nothing to count", "4 samples, 100 %", "No shard was written."):
        assert sentence in page.text


def test_a_clock_that_was_set_back_does_not_end_the_report(tmp_path: Path) -> None:
    timing = UnitTiming(started=START, seconds=-3.0, committed=START - 3600, worker="vm:1")
    page = report_of(tmp_path, fake_build(tmp_path, [written(0)], [timing]))
    assert "2 samples written" in page.text


def test_a_source_that_says_nothing(tmp_path: Path) -> None:
    bare: dict[str, Any] = {"group": "", "split": "", "prompt": "", "attributes": {}, "teeth": (), "light_level": None}
    page = report_of(tmp_path, fake_build(tmp_path, [written(0, **bare)]))
    assert "no sample has an FDI map" in page.text
    assert "The ledger holds no times." in page.text
    assert "Nothing was rejected." in page.text
    assert "split=" not in page.text
    assert {"View", "Split", "Mean lighting level"}.isdisjoint(table.caption.strip() for table in page.tables)


def test_the_same_build_gives_the_same_page(tmp_path: Path) -> None:
    timing = UnitTiming(started=START, seconds=2.0, worker="vm:1")
    plan = fake_build(tmp_path, [written(0), written(1)], [timing, None])
    write_report(str(tmp_path), plan)
    first = (tmp_path / "report.html").read_bytes()
    page = report_of(tmp_path, plan)
    assert (tmp_path / "report.html").read_bytes() == first
    assert "1 unit without a time" in page.text


def test_a_build_that_was_not_sealed_has_no_report(tmp_path: Path) -> None:
    plan = fake_build(tmp_path, [written(0)])
    (tmp_path / "index.json").unlink()
    with pytest.raises(StorageError, match=r"index\.json"):
        write_report(str(tmp_path), plan)


def test_a_resumed_build_tells_its_pause(tmp_path: Path) -> None:
    timings = [
        UnitTiming(started=START, seconds=10.0, committed=START + 10.5, worker="vm:1"),
        UnitTiming(started=START + 3 * 86400, seconds=20.0, committed=START + 3 * 86400 + 20, worker="vm:2"),
    ]
    page = report_of(tmp_path, fake_build(tmp_path, [written(0), written(1)], timings))
    assert "1 pause of more than 5 min, 2 d 23 h in all, is cut out" in page.text
    runs = page.table("Runs").rows[1:]
    assert [row[1:3] for row in runs] == [["10 s", "2"], ["20 s", "2"]]
    assert "after a pause of 2 d 23 h" in runs[1][0]
    assert [row[0] for row in page.table("Workers").rows[1:]] == ["vm:1", "vm:2"]


def test_speed_counts_every_sample_once() -> None:
    spans = [UnitSpan(f"w{n % 2}", START + 7 * n, START + 7 * n + 10, 5) for n in range(30)]
    spans += [UnitSpan("w0", START + 5000 + n, START + 5001 + n, 4) for n in range(10)]
    speed = measure_speed(spans[::-1])
    assert [(run.units, run.samples) for run in speed.runs] == [(30, 150), (10, 40)]
    assert (speed.wall, speed.working) == (5010.0, 213.0 + 10.0)
    for run, curve in zip(speed.runs, speed.curves, strict=True):
        steps = [rate for _, rate in curve[1:-1]]
        assert sum(steps) * run.seconds / len(steps) == pytest.approx(run.samples)
    assert speed.curves[1][0][0] == pytest.approx(213.0), "the pause is cut out"
    first, second = speed.workers
    assert (first.worker, first.units, first.samples) == ("w0", 25, 115)
    assert first.busy == pytest.approx(15 * 10 + 10), "fourteen seconds apart, ten seconds each; then one after another"
    assert (second.units, second.busy) == (15, 150.0)


def test_the_chart_is_bare_svg_in_two_shapes() -> None:
    charts = draw_speed(measure_speed([UnitSpan("w", START, START + 10, 5)]))
    assert charts.keys() == {"wide", "narrow"}
    for svg in charts.values():
        assert re.match(r'<svg [^>]*viewBox="0 0 \d+ \d+"', svg)
        assert not re.search(r"<script|<style|<!--|href", svg)


def test_records_are_spread_over_shards_and_views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    units = [[sample for n in range(4) for sample in written(4 * unit + n)] for unit in range(20)]
    fake_build(tmp_path, units)
    index = read_index(str(tmp_path))
    read: list[str] = []

    def read_bytes(url: str) -> bytes:
        read.append(url)
        return Path(url).read_bytes()

    monkeypatch.setattr(storage, "read_bytes", read_bytes)
    chosen = choose_records(str(tmp_path), index)
    assert len(read) == 8
    assert (read[0][-10:], read[-1][-10:]) == ("000000.tar", "000019.tar")
    assert len(chosen) == 24
    assert {view: [record.view for record in chosen].count(view) for view in VIEWS} == dict.fromkeys(VIEWS, 8)
    assert len({record.group for record in chosen}) > 12
    assert [record.key for record in choose_records(str(tmp_path), index)] == [record.key for record in chosen]


def chosen_record(content: dict[str, bytes]) -> ChosenRecord:
    return ChosenRecord("k", "frontal", "g", (ChosenSample("k-v000", "variant 0", "teeth", content),))


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_small_pictures_come_as_they_are_and_large_ones_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    (sample,) = written(0, variants=1)
    small, large = members(sample, 64), members(sample, 512)
    (record,) = embed_records([chosen_record(small)], ["segmentation", "lighting"])
    assert record.variants[0].uri == "data:image/png;base64," + base64.b64encode(small["png"]).decode()
    assert [picture.name for picture in record.conditions] == ["segmentation", "lighting"]
    monkeypatch.setattr(pictures, "PICTURE_BUDGET", 60_000)
    (record,) = embed_records([chosen_record(large)], ["segmentation", "lighting"])
    assert record.variants[0].uri.startswith("data:image/webp;")
    assert all(max(opened(picture.uri).size) <= 256 for picture in (*record.conditions, *record.variants))
    assert sum(len(picture.uri) for picture in (*record.conditions, *record.variants)) < 90_000
    colours = opened(record.conditions[0].uri).convert("RGB").getcolors()
    assert {colour for _, colour in colours or ()} == {(59, 59, 59), (202, 71, 47), (198, 193, 119)}


def test_every_condition_can_be_seen() -> None:
    (sample,) = written(0, variants=1)
    content = members(sample)
    content["depth.png"] = png_bytes(np.full((16, 16), 0xC0FF, np.uint16))
    content["normal.png"] = content["png"]
    content["seg.png"] = png_bytes(np.full((16, 16), 255, np.uint8))
    (record,) = embed_records([chosen_record(content)], ["depth", "normal"])
    assert [picture.name for picture in record.conditions] == ["lighting", "normal", "depth"], (
        "no segmentation is known"
    )
    assert np.abs(np.asarray(opened(record.conditions[2].uri)).astype(int) - 0xC0).max() <= 2


def test_counting_stays_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MOST_TEXTS", 100)
    counts = Tally()
    for start in range(0, 1000, 50):
        counts.add(pa.array(["often"] * 20 + [f"once {n}" for n in range(start, start + 50)] + [None]))
    assert len(counts.counts) <= 100
    shown = counts.distribution("Prompts", 1)
    assert (shown.counts[0].label, shown.counts[0].samples, shown.total) == ("often", 400, 1420)
    assert not shown.exact


def test_numbers_as_people_read_them() -> None:
    assert [byte_size(n) for n in (0, 999, 2_815_000, 10**13)] == ["0 bytes", "999 bytes", "2.81 MB", "10 TB"]
    assert [duration(s) for s in (0.04, 14.2, 59.7, 3600, 270_000)] == ["0 s", "14 s", "1 min", "1 h", "3 d 3 h"]
    assert [share(*pair) for pair in ((0, 5), (1, 3), (1, 10**6), (99_999, 100_000), (3, 3))] == [
        "0 %", "33.3 %", "< 0.1 %", "99.9 %", "100 %",
    ]  # fmt: skip
    assert shortened("abcdef", 3) == "abc ... (3 more characters)"
