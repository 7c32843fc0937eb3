"""IEMOCAP: transcriptions and evaluations of each dialogue, joined by the names of the turns.

The licence keeps the corpus away from here: this reader follows the documented layout and has been
tried on synthetic files only. So what a genuine copy may hold and no document tells (a turn that only
one of the two files has, a line in no known form) is counted, not refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from dialoguellm_release.corpora.cells import Fault, NativeLabel, NativeLabels
from dialoguellm_release.corpora.files import CorpusFolder
from dialoguellm_release.schemas.labels import Split
from dialoguellm_release.schemas.record import Dialogue, Utterance

RELEASE = "IEMOCAP_full_release"
SESSIONS: dict[str, Split] = {**{f"Session{number}": "train" for number in range(1, 5)}, "Session5": "test"}

_TURN = re.compile(r"(\S+)\s+\[(\d{1,9}\.\d+)-(\d{1,9}\.\d+)\]:(.*)", re.ASCII)
_NAME = re.compile(r"\S+_([FM])(\d+|XX\d+)", re.ASCII)
_EVALUATION = re.compile(r"\[[\d.]+ - [\d.]+\]\t(\S+)\t(\w+)\t\[.*\]\s*", re.ASCII)


@dataclass(frozen=True)
class _Turn:
    line: int
    speaker: str
    text: str
    start_s: float
    end_s: float


def read_iemocap(folder: CorpusFolder) -> Iterator[Dialogue]:
    """The dialogues of IEMOCAP: sessions 1 to 4 are train, session 5 is test.

    Only turns with one of the six labels of the label space become utterances; their index is the
    position among all transcribed turns of the dialogue, so gaps show. A dialogue's id is its file's name.
    """
    root = f"{RELEASE}/" if folder.has(RELEASE) else ""
    folder.require(
        f"{root}{session}/dialog/{part}"
        for session in SESSIONS
        for part in ("transcriptions", "EmoEvaluation")
    )
    return _dialogues(folder, root)


def _dialogues(folder: CorpusFolder, root: str) -> Iterator[Dialogue]:
    labels = NativeLabels(folder.entry, folder.notes)
    for session, split in SESSIONS.items():
        transcriptions = f"{root}{session}/dialog/transcriptions"
        evaluations = f"{root}{session}/dialog/EmoEvaluation"
        names = folder.list_texts(transcriptions)
        for name in folder.list_texts(evaluations):
            if name not in names:
                what = "has no transcription of the same name"
                fix = "unpack dialog/transcriptions of this session again"
                fault = Fault(what, fix=fix, code="corpora.transcription_missing")
                folder.note(fault, f"{evaluations}/{name}")
        for name in names:
            noted = len(folder.notes.problems)
            turns = _turns(folder, f"{transcriptions}/{name}")
            evaluated = _evaluated(folder, f"{evaluations}/{name}", labels)
            if len(folder.notes.problems) == noted:
                _refuse_unread(folder, f"{transcriptions}/{name}", turns, evaluated)
            folder.notes.public_dialogues[split] += 1
            folder.notes.public_utterances[split] += len(turns)
            utterances = _utterances(folder, f"{transcriptions}/{name}", turns, evaluated)
            if utterances:
                stem = name.removesuffix(".txt")
                yield Dialogue(corpus=folder.entry.name, split=split, id=stem, utterances=utterances)
            else:
                folder.notes.repairs["iemocap.dialogue_without_utterances"] += 1


def _refuse_unread(
    folder: CorpusFolder, name: str, turns: dict[str, _Turn], evaluated: dict[str, NativeLabel | None]
) -> None:
    """Notes a dialogue of which nothing could be read: that is no repair."""
    if not turns:
        what = "no turn could be read"
    elif not evaluated:
        what = "no turn is evaluated"
    elif not turns.keys() & evaluated.keys():
        what = "no turn has the name of an evaluated one"
    else:
        return
    expected = "TURN_NAME [START-END]: TEXT, and an evaluation of TURN_NAME"
    folder.note(Fault(what, expected, code="corpora.unread_dialogue"), name)


def _turns(folder: CorpusFolder, name: str) -> dict[str, _Turn]:
    """The turns of a transcription by name, in their order; without the XX turns, which have no label."""
    turns: dict[str, _Turn] = {}
    repairs = folder.notes.repairs
    for number, line in enumerate((folder.read_text(name) or "").split("\n"), start=1):
        match = _TURN.fullmatch(line.rstrip())
        spoken = _NAME.fullmatch(match[1]) if match else None
        if not line.strip():
            continue
        if match is None or spoken is None:
            repairs["iemocap.line_without_turn"] += 1
        elif spoken[2].startswith("XX"):
            repairs["iemocap.xx_turn"] += 1
        elif match[1] in turns:
            folder.note(_second(match[1], turns[match[1]].line), name, number)
        else:
            turns[match[1]] = _Turn(number, spoken[1], match[4], float(match[2]), float(match[3]))
    return turns


def _evaluated(folder: CorpusFolder, name: str, labels: NativeLabels) -> dict[str, NativeLabel | None]:
    """The labels of an evaluation by turn; None for a turn whose label is not one of the six."""
    found: dict[str, NativeLabel | None] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate((folder.read_text(name) or "").split("\n"), start=1):
        if not line.startswith("["):
            continue
        try:
            match = _EVALUATION.fullmatch(line)
            if match is None:
                expected = "[START - END]<TAB>TURN_NAME<TAB>EMOTION<TAB>[V, A, D]"
                raise Fault(
                    "not the first line of an evaluation", expected, got=line, code="corpora.wrong_evaluation"
                )
            if lines.setdefault(match[1], number) != number:
                raise _second(match[1], lines[match[1]])
            found[match[1]] = labels.read_or_drop(match[2])
        except Fault as fault:
            folder.note(fault, name, number)
    return found


def _utterances(
    folder: CorpusFolder, name: str, turns: dict[str, _Turn], evaluated: dict[str, NativeLabel | None]
) -> tuple[Utterance, ...]:
    for name_of_turn in evaluated.keys() ^ turns.keys():
        has_text = name_of_turn in turns
        rule = "turn_without_evaluation" if has_text else "evaluation_without_turn"
        folder.notes.repairs[f"iemocap.{rule}"] += 1
    utterances = []
    for index, (turn_name, turn) in enumerate(turns.items()):
        labelled = evaluated.get(turn_name)
        if labelled is None:
            continue
        native, label = labelled
        try:
            text = folder.line(turn.text, "the text of the turn")
        except Fault as fault:
            folder.note(fault, name, turn.line)
            continue
        utterances.append(
            Utterance(
                index=index,
                text=text,
                speaker=turn.speaker,
                label=label,
                source_label=native,
                start_s=turn.start_s,
                end_s=turn.end_s,
            )
        )
    return tuple(utterances)


def _second(turn: str, first: int) -> Fault:
    return Fault(
        f"turn {turn} a second time; first on line {first}",
        fix="keep one of the two",
        code="corpora.turn_twice",
    )
