from __future__ import annotations

from pathlib import Path

import pytest

from dialoguellm_release.errors import RecipeError
from dialoguellm_release.prompts import Prompt, load_prompt
from dialoguellm_release.schemas.recipes.dataset import PromptRecipe


def prompt(template: str, instruction: str = "Do.", description: str = "x") -> Prompt:
    return Prompt(
        "test",
        PromptRecipe(
            version=1, kind="prompt", description=description, instruction=instruction, template=template
        ),
    )


def test_the_published_prompt_does_not_change_unseen() -> None:
    # The hash is an interface: adapters are tuned to it. A change means a new recipe, dialogue-v2.
    assert (
        load_prompt("dialogue-v1").sha256
        == "6fc57fdf30ad518c06e44971c5343fb1bc2d997d0a59da93665568db69527ffa"
    )


def test_the_whole_prompt() -> None:
    one = load_prompt("dialogue-v1")
    text = one.render(
        one.instruction(["anger", "neutral"], has_video=True, has_context=True),
        "A woman looks at the door.",
        ["Ann: Where were you?", "Bob: {{ out }}."],
        "Fine & <good>.",
        "Ann",
    )
    assert text == (
        "### Instruction:\n"
        "Name the emotion that the speaker of the input shows, with the help of the video description and "
        "the context. Answer with one of these labels: anger, neutral.\n\n"
        "### Video description:\nA woman looks at the door.\n\n"
        "### Context:\nAnn: Where were you?\nBob: {{ out }}.\n\n"
        "### Input:\nAnn: Fine & <good>.\n\n"
        "### Response:"
    )


def test_a_record_without_knowledge_has_no_empty_heading() -> None:
    text = load_prompt("dialogue-v1").render("Do.", None, (), "Hm.", None)
    assert text == "### Instruction:\nDo.\n\n### Input:\nHm.\n\n### Response:"


def test_the_completion_is_a_space_and_the_label() -> None:
    assert load_prompt("dialogue-v1").completion("happiness") == " happiness"


def test_the_hash_is_that_of_the_templates() -> None:
    assert prompt("a {{ input }}").sha256 == prompt("a {{ input }}", description="y").sha256
    assert prompt("a {{ input }}").sha256 != prompt("b {{ input }}").sha256


def test_a_template_with_a_mistake_is_told() -> None:
    with pytest.raises(RecipeError, match="test: template: not a Jinja template"):
        prompt("{{ input")
    with pytest.raises(RecipeError, match="'inptu' is undefined"):
        prompt("{{ inptu }}").render("Do.", None, (), "x", None)
    with pytest.raises(RecipeError, match="ends in white space"):
        prompt("{{ input }} ").render("Do.", None, (), "x", None)


def test_a_prompt_may_be_named_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("version: 1\nkind: prompt\ndescription: x\ninstruction: Do.\ntemplate: '{{ input }}:'\n")
    assert load_prompt(str(path)).name == "mine"
