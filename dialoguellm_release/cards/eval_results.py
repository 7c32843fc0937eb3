"""The files of `.eval_results/`, which the Hub reads scores from, against what it documents.

Source: `docs/hub/eval-results.md` of huggingface/hub-docs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dialoguellm_release.cards.front_matter import read_yaml
from dialoguellm_release.cards.metadata import HUB_ID
from dialoguellm_release.errors import CardError, Problem


class _Open(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _EvalDataset(_Open):
    id: Annotated[str, Field(pattern=HUB_ID)]
    task_id: Annotated[str, Field(min_length=1)]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None


class _EvalSource(_Open):
    url: Annotated[str, Field(pattern=r"^https?://")]


class _EvalResult(_Open):
    dataset: _EvalDataset
    value: float | int
    source: _EvalSource | None = None
    notes: str | None = None


_EVAL_RESULTS = TypeAdapter(list[_EvalResult])


def eval_result_problems(path: str, text: str) -> Iterator[Problem]:
    """What is wrong with a file of `.eval_results/`."""
    try:
        data, lines, problems = read_yaml(text, path)
        yield from problems
        _EVAL_RESULTS.validate_python(data)
    except CardError as error:
        yield from error.problems
    except ValidationError as error:
        for details in error.errors():
            place = ".".join(str(part) for part in details["loc"]) or "the whole"
            what = f"{place}: {details['msg']}"
            yield Problem(lines.where(*details["loc"]), what, got=repr(details["input"]))
