"""Shares of values in two builds, and how far they are apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dentgen.report.html.balance import ClassShare, LabelBalance
from dentgen.report.html.counts import Summary
from dentgen.report.tally import Distribution


@dataclass(frozen=True, slots=True)
class SharePair:
    """Shares (0 to 1) of one value in both builds."""

    label: str
    first: float
    second: float

    @property
    def change(self) -> float:
        """Second minus first."""
        return self.second - self.first


@dataclass(frozen=True, slots=True)
class SharedDistribution:
    """An attribute in both builds.

    Attributes:
        title: What is counted.
        pairs: Its values.
        distance: Total variation distance: the share of samples that would have to change their value; for values
            that do not exclude each other, such as classes and teeth, the largest change.
    """

    title: str
    pairs: tuple[SharePair, ...]
    distance: float

    @property
    def largest(self) -> float:
        """Largest share, above 0."""
        return max((max(pair.first, pair.second) for pair in self.pairs), default=0.0) or 1.0


def compare_distributions(first: Summary, second: Summary) -> tuple[SharedDistribution, ...]:
    """Attributes, split and light of two builds, those that differ most first."""
    found = [_by_title(summary) for summary in (first, second)]
    titles = [*found[0], *(title for title in found[1] if title not in found[0])]
    compared = [_exclusive(title, *(_shares(side.get(title)) for side in found)) for title in titles]
    return tuple(sorted(compared, key=lambda shared: -shared.distance))


def compare_teeth(first: Summary, second: Summary) -> SharedDistribution | None:
    """Share of samples that show each tooth, None if neither build has numbered teeth."""
    shares = [_tooth_shares(summary) for summary in (first, second)]
    return _independent("Teeth", *shares) if any(shares) else None


def compare_labels(first: LabelBalance, second: LabelBalance) -> tuple[SharedDistribution, ...]:
    """Class balance, findings, and sizes and numbers of teeth in label maps."""
    classes = [_exclusive("Pixels by class", _pixels(first.classes), _pixels(second.classes))]
    if first.findings or second.findings:
        classes.append(_exclusive("Pixels by finding", _pixels(first.findings), _pixels(second.findings)))
    for one, other in ((first.sizes, second.sizes), (first.teeth, second.teeth)):
        title = next((side.title for side in (one, other) if side), "")
        if title:
            classes.append(_exclusive(title, _shares(one), _shares(other)))
    return tuple(shared for shared in classes if shared.pairs)


def _by_title(summary: Summary) -> dict[str, Distribution]:
    return {one.title: one for one in (*summary.distributions, *([summary.light] if summary.light else []))}


def _shares(distribution: Distribution | None) -> dict[str, float]:
    """Shares of the listed values, and of the others together."""
    if distribution is None or not distribution.total:
        return {}
    rest = {"others": distribution.more_samples} if distribution.more_samples else {}
    counts = {count.label: count.samples for count in distribution.counts}
    return {label: samples / distribution.total for label, samples in {**counts, **rest}.items()}


def _tooth_shares(summary: Summary) -> dict[str, float]:
    rows = (*summary.permanent, *summary.deciduous)
    return {str(tooth.fdi): tooth.samples / summary.index.written for row in rows for tooth in row if tooth.samples}


def _pixels(classes: Sequence[ClassShare]) -> dict[str, float]:
    total = sum(share.pixels for share in classes) or 1
    return {share.name: share.pixels / total for share in classes}


def _exclusive(title: str, first: Mapping[str, float], second: Mapping[str, float]) -> SharedDistribution:
    pairs = _pairs(first, second)
    return SharedDistribution(title, pairs, sum(abs(pair.change) for pair in pairs) / 2)


def _independent(title: str, first: Mapping[str, float], second: Mapping[str, float]) -> SharedDistribution:
    pairs = _pairs(first, second)
    return SharedDistribution(title, pairs, max((abs(pair.change) for pair in pairs), default=0.0))


def _pairs(first: Mapping[str, float], second: Mapping[str, float]) -> tuple[SharePair, ...]:
    labels = [*first, *(label for label in second if label not in first)]
    return tuple(SharePair(label, first.get(label, 0.0), second.get(label, 0.0)) for label in labels)
