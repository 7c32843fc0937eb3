"""Backbones in folders: safetensors and GGUF; every weight is the checkpoint's, or the folder is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.backbones.weights import base_of
from dialoguellm_release.errors import DataError, Problem
from dialoguellm_release.folders import MANIFEST, read_manifest
from dialoguellm_release.hub.verify_models import folder_backbone, why_no_base
from dialoguellm_release.schemas.manifests import AdapterManifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, FolderSource

Tensors = dict[str, Any]


def recipe_of(path: Path, gguf_file: str | None = None) -> BackboneRecipe:
    source = FolderSource(type="folder", path=str(path), repo_id="someone/small-llama", gguf_file=gguf_file)
    return BackboneRecipe(
        version=1, kind="backbone", description="A model in a folder.", license="apache-2.0", source=source
    )


@pytest.fixture
def folder(tiny_backbone: Path, tmp_path: Path) -> Path:
    """A folder as `save_pretrained` writes it."""
    return shutil.copytree(tiny_backbone, tmp_path / "model", ignore=shutil.ignore_patterns(MANIFEST))


def edit_weights(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(config), encoding="utf-8")


def problem_of(folder: Path, gguf_file: str | None = None) -> Problem:
    with pytest.raises(DataError) as raised:
        load_backbone(recipe_of(folder, gguf_file), None)
    (problem,) = raised.value.problems
    return problem


def test_a_folder_is_a_backbone_with_a_content_hash(folder: Path, tiny_backbone: Path) -> None:
    import torch
    from safetensors.torch import load_file

    model, tokenizer = load_backbone(recipe_of(folder), None)
    saved = load_file(tiny_backbone / "model.safetensors")
    assert torch.equal(model.state_dict()["lm_head.weight"].cpu(), saved["lm_head.weight"])
    assert tokenizer("Response:").input_ids[0] == tokenizer.bos_token_id

    base = base_of(recipe_of(folder), None)
    assert (base.repo_id, base.revision, base.is_folder) == ("someone/small-llama", None, True)
    (folder / "notes.md").write_text("read by nobody", encoding="utf-8")
    assert base_of(recipe_of(folder), None) == base
    edit_weights(folder, lambda weights: {name: weight * 1.5 for name, weight in weights.items()})
    assert base_of(recipe_of(folder), None).content_sha256 != base.content_sha256


def test_verify_takes_a_folder_as_the_base_only_where_the_weights_are_those_of_the_training(
    folder: Path, tiny_adapter: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "small.yaml"
    recipe.write_text(recipe_of(folder).model_dump_json(exclude_defaults=True), encoding="utf-8")
    base = base_of(recipe_of(folder), None)
    trained = read_manifest(tiny_adapter, AdapterManifest)
    of_the_folder = {f"base_{name}": getattr(base, name) for name in ("content_sha256", "is_folder")}
    figures = trained.figures.model_copy(update={"base": base.repo_id, **of_the_folder})
    resolved = trained.recipe.resolved | {"backbone": str(recipe)}
    stamp = trained.recipe.model_copy(update={"resolved": resolved})
    adapter = trained.model_copy(update={"recipe": stamp, "figures": figures})
    assert folder_backbone(trained) is None
    found = folder_backbone(adapter)
    assert found is not None
    assert found.recipe.source.repo_id == "someone/small-llama"
    edit_weights(folder, lambda weights: {name: weight * 1.5 for name, weight in weights.items()})
    assert folder_backbone(adapter) is None
    shutil.rmtree(folder)
    assert folder_backbone(adapter) is None
    assert "backbone recipe small says" in why_no_base(adapter)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        assert problem_of(path).code == "backbones.no_folder"
    assert problem_of(tmp_path, "small.gguf").code == "backbones.no_folder"


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (lambda weights: {n: w for n, w in weights.items() if "layers.1." not in n}, ["9 missing"]),
        (lambda weights: {f"language_model.{n}": w for n, w in weights.items()}, ["21 missing", "21 in the"]),
        (lambda weights: weights | {"vision.proj.weight": weights["lm_head.weight"].clone()}, ["1 in the"]),
    ],
    ids=["a layer absent", "another prefix", "weights of something else"],
)
def test_weights_that_do_not_fit_are_counted_and_named(
    change: Callable[[Tensors], Tensors], counts: list[str], folder: Path
) -> None:
    edit_weights(folder, change)
    problem = problem_of(folder)
    assert problem.code == "backbones.weights_do_not_fit"
    assert problem.where == str(folder)
    assert all(count in str(problem.got) for count in counts), problem.got


def test_a_weight_of_another_shape_is_refused(folder: Path) -> None:
    edit_weights(
        folder, lambda weights: weights | {"model.norm.weight": weights["model.norm.weight"][:-1].clone()}
    )
    problem = problem_of(folder)
    assert problem.code == "backbones.weights_do_not_fit"
    assert "1 of another shape: model.norm.weight (63,), not (64,)" in str(problem.got)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight"])
def test_weights_that_are_not_finite_are_named(name: str, value: float, folder: Path) -> None:
    def damaged(weights: Tensors) -> Tensors:
        halves = {name: weight.half() for name, weight in weights.items()}
        halves[name][-1, 0] = value
        return halves

    edit_weights(folder, damaged)
    problem = problem_of(folder)
    assert (problem.code, problem.where) == ("backbones.not_finite", str(folder))
    assert problem.got == f"1 of 21: {name}"


def test_integers_without_a_quantization_are_not_cast(folder: Path) -> None:
    import torch

    edit_weights(
        folder, lambda weights: {n: w.to(torch.int8) if "mlp" in n else w for n, w in weights.items()}
    )
    problem = problem_of(folder)
    assert problem.code == "backbones.integer_weights"
    assert str(problem.got).startswith("6 in I8: model.layers.0.mlp.down_proj.weight")


def test_tied_weights_and_old_buffers_are_no_difference(folder: Path) -> None:
    import torch

    edit_config(folder, tie_word_embeddings=True)

    def tied(weights: Tensors) -> Tensors:
        del weights["lm_head.weight"]
        # Checkpoints of earlier versions of transformers have this buffer.
        return weights | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}

    edit_weights(folder, tied)
    model, _ = load_backbone(recipe_of(folder), None)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def _more_tokens(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<more-{number}>" for number in range(3)])
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (_more_tokens, "backbones.vocabulary_too_large"),
        (
            lambda folder: edit_config(folder, quantization_config={"quant_method": "gptq", "bits": 4}),
            "backbones.not_loadable",
        ),
        (lambda folder: edit_config(folder, model_type="unheard-of"), "backbones.not_loadable"),
        (lambda folder: edit_config(folder, num_attention_heads=5), "backbones.not_loadable"),
        (lambda folder: edit_config(folder, hidden_act="unheard-of"), "backbones.not_loadable"),
        (lambda folder: (folder / "config.json").write_text("[]"), "backbones.not_loadable"),
        (
            lambda folder: (folder / "tokenizer.json").write_text('{"version": "1.0"}'),
            "backbones.not_loadable",
        ),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no weights"), "backbones.not_loadable"),
    ],
    ids=["tokens", "quantised", "type", "heads", "activation", "config", "tokenizer", "weights"],
)
def test_whatever_transformers_raises_becomes_a_problem(
    damage: Callable[[Path], object], code: str, folder: Path
) -> None:
    damage(folder)
    problem = problem_of(folder)
    assert problem.code == code
    assert problem.where == str(folder)
    assert problem.expected
    assert problem.got
    assert problem.fix


def write_gguf(folder: Path, path: Path) -> None:
    """A folder's model as llama.cpp has it: other names, queries and keys in another order."""
    import gguf
    import numpy as np
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    heads, layers = config["num_attention_heads"], config["num_hidden_layers"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config["vocab_size"])
    vocabulary = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([3 if number < 3 else 1 for number in range(len(vocabulary))])
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    for name, number in (("bos", 0), ("eos", 1), ("pad", 2)):
        getattr(writer, f"add_{name}_token_id")(number)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, layers)
    for name, weight in load_file(folder / "model.safetensors").items():
        if "q_proj" in name or "k_proj" in name:
            parts = weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1])
            weight = parts.swapaxes(1, 2).reshape(weight.shape)
        writer.add_tensor(str(names.get_name(name, (".weight",))), np.ascontiguousarray(weight))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_gives_an_ordinary_model(folder: Path, tmp_path: Path) -> None:
    import torch

    (tmp_path / "gguf").mkdir()
    write_gguf(folder, tmp_path / "gguf" / "small.gguf")
    recipe = recipe_of(tmp_path / "gguf", "small.gguf")
    model, tokenizer = load_backbone(recipe, None)
    original, first = load_backbone(recipe_of(folder), None)
    text = "Alex: yes!\n\n### Response:"
    assert (
        tokenizer(text, add_special_tokens=False).input_ids == first(text, add_special_tokens=False).input_ids
    )
    ids = torch.tensor([first(text).input_ids])
    with torch.no_grad():
        assert torch.allclose(model(ids).logits, original(ids).logits, atol=1e-4)
    model.save_pretrained(tmp_path / "saved")
    assert not hasattr(model.config, "quantization_config")

    base = base_of(recipe, None)
    assert (base.gguf_file, base.dequantized_to, base.is_folder) == ("small.gguf", "float32", True)
    assert base.content_sha256 is not None
    other = recipe.model_copy(
        update={"source": recipe.source.model_copy(update={"dequantized_to": "bfloat16"})}
    )
    assert base_of(other, None).content_sha256 != base.content_sha256
