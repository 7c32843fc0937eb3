"""An adapter recipe, a backbone and a dataset folder become an adapter folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from dialoguellm_release.backbones.adapters import (
    adapter_files_sha256,
    check_adapter_files,
    config_problems,
    downloaded,
    load_adapter,
    read_config,
)
from dialoguellm_release.backbones.load import (
    load_backbone,
    load_tokenizer,
    location_at,
)
from dialoguellm_release.backbones.weights import Base, base_of, pinned
from dialoguellm_release.corpora.registry import corpus_entries
from dialoguellm_release.encoding import Encoder, check_context_window
from dialoguellm_release.errors import DataError, MissingExtraError, Problem, RecipeError, problems_of
from dialoguellm_release.folders import (
    Output,
    canonical_json,
    package_versions,
    read_manifest,
    sha256_of_text,
)
from dialoguellm_release.layout import JOINT_CONFIGS
from dialoguellm_release.processes import first_alone, rank
from dialoguellm_release.progress import progress
from dialoguellm_release.prompts import load_prompt
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.records import record_files
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.manifests import (
    TRAINING_LOG,
    AdapterFigures,
    TrainedCorpus,
    TrainedTask,
)
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe, InitAdapter, LoraRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.training.adapter_folder import content_sha256, write_adapter, write_loss_curve
from dialoguellm_release.training.checkpoints import (
    Unfinished,
    kept_on_failure,
    open_run,
    steps_done,
    tracking_of,
)
from dialoguellm_release.training.data import (
    Row,
    encode_or_show_survival,
    records_of,
    splits_of,
    training_rows,
)
from dialoguellm_release.training.devices import share_of, training_run
from dialoguellm_release.training.sft import Work, tune

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def with_init_adapter(model: PreTrainedModel, init: InitAdapter, lora: LoraRecipe, base: Base) -> PeftModel:
    """The model with the weights of an adapter, ready to be trained on."""
    location = location_at(init.path, init.revision)
    folder = Path(init.path) if Path(init.path).is_dir() else _fetched(init)
    config = read_config(folder, location)
    problems = [
        *config_problems(config, lora.model_dump(), location),
        *_base_problems(config, base, location),
    ]
    if problems:
        raise RecipeError(problems)
    return load_adapter(model, folder, location, is_trainable=True)


def init_adapter_sha256(init: InitAdapter | None) -> str | None:
    """The hash of the folder that a training goes on from.

    None where it starts from scratch, and for an adapter on the Hub, which its commit identifies.
    """
    if init is None or not Path(init.path).is_dir():
        return None
    check_adapter_files(Path(init.path), init.path)
    return adapter_files_sha256(Path(init.path))


def _fetched(init: InitAdapter) -> Path:
    """The local copy of an adapter on the Hub."""
    if init.revision is None:
        what = f"{init.path} is no folder here, and an adapter on the Hub needs its commit"
        fix = f"set init_adapter.revision to a commit of {init.path}, or name a folder that is there"
        where, expected, code = "init_adapter.revision", "40 hexadecimal digits", "adapters.no_revision"
        raise RecipeError(Problem(where, what, expected, fix=fix, code=code))
    return downloaded(init.path, init.revision, "check init_adapter.path and init_adapter.revision")


def _base_problems(config: dict[str, Any], base: Base, location: str) -> Iterator[Problem]:
    stated, revision = config.get("base_model_name_or_path"), config.get("revision")
    if stated != base.repo_id:
        what = f"is not the base of {location}"
        yield Problem("backbone", what, str(stated), base.repo_id, code="adapters.other_base")
    elif revision and base.revision and revision != base.revision:
        what = f"is another revision than the base of {location}"
        yield Problem("backbone", what, revision, base.revision, code="adapters.other_revision")


PACKAGES = ("torch", "transformers", "trl", "peft", "tokenizers")
"""Whose versions shape an adapter."""


def train_adapter(
    recipe: Loaded[AdapterRecipe],
    backbone: Loaded[BackboneRecipe],
    backbone_folder: Path | None,
    dataset: Path,
    folder: Path,
    *,
    records_sha256: Mapping[Split, str],
    checkpoints: Path,
    unfinished: Unfinished = "refuse",
) -> Output:
    """Trains an adapter and writes its files into an empty folder.

    Args:
        backbone_folder: Where a backbone was built here; None for one from the Hub.
        records_sha256: What `records_read` gave.
        checkpoints: Holds the log while the training runs, and its checkpoints if the recipe saves any.
        unfinished: What to do with a training that did not end there.
    """
    settings = recipe.recipe
    share_of(settings.trainer.gradient_accumulation_steps)
    prompt = load_prompt(settings.prompt)
    built = read_manifest(dataset, DatasetManifest)
    splits = splits_of(settings)
    inputs = [file for split in splits for file in record_files(dataset, settings.data.config, split)]
    base = base_of(backbone.recipe, backbone_folder)
    model_recipe = pinned(backbone.recipe, base.revision)
    init_sha256 = init_adapter_sha256(settings.init_adapter)
    identity: dict[str, object] = {
        "recipe": recipe.sha256,
        "base": base.as_data(),
        "init_adapter": init_sha256,
        "records": dict(records_sha256),
        "prompt": prompt.sha256,
        "versions": package_versions(*PACKAGES),
    }
    with ExitStack() as around:
        with first_alone():
            if not rank():
                open_run(checkpoints, sha256_of_text(canonical_json(identity)), unfinished)
                around.enter_context(kept_on_failure(checkpoints))
        tokenizer = load_tokenizer(model_recipe, backbone_folder)
        encoder = Encoder(prompt, tokenizer, settings.trainer.max_length, built.figures.class_labels)
        read = {
            split: _read(
                encoder, partial(records_of, dataset, built, settings, prompt, split), settings, split
            )
            for split in splits
        }
        model, _ = load_backbone(
            model_recipe, backbone_folder, settings.quantization, settings.trainer.precision
        )
        longest = max(len(row["input_ids"]) for part in read.values() for row in part.rows)
        check_context_window(model, location_at(base.repo_id, base.revision), longest, "trainer.max_length")
        if settings.init_adapter:
            model = with_init_adapter(model, settings.init_adapter, settings.lora, base)
        before = steps_done(checkpoints)
        tuned = tune(
            model,
            tokenizer,
            read["train"].rows,
            settings,
            validation=read["validation"].rows if "validation" in read else (),
            work=Work(
                checkpoints if settings.trainer.save_steps else None,
                checkpoints / TRAINING_LOG,
                tracking_of(checkpoints),
            ),
            architecture=backbone.recipe.source.architecture,
        )
        example = read["train"].example
        labels = built.figures.corpora[example.corpus].label_space
        write_adapter(folder, tuned, tokenizer, encoder, prompt, base, (example, labels))
        with suppress(MissingExtraError):
            write_loss_curve(folder, tuned.log)
        figures = AdapterFigures(
            base=base.repo_id,
            base_revision=base.revision,
            base_content_sha256=base.content_sha256,
            base_is_folder=base.is_folder,
            base_gguf_file=base.gguf_file,
            base_dequantized_to=base.dequantized_to,
            dataset_config=settings.data.config,
            dataset_content_sha256=built.content_sha256,
            records_sha256=records_sha256["train"],
            prompt_sha256=prompt.sha256,
            knowledge=settings.data.knowledge,
            task=_task(settings, built),
            init_adapter_sha256=init_sha256,
            records=len(read["train"].rows),
            truncated_records=read["train"].shortened,
            tokens=tuned.row_tokens,
            trainable_parameters=tuned.trainable_parameters,
            steps=tuned.steps,
            first_loss=tuned.losses[0],
            last_loss=tuned.losses[-1],
            validation_records=len(read["validation"].rows) if "validation" in read else 0,
            validation_loss=tuned.validation_loss,
            seed=settings.seed,
        )
        run = training_run(tuned, settings.trainer, tuned.steps - before)
        content = content_sha256(tuned.model, settings.lora, base, prompt)
        return Output(content, {"figures": figures, "run": run}, tuple(inputs))


def _task(settings: AdapterRecipe, built: DatasetManifest) -> TrainedTask:
    """What the adapter is trained to do, for those who use it without the dataset."""
    try:
        recipe = DatasetRecipe.model_validate_json(canonical_json(dict(built.recipe.resolved)))
    except ValidationError as error:
        what, fix = "recipe.resolved in the manifest of the dataset", "build the dataset again"
        problems = problems_of(error, built.recipe.name, what, code="training.dataset_recipe", fix=fix)
        raise DataError(problems) from error
    entries, config = corpus_entries(recipe), settings.data.config
    return TrainedTask(
        corpora={
            name: TrainedCorpus(
                label_space=corpus.label_space,
                context_k=built.figures.context_of(name) if settings.data.knowledge.context else 0,
                languages=entries[name].languages,
            )
            for name, corpus in built.figures.corpora.items()
            if config == name or config in JOINT_CONFIGS
        },
        speakers=recipe.speakers,
        max_length=settings.trainer.max_length,
    )


@dataclass(frozen=True)
class _Read:
    """What is kept of the records of a split."""

    rows: list[Row]
    shortened: int
    example: Record  # the first of those that have the most of context, description and speaker


def _read(
    encoder: Encoder, records: Callable[[], Iterable[Record]], recipe: AdapterRecipe, split: Split
) -> _Read:
    rows, shortened, example, most = list[Row](), 0, None, -1
    completion_only = recipe.trainer.completion_only_loss or split == "validation"
    with progress(f"read {split}", None) as advance:
        for prompt in encode_or_show_survival(encoder, records):
            rows += training_rows(encoder, [prompt], completion_only=completion_only)
            shortened += prompt.is_shortened
            record = prompt.record
            parts = sum(map(bool, (record.context, record.video_description, record.speaker)))
            if parts > most:
                example, most = record, parts
            advance(1)
    assert example is not None, "records_of refuses a split without records"
    return _Read(rows, shortened, example)
