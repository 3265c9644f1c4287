"""A decision table's figures: every candidate trained, run on the same records, judged and costed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dentgen.evaluation.generated_images import generated_images
from dentgen.evaluation.reference_set import TEST_SEED, ReferenceSet, reference_set
from dentgen.evaluation.tables.candidates import SEED, Candidate, DecisionTable
from dentgen.evaluation.tables.cost import Cost, picture_cost, times_over_first
from dentgen.evaluation.tables.figures import candidate_figures, goals
from dentgen.evaluation.tables.spreads import Goal, Spread, leader, spread
from dentgen.evaluation.tables.training import TrainedBundle, TrainingSettings, source_digest, trained_bundle
from dentgen.generation.generator import solver_table
from dentgen.generation.threads import torch_threads
from dentgen.models.bundle import find_bundle
from dentgen.models.embeddings import SUFFIX
from dentgen.models.judges import Judges, load_judges
from dentgen.models.native_size import with_size
from dentgen.models.parts import ADAPTERS, CONTROLNETS, EMBEDDINGS, chosen_part
from dentgen.progress import tracked
from dentgen.spec.build import BuildSpec
from dentgen.spec.quality import EMBEDDED
from dentgen.spec.yaml_file import read_spec

VARIANTS: Final = 2
#: Seed of the phantoms that candidates are trained on, which judges and test do not have, and their number.
_TRAIN_SEED: Final = 7005
_TRAIN_RECORDS: Final = 200

_Trained = Mapping[tuple[str, int], TrainedBundle]


@dataclass(frozen=True, slots=True)
class TableSettings:
    """Sizes of a table.

    Attributes:
        work: Folder for phantoms, judges, trainings and builds.
        spec_file: Build spec that all candidates start from.
        overrides: ``a.b=value`` changes common to all candidates.
        records: Unseen phantoms to measure on.
        seeds: Number of seeds; seed n decides the noise, and the training of a candidate that is trained.
        steps: Training steps of every part.
        training: Condition records to train on; None renders phantoms.
        judges: The judges: ``embedded``, or a folder of others.
    """

    work: str
    spec_file: Path
    overrides: Sequence[str] = ()
    records: int = 48
    seeds: int = 3
    steps: int = 200
    training: str | None = None
    judges: str = EMBEDDED


@dataclass(frozen=True, slots=True, eq=False)
class TableRow:
    """One candidate.

    Attributes:
        candidate: The candidate.
        figures: Figures over seeds.
        cost: Cost of a picture.
        seconds: Time of a picture over that of the first row.
        trained: What was trained with the first seed; None for nothing.
        pictures: (records, H, W, 3) uint8, the first variants of the first seed.
    """

    candidate: Candidate
    figures: dict[str, Spread]
    cost: Cost
    seconds: float
    trained: TrainedBundle | None
    pictures: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class TableStudy:
    """A measured table.

    Attributes:
        table: Question and candidates.
        rows: One per candidate.
        reference: Figures of the reference pictures, those that they have.
        best: Candidate that leads in a figure by more than the spread, by figure.
        photos: (records, H, W, 3) uint8 reference pictures.
        keys: Keys of the records.
        seeds: Number of seeds.
    """

    table: DecisionTable
    rows: list[TableRow]
    reference: dict[str, float]
    best: dict[str, str]
    photos: NDArray[np.uint8]
    keys: list[str]
    seeds: int


def table_spec(settings: TableSettings) -> BuildSpec:
    """The spec that all candidates start from.

    Raises:
        SpecError: If it is wrong.
    """
    return with_size(read_spec(settings.spec_file, settings.overrides))


def run_table(table: DecisionTable, settings: TableSettings) -> TableStudy:
    """Train, build, judge and cost every candidate; what an earlier run did is found in the work folder.

    Raises:
        DentgenError: If a spec is wrong, or a training or build fails.
        KeyboardInterrupt: On Ctrl-C; the next run continues.
    """
    base, judges = table_spec(settings), load_judges(settings.judges)
    for candidate, seed in product(table.candidates, range(settings.seeds)):
        _check(candidate_spec(settings, base, candidate, seed), candidate)  # a wrong one fails before the work
    with torch_threads(base.engine.threads):
        trained = _train(table, settings, base) if table.trainings else {}
        test = reference_set(settings.work, settings.records, TEST_SEED, base.conditions.edge)
        rows = _rows(table, settings, base, trained, judges, test)
        reference = candidate_figures(judges, test, test.photos[:, None])
    return TableStudy(
        table=table,
        rows=rows,
        reference=reference,
        best=leaders({row.candidate.name: row.figures for row in rows}, goals(judges.networks)),
        photos=test.photos,
        keys=test.keys,
        seeds=settings.seeds,
    )


def candidate_spec(
    settings: TableSettings, base: BuildSpec, candidate: Candidate, seed: int, bundle: str | None = None
) -> BuildSpec:
    """The build spec of a candidate and seed.

    Args:
        settings: Spec file and common changes.
        base: What they say, its picture size resolved.
        candidate: Its changes, in which the seed stands for ``{seed}``.
        seed: Added to the seed of the spec.
        bundle: Bundle with its trained parts; None: that of the spec.

    Raises:
        SpecError: If a change is wrong.
    """
    changes = [change.replace(SEED, str(seed)) for change in candidate.changes]
    spec = read_spec(settings.spec_file, [*settings.overrides, *changes])
    model = spec.model if bundle is None else spec.model.model_copy(update={"bundle": bundle})
    return spec.model_copy(
        update={
            "model": model,
            "sampling": spec.sampling.model_copy(update={"seed": spec.sampling.seed + seed}),
            "conditions": spec.conditions.model_copy(update={"size": base.conditions.size}),
        }
    )


def _check(spec: BuildSpec, candidate: Candidate) -> None:
    """Require the adapters, ControlNets, embeddings and LoRAs that a candidate names, unless they are trained for it.

    Raises:
        DentgenError: If one is missing, or a LoRA was trained for other steps.
    """
    if candidate.training is not None:
        return
    bundle = find_bundle(spec.model.bundle)
    solver_table(spec, bundle)
    model = spec.model
    for kind, names, suffix in (
        (ADAPTERS, model.adapters, ""), (CONTROLNETS, model.controlnets, ""), (EMBEDDINGS, model.embeddings, SUFFIX)
    ):  # fmt: skip
        for name in names:
            chosen_part(bundle, kind, name, suffix)


def leaders(figures: Mapping[str, Mapping[str, Spread]], goals_of: Mapping[str, Goal]) -> dict[str, str]:
    """Name the leading candidate of every figure that has one.

    Args:
        figures: Figures by candidate and name.
        goals_of: What is good, by name of a figure.
    """
    found = {
        name: leader({candidate: own[name] for candidate, own in figures.items()}, goal)
        for name, goal in goals_of.items()
    }
    return {name: candidate for name, candidate in found.items() if candidate is not None}


def _train(table: DecisionTable, settings: TableSettings, base: BuildSpec) -> _Trained:
    source = settings.training
    if source is None:
        source = reference_set(settings.work, _TRAIN_RECORDS, _TRAIN_SEED, base.conditions.edge).source
    shared = TrainingSettings(source, source_digest(source), settings.steps)
    wanted = [(training, seed) for seed in range(settings.seeds) for training in table.trainings]
    return {
        (training.name, seed): trained_bundle(settings.work, base, training, seed, shared)
        for training, seed in tracked(wanted, f"{table.number} trainings", "training")
    }


def _rows(
    table: DecisionTable,
    settings: TableSettings,
    base: BuildSpec,
    trained: _Trained,
    judges: Judges,
    test: ReferenceSet,
) -> list[TableRow]:
    def bundles(candidate: Candidate) -> list[TrainedBundle | None]:
        name = candidate.training.name if candidate.training else None
        return [trained[name, seed] if name else None for seed in range(settings.seeds)]

    specs = [
        [candidate_spec(settings, base, candidate, seed, bundle.bundle if bundle else None)
         for seed, bundle in enumerate(bundles(candidate))]
        for candidate in table.candidates
    ]  # fmt: skip
    costs = [picture_cost(of_seeds[0]) for of_seeds in tracked(specs, f"{table.number} operations", "candidate")]
    measured = [_measured(settings, of_seeds, judges, test) for of_seeds in tracked(specs, table.number, "candidate")]
    seconds = times_over_first([of_seeds[0] for of_seeds in specs])
    return [
        TableRow(candidate, figures, cost, ratio, bundles(candidate)[0], pictures)
        for candidate, (figures, pictures), cost, ratio in zip(table.candidates, measured, costs, seconds, strict=True)
    ]


def _measured(
    settings: TableSettings, specs: Sequence[BuildSpec], judges: Judges, test: ReferenceSet
) -> tuple[dict[str, Spread], NDArray[np.uint8]]:
    """Figures over the specs, one per seed, and the first pictures of the first."""
    values, shown = [], None
    for spec in specs:
        variants = generated_images(settings.work, spec, test, variants=VARIANTS)
        shown = variants[:, 0] if shown is None else shown
        values.append(candidate_figures(judges, test, variants))
    assert shown is not None
    return {name: spread([one[name] for one in values]) for name in values[0]}, shown
