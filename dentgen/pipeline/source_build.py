"""The finished build that a build is made from: what its plan and index say, and the size of its pictures."""

from __future__ import annotations

from dentgen import storage
from dentgen.documents.index import SourceBuild
from dentgen.errors import SpecError
from dentgen.shards import layout
from dentgen.shards.plan_file import read_plan
from dentgen.spec.build import BuildSpec


def read_source_build(source: str) -> SourceBuild:
    """What is carried on of a finished build whose samples are the records of another.

    Raises:
        StorageError: If a file cannot be read.
        BuildError: If the plan is damaged.
    """
    plan, index = read_plan(source), storage.join(source, layout.INDEX)
    height, width = plan.spec.conditions.shape
    return SourceBuild(
        index_sha256=storage.sha256_of(index),
        spec_digest=plan.spec_digest,
        bundle_digest=plan.bundle_digest,
        synthetic=plan.synthetic,
        digital_source_type=plan.source_type,
        findings=plan.num_findings,
        height=height,
        width=width,
    )


def check_findings_of(spec: BuildSpec, made_from: SourceBuild | None) -> None:
    """Check that a spec asks for no findings where its source has some: one label map holds the numbers of one list.

    Raises:
        SpecError: If it does.
    """
    if made_from is not None and made_from.findings and spec.findings:
        raise SpecError(
            file=storage.without_secrets(spec.source.path), key="findings",
            found=f"{len(spec.findings)} findings, and {made_from.findings} of the source's build",
            expected="none: those of the source are carried over",
        )  # fmt: skip
