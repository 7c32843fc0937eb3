from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialoguellm_release.errors import RecipeError
from dialoguellm_release.recipes.yaml_reader import parse_yaml, read_scalar, read_yaml
from dialoguellm_release.resources import resource_folder


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2e-4", 2e-4),
        ("1.5", 1.5),
        ("-3", -3),
        ("no", "no"),
        ("yes", "yes"),
        ("true", True),
        ("12:30:00", "12:30:00"),
        ("2024-01-01", "2024-01-01"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("~", None),
        ("'1'", "1"),
        ("[1, a]", [1, "a"]),
        ("<<", "<<"),
    ],
)
def test_scalars_mean_what_they_look_like(text: str, value: object) -> None:
    read = read_scalar(text)
    assert read == value
    assert type(read) is type(value)


def test_every_key_has_its_position(tmp_path: Path) -> None:
    document = read_yaml(written(tmp_path, "a: 1\nb:\n  - c: 2\n    d: 3\n"))
    assert document.data == {"a": 1, "b": [{"c": 2, "d": 3}]}
    assert str(document.positions[("b", 0, "d")]) == f"{tmp_path}/recipe.yaml:4:5"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", ":3:1: the key a a second time (first at"),
        ("a: &x 1\nb: *x\n", ":1:4: an alias is not allowed"),
        ("a: !!python/object:os.system x\n", ":1:4: the tag tag:yaml.org,2002:python/object:os.system"),
        ("a: !custom 1\n", "the tag !custom is not allowed"),
        ("? [a]\n: 1\n", "a key that is not text"),
        ("- a\n", "a recipe is a mapping"),
        ("", "a recipe is a mapping"),
        ("a: [1\nb: 2\n", "not YAML"),
        ("a: 1\n---\nb: 2\n", "not YAML"),
        ("a: \x07\n", "not YAML"),
    ],
)
def test_what_is_not_a_recipe_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_yaml(written(tmp_path, text))
    assert said in str(caught.value)


def test_all_duplicate_keys_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        read_yaml(written(tmp_path, "a: 1\na: 2\nb: {c: 1, c: 2}\n"))
    assert [problem.where.split(":", 1)[1] for problem in caught.value.problems] == ["2:1", "3:11"]


def test_a_file_of_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("a: é\n".encode("latin-1"))
    with pytest.raises(RecipeError, match="latin.yaml: not UTF-8 at byte 3"):
        read_yaml(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="none.yaml: cannot be read"):
        read_yaml(tmp_path / "none.yaml")


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["C"])),
)
KEYS = st.text(st.sampled_from("abcdef_"), min_size=1)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, TREES, min_size=1, max_size=4))
def test_what_json_writes_is_read_as_yaml(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, object]
) -> None:
    """JSON is YAML, and says of every scalar what it is."""
    text = json.dumps(data, indent=2)
    path = written(tmp_path_factory.mktemp("yaml"), text)
    document = read_yaml(path)
    assert document.data == data
    lines = text.split("\n")
    for position in document.positions.values():
        assert 1 <= position.line <= len(lines)
        assert 1 <= position.column <= len(lines[position.line - 1]) + 1


def test_bundled_recipes_are_the_same_by_the_fast_loader() -> None:
    paths = sorted(resource_folder("recipes").rglob("*.yaml"))
    assert paths
    for path in paths:
        document, _ = parse_yaml(path.read_text(encoding="utf-8"), str(path))
        assert read_yaml(path) == document
