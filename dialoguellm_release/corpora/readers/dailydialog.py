"""DailyDialog: a text file and a label file for each split, in the folder of the split or in its zip."""

from __future__ import annotations

import io
import itertools
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

from dialoguellm_release.corpora.cells import Fault, NativeLabel, NativeLabels
from dialoguellm_release.corpora.fetch import DAMAGED_ZIP, MAX_MEMBER_BYTES
from dialoguellm_release.corpora.files import CorpusFolder
from dialoguellm_release.errors import Problem
from dialoguellm_release.schemas.labels import SPLITS, Split
from dialoguellm_release.schemas.record import Dialogue, Utterance


@dataclass(frozen=True)
class SplitLines:
    """As many lines of text as of labels, and where each kind was found, below the corpus folder."""

    folder: CorpusFolder
    texts: list[str]
    labels: list[str]
    text_place: str
    label_place: str


def text_file(split: Split) -> str:
    """The path of a split's dialogues, below the corpus folder and in the zip."""
    return f"{split}/dialogues_{split}.txt"


def label_file(split: Split) -> str:
    """The path of a split's emotion labels, below the corpus folder and in the zip."""
    return f"{split}/dialogues_emotion_{split}.txt"


def zip_file(split: Split) -> str:
    """The path of a split's zip."""
    return f"{split}.zip"


def require(folder: CorpusFolder) -> None:
    """Checks that every file is there or may be in a zip."""
    folder.refuse(
        [
            Problem(
                str(folder.path / name),
                f"is missing, and so is {zip_file(split)}",
                code="corpora.file_missing",
            )
            for split in SPLITS
            if not folder.has(zip_file(split))
            for name in (text_file(split), label_file(split))
            if not folder.has(name)
        ]
    )


def read_split(folder: CorpusFolder, split: Split) -> SplitLines | None:
    """The lines of a split; None where there are none to use, which is noted.

    Why: folders win over zips, and a zip that lies beside them must say the same, since no one can
    tell which of two different texts is meant.
    """
    members = _members(folder, split) if folder.has(zip_file(split)) else {}
    if members is None:
        return None
    text_place, texts = _lines(folder, text_file(split), members, split)
    label_place, labels = _lines(folder, label_file(split), members, split)
    if texts is None or labels is None:
        return None
    if len(texts) == len(labels):
        return SplitLines(folder, texts, labels, text_place, label_place)
    what, fix = f"has not as many lines as {text_place}", "fetch both files again, from the same release"
    sizes = f"{len(texts)} lines", f"{len(labels)} lines"
    folder.note(Fault(what, *sizes, fix, code="corpora.lines_differ"), label_place)
    return None


def _members(folder: CorpusFolder, split: Split) -> dict[str, bytes] | None:
    """The two members of a zip that are needed, as far as it has them; None where it is unusable."""
    name = zip_file(split)
    content = folder.read_bytes(name)
    if content is None:
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            wanted = {text_file(split), label_file(split)} & set(archive.namelist())
            sizes = {member: archive.getinfo(member).file_size for member in sorted(wanted)}
            if max(sizes.values(), default=0) > MAX_MEMBER_BYTES:
                raise zipfile.BadZipFile(f"members of {sizes} bytes, where {MAX_MEMBER_BYTES} are allowed")
            return {member: archive.read(member) for member in sizes}
    except DAMAGED_ZIP as error:
        fix = "fetch the file again: it may be cut off"
        folder.note(Fault(f"cannot be unzipped: {error}", fix=fix, code="corpora.bad_archive"), name)
        return None


def _lines(
    folder: CorpusFolder, name: str, members: dict[str, bytes], split: Split
) -> tuple[str, list[str] | None]:
    """Where a file was found, and its lines; None for these where there are none to use, which is noted."""
    member = members.get(name)
    if folder.has(name):
        place, content = name, folder.read_bytes(name)
        if content is not None and member is not None and member != content:
            what, fix = (
                f"differs from the same file in {zip_file(split)}",
                "remove the folder or the zip, whichever is wrong",
            )
            folder.note(Fault(what, fix=fix, code="corpora.zip_differs"), name)
            return name, None
    else:
        place, content = f"{zip_file(split)}/{name}", member
        if member is None:
            fault = Fault("is not in the zip", fix="fetch the zip again", code="corpora.zip_lacks_file")
            folder.note(fault, place)
        elif not folder.belongs(name, member, place):
            content = None
    text = None if content is None else folder.decode(content, place)
    return place, None if text is None else text.removesuffix("\n").split("\n")


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
    require(folder)
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
        lines = read_split(folder, split)
        if lines is None:
            continue
        for position, (text, digits) in enumerate(zip(lines.texts, lines.labels, strict=True)):
            utterances = _utterances(text, digits.split(), known, lines, position + 1, split)
            if utterances:
                yield Dialogue(corpus=folder.entry.name, split=split, id=str(position), utterances=utterances)


def _utterances(
    line: str, digits: list[str], known: dict[str, NativeLabel], lines: SplitLines, number: int, split: Split
) -> tuple[Utterance, ...]:
    """The utterances of a line; none where the line is at fault, which is noted."""
    notes = lines.folder.notes
    try:
        texts = _texts(line, lines.folder)
        notes.public_dialogues[split] += 1
        notes.public_utterances[split] += len(texts)
        if len(texts) != len(digits):
            texts = _joined(texts, digits, split)
            notes.repairs[f"{lines.folder.entry.name}.utterances_joined_to_fit_labels"] += 1
    except Fault as fault:
        lines.folder.note(fault, lines.text_place, number)
        return ()
    try:
        labels = [known[digit] for digit in digits]
    except KeyError as unknown:
        wrong = Fault(
            "unknown label", expected=" ".join(known), got=str(unknown), code="corpora.unknown_label"
        )
        lines.folder.note(wrong, lines.label_place, number)
        return ()
    return tuple(
        Utterance(index=index, text=text, speaker="AB"[index % 2], label=label, source_label=native)
        for index, (text, (native, label)) in enumerate(zip(texts, labels, strict=True))
    )


def _texts(line: str, folder: CorpusFolder) -> list[str]:
    *parts, rest = line.split(END)
    if rest.strip():
        fix = "fetch the file again: it may be cut off"
        raise Fault(f"does not end with {END}", got=rest.strip(), fix=fix, code="corpora.line_cut")
    if not parts:
        raise Fault("an utterance is empty", code="corpora.empty_cell")
    return [folder.line(part, "an utterance") for part in parts]


def _joined(texts: list[str], digits: list[str], split: Split) -> list[str]:
    joined = mended(texts, digits)
    if joined is None:
        raise Fault(
            f"the number of utterances differs from that of the labels in {label_file(split)}",
            expected=f"{len(digits)} utterances",
            got=f"{len(texts)} utterances",
            fix="fetch both files again, from the same release",
            code="corpora.labels_differ",
        )
    return joined
