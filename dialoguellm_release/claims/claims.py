"""Every claim of a claims recipe by its id: the listed ones, and those that its tables imply."""

from __future__ import annotations

from collections.abc import Iterator

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
    ScoreTest,
    TrainingTotalTest,
)

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


def _counts(recipe: ClaimsRecipe) -> Iterator[tuple[str, Claim]]:
    if COUNTS not in recipe.evidence:
        return
    yield (
        "data/dialogues",
        Claim(
            place="abstract and section 3.3",
            says="dialogues to train on",
            value=recipe.training_dialogues,
            test=TrainingTotalTest(evidence=COUNTS, of="dialogues"),
        ),
    )
    for corpus, splits in recipe.corpora.items():
        for split, sizes in splits.items():
            for unit, count in (("dialogues", sizes.dialogues), ("utterances", sizes.utterances)):
                path = f"figures.corpora.{corpus}.splits.{split}.{unit}"
                drawn = f"the authors' split of {corpus}: it was never published, ours is drawn"
                yield (
                    f"table-1/{corpus}/{split}/{unit}",
                    Claim(
                        place="Table 1",
                        says=f"{unit} of {corpus}, {split} split",
                        value=count,
                        test=OpenTest(missing=drawn)
                        if corpus in recipe.unpublished_splits
                        else ManifestTest(evidence=COUNTS, figures=(path,)),
                    ),
                )
    for corpus, classes in recipe.classes.items():
        path = f"figures.corpora.{corpus}.label_space"
        yield (
            f"table-1/{corpus}/classes",
            Claim(
                place="Table 1",
                says=f"labels of {corpus}",
                value=classes,
                test=ManifestTest(evidence=COUNTS, figures=(path,)),
            ),
        )


def _label_shares(recipe: ClaimsRecipe) -> Iterator[tuple[str, Claim]]:
    for label, share in recipe.label_percentages.items():
        test = LabelShareTest(evidence=COUNTS, label=label, tolerance=LABEL_TOLERANCE)
        says = f"share of {label} in the training records, in percent"
        yield f"figure-4/{label}", Claim(place="Figure 4 and section 3.3", says=says, value=share, test=test)


def _results(results: Results) -> Iterator[tuple[str, Claim]]:
    """Table 3; where another place prints another figure, that is its other reading."""
    for name, row in results.rows.items():
        for corpus, scores in row.corpora.items():
            for metric, value in printed(scores).items():
                places = {
                    "Table 4": results.ablations.get(corpus, {}).get(name, PrintedScores()),
                    "section 4.4": results.text.get(name, {}).get(corpus, PrintedScores()),
                }
                yield (
                    f"table-3/{name}/{corpus}/{metric}",
                    Claim(
                        place="Table 3",
                        says=f"{metric} of {name} on {corpus}",
                        value=value,
                        other_readings={
                            place: other
                            for place, there in places.items()
                            if (other := getattr(there, metric)) not in (None, value)
                        },
                        test=ScoreTest(
                            system=row.system, corpus=corpus, metric=metric, tolerance=results.tolerance
                        ),
                    ),
                )
        for metric, value in printed(row.average).items():
            of = tuple(
                f"table-3/{name}/{corpus}/{metric}"
                for corpus, scores in row.corpora.items()
                if metric in printed(scores)
            )
            says = f"{metric} of {name}, mean over the corpora"
            test = PaperTest(compute="mean", of=of)
            yield (
                f"table-3/{name}/average/{metric}",
                Claim(place="Table 3", says=says, value=value, test=test),
            )
    for column, gains in results.improvements.items():
        for metric in METRICS:
            of = (f"table-3/{results.own}/{column}/{metric}", f"table-3/*/{column}/{metric}")
            yield (
                f"table-3-improvement/{column}/{metric}",
                Claim(
                    place="Table 3, last row",
                    says=f"points of {metric} over the best other row, {column}",
                    value=getattr(gains, metric),
                    test=PaperTest(compute="margin", of=of),
                ),
            )


def _ablations(results: Results) -> Iterator[tuple[str, Claim]]:
    """Table 4; its columns are in the reverse order of Table 3, so each figure has a second reading."""
    for corpus, rows in results.ablations.items():
        for name, scores in rows.items():
            both = printed(scores)
            for metric, value in both.items():
                other = both[METRICS[1 - METRICS.index(metric)]]
                is_own = name == results.own
                yield (
                    f"table-4/{corpus}/{name}/{metric}",
                    Claim(
                        place="Table 4",
                        says=f"{metric} of {name} on {corpus}",
                        value=value,
                        other_readings={} if is_own else {"Table 4 with its columns as in Table 3": other},
                        test=PaperTest(compute="same", of=(f"table-3/{name}/{corpus}/{metric}",))
                        if is_own
                        else ScoreTest(
                            system=results.ablated[name],
                            corpus=corpus,
                            metric=metric,
                            tolerance=results.tolerance,
                        ),
                    ),
                )


def _text(results: Results) -> Iterator[tuple[str, Claim]]:
    for name, corpora in results.text.items():
        for corpus, scores in corpora.items():
            for metric, value in printed(scores).items():
                test = PaperTest(compute="same", of=(f"table-3/{name}/{corpus}/{metric}",))
                says = f"{metric} of {name} on {corpus}"
                yield (
                    f"section-4.4/{name}/{corpus}/{metric}",
                    Claim(place="section 4.4", says=says, value=value, test=test),
                )


def printed(scores: PrintedScores) -> dict[PaperMetric, float]:
    """The printed ones of two scores."""
    return {metric: value for metric in METRICS if (value := getattr(scores, metric)) is not None}
