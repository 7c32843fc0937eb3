from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.encoding import GOLDEN_RECORD, Encoder, golden_record
from dialoguellm_release.errors import DataError, RecipeError
from dialoguellm_release.folders import MANIFEST, read_manifest, stamps, write_manifest
from dialoguellm_release.prompts import load_prompt, read_prompt
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import LABELS, Split
from dialoguellm_release.schemas.manifests import AdapterManifest
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe, Packing
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
from dialoguellm_release.schemas.record import Record
from dialoguellm_release.steps.adapter import trained
from dialoguellm_release.steps.dataset import build_dataset
from dialoguellm_release.training import packs, sft
from dialoguellm_release.training.data import training_rows

TRAIN = """
import sys
from pathlib import Path
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.steps.adapter import trained
from dialoguellm_release.steps.model import build_backbone
dataset, out, *settings = sys.argv[1:]
backbones = Path(out).parent / "backbones"
build_backbone("tiny", backbones / "tiny")
adapter = load_recipe("tiny", "adapter", AdapterRecipe, settings)
trained(adapter, Path(out), Path(dataset), backbones)
"""
SETTINGS = ("trainer.max_steps=12", "trainer.per_device_train_batch_size=8", "trainer.learning_rate=1e-2")


def recipe_with(*settings: str) -> Loaded[AdapterRecipe]:
    by_key = {one.partition("=")[0]: one for one in (*SETTINGS, *settings)}
    return load_recipe("tiny", "adapter", AdapterRecipe, list(by_key.values()))


@pytest.fixture
def train(tiny_backbone: Path, small_dataset: Path, tmp_path: Path) -> Any:
    """Trains on `small_dataset` into `tmp_path/out`, with settings."""

    def run(*settings: str, dataset: Path = small_dataset) -> AdapterManifest:
        made = trained(recipe_with(*settings), tmp_path / "out", dataset, tiny_backbone.parent)
        return made.manifest

    return run


def test_another_process_with_other_hash_seed_and_threads_writes_the_same_bytes(
    tiny_adapter: Path, tiny_backbone: Path, small_dataset: Path, tmp_path: Path
) -> None:
    """The adapter, and the backbone on which it is trained."""
    again = tmp_path / "elsewhere" / "again"
    command = [sys.executable, "-c", TRAIN, str(small_dataset), str(again), *SETTINGS]
    environment = os.environ | {"PYTHONHASHSEED": "99", "OMP_NUM_THREADS": "3"}
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert output.stdout == ""
    assert {line.partition(":")[0] for line in output.stderr.splitlines()} <= {"read train", "train"}
    backbone = again.parent / "backbones" / "tiny"
    assert stamps(backbone) == stamps(tiny_backbone)
    assert (backbone / MANIFEST).read_bytes() == (tiny_backbone / MANIFEST).read_bytes()
    differing = set(stamps(again)) ^ set(stamps(tiny_adapter))
    assert {one.path for one in differing} <= {"README.md"}, "the card tells how long the training took"
    of_the_clock = {"run": None, "outputs": ()}
    manifests = [read_manifest(folder, AdapterManifest) for folder in (again, tiny_adapter)]
    assert len({manifest.model_copy(update=of_the_clock).model_dump_json() for manifest in manifests}) == 1


def test_another_seed_trains_another_adapter(train: Any, tiny_adapter: Path) -> None:
    assert train("seed=2").content_sha256 != read_manifest(tiny_adapter, AdapterManifest).content_sha256


def test_the_folder_holds_what_a_reader_needs_and_nothing_else(tiny_adapter: Path) -> None:
    assert {path.name for path in tiny_adapter.iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "figures",
        "golden_prompt.json",
        "manifest.json",
        "prompt.json",
        "prompt_template.jinja",
        "tokenizer.json",
        "tokenizer_config.json",
        "training_log.jsonl",
    }
    assert sorted(path.name for path in tiny_adapter.parent.iterdir()) == [tiny_adapter.name]


def test_no_path_of_this_machine_is_in_any_file(
    tiny_adapter: Path, tiny_backbone: Path, small_dataset: Path
) -> None:
    places = [tiny_adapter, tiny_backbone, small_dataset, Path(sys.prefix), Path.home(), Path.cwd()]
    for path in (path for path in tiny_adapter.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert not [place for place in places if str(place).encode() in content], path
        assert b"local_files_only" not in content


def test_the_configuration_is_peft_s_with_the_base_by_name(tiny_adapter: Path) -> None:
    config = json.loads((tiny_adapter / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "dialoguellm/tiny-llama"
    assert config["task_type"] == "CAUSAL_LM"
    assert (config["r"], config["lora_alpha"]) == (
        recipe_with().recipe.lora.r,
        recipe_with().recipe.lora.lora_alpha,
    )
    assert config["target_modules"] == sorted(recipe_with().recipe.lora.target_modules)
    assert list(config) == sorted(config)


def test_the_manifest_tells_what_went_in(
    tiny_adapter: Path, small_dataset: Path, short_adapter_recipe: Loaded[AdapterRecipe]
) -> None:
    manifest = read_manifest(tiny_adapter, AdapterManifest)
    dataset = read_manifest(small_dataset, DatasetManifest)
    assert manifest.outputs == stamps(tiny_adapter)
    assert manifest.recipe == short_adapter_recipe.stamp
    assert [file.path for file in manifest.inputs] == ["data/meld/train-clean-00000-of-00001.parquet"]
    figures = manifest.figures
    assert (figures.records, figures.truncated_records, figures.steps) == (84, 0, 12)
    assert figures.dataset_content_sha256 == dataset.content_sha256
    assert figures.last_loss < figures.first_loss
    assert figures.seed == short_adapter_recipe.recipe.seed


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_peft_reads_the_adapter_and_gives_the_logits_of_training(
    tiny_adapter: Path, tiny_recipe: Loaded[BackboneRecipe], tiny_backbone: Path, small_dataset: Path
) -> None:
    import torch
    from peft import PeftModel

    from dialoguellm_release.records import read_records

    base, tokenizer = load_backbone(tiny_recipe.recipe, tiny_backbone)
    encoder = Encoder(load_prompt("dialogue-v1"), tokenizer, recipe_with().recipe.trainer.max_length)
    prompts = encoder.encode_all(read_records(small_dataset, "meld", "train"))
    tuned = sft.tune(base, tokenizer, training_rows(encoder, prompts), recipe_with().recipe)

    untrained, _ = load_backbone(tiny_recipe.recipe, tiny_backbone)
    ids = torch.tensor([prompts[3].ids], device=untrained.device)
    with torch.inference_mode():
        before = untrained(input_ids=ids).logits
        loaded = PeftModel.from_pretrained(untrained, tiny_adapter)(input_ids=ids).logits
        assert torch.equal(loaded, tuned.model(input_ids=ids).logits)
        assert not torch.equal(loaded, before)


@pytest.mark.parametrize("packing", ["none", "shared_prefix"])
def test_the_loss_is_on_the_completion_alone_and_every_row_counts(
    packing: Packing,
    tiny_recipe: Loaded[BackboneRecipe],
    tiny_backbone: Path,
    records_of: Callable[[Split, int], list[Record]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[list[int], int]] = []
    summed_loss = packs.summed_loss

    def watched(model: Any, batch: dict[str, Any], mask_of: Any) -> Any:
        seen.append((batch["labels"].tolist(), batch["num_tokens"]))
        return summed_loss(model, batch, mask_of)

    monkeypatch.setattr("dialoguellm_release.training.trainer.summed_loss", watched)
    model, tokenizer = load_backbone(tiny_recipe.recipe, tiny_backbone)
    encoder = Encoder(load_prompt("dialogue-v1"), tokenizer, 512)
    prompts = encoder.encode_all(records_of("train", 21))
    one_epoch = recipe_with("trainer.max_steps=-1", "trainer.num_train_epochs=1", f"packing={packing}").recipe
    rows = training_rows(encoder, prompts)
    tuned = sft.tune(model, tokenizer, rows, one_epoch)

    completions = [encoder.completion_ids(prompt.record.output) for prompt in prompts]
    assert sorted(token for labels, _ in seen for token in labels) == sorted(
        token for completion in completions for token in completion
    )
    assert all(completion[-1] == tokenizer.eos_token_id for completion in completions)
    assert tuned.tokens == tuned.row_tokens == sum(tokens for _, tokens in seen)
    assert tuned.row_tokens == sum(len(row["input_ids"]) for row in rows)


def test_the_prompt_travels_with_the_adapter(tiny_adapter: Path) -> None:
    prompt = read_prompt(tiny_adapter / "prompt.json")
    assert prompt.sha256 == load_prompt("dialogue-v1").sha256
    assert prompt.prompt(GOLDEN_RECORD) == load_prompt("dialogue-v1").prompt(GOLDEN_RECORD)


def template_of(adapter: Path) -> Any:
    import jinja2

    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((adapter / "prompt_template.jinja").read_text(encoding="utf-8"))


def test_template_golden_prompt_and_sft_rows_are_one_prompt(
    tiny_adapter: Path, small_dataset: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    from dialoguellm_release.steps.dataset import build_dataset

    fields = ("context", "input", "speaker", "video_description")
    template = template_of(tiny_adapter)
    golden = json.loads((tiny_adapter / "golden_prompt.json").read_text(encoding="utf-8"))
    record, labels = golden["record"], golden["labels"]
    rendered = template.render(labels=labels, **{name: record[name] for name in fields})
    assert rendered == golden["prompt"]
    assert load_prompt("dialogue-v1").prompt(Record.model_validate_json(json.dumps(record))) == rendered
    assert record["output"] in labels
    trained_on = pq.read_table(next(small_dataset.glob("data/meld/train-*.parquet"))).to_pylist()
    assert record["instruction"] in {row["instruction"] for row in trained_on}
    spaces = read_manifest(small_dataset, DatasetManifest).figures.corpora
    assert labels == list(spaces[record["corpus"]].label_space)

    built = build_dataset("demo", out=tmp_path / "demo", skip=("dailydialog", "meisd", "iemocap"))
    rows = [row for path in built.folder.glob("data/*/*.parquet") for row in pq.read_table(path).to_pylist()]
    sft = {
        row["id"]: row["prompt"]
        for path in built.folder.glob("sft/*.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    assert {row["corpus"] for row in rows} == {"meld", "emorynlp"}
    for row in rows:
        labels = list(built.manifest.figures.corpora[row["corpus"]].label_space)
        assert template.render(labels=labels, **{name: row[name] for name in fields}) == sft[row["id"]]


def test_the_golden_record_has_the_fields_of_the_training_and_labels_of_its_corpus() -> None:
    like = GOLDEN_RECORD.model_copy(
        update={"corpus": "other", "context": (), "speaker": None, "instruction": "Choose: joy, contempt."}
    )
    made = golden_record(like, ("joy", "contempt"))
    assert (made.corpus, made.instruction, made.output) == ("other", "Choose: joy, contempt.", "joy")
    assert (made.context, made.speaker) == ((), None)
    assert made.video_description is not None
    with_turns = golden_record(
        like.model_copy(update={"context": ("x",), "video_description": None}), ("happiness",)
    )
    assert with_turns.context == ("The letter came this morning.",)
    assert (with_turns.output, with_turns.video_description) == ("happiness", None)


def test_the_golden_prompt_is_what_the_saved_tokenizer_makes_of_it(tiny_adapter: Path) -> None:
    from transformers import AutoTokenizer

    golden = json.loads((tiny_adapter / "golden_prompt.json").read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(tiny_adapter)
    assert tokenizer(golden["prompt"]).input_ids == golden["prompt_ids"]
    joined = tokenizer(golden["prompt"] + golden["completion"]).input_ids
    assert [*joined, tokenizer.eos_token_id] == golden["prompt_ids"] + golden["completion_ids"]


@pytest.mark.parametrize("changes", [{}, {"context": ()}, {"video_description": None, "speaker": None}])
def test_the_prompt_template_gives_the_prompt_without_this_package(
    tiny_adapter: Path, changes: dict[str, Any]
) -> None:
    prompt = load_prompt("dialogue-v1")
    record = GOLDEN_RECORD.model_copy(update=changes)
    instruction = prompt.instruction(
        LABELS[:7], has_video=record.video_description is not None, has_context=bool(record.context)
    )
    rendered = template_of(tiny_adapter).render(
        labels=list(LABELS[:7]),
        context=list(record.context),
        input=record.input,
        speaker=record.speaker,
        video_description=record.video_description,
    )
    assert rendered == prompt.prompt(record.model_copy(update={"instruction": instruction}))


def test_the_chat_template_gives_the_ids_of_training(tiny_adapter: Path) -> None:
    from transformers import AutoTokenizer

    golden = json.loads((tiny_adapter / "golden_prompt.json").read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(tiny_adapter)
    asked = [{"role": "user", "content": golden["prompt"]}]
    answered = [*asked, {"role": "assistant", "content": golden["record"]["output"]}]
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert ids == golden["prompt_ids"]
    ids = tokenizer.apply_chat_template(answered, return_dict=True)["input_ids"]
    assert ids == golden["prompt_ids"] + golden["completion_ids"]


def test_a_dataset_of_another_prompt_is_refused(
    train: Any, small_dataset: Path, tmp_path: Path, records_of: Any, dataset_of: Any
) -> None:
    dataset = dataset_of(tmp_path / "dataset", {"train": records_of("train", 7)})
    manifest = read_manifest(dataset, DatasetManifest)
    figures = manifest.figures.model_copy(update={"prompt_sha256": "f" * 64})
    write_manifest(dataset, manifest.model_copy(update={"figures": figures}))
    with pytest.raises(DataError, match="built with another prompt") as raised:
        train(dataset=dataset)
    assert "f" * 64 in str(raised.value)
    assert load_prompt("dialogue-v1").sha256 in str(raised.value)
    assert small_dataset.is_dir()
    assert not (tmp_path / "out").exists()


def test_records_that_do_not_fit_stop_it_before_it_starts(train: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="84 of 84 prompts do not fit"):
        train("trainer.max_length=20", "trainer.save_steps=10")
    assert list(tmp_path.iterdir()) == []


def test_the_records_are_looked_at_before_any_weights_are_loaded(
    train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[object] = []
    monkeypatch.setattr("dialoguellm_release.training.train.load_backbone", lambda *_: loads.append(1))
    with pytest.raises(DataError, match="84 of 84 prompts do not fit"):
        train("trainer.max_length=20")
    assert loads == []


def test_a_target_module_that_does_not_exist_is_refused(train: Any) -> None:
    with pytest.raises(RecipeError, match="no such linear layer") as raised:
        train("lora.target_modules=[q_proj, c_attn]")
    assert raised.value.problems[0].got == "c_attn"
    assert "v_proj" in str(raised.value.problems[0].expected)


def test_a_training_that_diverges_is_refused(train: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has diverged") as raised:
        train(
            "trainer.learning_rate=1e30", "trainer.max_grad_norm=1e30", "trainer.lr_scheduler_type=constant"
        )
    assert "learning_rate" in str(raised.value.problems[0].fix)
    assert not (tmp_path / "out").exists()


def test_a_training_that_changes_nothing_is_refused(train: Any) -> None:
    with pytest.raises(DataError, match="every lora_B is zero"):
        train("trainer.max_steps=1", "trainer.warmup_steps=10")


def test_fewer_records_by_request(train: Any) -> None:
    assert train("data.max_records=10", "trainer.max_steps=2").figures.records == 10


def test_the_clean_part_alone_by_request(train: Any, tmp_path: Path) -> None:
    built = build_dataset("demo", out=tmp_path / "dataset")
    clean = sum(corpus.parts["train"].clean for corpus in built.manifest.figures.corpora.values())
    manifest = train("data.config=clean", "trainer.max_steps=2", dataset=built.folder)
    assert 0 < manifest.figures.records == clean < built.manifest.figures.records["train"]
    assert {file.path.split("-")[1] for file in manifest.inputs} == {"clean"}


def test_ctrl_c_leaves_nothing(train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_args: Any, **_kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dialoguellm_release.training.trainer.summed_loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train("trainer.save_steps=10")
    assert list(tmp_path.iterdir()) == []
