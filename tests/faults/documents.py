"""The documents that dentgen reads: record metadata, plans, ledger records, indexes, source indexes, specs.

Valid ones, to be damaged, and hypothesis strategies for invalid ones.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hypothesis import strategies as st

from dentgen.conditions.readers.raw import ConditionShard, ShardIndex
from dentgen.documents.index import DatasetIndex, ShardEntry
from dentgen.documents.ledger import LedgerRecord, UnitTiming
from dentgen.documents.samples import SampleStatus
from dentgen.documents.units import Unit
from dentgen.pipeline.source_index import write_source_index
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import PlanHead, plan_head
from dentgen.shards.tar import json_bytes
from dentgen.shards.unit_table import UnitTable
from dentgen.spec.build import BuildSpec

_DIGEST = "0123456789abcdef" * 4
#: Nine aliases of nine aliases of nine ...: a few hundred bytes that expand to a billion values.
_ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
_HOSTILE_YAML = (
    "&a [*a]\n",
    "source: &a {path: *a}\n",
    _ALIASES,
    "sampling: {scheduler: &a {_class_name: DDIMScheduler, x: *a}}\n",
    "[" * 3000,
    "a: " * 50,
    "sampling: {steps: " + "9" * 5000 + "}\n",
    "conditions: {alpha: .nan}\n",
    "sampling: {guidance_scale: .inf}\n",
    "model: {adapters: {blended: .nan}}\n",
    "when: 2001-99-99\n",
    "when: 2001-01-01\n",
    "? [a, b]\n: c\n",
    "1: 2\n",
    "source: !!python/object/apply:os.system [ls]\n",
    "source: {path: \"\\ud800\"}\n",
    "source: {path: !!binary aGFsbG8=}\n",
    "- a\n- b\n",
    "--- {}\n--- {}\n",
    "<<: {source: 3}\n",
    "source: {limit: 0x7fffffffffffffffffff}\n",
    "sampling: {seed: 1e400}\n",
    "sampling: {scheduler: {_class_name: DDIMScheduler, at: 2001-01-01}}\n",
    "sampling: {scheduler_options: {1: 2, b: !!set {x}}}\n",
)  # fmt: skip


def plan() -> tuple[PlanHead, bytes]:
    """Head and units of a plan of three units."""
    spec = BuildSpec()
    units = UnitTable.of(
        Unit(
            id=n, shard="a.tar", start=4 * n, stop=4 * n + 4, records=4, shard_bytes=9000, first_byte=n, end_byte=n + 1
        )
        for n in range(3)
    )
    made = Plan(
        segment=0,
        spec=spec,
        spec_digest=spec.digest(),
        bundle_digest=_DIGEST,
        environment={"device": "cpu", "slots": "16"},
        units=units,
    )
    content = units.to_parquet()
    return PlanHead.model_validate_json(plan_head(made, content)), content


def ledger() -> LedgerRecord:
    """A commit record of a written and a rejected sample."""
    written = SampleStatus(key="r0-v000", source_key="r0", variant=0, status="written", teeth=(11, 12), light_level=80)
    rejected = SampleStatus(
        key="r1-v000", source_key="r1", variant=0, status="rejected", reason="a.tar: r1: no seg.png"
    )
    timing = UnitTiming(started=1.0, seconds=2.0, committed=3.0, worker="here:1")
    return LedgerRecord(
        unit=0, spec_digest=_DIGEST, bundle_digest=_DIGEST, shard="000000.tar", bytes=10240, sha256=_DIGEST,
        samples=(written, rejected), timing=timing,
    )  # fmt: skip


def index() -> DatasetIndex:
    """The index of two shards."""
    shards = tuple(ShardEntry(name=f"{n:06d}.tar", bytes=10240, sha256=_DIGEST, samples=4) for n in range(2))
    return DatasetIndex(
        version=0, spec_digest=_DIGEST, bundle_digest=_DIGEST, planned=9, written=8, rejected=1, shards=shards
    )


def source_index(folder: Path) -> bytes:
    """A source index of two shards, as a build keeps it."""
    shards = [ConditionShard(name, f"/{name}", "tar", 9000, "tag") for name in ("a.tar", "b.tar")]
    indexes = [ShardIndex((f"r{n}", f"s{n}"), ("train", None), (0, 512, 1024)) for n in range(2)]
    write_source_index(str(folder / "source.parquet"), shards, indexes)
    return (folder / "source.parquet").read_bytes()


def spec_text(rng: np.random.Generator) -> bytes:
    """A valid spec as YAML, a few sections of it, or a hostile one."""
    if rng.random() < 0.25:
        return _HOSTILE_YAML[int(rng.integers(len(_HOSTILE_YAML)))].encode()
    sections = BuildSpec().model_dump(mode="json")
    kept = {name: section for name, section in sections.items() if rng.random() < 0.6}
    return yaml.safe_dump(kept, default_flow_style=bool(rng.random() < 0.5)).encode()


def json_text(document: Any) -> bytes:
    """A document as it is stored."""
    return json_bytes(document.model_dump(mode="json"))


_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["train", "0" * 64, "../../x.tar", "written", -1, 0, 1, 10**30, 1e308])
)  # fmt: skip
ANYTHING = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


@st.composite
def altered(draw: st.DrawFn, document: dict[str, Any]) -> dict[str, Any]:
    """A valid document with a few values, at any depth, replaced, removed or added."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        _alter(draw, copy)
    return copy


def _alter(draw: st.DrawFn, node: Any) -> None:
    """Descend to some value and change it."""
    while node:
        place = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else list(range(len(node)))))
        child = node[place]
        if isinstance(child, (dict, list)) and child and draw(st.booleans()):
            node = child
            continue
        match draw(st.integers(0, 3)):
            case 0:
                del node[place]
            case 1 if isinstance(node, dict):
                node[draw(st.text(max_size=8))] = draw(ANYTHING)
            case _:
                node[place] = draw(ANYTHING)
        return


def dumped(document: Any, *, allow_nan: bool = True) -> bytes:
    """JSON of anything; broken Unicode as escapes."""
    return json.dumps(document, allow_nan=allow_nan).encode()


def yaml_of(document: Any) -> bytes:
    """YAML of anything."""
    buffer = io.StringIO()
    yaml.safe_dump(document, buffer, allow_unicode=False)
    return buffer.getvalue().encode("utf-8", "surrogatepass")
