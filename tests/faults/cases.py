"""From a seed to inputs: each seed generates inputs, damages them, and checks the readers against the laws."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from dentgen.conditions.readers.raw import split_member
from dentgen.seeding import numpy_generator
from dentgen.spec.build import BuildSpec
from tests.faults import documents, laws
from tests.faults.damage import damaged
from tests.faults.pictures import Pixels, map_pixels, map_png, strange_png
from tests.faults.records import MAPS, folder_of, metadata, parquet_of, records, tar_of

#: Inputs that hypothesis generates for one seed.
_EXAMPLES = 12
#: Damage that may turn one valid PNG into another.
_MAY_FIT = {"splice", "fitting length", "delete", "repeat"}

Case = Callable[[np.random.Generator, Path], int]


def run_seed(seed: int) -> int:
    """Generate and check the inputs of a seed; returns their number.

    Raises:
        LawBrokenError: If a law does not hold; any other exception is a finding too.
    """
    name = name_of_case(seed)
    with tempfile.TemporaryDirectory(prefix="dentgen-fuzz-") as folder:
        return CASES[name](numpy_generator(seed, "fuzz", name), Path(folder))


def name_of_case(seed: int) -> str:
    """The kind of input of a seed; kinds take turns."""
    return _TURNS[seed % len(_TURNS)]


def _map(rng: np.random.Generator, _: Path) -> int:
    member = str(rng.choice([*MAPS, "photo"]))
    side = (int(rng.integers(1, 40)), int(rng.integers(1, 40)))
    truth: Pixels | None = map_pixels(rng, member, side)
    data = map_png(rng, truth, labels=member in {"seg", "fdi"}) if truth is not None else b""
    laws.check_map(member, data, truth)
    way, bad = damaged(rng, data, map_png(rng, map_pixels(rng, member, side)))
    laws.check_map(member, bad, None if way in _MAY_FIT else truth)
    laws.check_map(member, strange_png(rng, side), None)
    return 3


def _tar(rng: np.random.Generator, folder: Path) -> int:
    wrong = bool(rng.random() < 0.5)
    content = records(rng, wrong=wrong)
    data = tar_of(rng, content, wrong=wrong)
    (folder / "x.tar").write_bytes(data)
    spec = _spec(rng, folder)
    laws.check_source(folder, spec, () if spec.source.limit else _intact_keys(data, data), None)
    way, bad = damaged(rng, data, tar_of(rng, records(rng, wrong=False), wrong=False))
    (folder / "x.tar").write_bytes(bad)
    unknown = way == "fitting length" or spec.source.limit
    laws.check_source(folder, spec, () if unknown else _intact_keys(data, bad), None)
    return 2


def _intact_keys(data: bytes, bad: bytes) -> list[str]:
    """Keys of a tar whose members are all in another tar unchanged, with their headers."""
    whole: dict[str, bool] = {}
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        for info in archive:
            parts = split_member(info.name)
            if parts is not None and not info.isdir():
                member = data[info.offset : info.offset_data + (0 if info.issparse() else info.size)]
                whole[parts[0]] = whole.get(parts[0], True) and member in bad
    return [key for key, is_whole in whole.items() if is_whole]


def _parquet(rng: np.random.Generator, folder: Path) -> int:
    wrong = bool(rng.random() < 0.3)
    content = records(rng, wrong=wrong)
    data = parquet_of(rng, content, wrong=wrong)
    (folder / "x.parquet").write_bytes(data)
    spec = _spec(rng, folder)
    rows = pq.ParquetFile(io.BytesIO(data)).metadata.num_rows
    count = rows if spec.source.split is None and spec.source.limit is None else None
    laws.check_source(folder, spec, (), count)
    way, bad = damaged(rng, data, parquet_of(rng, records(rng, wrong=False), wrong=False))
    (folder / "x.parquet").write_bytes(bad)
    laws.check_source(folder, spec, (), None if way == "splice" else count)
    return 2


def _folder(rng: np.random.Generator, folder: Path) -> int:
    content = records(rng, wrong=True)
    folder_of(rng, folder, content, wrong=True)
    laws.check_source(folder, _spec(rng, folder), (), None)
    members = [path for path in folder.rglob("*.png") if path.is_file()]
    if members:
        path = members[int(rng.integers(len(members)))]
        path.write_bytes(damaged(rng, path.read_bytes(), b"{}")[1])
    laws.check_source(folder, _spec(rng, folder), (), None)
    return 2


def _spec(rng: np.random.Generator, folder: Path) -> BuildSpec:
    return BuildSpec.model_validate(
        {
            "source": {
                "path": str(folder),
                "split": [None, None, "train", ""][int(rng.integers(4))],
                "limit": None if rng.random() < 0.9 else int(rng.integers(1, 4)),
                "ignore_members": [] if rng.random() < 0.8 else ["notes.txt"],
            },
            "conditions": {"use": ["segmentation"], "size": 16, "fit": str(rng.choice(["pad", "crop", "stretch"]))},
            "sampling": {"variants": int(rng.integers(1, 4)), "start_from": str(rng.choice(["noise", "photo"]))},
            "pipeline": {"samples_per_shard": int(rng.integers(1, 8))},
        }
    )


def _metadata(rng: np.random.Generator, _: Path) -> int:
    data = metadata(rng)
    laws.check_metadata(data)
    laws.check_metadata(damaged(rng, data, metadata(rng))[1])
    return 2 + _examples(rng, documents.ANYTHING, lambda found: laws.check_metadata(documents.dumped(found)))


def _plan(rng: np.random.Generator, folder: Path) -> int:
    """Damage either the head of a plan or its units, which then do not have their hash."""
    head, units = documents.plan()
    count = _document(rng, head, lambda data: laws.check_plan(folder, data, units))
    bad = damaged(rng, units, units)[1]
    laws.check_plan(folder, documents.json_text(head), bad)
    laws.check_unit_table(bad)
    return count + 2


def _ledger(rng: np.random.Generator, folder: Path) -> int:
    return _document(rng, documents.ledger(), lambda data: laws.check_ledger(folder, data))


def _index(rng: np.random.Generator, folder: Path) -> int:
    return _document(rng, documents.index(), lambda data: laws.check_index(folder, data))


def _document(rng: np.random.Generator, document: Any, check: Callable[[bytes], None]) -> int:
    data = documents.json_text(document)
    check(data)
    check(damaged(rng, data, data)[1])
    strategy = documents.altered(document.model_dump(mode="json"))
    return 2 + _examples(rng, strategy, lambda found: check(documents.dumped(found)))


def _source_index(rng: np.random.Generator, folder: Path) -> int:
    data = documents.source_index(folder)
    laws.check_source_index(folder, damaged(rng, data, data)[1], data)
    return 1


def _spec_file(rng: np.random.Generator, folder: Path) -> int:
    data = documents.spec_text(rng)
    laws.check_spec(folder, data)
    laws.check_spec(folder, damaged(rng, data, documents.spec_text(rng))[1])
    overrides = (
        "sampling.steps=[",
        "source.path={",
        "a=b=c",
        "=",
        ".=1",
        "sampling=3",
        "sampling.steps",
        "source.limit=\x07",
    )
    laws.check_spec(folder, b"", (overrides[int(rng.integers(len(overrides)))],))
    strategy = documents.altered(BuildSpec().model_dump(mode="json"))
    return 3 + _examples(rng, strategy, lambda found: laws.check_spec(folder, documents.yaml_of(found)))


def _examples(rng: np.random.Generator, strategy: st.SearchStrategy[Any], check: Callable[[Any], None]) -> int:
    """Check what hypothesis generates from a strategy; the examples depend on the generator alone."""

    @hypothesis.seed(int(rng.integers(2**62)))
    @hypothesis.settings(
        max_examples=_EXAMPLES, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @hypothesis.given(strategy)
    def checked(found: Any) -> None:
        check(found)

    checked()
    return _EXAMPLES


CASES: dict[str, Case] = {
    "map": _map,
    "tar": _tar,
    "parquet": _parquet,
    "folder": _folder,
    "metadata": _metadata,
    "plan": _plan,
    "ledger": _ledger,
    "index": _index,
    "source index": _source_index,
    "spec": _spec_file,
}
#: The kinds that carry most records come most often.
_TURNS = (
    "map", "tar", "map", "parquet", "tar", "map", "folder", "metadata", "map", "tar",
    "map", "parquet", "plan", "map", "tar", "ledger", "source index", "map", "index", "spec",
)  # fmt: skip
