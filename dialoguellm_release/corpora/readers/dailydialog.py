"""DailyDialog: a text and a label file a split, in the split's folder or in its zip."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from dialoguellm_release.corpora.dailydialog_files import SplitLines, label_file, read_split, require
from dialoguellm_release.corpora.faults import Fault
from dialoguellm_release.corpora.files import CorpusFolder
from dialoguellm_release.corpora.labels import NativeLabel, NativeLabels
from dialoguellm_release.schemas.labels import SPLITS, Split
from dialoguellm_release.schemas.record import Dialogue, Utterance

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

    Raises:
        DataError: Files are missing.
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
        wrong = Fault("unknown label", expected=" ".join(known), got=str(unknown))
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
        raise Fault(f"does not end with {END}", got=rest.strip(), fix=fix)
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
        )
    return joined
