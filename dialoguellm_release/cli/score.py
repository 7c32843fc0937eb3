"""`dlm-release score`: score models, baselines and predictions, compare scores, and put them in a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from dialoguellm_release import steps
from dialoguellm_release.cli import command, scores
from dialoguellm_release.cli.command import (
    BUILD,
    Again,
    BackbonesFolder,
    Cache,
    DatasetFolder,
    Json,
    Replace,
    say,
    say_made,
    show,
    show_json,
    show_result,
)
from dialoguellm_release.render.tables import Format

if TYPE_CHECKING:
    from dialoguellm_release.schemas.manifests import ScoreManifest

app = command.group("Score models, baselines and predictions; compare scores.")

Recipe = Annotated[str, typer.Argument(help="A score recipe: the name of a bundled one, or a path.")]
Settings = Annotated[list[str] | None, command.setting("max_records=100")]


@app.command()
def run(
    recipe: Recipe,
    adapter: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|ID", help="Adapter: folder or id on the Hub. Without it, --backbone is scored alone."
        ),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Backbone recipe. [default: the one of the adapter]")
    ] = None,
    dataset: DatasetFolder = BUILD / "dataset",
    scorers: Annotated[
        str | None,
        typer.Option(help="Several ways to read the answer, with commas, or all: one score folder each."),
    ] = None,
    out: Annotated[Path | None, command.output("build/scores/RECIPE-ADAPTER")] = None,
    backbones: BackbonesFolder = BUILD / "backbones",
    cache: Cache = BUILD / "cache",
    settings: Settings = None,
    again: Again = False,
    replace: Replace = False,
    json: Json = False,
) -> None:
    """Score an adapter, or a backbone alone.

    The answer is the label with the highest probability, without free generation. --scorers all also
    generates, and shows how many points each way to read the answer is worth.

    Example: dlm-release score run my-recipe.yaml --adapter build/adapters/tiny
    """
    from dialoguellm_release.schemas.scores import ScorerName

    model = steps.score.ModelChoice(adapter, backbone, backbones, cache)
    overrides = settings or ()
    if scorers is None:
        made = steps.score.score(
            recipe, dataset, model, out, overrides=overrides, again=again, replace=replace
        )
        if not steps.score.rank():
            _report(made, json=json)
        return
    known = get_args(ScorerName)
    names = known if scorers == "all" else scorers.split(",")
    by_scorer = steps.score.score_each_way(
        recipe,
        [command.choice(name, known, "--scorers") for name in names],
        dataset,
        model,
        out,
        overrides=overrides,
        again=again,
        replace=replace,
    )
    if steps.score.rank():
        return
    for one in by_scorer.values():
        say_made(one, "scored")
    against = scores.against_first(by_scorer)
    data = scores.scorers_summary(by_scorer, against)
    show_result(data, scores.scorers_text(by_scorer, against), json=json)


@app.command()
def baseline(
    recipe: Recipe,
    name: Annotated[
        str, typer.Argument(help="majority, random (its expected value), tfidf or tfidf-context.")
    ],
    dataset: DatasetFolder = BUILD / "dataset",
    out: Annotated[Path | None, command.output("build/scores/RECIPE-NAME")] = None,
    settings: Settings = None,
    again: Again = False,
    replace: Replace = False,
    json: Json = False,
) -> None:
    """Score a baseline that needs no language model.

    Example: dlm-release score baseline my-recipe.yaml tfidf
    """
    from dialoguellm_release.schemas.scores import BaselineName

    known = command.choice(name, get_args(BaselineName), "NAME")
    made = steps.score.score_baseline(
        recipe, known, dataset, out, overrides=settings or (), again=again, replace=replace
    )
    _report(made, json=json)


@app.command()
def served(
    recipe: Recipe,
    model: Annotated[str, typer.Argument(help="Name of a model that the server has.")],
    base_url: command.BaseUrl = command.LOCAL_SERVER,
    api: command.Api = "chat",
    key_variable: command.KeyVariable = "OPENAI_API_KEY",
    concurrency: command.Concurrency = 8,
    dataset: DatasetFolder = BUILD / "dataset",
    out: Annotated[Path | None, command.output("build/scores/RECIPE-MODEL")] = None,
    cache: Cache = BUILD / "cache",
    settings: Settings = None,
    again: Again = False,
    replace: Replace = False,
    json: Json = False,
) -> None:
    """Score a model behind an OpenAI-compatible server.

    Example: dlm-release score served my-recipe.yaml my-model --base-url http://127.0.0.1:8000/v1
    """
    asked = command.served_model(model, base_url, api, key_variable, concurrency)
    made = steps.score.score_served(
        recipe, asked, dataset, out, cache=cache, overrides=settings or (), again=again, replace=replace
    )
    _report(made, json=json)


@app.command()
def predictions(
    recipe: Recipe,
    file: Annotated[Path, typer.Argument(help="CSV, JSON Lines or Parquet with id and prediction.")],
    dataset: DatasetFolder = BUILD / "dataset",
    out: Annotated[Path | None, command.output("build/scores/RECIPE-FILE")] = None,
    settings: Settings = None,
    again: Again = False,
    replace: Replace = False,
    json: Json = False,
) -> None:
    """Score predictions of another program.

    Example: dlm-release score predictions my-recipe.yaml mine.csv
    """
    made = steps.score.score_predictions(
        recipe, file, dataset, out, overrides=settings or (), again=again, replace=replace
    )
    _report(made, json=json)


def _report(made: steps.score.StepResult[ScoreManifest], *, json: bool) -> None:
    say_made(made, "scored")
    show_result(scores.summary(made.manifest), scores.as_text(made.manifest), json=json)


@app.command()
def calibrate(
    folder: Annotated[Path, typer.Argument(help="A score folder of the adapter on the validation split.")],
    adapter: Annotated[Path, typer.Option(help="Folder of the adapter, where calibration.json is written.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace another calibration.")] = False,
    json: Json = False,
) -> None:
    """Fit the temperature of an adapter's probabilities.

    The temperature with the least negative log-likelihood on the validation split goes into the adapter's
    folder. It changes no answer, but makes probabilities mean what they say.

    Example: dlm-release score run my.yaml --adapter build/adapters/my --set split=validation --out build/val
             dlm-release score calibrate build/val --adapter build/adapters/my
    """
    found = steps.score.calibrate_adapter(folder, adapter, replace=replace)
    show_result(found.model_dump(mode="json"), scores.calibration_text(found), json=json)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="A score folder.")],
    second: Annotated[Path, typer.Argument(help="Another one, of the same records.")],
    json: Json = False,
) -> None:
    """Compare two runs on the same records.

    Differences with intervals, paired bootstrap and McNemar's test.

    Example: dlm-release score compare build/scores/FIRST build/scores/SECOND
    """
    found = steps.compare.compare_scores(first, second)
    text = scores.comparison_text(found, str(first), str(second))
    show_result(scores.comparison_summary(found), text, json=json)


@app.command()
def table(
    folders: Annotated[list[Path] | None, typer.Argument(help="Score folders.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="The metric to show. [default: the headline of each corpus]")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How the table is written.")] = "text",
    paper: Annotated[
        bool, typer.Option("--claims", help="Instead: the claims of the paper, and what was built.")
    ] = False,
    paper_name: Annotated[
        str | None,
        typer.Option("--paper", help="With --claims: a claims recipe; the first bundled one by default."),
    ] = None,
    build: Annotated[Path, typer.Option("--from", help="With --claims: folder of what was built.")] = BUILD,
    paper_table: Annotated[
        str | None,
        typer.Option(help="With --claims: a table of the paper with what was measured, by its number."),
    ] = None,
    status: Annotated[
        str | None, typer.Option(help="With --claims: list the claims of one status, as contradicted.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="With --claims: list every claim.")] = False,
    json: Json = False,
) -> None:
    """Put scores in one table.

    A row for each system, a column for each corpus. Seeds of one training are averaged. Letters mark scores
    of another protocol than the first of their column, and scores of some records only. --claims compares
    what the paper says with what was built.

    Example: dlm-release score table build/scores/FIRST build/scores/SECOND --format markdown
             dlm-release score table --claims --from build --paper-table 3 --format latex
    """
    if paper:
        if folders or metric:
            raise typer.BadParameter("--claims reads every manifest below --from; name no score folders")
        _claims(build, paper_name, paper_table, form, "all" if everything else status, json=json)
        return
    if not folders:
        raise typer.BadParameter("name score folders, or --claims")
    if status or everything or paper_table or paper_name:
        raise typer.BadParameter("--status, --all, --paper and --paper-table need --claims")

    from dialoguellm_release.schemas.scores import MetricName

    chosen = None if metric is None else command.choice(metric, get_args(MetricName), "--metric")
    found = steps.compare.score_table(folders, chosen)
    if json:
        show_json(scores.table_summary(found))
        return
    show(found.as_table().written(form))
    for letter, text in found.marks.items():
        note = f"{letter}: {text}"
        show(note) if form in ("text", "markdown") else say(note)


def _claims(
    build: Path, paper: str | None, paper_table: str | None, form: Format, status: str | None, *, json: bool
) -> None:

    if status not in (None, "all"):
        command.choice(str(status), get_args(steps.compare.Status), "--status")
    report = steps.compare.check_claims(build, paper)
    if paper_table is not None:
        command.choice(paper_table, report.tables, "--paper-table")
    if json:
        show_json(scores.claims_summary(report))
    elif paper_table is not None:
        chosen = report.tables[paper_table]
        say(f"{chosen.title}. {chosen.note}")
        show(chosen.as_table().written(form))
    else:
        show(scores.claims_text(report, form, status))
    say(", ".join(f"{count} {status}" for status, count in report.counts.most_common()))
