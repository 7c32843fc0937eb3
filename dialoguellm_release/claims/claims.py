"""Every claim of a claims recipe by its id, and the evidence for it that a build folder holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, Literal, get_args

from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import MANIFEST, MANIFESTS, AnyManifest, kind_of, read_manifest
from dialoguellm_release.schemas.base import Kind
from dialoguellm_release.schemas.claims import (
    Claim,
    ClaimsRecipe,
    DirectionRule,
    DirectionTest,
    LabelShareTest,
    ManifestTest,
    OpenTest,
    PaperMetric,
    PaperTest,
    Results,
    ScoredSystem,
    ScoreTest,
    Test,
    TrainingTotalTest,
)
from dialoguellm_release.schemas.labels import CorpusName
from dialoguellm_release.schemas.manifests import ScoreManifest

METRICS: tuple[PaperMetric, ...] = get_args(PaperMetric)
COUNTS = "corpora"
"""Name of the evidence for counts."""

LABEL_TOLERANCE = 0.05
"""Half of the last digit of a share that is printed with one decimal."""


def all_claims(recipe: ClaimsRecipe) -> dict[str, Claim]:
    """Every claim by its id, the tables' first."""
    results = recipe.results
    return {
        **dict(_counts(recipe)),
        **dict(_label_shares(recipe)),
        **(dict(_results(results)) if results else {}),
        **(dict(_ablations(results)) if results else {}),
        **(dict(_text(results)) if results else {}),
        **dict(_directions(recipe)),
        **recipe.claims,
    }


def paper_figures(recipe: ClaimsRecipe) -> dict[str, float]:
    """Every figure of the paper by the id of its claim, and how many baselines its table of results has."""
    figures = {name: claim.value for name, claim in all_claims(recipe).items() if claim.value is not None}
    if recipe.results is not None:
        baselines = sum(row.group == "baseline" for row in recipe.results.rows.values())
        figures[f"table-{recipe.results.table}/number-of-baselines"] = float(baselines)
    return figures


def _claim(
    place: str, says: str, value: float, test: Test, others: Mapping[str, float] = MappingProxyType({})
) -> Claim:
    """A claim; `others` are its figure as other places print it, where it is another."""
    return Claim(place=place, says=says, value=value, test=test, other_readings=dict(others))


def _counts(recipe: ClaimsRecipe) -> Iterator[tuple[str, Claim]]:
    if COUNTS not in recipe.evidence:
        return
    if recipe.training_dialogues is not None:
        total = TrainingTotalTest(evidence=COUNTS, of="dialogues")
        place, says = recipe.places["training_dialogues"], "dialogues to train on"
        yield "data/dialogues", _claim(place, says, recipe.training_dialogues, total)
    place = recipe.places.get("counts", "")
    for corpus, splits in recipe.corpora.items():
        for split, sizes in splits.items():
            for unit, count in (("dialogues", sizes.dialogues), ("utterances", sizes.utterances)):
                missing = f"the authors' split of {corpus}: it was never published, ours is drawn"
                counted = _counted(f"figures.corpora.{corpus}.splits.{split}.{unit}")
                test: Test = OpenTest(missing=missing) if corpus in recipe.unpublished_splits else counted
                says = f"{unit} of {corpus}, {split} split"
                yield f"{_id_of(place)}/{corpus}/{split}/{unit}", _claim(place, says, count, test)
    for corpus, classes in recipe.classes.items():
        test = _counted(f"figures.corpora.{corpus}.label_space")
        yield f"{_id_of(place)}/{corpus}/classes", _claim(place, f"labels of {corpus}", classes, test)


def _id_of(place: str) -> str:
    """What the ids of the claims of a place begin with.

    >>> _id_of("Figure 4 and section 3.3")
    'figure-4'
    """
    return "-".join(place.lower().split()[:2])


def _counted(path: str) -> ManifestTest:
    return ManifestTest(evidence=COUNTS, figures=(path,))


def _label_shares(recipe: ClaimsRecipe) -> Iterator[tuple[str, Claim]]:
    for label, share in recipe.label_percentages.items():
        test = LabelShareTest(evidence=COUNTS, label=label, tolerance=LABEL_TOLERANCE)
        says = f"share of {label} in the training records, in percent"
        place = recipe.places["label_percentages"]
        yield f"{_id_of(place)}/{label}", _claim(place, says, share, test)


Scores = Mapping[CorpusName, Mapping[PaperMetric, float]]


def cells(scores: Scores) -> Iterator[tuple[CorpusName, PaperMetric, float]]:
    """Each figure of a table with its corpus and metric."""
    return ((corpus, metric, value) for corpus, each in scores.items() for metric, value in each.items())


def _results(results: Results) -> Iterator[tuple[str, Claim]]:
    """The table of results; where another place prints another figure, that is its other reading."""
    table, name_of = f"Table {results.table}", f"table-{results.table}"
    for name, row in results.rows.items():
        for corpus, metric, value in cells(row.corpora):
            others = {
                f"Table {results.ablation_table}": results.ablations.get(corpus, {}).get(name, {}),
                str(results.text_place): results.text.get(name, {}).get(corpus, {}),
            }
            unlike = {one: two[metric] for one, two in others.items() if two.get(metric, value) != value}
            says, test = f"{metric} of {name} on {corpus}", _scored(results, row.system, corpus, metric)
            yield f"{name_of}/{name}/{corpus}/{metric}", _claim(table, says, value, test, unlike)
        for metric, value in row.average.items():
            of = [f"{name_of}/{name}/{one}/{metric}" for one, each in row.corpora.items() if metric in each]
            says, mean = f"{metric} of {name}, mean over the corpora", PaperTest(compute="mean", of=tuple(of))
            yield f"{name_of}/{name}/average/{metric}", _claim(table, says, value, mean)
    for column, metric, value in cells(results.improvements):
        of = [f"{name_of}/{name}/{column}/{metric}" for name in (results.own, "*")]
        says = f"points of {metric} over the best other row, {column}"
        claim = _claim(f"{table}, last row", says, value, PaperTest(compute="margin", of=tuple(of)))
        yield f"{name_of}-improvement/{column}/{metric}", claim


def _ablations(results: Results) -> Iterator[tuple[str, Claim]]:
    """The table of ablations; its columns may be those of the other in reverse: two readings a figure."""
    table = f"Table {results.ablation_table}"
    for corpus, rows in results.ablations.items():
        for name, metric, value in cells(rows):
            swapped, test = dict[str, float](), _same(results, name, corpus, metric)
            if name != results.own:
                place = f"{table} with its columns as in Table {results.table}"
                swapped = {place: rows[name][METRICS[1 - METRICS.index(metric)]]}
                test = _scored(results, results.ablated[name], corpus, metric)
            claim = _claim(table, f"{metric} of {name} on {corpus}", value, test, swapped)
            yield f"{_id_of(table)}/{corpus}/{name}/{metric}", claim


def _text(results: Results) -> Iterator[tuple[str, Claim]]:
    place = str(results.text_place)
    for name, corpora in results.text.items():
        for corpus, metric, value in cells(corpora):
            test = _same(results, name, corpus, metric)
            claim = _claim(place, f"{metric} of {name} on {corpus}", value, test)
            yield f"{_id_of(place)}/{name}/{corpus}/{metric}", claim


def _scored(results: Results, system: ScoredSystem, corpus: CorpusName, metric: PaperMetric) -> ScoreTest:
    return ScoreTest(system=system, corpus=corpus, metric=metric, tolerance=results.tolerance)


def _same(results: Results, name: str, corpus: CorpusName, metric: PaperMetric) -> Test:
    """The figure of the table of results."""
    return PaperTest(compute="same", of=(f"table-{results.table}/{name}/{corpus}/{metric}",))


def _directions(recipe: ClaimsRecipe) -> Iterator[tuple[str, Claim]]:
    for name, one in recipe.directions.items():
        compared = one.model_dump(include=set(DirectionRule.model_fields))
        for corpus in one.corpora:
            test = DirectionTest(corpus=corpus, **compared)
            claim = Claim(place=one.place, says=f"{one.says}: {corpus}", test=test)
            yield f"directions/{name}/{corpus}", claim


Status = Literal[
    "reproduced",
    "contradicted",
    "not yet testable",
    "holds on another backbone",
    "does not hold on another backbone",
    "undecided on another backbone",
]


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim.

    Attributes:
        by: The figure that decides and where it is, or what is missing.
        measured: That figure; None where none decides.
    """

    status: Status
    by: str
    measured: float | None = None


FIX = "make the folder again, or move it elsewhere"


@dataclass(frozen=True)
class Found(Generic[AnyManifest]):
    """A manifest and its folder."""

    folder: Path
    manifest: AnyManifest

    @cached_property
    def data(self) -> Any:
        """The manifest as plain data."""
        return self.manifest.model_dump(mode="json")


FoundManifests = Mapping[Kind, list[Found[Any]]]
"""Manifests by kind; copies of the same content count once."""


def find_manifests(folder: Path) -> FoundManifests:
    """Every manifest below a folder, except in hidden folders, which are being written or belong to git."""
    problems: list[Problem] = []
    if not folder.is_dir():
        fix = "name the folder that holds what was built"
        problems.append(Problem(str(folder), "no such folder", fix=fix, code="claims.no_folder"))
    found: defaultdict[Kind, list[Found[Any]]] = defaultdict(list)
    for path in sorted(folder.rglob(MANIFEST)):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        kind: Any = kind_of(path.parent)
        if not isinstance(kind, str):
            problems.append(Problem(str(path), "not a manifest", fix=FIX, code="claims.not_a_manifest"))
            continue
        if kind not in MANIFESTS:
            what, expected = "not a known kind of manifest", ", ".join(MANIFESTS)
            problems.append(Problem(str(path), what, expected, kind, FIX, code="claims.unknown_kind"))
            continue
        try:
            manifest = read_manifest(path.parent, MANIFESTS[kind])
        except DataError as error:
            problems += error.problems
            continue
        if all(one.manifest.content_sha256 != manifest.content_sha256 for one in found[kind]):
            found[kind].append(Found(path.parent, manifest))
    if problems:
        raise DataError(problems, outcome="nothing was tested")
    return found


def figure_at(data: Any, path: str) -> float | None:
    """The figure at a path of keys; `*` sums over all keys, a list counts as its length.

    None where there is none.

    >>> figure_at({"a": {"x": {"n": 2}, "y": {"n": 3}, "z": {}}}, "a.*.n")
    5.0
    >>> figure_at({"a": {"names": ["x", "y"]}}, "a.names")
    2.0
    >>> figure_at({"a": {}}, "a.x") is None
    True
    """
    numbers = [number for value in _values(data, path.split(".")) if (number := _number(value)) is not None]
    return sum(numbers) if numbers or "*" in path else None


def is_met(data: Any, where: Mapping[str, Iterable[Any]]) -> bool:
    """Whether the value at each path is one of the accepted ones.

    >>> is_met({"recipe": {"name": "x"}}, {"recipe.name": ["x", "y"]})
    True
    """
    return all(
        any(value in accepted for value in _values(data, path.split("."))) for path, accepted in where.items()
    )


def _values(data: Any, keys: list[str]) -> Iterator[Any]:
    if not keys:
        yield data
    elif isinstance(data, dict):
        first, *rest = keys
        for key in data if first == "*" else [first]:
            if key in data:
                yield from _values(data[key], rest)


def _number(value: Any) -> float | None:
    if isinstance(value, list):
        return float(len(value))
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def whole_test_scores(found: FoundManifests, corpus: CorpusName) -> list[Found[ScoreManifest]]:
    """The scores of the whole test split of a corpus."""
    return [
        one
        for one in found.get("score", [])
        if (one.manifest.figures.protocol.corpus, one.manifest.figures.protocol.split) == (corpus, "test")
        and one.manifest.recipe.resolved.get("max_records") is None
        and not one.manifest.figures.is_partial
    ]
