"""A selection of a finished build: candidates that passed and are no copies, of which some are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dentgen import storage
from dentgen.curation.features import Scale, picture_features
from dentgen.curation.fingerprints import Fingerprints, build_fingerprints
from dentgen.curation.near_duplicates import near_pairs, without_near
from dentgen.curation.pictures import read_pictures
from dentgen.curation.samples import texts, written_samples
from dentgen.curation.selection import at_random, k_centre
from dentgen.errors import SpecError
from dentgen.models.judges import load_judges
from dentgen.records import ATTRIBUTES
from dentgen.shards.index_reader import index_sha256
from dentgen.shards.selection_file import Selection
from dentgen.spec.quality import EMBEDDED

Rule = Literal["coverage", "random"]
#: Columns whose values can have equal shares.
BALANCED: Final = (*ATTRIBUTES, "split", "changed")


@dataclass(frozen=True, slots=True)
class SelectionSettings:
    """What is chosen and how.

    Attributes:
        count: Samples.
        by: ``coverage``: greedy k-centre in the space of the judges' features; ``random``: keyed by the seed.
        balance: Attribute of which every value gets an equal share as far as it reaches; "" for none.
        without_duplicates: Of near-duplicates, leave out all but the one with the first key.
        passed: Only samples that passed the quality gate.
        judges: Judges of ``coverage``: ``embedded``, or a folder or URL.
        seed: Of ``random``.
    """

    count: int
    by: Rule = "coverage"
    balance: str = ""
    without_duplicates: bool = False
    passed: bool = False
    judges: str = EMBEDDED
    seed: int = 0


def select_samples(out: str, settings: SelectionSettings) -> Selection:
    """Choose samples of the latest version of a finished build.

    Pictures are read for ``coverage``, and for near-duplicates where the build keeps no prints.

    Raises:
        BuildError: If the build is not finished, or a shard is damaged.
        BundleError: If the judges cannot be loaded.
        SpecError: If there are fewer candidates than asked for, no such attribute, or no gate to pass.
        StorageError: If something cannot be read.
    """
    _require_known(settings)
    table = written_samples(out, ["gate_failed", *filter(None, [settings.balance])])
    if settings.passed:
        table = _passed(table, out)
    table = table.sort_by("key")
    if settings.without_duplicates:
        table = table.filter(pa.array(_distinct(out, texts(table, "key"))))
    _require_enough(out, len(table), settings.count)
    chosen = table.take(pa.array(_chosen(out, table, settings)))
    return Selection(index_sha256(out), tuple(texts(chosen, "key")), tuple(texts(chosen, "shard")), _how(settings))


def _require_known(settings: SelectionSettings) -> None:
    if settings.by not in get_args(Rule):
        raise SpecError(key="by", found=settings.by, expected=f"one of {', '.join(get_args(Rule))}")
    if settings.balance and settings.balance not in BALANCED:
        raise SpecError(key="balance", found=settings.balance, expected=f"one of {', '.join(BALANCED)}")


def _passed(table: pa.Table, out: str) -> pa.Table:
    """Samples that failed no limit of the gate; null means that there was no gate."""
    failed = table["gate_failed"]
    if len(table) and failed.null_count == len(table):
        raise SpecError(
            file=storage.without_secrets(out), key="passed", found="no sample that a gate measured",
            expected="a build with quality.gate",
        )  # fmt: skip
    return table.filter(pc.fill_null(pc.equal(pc.list_value_length(failed), 0), fill_value=False))


def _distinct(out: str, keys: list[str]) -> NDArray[np.bool_]:
    """Which of the candidates, sorted by key, stay without near-duplicates, (n,)."""
    prints = build_fingerprints(out)
    position = {key: number for number, key in enumerate(prints.keys)}
    rows = np.array([position[key] for key in keys], np.int64)
    candidates = Fingerprints(tuple(keys), prints.words[rows], prints.families[rows])
    return without_near(near_pairs(candidates), len(keys))


def _require_enough(out: str, found: int, count: int) -> None:
    if count > found:
        raise SpecError(
            file=storage.without_secrets(out), key="count", found=count,
            expected=f"at most {found}, the samples to choose from",
        )  # fmt: skip


def _chosen(out: str, table: pa.Table, settings: SelectionSettings) -> NDArray[np.int64]:
    keys = texts(table, "key")
    groups = texts(table, settings.balance) if settings.balance else None
    if settings.by == "random":
        return at_random(settings.count, keys, settings.seed, groups)
    return k_centre(_values(out, keys, settings.judges), settings.count, keys, groups)


def _values(out: str, keys: list[str], judges: str) -> NDArray[np.float32]:
    """Features (n, d) of the candidates, standardised by themselves, in their order."""
    if not keys:
        return np.empty((0, 0), np.float32)
    features = picture_features(read_pictures(out, keys), load_judges(judges))
    values = Scale.of(features).standardised(features).values
    position = {key: number for number, key in enumerate(features.keys)}
    return values[np.array([position[key] for key in keys], np.int64)]


def _how(settings: SelectionSettings) -> dict[str, Any]:
    """What the file says of itself."""
    rule = {"seed": settings.seed} if settings.by == "random" else {}
    limits = {"without_duplicates": settings.without_duplicates, "passed": settings.passed}
    return {"by": settings.by, "balance": settings.balance, **limits, **rule}
