"""Conversations in files, turn by turn: tables, plain chat and subtitles; and the scripts of their texts."""

from __future__ import annotations

import codecs
import hashlib
import html
import re
import unicodedata
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from dialoguellm_release.corpora.cells import Fault, table_cell
from dialoguellm_release.corpora.cells import is_blank as is_blank_text
from dialoguellm_release.corpora.layouts import COLUMN_NAMES, columns_by_name, is_named
from dialoguellm_release.errors import DataError, Problem, one_of
from dialoguellm_release.predict.predictor import Turn
from dialoguellm_release.tabular import TableRow, encoding_of, stream_rows

InputFormat = Literal["csv", "tsv", "jsonl", "json", "parquet", "chat", "srt", "vtt"]
FORMATS: tuple[InputFormat, ...] = get_args(InputFormat)
TABLES = ("csv", "tsv", "jsonl", "json", "parquet")
ROLES = ("text", "speaker", "dialogue")
BLOCK = 1 << 20

MAX_OPEN = 10_000
"""Conversations whose last turns are held at once; rows of more than these may not be mixed in a table."""

MAX_PROBLEMS = 100


@dataclass(frozen=True)
class InputTurn:
    """A turn of a file."""

    line: int  # the number of its line, or of its row in Parquet, from 1
    conversation: str  # what tells conversations apart
    turn: Turn


@dataclass(frozen=True)
class ConversationFile:
    """A file of conversations that was read once to its end."""

    path: Path
    name: str
    format: InputFormat
    sha256: str
    encoding: str
    columns: Mapping[str, str]  # of a table, by what they hold; empty for another format
    count: int = 0  # how many turns it has
    letters: Counter[str] = field(default_factory=Counter)  # of its texts, by their script

    def turns(self) -> Iterator[InputTurn | Problem]:
        """The turns in the order of the file, and what is wrong with it."""
        if self.format in TABLES:
            yield from self._rows()
            return
        with self.path.open(encoding=self.encoding) as lines:
            if self.format == "chat":
                yield from chat_turns(lines)
            else:
                yield from subtitle_turns(lines, self.name)

    def _rows(self) -> Iterator[InputTurn | Problem]:
        absent, seen = set(ROLES) - {*self.columns}, set[tuple[str, ...]]()
        for row in stream_rows(self.path, f".{self.format}", self.name, tuple(self.columns.values())):
            if isinstance(row, TableRow) and (keys := tuple(row.cells)) not in seen:
                seen.add(keys)
                if late := [key for key in keys for role in absent if is_named(key, COLUMN_NAMES[role])]:
                    what = f"has {late[0]}, which the first row does not have"
                    fix = f"give every row the key {late[0]}, null where there is none"
                    yield Problem(row.where, what, fix=fix, code="predict.late_column")
            try:
                yield row if isinstance(row, Problem) else self._turn(row)
            except Fault as fault:
                assert isinstance(row, TableRow)
                yield fault.at(row.where)

    def _turn(self, row: TableRow) -> InputTurn:
        cells = {role: table_cell(row.cells[column], column) for role, column in self.columns.items()}
        turn = Turn(cells["text"], cells.get("speaker") or None)
        if "dialogue" in cells and is_blank_text(cells["dialogue"]):
            what, fix = f"{self.columns['dialogue']} is empty", "fill the cell, or leave the column out"
            raise Fault(what, "what tells conversations apart", fix=fix, code="predict.no_conversation_id")
        return InputTurn(row.line, cells.get("dialogue", "1"), turn)


def open_file(
    path: Path, name: str, form: str | None = None, columns: Mapping[str, str] | None = None
) -> ConversationFile:
    """A file of conversations, read once: what is wrong with it is known before a model is loaded."""
    if not path.is_file():
        is_pipe = path.exists() and not path.is_dir()
        what, fix = ("is a pipe, which cannot be read twice", "write a file, or name - and pipe into it")
        what, fix = (what, fix) if is_pipe else ("no such file", "check its path")
        raise DataError(Problem(name, what, fix=fix, code="predict.no_file"))
    if form is not None:
        chosen = one_of("--format", form, FORMATS)
    else:
        ending = path.suffix.lower().removeprefix(".")
        found = next((one for one in FORMATS if one == {"txt": "chat"}.get(ending, ending)), None)
        if found is None:
            expected = f"a name that ends in .txt (plain chat), .{', .'.join(set(FORMATS) - {'chat'})}"
            what, fix = "its format is not known", f"state it with --format: {', '.join(FORMATS)}"
            raise DataError(Problem(name, what, expected, fix=fix, code="predict.format"))
        chosen = found
    sha256, encoding = _looked_at(path, name, is_text=chosen != "parquet")
    if columns and chosen not in TABLES:
        what = f"has no columns, as it is {chosen}"
        raise DataError(Problem(name, what, got=", ".join(columns.values()), code="predict.no_columns"))
    found_columns = _columns(path, chosen, name, columns or {}) if chosen in TABLES else {}
    return _surveyed(ConversationFile(path, name, chosen, sha256, encoding, found_columns))


def _surveyed(source: ConversationFile) -> ConversationFile:
    """The file with the counts of its turns and letters."""
    turns, has_text, letters, problems = 0, False, Counter[str](), list[Problem]()
    recent, closed = OrderedDict[str, None](), set[int]()
    for one in source.turns():
        if isinstance(one, Problem):
            problems.append(one)
            if len(problems) == MAX_PROBLEMS:
                break
            continue
        if hash(one.conversation) in closed:
            what = f"goes on with {one.conversation}, {MAX_OPEN:,} conversations after its last turn"
            fix = "sort the rows by conversation"
            problems.append(Problem(f"{source.name}:{one.line}", what, fix=fix, code="predict.too_mixed"))
            break
        recent[one.conversation] = None
        recent.move_to_end(one.conversation)
        if len(recent) > MAX_OPEN:
            closed.add(hash(recent.popitem(last=False)[0]))
        turns += 1
        has_text = has_text or not is_blank_text(one.turn.text)
        count_scripts(one.turn.text, letters)
    if problems:
        raise DataError(problems)
    if not has_text:
        raise DataError(Problem(source.name, "has no turn with text", code="predict.empty_file"))
    return replace(source, count=turns, letters=letters)


def _looked_at(path: Path, name: str, *, is_text: bool) -> tuple[str, str]:
    """The hash of a file, and the encoding of its text, all of which can be decoded."""
    digest, offset, size, is_blank = hashlib.sha256(), 0, path.stat().st_size, True
    with path.open("rb") as file:
        encoding = encoding_of(file.read(4))
        file.seek(0)
        decoder = codecs.getincrementaldecoder(encoding)()
        while block := file.read(BLOCK):
            digest.update(block)
            if is_text and encoding == "utf-8-sig" and b"\0" in block:
                what, fix = "is not text, or UTF-16 without its mark", "save it as UTF-8, or state --format"
                raise DataError(Problem(name, what, "text in UTF-8", fix=fix, code="predict.binary"))
            try:
                is_last = offset + len(block) == size
                text = decoder.decode(block, final=is_last) if is_text else "binary"
            except UnicodeDecodeError as error:
                got = f"byte {error.object[error.start]:#04x} near offset {offset + error.start:,}"
                fix = "save it as UTF-8; text of Windows is often cp1252: iconv -f CP1252 -t UTF-8"
                problem = Problem(name, "not text in UTF-8", got=got, fix=fix, code="predict.encoding")
                raise DataError(problem) from error
            offset += len(block)
            is_blank = is_blank and is_blank_text(text)
    if is_blank:
        raise DataError(Problem(name, "is empty", "conversations", code="predict.empty_file"))
    return digest.hexdigest(), encoding


def _columns(path: Path, form: str, name: str, stated: Mapping[str, str]) -> dict[str, str]:
    """The columns of a table by what they hold, as the first row has them."""
    first = next(iter(stream_rows(path, f".{form}", name)), None)
    if isinstance(first, Problem):
        raise DataError(first)
    if first is None:
        raise DataError(Problem(name, "has no row", code="predict.empty_file"))
    return columns_by_name(Path(name), first.cells, stated, {role: COLUMN_NAMES[role] for role in ROLES})


_CLOCK = r"\d{1,2}:\d\d(?::\d\d)?(?:\s?[AaPp]\.?[Mm]\.?)?"
_DAY = r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?:,?\s+|T)"
_STAMP = rf"\u200e?(?:[\[(](?:{_DAY})?{_CLOCK}[\])]\s*|{_DAY}{_CLOCK}\s+(?:[-–]\s+)?)"
_SPEAKER = re.compile(rf"(?:{_STAMP})?(?!\d+：\d)([^:：]{{1,40}}?)\s*(?::(?=\s|$)|：)\s*(.*)")
"""A colon of Chinese and Japanese, which needs no space after it, is one too; a stamp is no name."""


def chat_turns(lines: Iterable[str]) -> Iterator[InputTurn]:
    """The turns of plain chat: `Speaker: text` or text a line, a blank line between conversations.

    What an exported chat has before the speaker, `[12:30]` or `1/2/24, 12:30 - `, is left out.

    >>> [one.turn.speaker for one in chat_turns(["[12:30] Alex: They said yes!", "at 10:30"])]
    ['Alex', None]
    """
    conversation, has_turns = 1, False
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            conversation, has_turns = conversation + has_turns, False
            continue
        has_turns = True
        yield InputTurn(number, str(conversation), _with_speaker(text))


def _with_speaker(text: str) -> Turn:
    match = _SPEAKER.fullmatch(text)
    return Turn(match[2], match[1]) if match else Turn(text)


_TIME = r"(?:(\d+):)?(\d{1,2}):(\d{1,2})[,.](\d{1,3})"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?", re.ASCII)
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
_MARK = re.compile(r"</?[a-zA-Z][^<>]*>|<[\d:.]+>|\{\\[^}]*\}")
_NOT_A_CUE = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s|$)")


def subtitle_turns(lines: Iterable[str], name: str) -> Iterator[InputTurn | Problem]:
    """The turns of SubRip (SRT) or WebVTT: each cue is a turn, or each of its voices or lines with a dash.

    Source: https://www.w3.org/TR/webvtt1/ for WebVTT; SRT is what players read, as it has no standard.
    """
    cue: InputTurn | None = None
    is_vtt = False
    for number, block in _blocks(lines):
        is_vtt = is_vtt or (cue is None and block[0].startswith("WEBVTT"))
        places = _places_of_times(block)
        starts = [at - (at == 1 or block[at - 1].strip().isdigit()) if at else 0 for at in places]
        before = block[: starts[0] if starts else None]
        if cue is not None and before and not (is_vtt and _NOT_A_CUE.match(before[0])):
            text = "\n".join([cue.turn.text, *before])  # a cue may hold a blank line
            cue = replace(cue, turn=replace(cue.turn, text=text))
        for at, end_of_text in zip(places, [*starts[1:], len(block)], strict=False):
            times = _TIMES.fullmatch(block[at])
            if times is None:
                expected, got = "00:01:02,500 --> 00:01:04,000", block[at].strip()[:80]
                where = f"{name}:{number + at}"
                yield Problem(where, "not the times of a cue", expected, got, code="predict.times")
                continue
            if cue is not None:
                yield from _turns_of(cue)
            start, end = _seconds(times.groups()[:4]), _seconds(times.groups()[4:])
            text = "\n".join(block[at + 1 : end_of_text])
            cue = InputTurn(number + at, "1", Turn(text, None, start, end))
    if cue is None:
        what, fix = "has no cue with times", "for text without times use --format chat"
        yield Problem(name, what, "00:01:02,500 --> 00:01:04,000", fix=fix, code="predict.no_times")
    else:
        yield from _turns_of(cue)


def _blocks(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Lines up to the next blank one, with the number of the first."""
    block = list[str]()
    number = 0
    for number, line in enumerate(lines, start=1):
        if line.strip():
            block.append(line.rstrip("\r\n"))
        elif block:
            yield number - len(block), block
            block = []
    if block:
        yield number + 1 - len(block), block


def _places_of_times(block: list[str]) -> list[int]:
    """Where the lines with times are: at the top, under the name of a cue, or wherever a line begins so."""
    arrows = [place for place, line in enumerate(block) if "-->" in line]
    return [at for at in arrows if at == 0 or arrows[0] == at == 1 or re.match(r"\s*\d+:", block[at])]


def _turns_of(cue: InputTurn) -> Iterator[InputTurn]:
    """The turns of a cue: one for each voice, or for each line where all begin with a dash."""
    before, *voices = _VOICE.split(cue.turn.text)
    said: list[tuple[str | None, str]] = list(zip(voices[::2], voices[1::2], strict=True))
    lines = before.split("\n")
    if len(lines) > 1 and all(line.lstrip().startswith(("-", "–")) for line in lines):
        said = [(None, line.lstrip().lstrip("-– ")) for line in lines] + said
    elif before.strip() or not said:
        said = [(None, before), *said]
    for speaker, text in said:
        plain = " ".join(html.unescape(_MARK.sub("", text)).split())
        turn = _with_speaker(plain) if speaker is None else Turn(plain, html.unescape(speaker).strip())
        if speaker is None and not (turn.speaker or "").isupper():
            turn = Turn(plain)  # in subtitles a colon follows a name only where it is in capitals
        yield replace(cue, turn=replace(cue.turn, text=turn.text, speaker=turn.speaker))


def _seconds(parts: tuple[Any, ...]) -> float:
    hours, minutes, seconds, fraction = parts
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000


_SCRIPTS = {
    "LATIN": "latn ca cs da de en es et fi fr ga hr hu id is it lt lv ms nl no pl pt ro sk sl sq sv sw tl tr"
    " vi",
    "CYRILLIC": "cyrl be bg kk ky mk mn ru uk",
    "DEVANAGARI": "deva hi mr ne sa",
    "ARABIC": "arab ar fa ps ur",
    "BENGALI": "beng bn",
    "GREEK": "grek el",
    "HEBREW": "hebr he",
    "TAMIL": "ta",
    "TELUGU": "te",
    "THAI": "thai th",
    "CJK": "hans hant zh ja ko",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
}
"""Scripts, as Unicode names its letters, with their BCP 47 subtags and the languages written in them."""

ENOUGH_LETTERS, MOST_LETTERS = 200, 100_000
"""Of fewer letters nothing is said, and no more are looked at."""


def count_scripts(text: str, letters: Counter[str]) -> None:
    """Counts the letters of a text by their script, until there are enough."""
    if letters.total() < MOST_LETTERS:
        letters.update(_script(character) for character in text if character.isalpha())


@cache
def _script(character: str) -> str:
    """The first word of a letter's Unicode name, which is its script: LATIN, CYRILLIC, CJK."""
    return unicodedata.name(character, "UNKNOWN").partition(" ")[0]


def warning_of_scripts(letters: Counter[str], languages: Sequence[str]) -> str | None:
    """What is wrong where most letters are of no script of the languages; None where that is not known."""
    known = set[str]()
    for tag in languages:
        language, *subtags = tag.lower().split("-")
        stated = {script for script, codes in _SCRIPTS.items() if not {*subtags}.isdisjoint(codes.split())}
        found = stated or {script for script, codes in _SCRIPTS.items() if language in codes.split()}
        if not found:
            return None
        known |= found
    total = letters.total()
    if not known or total < ENOUGH_LETTERS or sum(letters[script] for script in known) * 2 >= total:
        return None
    script, count = letters.most_common(1)[0]
    trained = f"{', '.join(languages)} ({', '.join(sorted(one.title() for one in known))})"
    return (
        f"{count / total:.0%} of the letters are {script.title()}, but the model was trained on {trained}: "
        "its labels mean little here"
    )
