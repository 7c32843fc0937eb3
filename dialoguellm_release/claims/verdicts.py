"""Each claim of a paper compared with manifests: reproduced, contradicted, or not yet testable."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

from dialoguellm_release.claims.claims import (
    Found,
    FoundManifests,
    Status,
    Verdict,
    all_claims,
    figure_at,
    is_met,
    paper_figures,
    whole_test_scores,
)
from dialoguellm_release.errors import Problem, RecipeError
from dialoguellm_release.folders import leaves
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.render import numbers
from dialoguellm_release.schemas.claims import (
    Claim,
    ClaimsRecipe,
    DirectionTest,
    LabelShareTest,
    ManifestTest,
    OpenTest,
    PaperMetric,
    PaperTest,
    ReadingTest,
    Relation,
    ScoredSystem,
    ScoreTest,
    Side,
    TrainingTotalTest,
)
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.manifests import AdapterManifest, ScoreManifest
from dialoguellm_release.scoring.table import compare_scores, shown_differences

CORPUS = "CORPUS"
EXACT = 1e-9
"""Added to every tolerance for floating point."""


def verdicts(recipe: ClaimsRecipe, found: FoundManifests) -> dict[str, Verdict]:
    """The verdict on each claim of a recipe, by its id."""
    printed = paper_figures(recipe)
    return {name: _verdict(claim, recipe, printed, found) for name, claim in all_claims(recipe).items()}


def measured_score(
    system: ScoredSystem,
    corpus: CorpusName,
    metric: PaperMetric,
    found: FoundManifests,
    prompt: str | None = None,
) -> tuple[float | None, str]:
    """A metric of a system on the whole test split of a corpus, over its seeds, in percent.

    Beside it are the folders of the scores, or what is missing. With a prompt, only models that got it count.
    """
    names = [name.replace(CORPUS, corpus) for name in system.names]
    wanted = f"a score of {' or '.join(names)} on the test split of {corpus}"
    sha256 = load_prompt(prompt).sha256 if prompt and system.kind == "model" else None
    runs = [
        one
        for one in whole_test_scores(found, corpus)
        if _is_of(one.manifest, system, names)
        and sha256 in (None, one.manifest.figures.protocol.prompt_sha256)
    ]
    if not runs:
        is_file = system.kind == "predictions"
        command = f"predictions {corpus} FILE" if is_file else f"run {corpus}, with --adapter or --backbone"
        return None, f"{wanted}: dlm-release score {command}"
    first = runs[0].manifest.figures
    folders = ", ".join(str(one.folder) for one in runs)
    for other in (one.manifest.figures for one in runs[1:]):
        unlike = "; ".join(shown_differences(first.protocol.differences(other.protocol)))
        if unlike or other.system.training_sha256 != first.system.training_sha256:
            differs = unlike or "they are not seeds of one training"
            return None, f"{wanted}, alone: {folders} are several ({differs})"
    return statistics.mean(100 * one.manifest.figures.metrics[metric] for one in runs), folders


def _verdict(
    claim: Claim, recipe: ClaimsRecipe, printed: Mapping[str, float], found: FoundManifests
) -> Verdict:
    match claim.test:
        case OpenTest(missing=missing):
            return Verdict("not yet testable", missing)
        case ReadingTest(against=against):
            return Verdict("contradicted", against)
        case PaperTest() as test:
            value = _computed(test, printed)
            by = f"{_shown(value)}, the {test.compute} of the paper's own {', '.join(test.of)}"
            return _compared(claim, value, test.relation, test.tolerance, by)
        case DirectionTest() as test:
            return direction_verdict(test, found)
        case ScoreTest() as test:
            prompt = recipe.results.prompt if recipe.results else None
            score, by = measured_score(test.system, test.corpus, test.metric, found, prompt)
            if score is None:
                return Verdict("not yet testable", by)
            return _compared(claim, score, "equal", test.tolerance, f"{score:.2f} in {by}")
        case _ as test:
            evidence = recipe.evidence[test.evidence]
            fit = [one for one in found.get(evidence.kind, []) if is_met(one.data, evidence.where)]
            if not fit:
                return Verdict("not yet testable", evidence.missing)
            each = [_by_manifest(claim, test, one, recipe) for one in fit]
            order: tuple[Status, ...] = ("contradicted", "reproduced", "not yet testable")
            return min(each, key=lambda one: order.index(one.status))


def _by_manifest(
    claim: Claim,
    test: ManifestTest | TrainingTotalTest | LabelShareTest,
    found: Found[DatasetManifest],
    recipe: ClaimsRecipe,
) -> Verdict:
    if isinstance(test, TrainingTotalTest):
        return _by_training_total(claim, test, found, recipe)
    if isinstance(test, LabelShareTest):
        return _by_label_share(claim, test, found, recipe)
    values = {path: figure_at(found.data, path) for path in test.figures}
    if absent := [path for path, value in values.items() if value is None]:
        return Verdict("not yet testable", f"{found.folder} has no {', '.join(absent)}")
    known = [value for value in values.values() if value is not None]
    value = sum(known) if test.combine == "sum" else math.prod(known)
    by = f"{_shown(value)} in {found.folder}: {', '.join(test.figures)}"
    return _compared(claim, value, test.relation, test.tolerance, by)


def _by_training_total(
    claim: Claim, test: TrainingTotalTest, found: Found[DatasetManifest], recipe: ClaimsRecipe
) -> Verdict:
    figures = found.manifest.figures
    built = (figures.dialogues if test.of == "dialogues" else figures.records).get("train", 0)
    lacking = _lacking(found.manifest, recipe)
    total = built + sum(getattr(recipe.corpora[name]["train"], test.of) for name in lacking)
    counted = f", {' and '.join(lacking)} counted as the paper does" if lacking else ""
    by = f"{_shown(total)} in {found.folder}: training {test.of}{counted}"
    return _compared(claim, total, test.relation, 0, by)


def _by_label_share(
    claim: Claim, test: LabelShareTest, found: Found[DatasetManifest], recipe: ClaimsRecipe
) -> Verdict:
    labels = found.manifest.figures.training_labels
    count, known = labels.get(test.label, 0), sum(labels.values())
    lacking = _lacking(found.manifest, recipe)
    unknown = sum(recipe.corpora[name]["train"].utterances for name in lacking)
    if not known + unknown:
        return Verdict("not yet testable", f"{found.folder} has no training records")
    if not unknown:
        share = 100 * count / known
        by = f"{share:.1f} % in {found.folder}: {test.label} in the training records"
        return _compared(claim, share, "equal", test.tolerance, by)
    low, high = 100 * count / (known + unknown), 100 * (count + unknown) / (known + unknown)
    by = (
        f"{low:.1f} to {high:.1f} % in {found.folder}, whatever the labels of {' and '.join(lacking)} are: "
        f"{test.label} in the training records"
    )
    is_possible = low - test.tolerance <= _value(claim) <= high + test.tolerance
    return Verdict("not yet testable" if is_possible else "contradicted", by)


def _lacking(built: DatasetManifest, recipe: ClaimsRecipe) -> list[CorpusName]:
    return [name for name in recipe.corpora if name not in built.figures.corpora]


def _compared(claim: Claim, measured: float, relation: Relation, tolerance: float, by: str) -> Verdict:
    """Whether a figure is that of the claim, in any of its readings."""
    readings = {claim.place: _value(claim), **claim.other_readings}
    for place, value in readings.items():
        distance = value - measured if relation == "at least" else abs(value - measured)
        if distance <= tolerance + EXACT:
            reading = f", as {place} reads" if claim.other_readings else ""
            return Verdict("reproduced", f"{by}{reading}", measured)
    return Verdict("contradicted", by, measured)


def _computed(test: PaperTest, printed: Mapping[str, float]) -> float:
    """The figure that follows from others of the paper."""
    groups = [
        {name: value for name, value in printed.items() if _matches(name, pattern)} for pattern in test.of
    ]
    if not all(groups):
        what = f"no figure of the paper is called {', '.join(test.of)}"
        fix, code = "correct `of` of this test", "claims.unknown_figure"
        raise RecipeError(Problem("claims", what, fix=fix, code=code))
    terms = [sum(group.values()) for group in groups]
    match test.compute:
        case "same" | "sum":
            return sum(terms)
        case "mean":
            return statistics.mean(terms)
        case "product":
            return math.prod(terms)
        case "difference":
            return terms[0] - sum(terms[1:])
        case "margin":
            others = {
                name: value for group in groups[1:] for name, value in group.items() if name not in groups[0]
            }
            return terms[0] - max(others.values())


def _matches(name: str, pattern: str) -> bool:
    """Whether an id is of a pattern; `*` stands for one part of it."""
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _is_of(manifest: ScoreManifest, wanted: ScoredSystem, names: Sequence[str]) -> bool:
    """Whether a score is of a system, without examples."""
    system = manifest.figures.system
    is_tuned = system.adapter_content_sha256 is not None
    return (
        (system.kind, is_tuned) == (wanted.kind, wanted.is_tuned)
        and system.name in names
        and not manifest.figures.protocol.shots
    )


def _value(claim: Claim) -> float:
    if claim.value is None:
        what, fix = f"has no value to compare: {claim.says}", "state `value`, or make the test `reading`"
        raise RecipeError(Problem("claims", what, fix=fix, code="claims.no_value"))
    return claim.value


def _shown(value: float) -> str:
    """A figure with the digits that matter.

    >>> _shown(13637.0), _shown(61.38333), _shown(0.0003)
    ('13,637', '61.38', '0.0003')
    """
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.4g}"


MAX_SHOWN = 3

Adapters = Mapping[str, Found[AdapterManifest]]
Scores = Found[ScoreManifest]


def direction_verdict(test: DirectionTest, found: FoundManifests) -> Verdict:
    """Whether the second side is above the first, by the paired bootstrap over dialogues.

    Every pair of one backbone counts that differs in nothing but what the test compares. The statement holds
    where the interval of each is above zero, and does not where that of each is below.
    """
    adapters: Adapters = {one.manifest.content_sha256: one for one in found.get("adapter", [])}
    runs = [
        one
        for one in whole_test_scores(found, test.corpus)
        if one.manifest.figures.system.kind == "model" and one.manifest.figures.system.server_api is None
    ]
    lower, higher = (
        [one for one in runs if _is_on(side, one, adapters, test.corpus)]
        for side in (test.lower, test.higher)
    )
    for side, scores in ((test.lower, lower), (test.higher, higher)):
        if not scores:
            missing = f"a score of {side.says} on the test split of {test.corpus}: dlm-release score run"
            return Verdict("not yet testable", missing)
    pairs = [pair for pair in product(lower, higher) if _base(pair[0]) == _base(pair[1])]
    if not pairs:
        missing = f"scores of {test.lower.says} and of {test.higher.says} with one backbone on {test.corpus}"
        return Verdict("not yet testable", missing)
    unlike = {id(pair): list(_differences(test, *pair, adapters)) for pair in pairs}
    alike = [pair for pair in pairs if not unlike[id(pair)]]
    if not alike:
        first, second = closest = min(pairs, key=lambda pair: len(unlike[id(pair)]))
        by = f"{first.folder} and {second.folder} differ in more: {'; '.join(unlike[id(closest)])}"
        return Verdict("not yet testable", by)
    compared = [
        compare_scores(first.folder, second.folder).differences[test.metric] for first, second in alike
    ]
    lines = [
        f"{second.folder} over {first.folder}: {100 * one.value:+.2f} "
        f"({numbers.points_range(one.interval)}), p {one.p_value:.4f}"
        for (first, second), one in zip(alike, compared, strict=True)
    ]
    more = [f"and {len(lines) - MAX_SHOWN} more"] if len(lines) > MAX_SHOWN else []
    backbones = ", ".join(dict.fromkeys(str(first.manifest.figures.system.base) for first, _ in alike))
    by = f"{test.metric} with {backbones}, {'; '.join([*lines[:MAX_SHOWN], *more])}"
    measured = statistics.mean(100 * one.value for one in compared)
    if all(one.interval[0] > 0 for one in compared):
        return Verdict("holds on another backbone", by, measured)
    if all(one.interval[1] < 0 for one in compared):
        return Verdict("does not hold on another backbone", by, measured)
    return Verdict("undecided on another backbone", by, measured)


def _is_on(side: Side, scores: Scores, adapters: Adapters, corpus: str) -> bool:
    def accepted(where: Mapping[str, tuple[Any, ...]]) -> dict[str, list[Any]]:
        return {
            path: [corpus if value == CORPUS else value for value in values] for path, values in where.items()
        }

    if not is_met(scores.data, accepted(side.score)):
        return False
    adapter = adapters.get(str(scores.manifest.figures.system.adapter_content_sha256))
    return not side.adapter or (adapter is not None and is_met(adapter.data, accepted(side.adapter)))


def _base(scores: Scores) -> tuple[str | None, ...]:
    system = scores.manifest.figures.system
    return system.base, system.base_revision, system.base_content_sha256, system.base_gguf_file


def _differences(test: DirectionTest, lower: Scores, higher: Scores, adapters: Adapters) -> Iterator[str]:
    """What differs between two scores beside what the test compares."""
    first, second = lower.manifest.figures, higher.manifest.figures
    unlike = first.protocol.differences(second.protocol)
    yield from shown_differences({name: both for name, both in unlike.items() if name not in test.differ})
    trained = [adapters.get(str(one.system.adapter_content_sha256)) for one in (first, second)]
    if first.system.adapter_content_sha256 and second.system.adapter_content_sha256:
        if trained[0] is None or trained[1] is None:
            yield "the folder of an adapter is not there"
            return
        allowed = ("description", *test.adapters_differ)
        one, other = (leaves(dict(adapter.manifest.recipe.resolved)) for adapter in trained if adapter)
        for name in sorted(one.keys() | other.keys()):
            if one.get(name) != other.get(name) and name not in allowed:
                yield f"adapter recipe: {name} {other.get(name)}, not {one.get(name)}"
