"""`dlm-release demo`: the whole path, from native files to published repositories."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from dialoguellm_release.cli.command import BUILD, Again, Skip, say, show

LOADING = """\
from datasets import load_dataset; dataset = load_dataset("{dataset}", "{corpus}", split="test")
from transformers import AutoModelForCausalLM; base = AutoModelForCausalLM.from_pretrained("{backbone}")
from peft import PeftModel; model = PeftModel.from_pretrained(base, "{adapter}")"""


def demo(
    sources: Annotated[
        Path | None,
        typer.Option(help="Real corpora, one sub-folder each; without it, the bundled synthetic ones."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where everything is made.")] = BUILD / "demo",
    skip: Skip = None,
    again: Again = False,
    app: Annotated[
        bool,
        typer.Option("--app", help="Then serve the app of the demo Space with the adapter, until Ctrl-C."),
    ] = False,
) -> None:
    """Run the whole path on small synthetic data.

    Build the dataset, train a tiny adapter, score it, publish everything to a folder.

    Example: dlm-release demo --sources corpora
    """
    from dialoguellm_release.cli import adapter, dataset, publish, scores
    from dialoguellm_release.schemas.release import ReleaseRecipe
    from dialoguellm_release.steps.adapter import train_adapter
    from dialoguellm_release.steps.corpora import corpora_of
    from dialoguellm_release.steps.dataset import build_dataset
    from dialoguellm_release.steps.recipe import load_any
    from dialoguellm_release.steps.release import publish as publish_release
    from dialoguellm_release.steps.score import ModelChoice, score

    started = time.monotonic()
    plan = load_any("releases/demo").recipe
    assert isinstance(plan, ReleaseRecipe)
    assert plan.dataset is not None
    (backbone_plan,), (adapter_plan,) = plan.backbones, plan.adapters
    (score_folder,) = adapter_plan.scores
    score_recipe = Path(score_folder).name.partition("-")[0]

    recipe = "demo" if sources is None else "paper"
    say(f"1/4  dataset: recipe {recipe}")
    absent = [name for name in corpora_of(recipe) if sources is not None and not (sources / name).exists()]
    if absent:
        say(f"     not in {sources}, left out: {', '.join(absent)}")
    left_out = {*(skip or ()), *absent}
    built = build_dataset(recipe, sources, out / "dataset", skip=left_out, again=again, replace=True)
    dataset.warn_of_unknown_files(built.manifest)
    dataset.note_missing_figures(built.manifest)
    say("2/4  adapter: recipe tiny")
    trained = train_adapter(
        "tiny",
        built.folder,
        out / adapter_plan.folder,
        backbones=out / "backbones",
        unfinished="discard" if again else "resume",
        again=again,
        replace=True,
    )
    say(f"3/4  scores: recipe {score_recipe}")
    model = ModelChoice(trained.folder, backbones=out / "backbones", cache=out / "cache")
    scored = score(score_recipe, built.folder, model, out / score_folder, again=again, replace=True)
    say("4/4  release: recipe demo")
    release = publish_release("demo", out, str(out / "release"))

    where = {one.repo_id: one.where for one in release.repositories}
    loading = LOADING.format(
        dataset=where[plan.dataset.repo_id],
        corpus=scored.manifest.figures.protocol.corpus,
        backbone=where[backbone_plan.repo_id],
        adapter=where[adapter_plan.repo_id],
    )
    show(f"\nDataset, as dialogues / records\n{dataset.counts(built.manifest)}")
    show(f"\nAdapter\n{adapter.as_text(trained.manifest)}")
    show(f"\nScores\n{scores.as_text(scored.manifest)}")
    show(f"\nRelease\n{publish.as_text(release)}")
    show(f"\nLoad it\n{loading}")
    say(f"\nDone in {time.monotonic() - started:.0f} s. Everything is in {out}.")
    if app:
        from dialoguellm_release.steps.predict import serve_app

        raise typer.Exit(serve_app(trained.folder, out / backbone_plan.folder))
