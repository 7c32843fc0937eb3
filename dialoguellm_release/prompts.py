"""A record becomes a prompt and a completion, whole or without some of what it has: the one place for it."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jinja2
from jinja2 import nodes
from pydantic import ValidationError

from dialoguellm_release.errors import DataError, Problem, RecipeError, problems_of
from dialoguellm_release.folders import canonical_json, sha256_of_text
from dialoguellm_release.recipes.catalogue import load_recipe
from dialoguellm_release.resources import cached
from dialoguellm_release.schemas.dataset_manifest import DatasetManifest
from dialoguellm_release.schemas.labels import CorpusName, Label
from dialoguellm_release.schemas.recipes.dataset import DatasetRecipe, Knowledge, PromptRecipe
from dialoguellm_release.schemas.record import Record

if TYPE_CHECKING:
    import pyarrow as pa

INSTRUCTION_FIELDS = ("labels", "knowledge")
PROMPT_FIELDS = ("instruction", "video_description", "context", "input", "speaker")
_SHUFFLE_SEED = 2310


class Prompt:
    """A prompt recipe, compiled."""

    def __init__(self, name: str, recipe: PromptRecipe) -> None:
        self.name = name
        self.recipe = recipe
        environment = jinja2.Environment(
            undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
        )
        self._instruction = _compiled(
            environment, name, "instruction", recipe.instruction, INSTRUCTION_FIELDS
        )
        self._template = _compiled(environment, name, "template", recipe.template, PROMPT_FIELDS)
        (macro,) = environment.parse(_as_macro(recipe.template, PROMPT_FIELDS)).find_all(nodes.Macro)
        self._parts = macro.body
        self._instructions: dict[tuple[tuple[Label, ...], bool, bool], str] = {}

    @cached_property
    def sha256(self) -> str:
        """The hash of the two templates; a description may change without it."""
        return sha256_of_text(canonical_json(self.recipe.model_dump(include={"instruction", "template"})))

    def instruction(self, labels: Sequence[Label], *, has_video: bool, has_context: bool) -> str:
        """The instruction: the task, the labels to choose from, and the knowledge that the record has."""
        key = (tuple(labels), has_video, has_context)
        if key not in self._instructions:
            knowledge = ["video description"] * has_video + ["context"] * has_context
            self._instructions[key] = self._rendered(self._instruction, list(labels), knowledge)
        return self._instructions[key]

    def prompt(self, record: Record) -> str:
        """The text that a model is given; it ends without white space.

        Why: with LLaMA's tokenizer ` happiness` after `Response:` tokenises as it does alone; after a
        space or a newline it does not.
        """
        return self.render(
            record.instruction, record.video_description, record.context, record.input, record.speaker
        )

    def render(
        self,
        instruction: str,
        video_description: str | None,
        context: Sequence[str],
        text: str,
        speaker: str | None,
    ) -> str:
        """The prompt of the fields that a template may use."""
        prompt = self._rendered(self._template, instruction, video_description, context, text, speaker)
        if prompt != prompt.rstrip():
            what, fix = "the prompt ends in white space", "end the template at its last word"
            raise RecipeError(Problem(self.name, what, fix=fix, code="prompt.ends_in_space"))
        return prompt

    def render_columns(self, records: pa.Table) -> pa.Array:
        """The prompts of records in columns, as `render` makes each, in a third of the time."""
        import pyarrow as pa
        import pyarrow.compute as pc

        columns = {name: records[name].combine_chunks() for name in PROMPT_FIELDS}
        with suppress(LookupError):
            prompts = _joined(self._parts, columns)
            if isinstance(prompts, pa.Array):
                # A character has 4 bytes at most.
                ends = pc.binary_slice(prompts.cast(pa.binary()), -4).unique()
                if not any(one.decode(errors="ignore")[-1:].isspace() for one in ends.to_pylist()):
                    return prompts
        rows = zip(*(one.to_pylist() for one in columns.values()), strict=True)
        return pa.array([self.render(*row) for row in rows], pa.string())

    def _rendered(self, template: Callable[..., str], *values: object) -> str:
        try:
            return template(*values)
        except jinja2.TemplateError as error:
            what = f"the template cannot be rendered: {error}"
            raise RecipeError(Problem(self.name, what, code="prompt.template")) from error

    def completion(self, label: Label) -> str:
        """What a model should answer: one space and the label; the trainer adds the end-of-sequence token."""
        return f" {label}"


@cached
def load_prompt(name: str) -> Prompt:
    """Loads a prompt.

    Args:
        name: Name of a bundled prompt, or a path.

    Returns:
        The prompt; `prompt(record)` gives the text, `completion(label)` the answer.

    Raises:
        RecipeError: There is no such prompt, or it is not valid.

    Example:
        >>> load_prompt("dialogue-v1").completion("anger")
        ' anger'
    """
    loaded = load_recipe(name, "prompt", PromptRecipe)
    return Prompt(loaded.name, loaded.recipe)


def prompt_of(recipe: DatasetRecipe) -> Prompt:
    """The prompt of a dataset recipe as it was loaded: a bundled one, or the one that it carries."""
    return Prompt(recipe.prompt, recipe.own_prompt) if recipe.own_prompt else load_prompt(recipe.prompt)


def prompt_of_dataset(manifest: DatasetManifest) -> Prompt:
    """The prompt of a dataset folder: the bundled one of that name, or the user's that its recipe carries."""
    carried = manifest.recipe.resolved.get("own_prompt")
    if carried is None:
        return load_prompt(manifest.figures.prompt)
    try:
        return Prompt(manifest.figures.prompt, PromptRecipe.model_validate(carried))
    except ValidationError as error:
        where, what = f"manifest.json of the dataset {manifest.recipe.name}", "recipe.resolved.own_prompt"
        raise DataError(problems_of(error, where, what, code="prompt.damaged")) from error


def prompt_as_json(prompt: Prompt) -> str:
    """A prompt as an adapter folder carries it, in `prompt.json`."""
    parts = {"name": prompt.name, "sha256": prompt.sha256, **prompt.recipe.model_dump(mode="json")}
    return json.dumps(parts, indent=2, ensure_ascii=False) + "\n"


def read_prompt(path: Path) -> Prompt:
    """The prompt in the `prompt.json` of an adapter folder."""
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))
        name, sha256 = parts.pop("name"), parts.pop("sha256")
        prompt = Prompt(name, PromptRecipe.model_validate(parts))
    except OSError as error:
        what = f"no prompt here ({error.strerror})"
        raise DataError(Problem(str(path), what, code="prompt.not_found")) from error
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        what = f"not the prompt of an adapter: {error}"
        raise DataError(Problem(str(path), what, code="prompt.damaged")) from error
    if prompt.sha256 != sha256:
        what = "its templates were changed after the adapter was trained"
        raise DataError(Problem(str(path), what, str(sha256), prompt.sha256, code="prompt.changed"))
    return prompt


def standalone_template(prompt: Prompt) -> str:
    """The prompt as one Jinja file that needs no line of this package.

    It sees `labels`, `video_description` (or none), `context` (a list of lines), `input` and `speaker` (or
    none); render it with `trim_blocks=True, lstrip_blocks=True`, as chat templates are.
    """
    return (
        "{#- The prompt of this adapter, as text without the answer. Render it with\n"
        "jinja2.Environment(trim_blocks=True, lstrip_blocks=True) and: labels (list), context (list of\n"
        "lines, oldest first, each 'Speaker: text'; may be empty), input, speaker (or none),\n"
        "video_description (or none). -#}\n"
        "{% set knowledge = (['video description'] if video_description else [])"
        " + (['context'] if context else []) %}\n"
        f"{{% set instruction %}}{prompt.recipe.instruction}{{% endset %}}\n"
        f"{prompt.recipe.template}"
    )


def chat_template(*, begins_with_bos: bool) -> str:
    """A chat template that gives the ids of training: a user message is the prompt, the answer a label."""
    bos = "{{ bos_token }}" if begins_with_bos else ""
    return (
        bos + "{% for message in messages %}{% if message['role'] == 'assistant' %}"
        "{{ ' ' + message['content'] + eos_token }}{% else %}{{ message['content'] }}{% endif %}{% endfor %}"
    )


def with_knowledge(
    records: Iterable[Record],
    knowledge: Knowledge,
    prompt: Prompt,
    label_spaces: Mapping[CorpusName, Sequence[Label]],
) -> Iterator[Record]:
    """The records as an adapter of this knowledge sees them, in training and in scoring, one after the other.

    The instruction names the knowledge that a record has, so it is rendered again. The records are held
    together only where descriptions are shuffled.
    """
    if knowledge == Knowledge():
        yield from records
        return
    for record, description in _described(records, knowledge):
        yield record.model_copy(
            update={
                "context": record.context if knowledge.context else (),
                "video_description": description,
                "instruction": prompt.instruction(
                    label_spaces[record.corpus],
                    has_video=description is not None,
                    has_context=knowledge.context and bool(record.context),
                ),
            }
        )


def _described(records: Iterable[Record], knowledge: Knowledge) -> Iterator[tuple[Record, str | None]]:
    match knowledge.video_descriptions:
        case "as_built":
            return ((record, record.video_description) for record in records)
        case "left_out":
            return ((record, None) for record in records)
        case "shuffled":
            found = list(records)
            return zip(found, _shuffled(found), strict=True)


def _shuffled(records: Sequence[Record]) -> list[str | None]:
    """Each description with another record of its corpus, the same one each time; no record keeps its own."""
    described = defaultdict[CorpusName, list[int]](list)
    for index, record in enumerate(records):
        if record.video_description is not None:
            described[record.corpus].append(index)
    shuffled = [record.video_description for record in records]
    for corpus, indices in described.items():
        random.Random(f"{_SHUFFLE_SEED} {corpus}").shuffle(indices)
        for index, giver in zip(indices, [*indices[1:], indices[0]], strict=True):
            shuffled[index] = records[giver].video_description
    return shuffled


def _compiled(
    environment: jinja2.Environment, name: str, part: str, text: str, fields: tuple[str, ...]
) -> Callable[..., str]:
    """A template as a function of its fields.

    Why: a macro takes a fifth of the time of a template, which makes a context each time.
    """
    try:
        template = environment.from_string(_as_macro(text, fields))
    except jinja2.TemplateSyntaxError as error:
        what = f"{part}: not a Jinja template: {error.message}, in its line {error.lineno}"
        raise RecipeError(Problem(name, what, code="prompt.template")) from error
    return cast("Callable[..., str]", vars(template.module)["render"])


def _as_macro(text: str, fields: tuple[str, ...]) -> str:
    return f"{{% macro render({', '.join(fields)}) %}}{text}{{% endmacro %}}"


def _joined(parts: Iterable[nodes.Node], columns: Mapping[str, pa.Array]) -> Any:
    """What parts of a template make of columns: a column, or one text for all rows.

    Templates that only put texts side by side, ask whether there is one, and go through a list are made of
    columns; of any other, LookupError is raised.
    """
    import pyarrow.compute as pc

    made = list(_pieces(parts, columns))
    if all(isinstance(one, str) for one in made):
        return "".join(made)
    return pc.binary_join_element_wise(*made, "") if len(made) > 1 else made[0]


def _pieces(parts: Iterable[nodes.Node], columns: Mapping[str, pa.Array]) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    for node in parts:
        match node:
            case nodes.TemplateData(data=str(text)) | nodes.Const(value=str(text)):
                yield text
            case nodes.Name(name=name) if pa.types.is_string(columns[name].type):
                yield columns[name].fill_null("None")
            case nodes.Output(nodes=inner) | nodes.Concat(nodes=inner):
                yield from _pieces(inner, columns)
            case nodes.If(test=nodes.Name(name=name), body=there, elif_=[], else_=lacking):
                yield _either(name, there, lacking, columns)
            case nodes.CondExpr(test=nodes.Name(name=name), expr1=one, expr2=nodes.Node() as other):
                yield _either(name, [one], [other], columns)
            case nodes.For(
                target=nodes.Name(name=item), iter=nodes.Name(name=name), body=body, else_=[], test=None
            ) if pa.types.is_list(columns[name].type):
                items = columns[name].flatten()
                made = _joined(body, {item: items})
                texts = pa.repeat(made, len(items)) if isinstance(made, str) else made
                ends = pc.cumulative_sum(pc.list_value_length(columns[name]))
                ends = pa.concat_arrays([pa.array([0], ends.type), ends])
                yield pc.binary_join(pa.ListArray.from_arrays(ends, texts), "")
            case _:
                raise LookupError(node)


def _either(
    asked: str, there: list[nodes.Node], lacking: list[nodes.Node], columns: Mapping[str, pa.Array]
) -> Any:
    """One text where there is something in a column, and another where there is nothing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    held = columns[asked]
    lengths = pc.list_value_length(held) if pa.types.is_list(held.type) else pc.binary_length(held)
    is_there = pc.greater(lengths, 0).fill_null(False)
    if not pc.any(is_there).as_py():
        return _joined(lacking, columns)
    return pc.if_else(is_there, _joined(there, columns), _joined(lacking, columns))
