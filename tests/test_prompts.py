from __future__ import annotations

from pathlib import Path

import pyarrow as pa
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


@pytest.mark.parametrize("name", ["dialogue-v1", "history-v1", "dialogue-zh"])
def test_prompts_of_columns_are_those_of_records(name: str) -> None:
    assert_columns_agree(load_prompt(name))


@pytest.mark.parametrize(
    "template",
    [
        "{{ speaker }}: {{ video_description }}.",  # nothing is shown as None
        "{% for line in context %}{% if line %}{{ loop.index }} {% endif %}{{ line | upper }}{% endfor %}.",
        "{% for input in context %}{{ input }}|{% else %}none{% endfor %}{{ input }}.",
        "{% for line in context %}{{ speaker ~ line }}{% endfor %}.",
        "{% for line in context %}-{% endfor %}{{ context }}{% if not speaker %}?{% endif %}.",
        "{% if context and speaker %}a{% elif speaker %}b{% else %}c{% endif %}{{ 1 if input else 2 }}",
        "{% set input = 'x' %}{{ input }}",
        "the same for all",
    ],
)
def test_any_template_may_be_asked_for_columns(template: str) -> None:
    assert_columns_agree(prompt(template))


def test_a_prompt_of_columns_may_not_end_in_white_space_either() -> None:
    with pytest.raises(RecipeError) as caught:
        prompt("{{ input }}{{ speaker if speaker else '\u3000' }}").render_columns(ROWS)
    assert caught.value.problems[0].code == "prompt.ends_in_space"
    with pytest.raises(RecipeError) as caught:
        prompt("{{ inptu }}").render_columns(ROWS)
    assert caught.value.problems[0].code == "prompt.template"


ROWS = pa.table(
    {
        "instruction": ["Do.", "Do.", "Do that.", "Do."],
        "video_description": pa.array([None, "A door.", None, "Zoë waves."], pa.string()),
        "context": [[], ["Ann: Hm.", "What? {{ input }}"], ["好。"], []],
        "input": ["I know.", "Why?", "知道", "é"],
        "speaker": pa.array(["Ann", None, "", "Bob"], pa.string()),
    }
)


def assert_columns_agree(one: Prompt) -> None:
    for rows in (ROWS, ROWS.slice(1, 2), ROWS.slice(0, 1), ROWS.slice(0, 0)):
        expected = [one.render(*row.values()) for row in rows.to_pylist()]
        assert one.render_columns(rows).to_pylist() == expected


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
