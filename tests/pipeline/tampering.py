"""What somebody may do to a sealed build of three units: every way is named, and mended from the best witness."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dentgen.documents.units import Unit
from dentgen.shards.plan_file import plan_head, read_plan
from dentgen.shards.tar import json_bytes
from dentgen.shards.unit_table import UnitTable

Tamper = Callable[[Path], object]


def _edited(name: str, change: Callable[[dict[str, Any]], object]) -> Tamper:
    def tamper(out: Path) -> None:
        content = json.loads((out / name).read_bytes())
        change(content)
        (out / name).write_bytes(json_bytes(content))

    return tamper


def _record(**changes: Any) -> Tamper:
    return _edited("ledger/000001.json", lambda record: record.update(changes))


def _status(**changes: Any) -> Tamper:
    return _edited("ledger/000001.json", lambda record: record["samples"][1].update(changes))


def _row(**changes: Any) -> Tamper:
    return _table(lambda rows: rows[2].update(changes))


def _table(change: Callable[[list[dict[str, Any]]], object]) -> Tamper:
    def tamper(out: Path) -> None:
        table = pq.read_table(out / "samples.parquet")
        rows = table.to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), out / "samples.parquet")

    return tamper


def _index(change: Callable[[dict[str, Any]], object], *names: str) -> Tamper:
    def tamper(out: Path) -> None:
        for name in names or ("index.json", "versions/0/index.json"):
            _edited(name, change)(out)

    return tamper


def _entry(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda index: index["shards"][1].update(changes)


def _rejected_all(record: dict[str, Any]) -> None:
    record.update(shard="", bytes=0, sha256="")
    for sample in record["samples"]:
        sample.update(status="rejected", reason="forged")


def _copied_record(out: Path) -> None:
    (out / "ledger" / "000001.json").write_bytes((out / "ledger" / "000000.json").read_bytes())


def _extra_record(out: Path) -> None:
    (out / "ledger" / "000003.json").write_bytes((out / "ledger" / "000000.json").read_bytes())


def _flipped(out: Path) -> None:
    shard = out / "shards" / "000001.tar"
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)


def _cut(out: Path) -> None:
    shard = out / "shards" / "000001.tar"
    shard.write_bytes(shard.read_bytes()[:-1024])


def _swapped(out: Path) -> None:
    one, other = out / "shards" / "000000.tar", out / "shards" / "000001.tar"
    first = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(first)


def _replaced_with_its_record(out: Path) -> None:
    """Shard and record of another unit, made to agree."""
    (out / "shards" / "000001.tar").write_bytes((out / "shards" / "000000.tar").read_bytes())
    other = json.loads((out / "ledger" / "000000.json").read_bytes())
    changes = {name: other[name] for name in ("bytes", "sha256", "samples")}
    _edited("ledger/000001.json", lambda record: record.update(changes))(out)


def _no_archive(out: Path) -> None:
    """A shard that is no archive, and a record that fits it."""
    (out / "shards" / "000001.tar").write_bytes(b"x")
    _record(bytes=1, sha256=hashlib.sha256(b"x").hexdigest())(out)


def _source_index(change: Callable[[list[dict[str, Any]]], object]) -> Tamper:
    def tamper(out: Path) -> None:
        table = pq.read_table(out / "plan" / "source.parquet")
        rows = table.to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), out / "plan" / "source.parquet")

    return tamper


def _plan_spec(section: str, **changes: Any) -> Tamper:
    return _edited("plan/000000.json", lambda head: head["spec"][section].update(changes))


def _exchanged_units(out: Path) -> None:
    """Another map from units to shards, with a head that names it."""
    plan = read_plan(str(out))
    first, second, third = (plan.units[number] for number in range(3))
    rows = [_over(first, second), _over(second, first), third]
    units = UnitTable.of(rows).to_parquet()
    (out / "plan" / "000000.units.parquet").write_bytes(units)
    (out / "plan" / "000000.json").write_bytes(plan_head(plan, units))


def _over(unit: Unit, other: Unit) -> Unit:
    """A unit over the records of another."""
    return replace(unit, start=other.start, stop=other.stop, first_byte=other.first_byte, end_byte=other.end_byte)


def _text(name: str, content: str) -> Tamper:
    return lambda out: (out / name).write_text(content)


#: What is done, and the file that must be named.
TAMPERINGS: dict[str, tuple[Tamper, str]] = {
    "ledger record deleted": (lambda out: (out / "ledger/000001.json").unlink(), "ledger/000001.json"),
    "ledger record of another unit": (_copied_record, "ledger/000001.json"),
    "ledger without a shard": (_record(shard=""), "ledger/000001.json"),
    "ledger with a shard elsewhere": (_record(shard="../../x"), "ledger/000001.json"),
    "ledger with all samples rejected": (_edited("ledger/000001.json", _rejected_all), "ledger/000001.json"),
    "ledger with other bytes": (_edited("ledger/000001.json", lambda r: r.update(bytes=r["bytes"] + 1)),
                                "shards/000001.tar"),
    "ledger with another hash": (_record(sha256="0" * 64), "shards/000001.tar"),
    "ledger with another source": (_record(source_sha256="0" * 64), "ledger/000001.json"),
    "ledger with a sample less": (_edited("ledger/000001.json", lambda r: r["samples"].pop()), "ledger/000001.json"),
    "ledger with another split": (_status(split="forged"), "shards/000001.tar"),
    "ledger with another group": (_status(group="forged"), "shards/000001.tar"),
    "ledger with another prompt": (_status(prompt="forged"), "shards/000001.tar"),
    "ledger with another licence": (_status(source_license="forged"), "shards/000001.tar"),
    "ledger with an absurd light": (_status(light_level=10**30), "ledger/000001.json"),
    "ledger with an absurd tooth": (_status(teeth=[-1]), "ledger/000001.json"),
    "ledger with a warning of a rejected sample": (
        _edited("ledger/000002.json", lambda r: r["samples"][-1].update(warnings=["forged"])), "ledger/000002.json"),
    "ledger with another light": (_status(light_level=3), "shards/000001.tar"),
    "ledger with another reason": (_edited("ledger/000002.json", lambda r: r["samples"][-1].update(reason="forged")),
                                   "ledger/000002.json"),
    "an extra ledger record": (_extra_record, "ledger/000003.json"),
    "table with another key": (_row(key="forged"), "samples.parquet"),
    "table with another split": (_row(split="forged"), "samples.parquet"),
    "table with another licence": (_row(source_license="forged"), "samples.parquet"),
    "table with another prompt": (_row(prompt="forged"), "samples.parquet"),
    "table with other teeth": (_row(teeth=[48]), "samples.parquet"),
    "table with another seed": (_row(seed=77), "samples.parquet"),
    "table with rows exchanged": (_table(lambda rows: rows.insert(0, rows.pop(1))), "samples.parquet"),
    "table with a row less": (_table(lambda rows: rows.pop(2)), "samples.parquet"),
    "table with a row more": (_table(lambda rows: rows.append(rows[-1])), "samples.parquet"),
    "table that is none": (_text("samples.parquet", "PAR1"), "samples.parquet"),
    **{
        f"{what} in {where}": (_index(change, *names), names[0])
        for where, names in (("the index", ("index.json",)), ("both indexes", ("index.json", "versions/0/index.json")))
        for what, change in {
            "another hash": _entry(sha256="0" * 64),
            "other bytes": _entry(bytes=1),
            "another name": _entry(name="000007.tar"),
            "a name elsewhere": _entry(name="../../x.tar"),
            "a shard less": lambda index: index["shards"].pop(1),
            "another count": lambda index: index.update(written=index["written"] + 1),
            "another plan": lambda index: index.update(plan_sha256="0" * 64),
        }.items()
    },
    "plan that is no JSON": (_text("plan/000000.json", "{"), "plan/000000.json"),
    "plan with another seed": (_plan_spec("sampling", seed=77), "plan/000000.json"),
    "plan with another prompt": (_plan_spec("sampling", prompt="forged"), "plan/000000.json"),
    "plan with another bundle": (_edited("plan/000000.json", lambda h: h.update(bundle_digest="0" * 64)),
                                 "plan/000000.json"),
    "plan with units exchanged": (_exchanged_units, "plan/000000.json"),
    "a copy of the plan with another seed": (
        _edited("versions/0/plan.json", lambda head: head["spec"]["sampling"].update(seed=77)), "versions/0/plan.json"),
    "a copy of the plan that is none": (_text("versions/0/plan.json", "{"), "versions/0/plan.json"),
    "units that are none": (_text("plan/000000.units.parquet", "PAR1"), "plan/000000.json"),
    "source index that is none": (_text("plan/source.parquet", "PAR1"), "plan/source.parquet"),
    "source index with a key twice": (
        _source_index(lambda rows: rows[0]["keys"].__setitem__(1, rows[0]["keys"][0])), "plan/source.parquet"),
    "source index with another offset": (_source_index(lambda rows: rows[0]["offsets"].__setitem__(2, 1)),
                                         "plan/source.parquet"),
    "source index without a key": (_source_index(lambda rows: rows[0]["keys"].__setitem__(0, None)),
                                   "plan/source.parquet"),
    "a shard that is no archive with its record": (_no_archive, "shards/000001.tar"),
    "a bit flipped": (_flipped, "shards/000001.tar"),
    "a shard cut off": (_cut, "shards/000001.tar"),
    "shards exchanged": (_swapped, "shards/000001.tar"),
    "a shard deleted": (lambda out: (out / "shards/000001.tar").unlink(), "shards/000001.tar"),
    "a shard replaced with its record": (_replaced_with_its_record, "ledger/000001.json"),
    "not sealed": (lambda out: (out / "_SUCCESS").unlink(), "_SUCCESS"),
}  # fmt: skip
#: Leases that nobody wrote.
LEASES = {
    "no JSON": "{", "a negative process": '{"process": -1}', "an absurd process": '{"process": 1e30}',
    "an absurd time": '{"seconds": 1e300}',
}  # fmt: skip
