"""Which weights a backbone is, and building one of random weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dialoguellm_release.errors import DataError, Problem, needing
from dialoguellm_release.folders import (
    MANIFEST,
    Output,
    combined_sha256,
    read_manifest,
    sha256_of,
    sha256_of_text,
    write_text,
)
from dialoguellm_release.progress import silence_transformers
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.resources import record, resource_folder
from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.schemas.manifests import AdapterFigures, BackboneManifest
from dialoguellm_release.schemas.recipes.backbone import (
    BackboneRecipe,
    BuiltSource,
    FolderSource,
    HubSource,
    WeightsDtype,
)

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

_READ = (".safetensors", ".json", ".jinja", ".model", ".txt")
"""The files of a model folder that decide its answers; anything else in it is not read."""


@dataclass(frozen=True)
class Base:
    """Which weights an adapter belongs to."""

    repo_id: str  # the name by which adapters refer to it
    # Commit on the Hub: the pinned one, else the one that is loaded; None where neither is known.
    revision: str | None
    content_sha256: str | None  # hash of a backbone in a folder; None for one from the Hub
    gguf_file: str | None = None  # the file whose weights were dequantised; None for weights in safetensors
    dequantized_to: str | None = None  # the type that they were dequantised to
    is_folder: bool = False  # whether it is a folder of the user's, which no release holds

    @classmethod
    def of(cls, figures: AdapterFigures) -> Base:
        """The base that an adapter's manifest states."""
        return cls(
            figures.base,
            figures.base_revision,
            figures.base_content_sha256,
            figures.base_gguf_file,
            figures.base_dequantized_to,
            figures.base_is_folder,
        )

    def as_data(self) -> dict[str, object]:
        """What identifies the weights; the keys about GGUF only where the weights come from there."""
        data: dict[str, object] = asdict(self)
        del data["is_folder"]
        if self.gguf_file is None:
            del data["gguf_file"], data["dequantized_to"]
        return data


def base_of(recipe: BackboneRecipe, folder: Path | None) -> Base:
    """The identity of a backbone, without loading it."""
    match recipe.source:
        case HubSource() as source:
            revision = source.revision or _current_commit(source.repo_id, source.gguf_file or "config.json")
            return Base(source.repo_id, revision, None, source.gguf_file, _dtype_of(source))
        case FolderSource() as source:
            content = _content_sha256(source)
            dtype = _dtype_of(source)
            return Base(source.repo_id, None, content, source.gguf_file, dtype, is_folder=True)
        case BuiltSource(repo_id=repo_id) as source:
            return Base(repo_id, None, _built_manifest(source, folder).content_sha256)


def pinned(recipe: BackboneRecipe, revision: str | None) -> BackboneRecipe:
    """The recipe at the commit that an adapter was trained on, where it pins none itself."""
    source = recipe.source
    if revision is None or not isinstance(source, HubSource) or source.revision:
        return recipe
    return recipe.model_copy(update={"source": source.model_copy(update={"revision": revision})})


def weights_sha256(tensors: dict[str, torch.Tensor]) -> str:
    """One hash over named tensors: their type, shape and bytes, whatever file holds them."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _dtype_of(source: HubSource | FolderSource) -> WeightsDtype | None:
    return source.dequantized_to if source.gguf_file else None


def _current_commit(repo_id: str, file: str) -> str | None:
    """The commit whose files are loaded where no revision is pinned; None where the Hub and its cache fail.

    Why: the branch may move between two requests; everything is then loaded at this commit. A failure is
    reported by the loading that follows.
    """
    try:
        from transformers.utils.hub import cached_file, extract_commit_hash
    except ModuleNotFoundError:
        return None
    try:
        found = cached_file(repo_id, file)
    except OSError:
        return None
    return extract_commit_hash(found, None) if found else None


def _content_sha256(source: FolderSource) -> str:
    """A hash over the files of a model folder that decide its answers."""
    folder = Path(source.path)
    names = (
        [source.gguf_file]
        if source.gguf_file
        else sorted(path.name for path in folder.glob("*") if path.suffix in _READ and path.is_file())
    )
    if not names or not all((folder / name).is_file() for name in names):
        what = "has no model"
        expected = source.gguf_file or "config.json, weights in safetensors and a tokenizer"
        got = "no such folder" if not folder.is_dir() else "a folder without it"
        fix = "check source.path in the backbone recipe; `make weights` fetches build/weights"
        raise DataError(Problem(str(folder), what, expected, got, fix, code="backbones.no_folder"))
    parts = [(name, _file_sha256(folder / name, (folder / name).stat().st_mtime_ns)) for name in names]
    return combined_sha256([*parts, ("dequantized_to", str(_dtype_of(source)))])


@cache
def _file_sha256(path: Path, _changed: int) -> str:
    """The hash of a file, read once a process as long as it does not change."""
    return sha256_of(path)


def _built_manifest(source: BuiltSource, folder: Path | None) -> BackboneManifest:
    if folder is None or not (folder / MANIFEST).is_file():
        what = "no backbone is built here" if folder else "is built, not downloaded, but no folder is named"
        fix = "build it first: dlm-release adapter train does so where it is missing"
        raise DataError(Problem(str(folder or source.repo_id), what, fix=fix, code="backbones.not_built_yet"))
    manifest = read_manifest(folder, BackboneManifest)
    built = manifest.recipe.resolved["source"]
    if built != source.model_dump(mode="json"):
        what, expected = "holds a backbone of another recipe", str(source.model_dump(mode="json"))
        got, fix = str(built), "build it again, or name another folder"
        raise DataError(Problem(str(folder), what, expected, got, fix, code="backbones.other_recipe"))
    return manifest


BOS, EOS, PAD = "<s>", "</s>", "<pad>"
LABEL_WEIGHT = 50_000
"""How often a label stands in the tokenizer's training text: often enough that each becomes one token."""


def build_backbone(recipe: Loaded[BackboneRecipe], folder: Path) -> Output:
    """Builds a LLaMA of random weights and its tokenizer, and writes both into an empty folder.

    The same recipe gives the same bytes in every process.
    """
    source = recipe.recipe.source
    if not isinstance(source, BuiltSource):
        what = f"is the model {source.repo_id}, which is not built"
        fix = "name the recipe where a backbone is asked for: it is loaded"
        raise DataError(Problem(recipe.name, what, fix=fix, code="backbones.not_built"))
    tokenizer = _tokenizer(source)
    return save_backbone(_model(source, len(tokenizer)), tokenizer, folder)


def save_backbone(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Output:
    """Writes a model and its tokenizer into a folder."""
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    write_for_earlier_versions(folder)
    parts = [
        ("weights", weights_sha256(model.state_dict())),
        ("tokenizer", sha256_of_text(tokenizer.backend_tokenizer.to_str())),
    ]
    return Output(combined_sha256(parts), {"parameters": model.num_parameters()})


def write_for_earlier_versions(folder: Path) -> None:
    """Adds to the files of a model or tokenizer what transformers 4 reads, beside what version 5 reads.

    Why: version 4 knows neither the tokenizer class `TokenizersBackend`, so it cannot load the tokenizer, nor
    `rope_parameters`, so it computes other logits without a word. Settings of this machine are left out.
    """
    path = folder / "tokenizer_config.json"
    if path.is_file():
        settings = json.loads(path.read_text(encoding="utf-8"))
        if settings.get("tokenizer_class") == "TokenizersBackend":
            settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        for name in ("is_local", "local_files_only"):
            settings.pop(name, None)
        write_text(path, json.dumps(settings, indent=2, ensure_ascii=False, sort_keys=True) + "\n")
    path = folder / "config.json"
    if path.is_file():
        config = json.loads(path.read_text(encoding="utf-8"))
        rope = config.get("rope_parameters")
        if isinstance(rope, dict) and "rope_theta" in rope:
            config.setdefault("rope_theta", rope["rope_theta"])
            if rope.get("rope_type", "default") != "default":
                config.setdefault("rope_scaling", {key: rope[key] for key in rope if key != "rope_theta"})
        write_text(path, json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def _tokenizer(source: BuiltSource) -> PreTrainedTokenizerFast:
    with needing("train"):
        from transformers import PreTrainedTokenizerFast

    silence_transformers()
    return PreTrainedTokenizerFast(
        tokenizer_object=_byte_level_bpe(source.vocab_size),
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=source.max_position_embeddings,
        clean_up_tokenization_spaces=False,
    )


def _byte_level_bpe(vocab_size: int) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_training_text(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A {BOS} $B",
        special_tokens=[(BOS, tokenizer.token_to_id(BOS))],
    )
    return tokenizer


def _training_text() -> Iterator[str]:
    """Each label very often, and each word of words.txt more often the earlier it comes."""
    for label in LABELS:
        yield f" {label}" * LABEL_WEIGHT
    words = record(resource_folder("recipes") / "backbones" / "words.txt").read_text(encoding="utf-8").split()
    for rank, word in enumerate(words):
        weight = len(words) - rank
        yield f" {word}" * weight
        yield f"{word}\n" * (weight // 4)
        yield f" {word.capitalize()}" * (weight // 4)


def _model(source: BuiltSource, vocab_size: int) -> LlamaForCausalLM:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=source.hidden_size,
        intermediate_size=source.intermediate_size,
        num_hidden_layers=source.num_hidden_layers,
        num_attention_heads=source.num_attention_heads,
        initializer_range=source.initializer_range,
        max_position_embeddings=source.max_position_embeddings,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(source.seed)
        return LlamaForCausalLM(config)
