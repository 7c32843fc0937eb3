"""What the Hub, `datasets` or a reader would stumble over in a card, found without any of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence

from dialoguellm_release.cards.body import Body, read_body
from dialoguellm_release.cards.configs import config_problems
from dialoguellm_release.cards.eval_results import eval_result_problems
from dialoguellm_release.cards.front_matter import read_front_matter
from dialoguellm_release.cards.markdown import FENCE
from dialoguellm_release.cards.metadata import metadata_problems
from dialoguellm_release.errors import Problem

CARD = "README.md"
EVAL_RESULTS = ".eval_results/"

_PLACEHOLDER = re.compile(
    r"\{\{ .*? \}\}|\{%.*?%\}|\[?more information needed\]?|\b(?:TODO|FIXME|TBD)\b|lorem ipsum", re.IGNORECASE
)
_LOCAL_PATH = re.compile(
    r"(?<![\w./:~>-])/(?:home|root|Users|tmp|var|mnt|opt|work|workspace|private|content)/[^\s`\"')]+"
    r"|file://[^\s`\"')]+|\b[A-Z]:\\[^\s`\"')]+"
)
_CODE = re.compile(r"(`+).+?\1")
_LINE = re.compile(rf"{re.escape(CARD)}:(\d+)")


def repository_card_problems(
    files: Collection[str], read: Callable[[str], str], *, is_ours: bool = True
) -> Iterator[Problem]:
    """What is wrong with the card of a repository, and with the scores that it states beside it.

    Args:
        files: Paths of the repository's files.
        read: Gives the text of one of them.
        is_ours: As in `check_card`.
    """
    if CARD not in files:
        yield Problem(CARD, "is missing: a repository without a card cannot be understood")
        return
    yield from check_card(read(CARD), list(files), is_ours=is_ours)
    for path in sorted(files):
        if path.startswith(EVAL_RESULTS) and path.endswith(".yaml"):
            yield from eval_result_problems(path, read(path))


def check_card(text: str, files: Sequence[str], *, is_ours: bool = True) -> list[Problem]:
    """What is wrong with a card, in the order of its lines; empty where nothing is.

    Args:
        files: Paths of the repository's files, relative to it.
        is_ours: Holds it to what a card of this package promises as well: a licence, ids with their owner,
            pictures in words, no placeholder and no local path even in code. Else the Hub's own rules count,
            and what readers see.
    """
    text = text.replace("\r\n", "\n")
    text += "" if text.endswith("\n") else "\n"
    front, found = read_front_matter(text, CARD)
    problems = list(found)
    if front is not None:
        problems += metadata_problems(front, files, is_ours=is_ours)
        problems += config_problems(front, files, is_ours=is_ours)
    head, fence, below = text.partition(f"\n{FENCE}") if text.startswith(FENCE) else ("", "", text)
    body = read_body(below, first_line=(head + fence).count("\n") + 1)
    problems += _reference_problems(body, files, is_ours)
    problems += _stray_text(text if is_ours else _without_code(text, body.code_lines))
    return sorted(problems, key=_line_of)


def _reference_problems(body: Body, files: Sequence[str], is_ours: bool) -> Iterator[Problem]:
    for one in body.references:
        where, is_picture = f"{CARD}:{one.line}", one.words is not None
        if not one.is_there(files):
            what = "shows a picture that is not there" if is_picture else "links to a file that is not there"
            yield Problem(where, what, got=one.address)
        if is_ours and one.words is not None and not one.words.strip():
            yield Problem(where, "a picture has no words for those who do not see it", got=one.address)


def _stray_text(text: str) -> Iterator[Problem]:
    for number, line in enumerate(text.split("\n"), start=1):
        for pattern, what in ((_PLACEHOLDER, "a placeholder is left"), (_LOCAL_PATH, "names a local path")):
            for match in pattern.finditer(line):
                yield Problem(f"{CARD}:{number}", what, got=match[0])


def _without_code(text: str, code_lines: Collection[int]) -> str:
    """A card whose lines of code are empty, and without the code within lines."""
    lines = enumerate(text.split("\n"), start=1)
    return "\n".join("" if number in code_lines else _CODE.sub("", line) for number, line in lines)


def _line_of(problem: Problem) -> int:
    match = _LINE.match(problem.where)
    return int(match[1]) if match else 0
