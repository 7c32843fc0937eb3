"""Whether the published scores follow from the published answers, and the answers from the adapter."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dialoguellm_release.cards.provenance import recipe_of
from dialoguellm_release.errors import CardError, MissingExtraError, Problem, RecipeError
from dialoguellm_release.folders import read_manifest
from dialoguellm_release.hub.contents import PREDICTIONS, SCORES
from dialoguellm_release.hub.copies import Copy
from dialoguellm_release.hub.verdicts import Verdict, not_checked, verdict_on
from dialoguellm_release.hub.verify_loading import base_folder, why_no_base
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.resources import metric_functions
from dialoguellm_release.schemas.manifests import AdapterManifest, ScoreManifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.recipes.score import ScoreRecipe
from dialoguellm_release.scoring.model import ModelFolders, score_model
from dialoguellm_release.scoring.predictions import write_predictions

TOLERANCE = 0.02
"""How far a probability may be off: another machine, or half precision, changes its last digits."""


def figures_verdict(copy: Copy) -> Verdict:
    """Whether each metric follows from the answers to single records."""
    folders = _score_folders(copy)
    if not folders:
        return not_checked("figures", "there are no scores in it")
    checked = [folder for folder in folders if (folder / PREDICTIONS).is_file()]
    problems = [problem for folder in checked for problem in _figure_problems(folder)]
    problems += _listing_problems(copy, folders)
    note = f"{len(checked)} of {len(folders)} score folders have their answers"
    return verdict_on("figures", problems, note)


def answers_verdict(copy: Copy, sample: int, scratch: Path) -> Verdict:
    """Whether the adapter gives the published answers to the first so many records."""
    adapter = copy.adapter
    folders = [folder for folder in _score_folders(copy) if (folder / PREDICTIONS).is_file()]
    if adapter is None or not folders:
        return not_checked("answers", "there are no answers to single records in it")
    if not sample:
        return not_checked("answers", "not wanted (--sample 0)")
    dataset = next((one.folder for one in copy.linked if one.dataset), None)
    if dataset is None:
        return not_checked("answers", "the dataset is not at hand: a folder stands alone")
    base = base_folder(copy, adapter)
    if base is None:
        return not_checked("answers", why_no_base(adapter))
    backbone = _backbone(copy, adapter)
    if backbone is None:
        return not_checked("answers", f"no backbone recipe of this version loads {adapter.figures.base}")
    problems: list[Problem] = []
    notes = []
    for folder in folders:
        manifest = read_manifest(folder, ScoreManifest)
        recipe = _sampled(manifest, sample)
        if recipe is None:
            return not_checked("answers", f"{folder.name} was scored by a recipe of another version")
        model = ModelFolders(backbone, base if isinstance(base, Path) else None, copy.folder)
        try:
            ((_, answered),) = score_model(recipe, dataset, model, [recipe.scorer], scratch / "cache")
        except MissingExtraError:
            return not_checked("answers", "the extra score is not installed")
        scratch.mkdir(parents=True, exist_ok=True)
        write_predictions(answered, scratch / PREDICTIONS)
        again, before = _answers(scratch / PREDICTIONS), _answers(folder / PREDICTIONS)
        problems += _answer_problems(f"{SCORES}/{folder.name}", again, before)
        notes.append(f"the first {len(again):,} of {len(before):,} records of {folder.name}")
    return verdict_on("answers", problems, f"scored again: {'; '.join(notes)}")


def _score_folders(copy: Copy) -> list[Path]:
    return sorted(path.parent for path in copy.folder.glob(f"{SCORES}/*/manifest.json"))


def _figure_problems(folder: Path) -> Iterator[Problem]:
    import pyarrow.parquet as pq

    figures = read_manifest(folder, ScoreManifest).figures
    rows = pq.read_table(folder / PREDICTIONS, columns=["reference", "prediction"]).to_pydict()
    found: dict[str, float] = metric_functions("erc_scores").erc_scores(
        rows["reference"], rows["prediction"], figures.protocol.label_space, figures.without
    )
    for name, stated in figures.metrics.items():
        if not math.isclose(found[name], stated, abs_tol=1e-9):
            where, what = f"{SCORES}/{folder.name}: {name}", "does not follow from the published answers"
            yield Problem(where, what, f"{found[name]}", f"{stated}")


def _listing_problems(copy: Copy, folders: list[Path]) -> Iterator[Problem]:
    """Score folders that are not of this adapter, or not those that `release.json` names."""
    listed = {link.name: link.content_sha256 for link in copy.release.scores}
    for folder in folders:
        manifest = read_manifest(folder, ScoreManifest)
        where = f"{SCORES}/{folder.name}"
        if listed.get(folder.name) != manifest.content_sha256:
            what = "is not the score folder that release.json names"
            yield Problem(where, what, listed.get(folder.name, "none"), manifest.content_sha256)
        made_with = manifest.figures.system.adapter_content_sha256
        if copy.adapter and made_with != copy.adapter.content_sha256:
            what = "was made with another adapter"
            yield Problem(where, what, copy.adapter.content_sha256, str(made_with))


def _sampled(manifest: ScoreManifest, sample: int) -> ScoreRecipe | None:
    """The recipe of a scoring run, for its first records only."""
    resolved = dict(manifest.recipe.resolved)
    limit = resolved.get("max_records")
    resolved["max_records"] = min(sample, limit) if isinstance(limit, int) else sample
    stamp = manifest.recipe.model_copy(update={"resolved": resolved})
    try:
        return recipe_of(manifest.model_copy(update={"recipe": stamp}), ScoreRecipe)
    except CardError:
        return None


def _backbone(copy: Copy, adapter: AdapterManifest) -> Loaded[BackboneRecipe] | None:
    for one in copy.linked:
        if one.backbone:
            return Loaded(one.backbone.recipe.name, recipe_of(one.backbone, BackboneRecipe), {})
    try:
        loaded = load_recipe(str(adapter.recipe.resolved["backbone"]), "backbone", BackboneRecipe)
    except RecipeError:
        return None
    return loaded if loaded.recipe.source.repo_id == adapter.figures.base else None


def _answers(path: Path) -> dict[str, dict[str, Any]]:
    import pyarrow.parquet as pq

    return {row["id"]: row for row in pq.read_table(path).to_pylist()}


def _answer_problems(
    where: str, again: dict[str, dict[str, Any]], before: dict[str, dict[str, Any]]
) -> Iterator[Problem]:
    for record_id, row in again.items():
        published = before.get(record_id)
        if published is None:
            yield Problem(f"{where}: {record_id}", "has no published answer")
            return
        for column, value in row.items():
            stated = published.get(column)
            if isinstance(value, float) and isinstance(stated, float):
                is_same = math.isclose(value, stated, abs_tol=TOLERANCE)
            else:
                is_same = value == stated
            # Where two labels are as likely as each other, the last digits may turn the answer.
            if not is_same and column != "prediction":
                what = f"{column} is another one: the weights, the prompt or the base are not those scored"
                yield Problem(f"{where}: {record_id}", what, str(stated), str(value))
                return
