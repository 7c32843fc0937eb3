"""Every claim of a claims recipe by its id: the listed ones, and those that its tables imply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from dialoguellm_release.schemas.claims import (
    Claim,
    ClaimsRecipe,
    LabelShareTest,
    ManifestTest,
    OpenTest,
    PaperMetric,
    PaperTest,
    PrintedScores,
    Results,
    ScoredSystem,
    ScoreTest,
    Test,
    TrainingTotalTest,
)
from dialoguellm_release.schemas.labels import CorpusName

METRICS: tuple[PaperMetric, ...] = ("accuracy", "weighted_f1")
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
        **recipe.claims,
    }


def paper_figures(recipe: ClaimsRecipe) -> dict[str, float]:
    """Every figure of the paper by the id of its claim, and how many baselines its table of results has."""
    figures = {name: claim.value for name, claim in all_claims(recipe).items() if claim.value is not None}
    rows = recipe.results.rows.values() if recipe.results else ()
    return {**figures, "table-3/number-of-baselines": float(sum(row.group == "baseline" for row in rows))}


def _claim(
    place: str, says: str, value: float, test: Test, others: Mapping[str, float] = MappingProxyType({})
) -> Claim:
    """A claim; `others` are its figure as other places print it, where it is another."""
    return Claim(place=place, says=says, value=value, test=test, other_readings=dict(others))


def _counts(recipe: ClaimsRecipe) -> Iterator[tuple[str, Claim]]:
    if COUNTS not in recipe.evidence:
        return
    total = TrainingTotalTest(evidence=COUNTS, of="dialogues")
    says = "dialogues to train on"
    yield "data/dialogues", _claim("abstract and section 3.3", says, recipe.training_dialogues, total)
    for corpus, splits in recipe.corpora.items():
        for split, sizes in splits.items():
            for unit, count in (("dialogues", sizes.dialogues), ("utterances", sizes.utterances)):
                test: Test = _counted(f"figures.corpora.{corpus}.splits.{split}.{unit}")
                if corpus in recipe.unpublished_splits:
                    missing = f"the authors' split of {corpus}: it was never published, ours is drawn"
                    test = OpenTest(missing=missing)
                says = f"{unit} of {corpus}, {split} split"
                yield f"table-1/{corpus}/{split}/{unit}", _claim("Table 1", says, count, test)
    for corpus, classes in recipe.classes.items():
        test = _counted(f"figures.corpora.{corpus}.label_space")
        yield f"table-1/{corpus}/classes", _claim("Table 1", f"labels of {corpus}", classes, test)


def _counted(path: str) -> ManifestTest:
    return ManifestTest(evidence=COUNTS, figures=(path,))


def _label_shares(recipe: ClaimsRecipe) -> Iterator[tuple[str, Claim]]:
    for label, share in recipe.label_percentages.items():
        test = LabelShareTest(evidence=COUNTS, label=label, tolerance=LABEL_TOLERANCE)
        says = f"share of {label} in the training records, in percent"
        yield f"figure-4/{label}", _claim("Figure 4 and section 3.3", says, share, test)


def _results(results: Results) -> Iterator[tuple[str, Claim]]:
    """Table 3; where another place prints another figure, that is its other reading."""
    for name, row in results.rows.items():
        for corpus, scores in row.corpora.items():
            others = {
                "Table 4": printed(results.ablations.get(corpus, {}).get(name, PrintedScores())),
                "section 4.4": printed(results.text.get(name, {}).get(corpus, PrintedScores())),
            }
            for metric, value in printed(scores).items():
                says = f"{metric} of {name} on {corpus}"
                unlike = {
                    place: two[metric] for place, two in others.items() if two.get(metric, value) != value
                }
                test = _scored(results, row.system, corpus, metric)
                yield f"table-3/{name}/{corpus}/{metric}", _claim("Table 3", says, value, test, unlike)
        for metric, value in printed(row.average).items():
            of = tuple(
                f"table-3/{name}/{corpus}/{metric}"
                for corpus, scores in row.corpora.items()
                if metric in printed(scores)
            )
            says = f"{metric} of {name}, mean over the corpora"
            mean = PaperTest(compute="mean", of=of)
            yield f"table-3/{name}/average/{metric}", _claim("Table 3", says, value, mean)
    for column, gains in results.improvements.items():
        for metric in METRICS:
            of = (f"table-3/{results.own}/{column}/{metric}", f"table-3/*/{column}/{metric}")
            says = f"points of {metric} over the best other row, {column}"
            margin = PaperTest(compute="margin", of=of)
            claim = _claim("Table 3, last row", says, getattr(gains, metric), margin)
            yield f"table-3-improvement/{column}/{metric}", claim


def _ablations(results: Results) -> Iterator[tuple[str, Claim]]:
    """Table 4; its columns are in the reverse order of Table 3, so each figure has a second reading."""
    for corpus, rows in results.ablations.items():
        for name, scores in rows.items():
            both = printed(scores)
            for metric, value in both.items():
                says = f"{metric} of {name} on {corpus}"
                if name == results.own:
                    claim = _claim("Table 4", says, value, _same(name, corpus, metric))
                else:
                    swapped = {
                        "Table 4 with its columns as in Table 3": both[METRICS[1 - METRICS.index(metric)]]
                    }
                    test = _scored(results, results.ablated[name], corpus, metric)
                    claim = _claim("Table 4", says, value, test, swapped)
                yield f"table-4/{corpus}/{name}/{metric}", claim


def _text(results: Results) -> Iterator[tuple[str, Claim]]:
    for name, corpora in results.text.items():
        for corpus, scores in corpora.items():
            for metric, value in printed(scores).items():
                claim = _claim(
                    "section 4.4", f"{metric} of {name} on {corpus}", value, _same(name, corpus, metric)
                )
                yield f"section-4.4/{name}/{corpus}/{metric}", claim


def _scored(results: Results, system: ScoredSystem, corpus: CorpusName, metric: PaperMetric) -> ScoreTest:
    return ScoreTest(system=system, corpus=corpus, metric=metric, tolerance=results.tolerance)


def _same(name: str, corpus: CorpusName, metric: PaperMetric) -> PaperTest:
    """The figure of Table 3."""
    return PaperTest(compute="same", of=(f"table-3/{name}/{corpus}/{metric}",))


def printed(scores: PrintedScores) -> dict[PaperMetric, float]:
    """The printed ones of two scores."""
    return {metric: value for metric in METRICS if (value := getattr(scores, metric)) is not None}
