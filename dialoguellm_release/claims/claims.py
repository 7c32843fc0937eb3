"""Every claim of a claims recipe by its id: the listed ones, and those that its tables imply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import get_args

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
                test: Test = _counted(f"figures.corpora.{corpus}.splits.{split}.{unit}")
                if corpus in recipe.unpublished_splits:
                    missing = f"the authors' split of {corpus}: it was never published, ours is drawn"
                    test = OpenTest(missing=missing)
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


def _results(results: Results) -> Iterator[tuple[str, Claim]]:
    """The table of results; where another place prints another figure, that is its other reading."""
    table = f"Table {results.table}"
    for name, row in results.rows.items():
        for corpus, scores in row.corpora.items():
            others = {
                f"Table {results.ablation_table}": results.ablations.get(corpus, {}).get(name, {}),
                str(results.text_place): results.text.get(name, {}).get(corpus, {}),
            }
            for metric, value in scores.items():
                says = f"{metric} of {name} on {corpus}"
                unlike = {
                    place: two[metric] for place, two in others.items() if two.get(metric, value) != value
                }
                test = _scored(results, row.system, corpus, metric)
                yield f"{_id_of(table)}/{name}/{corpus}/{metric}", _claim(table, says, value, test, unlike)
        for metric, value in row.average.items():
            of = tuple(
                f"{_id_of(table)}/{name}/{corpus}/{metric}"
                for corpus, scores in row.corpora.items()
                if metric in scores
            )
            says = f"{metric} of {name}, mean over the corpora"
            mean = PaperTest(compute="mean", of=of)
            yield f"{_id_of(table)}/{name}/average/{metric}", _claim(table, says, value, mean)
    for column, gains in results.improvements.items():
        for metric, value in gains.items():
            of = tuple(f"{_id_of(table)}/{name}/{column}/{metric}" for name in (results.own, "*"))
            says = f"points of {metric} over the best other row, {column}"
            margin = PaperTest(compute="margin", of=of)
            claim = _claim(f"{table}, last row", says, value, margin)
            yield f"{_id_of(table)}-improvement/{column}/{metric}", claim


def _ablations(results: Results) -> Iterator[tuple[str, Claim]]:
    """The table of ablations; its columns may be those of the other in reverse: two readings a figure."""
    table = f"Table {results.ablation_table}"
    for corpus, rows in results.ablations.items():
        for name, scores in rows.items():
            for metric, value in scores.items():
                says = f"{metric} of {name} on {corpus}"
                if name == results.own:
                    claim = _claim(table, says, value, _same(results, name, corpus, metric))
                else:
                    swapped = {
                        f"{table} with its columns as in Table {results.table}": scores[
                            METRICS[1 - METRICS.index(metric)]
                        ]
                    }
                    test = _scored(results, results.ablated[name], corpus, metric)
                    claim = _claim(table, says, value, test, swapped)
                yield f"{_id_of(table)}/{corpus}/{name}/{metric}", claim


def _text(results: Results) -> Iterator[tuple[str, Claim]]:
    for name, corpora in results.text.items():
        for corpus, scores in corpora.items():
            for metric, value in scores.items():
                place, says = str(results.text_place), f"{metric} of {name} on {corpus}"
                claim = _claim(place, says, value, _same(results, name, corpus, metric))
                yield f"{_id_of(place)}/{name}/{corpus}/{metric}", claim


def _scored(results: Results, system: ScoredSystem, corpus: CorpusName, metric: PaperMetric) -> ScoreTest:
    return ScoreTest(system=system, corpus=corpus, metric=metric, tolerance=results.tolerance)


def _same(results: Results, name: str, corpus: CorpusName, metric: PaperMetric) -> PaperTest:
    """The figure of the table of results."""
    return PaperTest(compute="same", of=(f"table-{results.table}/{name}/{corpus}/{metric}",))


def _directions(recipe: ClaimsRecipe) -> Iterator[tuple[str, Claim]]:
    for name, one in recipe.directions.items():
        compared = one.model_dump(include=set(DirectionRule.model_fields))
        for corpus in one.corpora:
            test = DirectionTest(corpus=corpus, **compared)
            yield (
                f"directions/{name}/{corpus}",
                Claim(place=one.place, says=f"{one.says}: {corpus}", test=test),
            )
