"""``dentgen certify``: a certificate computed, written as JSON and as a page, and compared with a stored one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version as version_of

from dentgen import storage
from dentgen.documents.index import DatasetIndex
from dentgen.evaluation.certificate import sections
from dentgen.evaluation.certificate.page import certificate_page
from dentgen.evaluation.certificate.usefulness import MOST_REFERENCE, read_labelled, usefulness
from dentgen.models.judges import Judges, load_judges
from dentgen.shards import layout
from dentgen.shards.certificate import Certificate, CertificateSection, SectionName, rounded
from dentgen.shards.index_reader import read_index
from dentgen.shards.plan import Plan
from dentgen.shards.plan_file import read_plan
from dentgen.shards.tar import json_bytes
from dentgen.spec.quality import EMBEDDED


@dataclass(frozen=True, slots=True)
class CertificateSettings:
    """What is measured.

    Attributes:
        judges: Judges of the agreement.
        pictures: Pictures to judge, and to train on, at most.
        reference: Labelled pictures that the user trusts, for the usefulness; None: it is not measured.
        training: Pictures that the model learnt on, for the memorisation; None: it is not measured.
        held_out: Pictures of the same kind that it did not learn on.
        steps: Training steps of its segmenters.
        seeds: Their seeds.
    """

    judges: str = EMBEDDED
    pictures: int = 512
    reference: str | None = None
    training: str | None = None
    held_out: str | None = None
    steps: int = 450
    seeds: tuple[int, ...] = (0, 1, 2)

    @property
    def judged_by(self) -> str:
        """The option of a command that names other judges, without their place."""
        return "" if self.judges == EMBEDDED else " --judges FOLDER"


def certify(out: str, settings: CertificateSettings) -> Certificate:
    """Compute the certificate of a finished build; nothing is written.

    Args:
        out: The build.
        settings: What is measured.

    Returns:
        The certificate; the same every time on one machine.

    Raises:
        StorageError: If the build was not sealed, or cannot be read.
        BundleError: If the judges cannot be loaded.
        ConditionError: If the reference has too few labelled pictures.
    """
    index, plan = read_index(out), read_plan(out)
    digest = storage.sha256_of(storage.join(out, layout.INDEX))
    found = _sections(out, plan, index, settings, {"index": digest})
    return Certificate(
        dentgen=version_of("dentgen"), version=index.version, index_sha256=digest, samples_sha256=index.samples_sha256,
        samples=index.written, spec_digest=index.spec_digest, bundle_digest=index.bundle_digest, sections=found,
    )  # fmt: skip


def write_certificate(out: str, certificate: Certificate) -> tuple[str, str]:
    """Write ``certificate.json`` and ``certificate.html`` into the build; returns their URLs."""
    places = storage.join(out, layout.CERTIFICATE), storage.join(out, layout.CERTIFICATE_PAGE)
    storage.overwrite(places[0], json_bytes(certificate.model_dump(mode="json")))
    storage.overwrite(places[1], certificate_page(certificate).encode())
    return places


def differences(stored: Certificate, computed: Certificate) -> list[str]:
    """What a stored certificate says otherwise than one that was just computed, a line each."""
    lines = []
    for field in ("version", "index_sha256", "samples_sha256", "samples", "spec_digest", "bundle_digest"):
        found, expected = getattr(stored, field), getattr(computed, field)
        lines += [f"{field}: the certificate says {found}, found {expected}"] if found != expected else []
    for name, section in computed.sections.items():
        known = stored.sections.get(name, CertificateSection()).figures
        for figure, value in section.figures.items():
            if known.get(figure) != value:
                lines.append(f"{name}.{figure}: the certificate says {known.get(figure)}, found {value}")
        lines += [f"{name}.{figure}: nothing like it was found" for figure in known.keys() - section.figures.keys()]
    return lines


def _sections(
    out: str, plan: Plan, index: DatasetIndex, settings: CertificateSettings, dataset: Mapping[str, str]
) -> dict[SectionName, CertificateSection]:
    judges = load_judges(settings.judges)
    return {
        "agreement": sections.agreement(out, plan, judges, settings.pictures, dataset, settings.judged_by),
        "gate": sections.gate(out, plan.gate, index, dataset),
        "rejections": sections.rejections(out, index, dataset),
        "duplicates": sections.duplicates(out, dataset),
        "usefulness": _usefulness(out, plan, settings, dataset),
        "memorisation": _memorisation(out, settings, judges, dataset),
        "review": sections.reviewed(out, dataset),
    }


def _memorisation(
    out: str, settings: CertificateSettings, judges: Judges, dataset: Mapping[str, str]
) -> CertificateSection:
    if settings.training is None or settings.held_out is None:
        return CertificateSection(missing="no pictures of the model's training were named: --training and --held-out")
    return sections.memorised(
        out, settings.training, settings.held_out, judges, settings.pictures, dataset, settings.judged_by
    )


def _usefulness(out: str, plan: Plan, settings: CertificateSettings, dataset: Mapping[str, str]) -> CertificateSection:
    if settings.reference is None:
        return CertificateSection(missing="no labelled pictures to test on were named: --reference SOURCE")
    shape = plan.spec.conditions.shape
    own, reference = (
        read_labelled(out, shape, settings.pictures),
        read_labelled(settings.reference, shape, MOST_REFERENCE),
    )
    figures = usefulness(own, reference, settings.steps, settings.seeds)
    sizes = f"--pictures {settings.pictures} --steps {settings.steps} --seeds {len(settings.seeds)}"
    return CertificateSection(
        figures={name: rounded(value) for name, value in figures.items()},
        command=f"dentgen certify OUT --reference SOURCE {sizes}",
        computed_from={**dataset, "reference": reference.digest()},
    )  # fmt: skip
