"""DailyDialog: a text file and a label file for each split, in the folder of the split or in its zip."""

from __future__ import annotations

import io
import itertools
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

from dialoguellm_release.corpora.cells import Fault, NativeLabels
from dialoguellm_release.corpora.fetch import DAMAGED_ZIP, MAX_MEMBER_BYTES
from dialoguellm_release.corpora.files import CorpusFolder
from dialoguellm_release.errors import Problem
from dialoguellm_release.schemas.labels import SPLITS, Split
from dialoguellm_release.schemas.record import Dialogue, Utterance

TEXTS, LABELS = "{0}/dialogues_{0}.txt", "{0}/dialogues_emotion_{0}.txt"
"""The files of a split, below the corpus folder and in its zip."""

_AGAIN = "fetch both files again, from the same release"


@dataclass(frozen=True)
class _Lines:
    """The lines of a file, and where it was found below the corpus folder."""

    place: str
    lines: list[str]


def _read_split(folder: CorpusFolder, split: Split) -> tuple[_Lines, _Lines] | None:
    """As many lines of text as of labels; None where there are none to use, which is noted.

    Why: folders win over zips, and a zip that lies beside them must say the same, since no one can
    tell which of two different texts is meant.
    """
    members = _members(folder, split) if folder.has(f"{split}.zip") else {}
    if members is None:
        return None
    texts, labels = (_lines(folder, name.format(split), members, split) for name in (TEXTS, LABELS))
    if texts is None or labels is None:
        return None
    found = (texts, labels)
    if len(texts.lines) == len(labels.lines):
        return found
    expected, got = (f"{len(one.lines)} lines" for one in found)
    what = f"has not as many lines as {texts.place}"
    folder.note(Fault(what, expected, got, _AGAIN, code="corpora.lines_differ"), labels.place)
    return None


def _members(folder: CorpusFolder, split: Split) -> dict[str, bytes] | None:
    """The two members of a zip that are needed, as far as it has them; None where it is unusable."""
    name = f"{split}.zip"
    content = folder.read_bytes(name)
    if content is None:
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            wanted = {name.format(split) for name in (TEXTS, LABELS)} & set(archive.namelist())
            sizes = {member: archive.getinfo(member).file_size for member in sorted(wanted)}
            if max(sizes.values(), default=0) > MAX_MEMBER_BYTES:
                raise zipfile.BadZipFile(f"members of {sizes} bytes, where {MAX_MEMBER_BYTES} are allowed")
            return {member: archive.read(member) for member in sizes}
    except DAMAGED_ZIP as error:
        fix = "fetch the file again: it may be cut off"
        folder.note(Fault(f"cannot be unzipped: {error}", fix=fix, code="corpora.bad_archive"), name)
        return None


def _lines(folder: CorpusFolder, name: str, members: dict[str, bytes], split: Split) -> _Lines | None:
    """The lines of a file of the folder or of the zip; None where there are none to use, which is noted."""
    place, member = name, members.get(name)
    if folder.has(name):
        content = folder.read_bytes(name)
        if content is not None and member is not None and member != content:
            what = f"differs from the same file in {split}.zip"
            fix = "remove the folder or the zip, whichever is wrong"
            folder.note(Fault(what, fix=fix, code="corpora.zip_differs"), name)
            return None
    else:
        place, content = f"{split}.zip/{name}", member
        if member is None:
            fault = Fault("is not in the zip", fix="fetch the zip again", code="corpora.zip_lacks_file")
            folder.note(fault, place)
        elif not folder.belongs(name, member, place):
            content = None
    text = None if content is None else folder.decode(content, place)
    return None if text is None else _Lines(place, text.removesuffix("\n").split("\n"))


EMOTIONS = {
    "0": "no emotion",
    "1": "anger",
    "2": "disgust",
    "3": "fear",
    "4": "happiness",
    "5": "sadness",
    "6": "surprise",
}
"""The digits of the label files, as the corpus's readme names them."""

END = "__eou__"


def read_dailydialog(folder: CorpusFolder) -> Iterator[Dialogue]:
    """The dialogues of DailyDialog.

    A dialogue's id is its line counted from 0; its speakers, A and B, take turns.
    """
    lacking = [
        (split, name.format(split))
        for split in SPLITS
        if not folder.has(f"{split}.zip")
        for name in (TEXTS, LABELS)
    ]
    code = "corpora.file_missing"
    folder.refuse(
        [
            Problem(str(folder.path / name), f"is missing, and so is {split}.zip", code=code)
            for split, name in lacking
            if not folder.has(name)
        ]
    )
    return _dialogues(folder)


def mended(utterances: list[str], labels: list[str]) -> list[str] | None:
    """The utterances with one pair joined, where that surely makes them fit the labels; else None.

    The rule: there is one utterance more than labels; all labels are equal, so that the join can move
    none to another utterance; and exactly one pair of neighbours begins with the same word while its
    first utterance does not ask. Who says "I left it ..." and then "I've been ..." without a question
    between is one speaker: the pair is one turn that was cut in two.
    """
    if len(utterances) != len(labels) + 1 or len(set(labels)) != 1:
        return None
    cuts = [
        index
        for index, (first, second) in enumerate(itertools.pairwise(utterances))
        if _first_word(first) == _first_word(second) and not first.endswith("?")
    ]
    if len(cuts) != 1:
        return None
    cut = cuts[0]
    return [*utterances[:cut], f"{utterances[cut]} {utterances[cut + 1]}", *utterances[cut + 2 :]]


def _first_word(text: str) -> str:
    word = re.match(r"\w+", text)
    return word.group().lower() if word else text


def _dialogues(folder: CorpusFolder) -> Iterator[Dialogue]:
    native_labels = NativeLabels(folder.entry, folder.notes)
    known = {digit: native_labels.read(name) for digit, name in EMOTIONS.items()}
    for split in SPLITS:
        if (found := _read_split(folder, split)) is None:
            continue
        texts, labels = found
        for position, (line, cell) in enumerate(zip(texts.lines, labels.lines, strict=True)):
            digits = cell.split()
            try:
                utterances = _texts(line, digits, folder, split)
            except Fault as fault:
                folder.note(fault, texts.place, position + 1)
                continue
            if unknown := [digit for digit in digits if digit not in known]:
                got = repr(unknown[0])
                wrong = Fault("unknown label", " ".join(known), got, code="corpora.unknown_label")
                folder.note(wrong, labels.place, position + 1)
                continue
            turns = [
                Utterance(index=index, text=text, speaker="AB"[index % 2], label=label, source_label=name)
                for index, (text, digit) in enumerate(zip(utterances, digits, strict=True))
                for name, label in (known[digit],)
            ]
            yield Dialogue(corpus=folder.entry.name, split=split, id=str(position), utterances=tuple(turns))


def _texts(line: str, digits: list[str], folder: CorpusFolder, split: Split) -> list[str]:
    """The utterances of a line, as many as it has labels."""
    *parts, rest = line.split(END)
    if rest.strip():
        fix = "fetch the file again: it may be cut off"
        raise Fault(f"does not end with {END}", got=rest.strip(), fix=fix, code="corpora.line_cut")
    if not parts:
        raise Fault("an utterance is empty", code="corpora.empty_cell")
    texts = [folder.line(part, "an utterance") for part in parts]
    folder.notes.public_dialogues[split] += 1
    folder.notes.public_utterances[split] += len(texts)
    if len(texts) == len(digits):
        return texts
    whole = mended(texts, digits)
    if whole is None:
        what = f"the number of utterances differs from that of the labels in {LABELS.format(split)}"
        sizes = f"{len(digits)} utterances", f"{len(texts)} utterances"
        raise Fault(what, *sizes, _AGAIN, code="corpora.labels_differ")
    folder.notes.repairs[f"{folder.entry.name}.utterances_joined_to_fit_labels"] += 1
    return whole
