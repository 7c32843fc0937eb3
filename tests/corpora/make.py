"""Writes the synthetic corpora: invented small talk in the exact native formats of the corpora.

    python tests/corpora/make.py OUT [--scale N]

The output at scale 1 is what lies beside this file. Every dialogue has a random generator of its own,
seeded by its name, so a larger scale keeps the dialogues of a smaller one.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import random
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

SENTENCES = json.loads(Path(__file__).with_name("sentences.json").read_text(encoding="utf-8"))
BASIC = ("happiness", "anger", "fear", "sadness", "disgust", "surprise", "neutral")
SHARED = ("happiness", "anger", "fear", "sadness", "neutral")


@dataclass(frozen=True)
class Turn:
    speaker: str
    text: str
    emotion: str


Talk = list[Turn]


def talk(name: str, emotions: Sequence[str], length: tuple[int, int] = (5, 11)) -> Talk:
    """A dialogue of two or three people whose moods last for a while; the words show the mood."""
    rng = random.Random(name)
    speakers = rng.sample(SENTENCES["names"], rng.choice((2, 2, 3)))
    mood = rng.choice(emotions)
    turns = []
    for position in range(rng.randint(*length)):
        if rng.random() < 0.45:
            mood = "neutral" if rng.random() < 0.35 else rng.choice(emotions)
        turns.append(Turn(speakers[position % len(speakers)], _sentence(mood, rng), mood))
    return turns


def _sentence(mood: str, rng: random.Random) -> str:
    words = SENTENCES["emotions"][mood]
    slots = {slot: rng.choice(values) for slot, values in SENTENCES["slots"].items()}
    sentence = rng.choice(words["sentences"]).format(**slots)
    opener = rng.choice(words["openers"])
    if opener.endswith(","):
        return f"{opener} {sentence}"
    return f"{opener} {sentence[0].upper()}{sentence[1:]}".strip()


def shared(number: int) -> Talk:
    """A dialogue that stands in several corpora, with the emotions that all of them have."""
    turns = talk(f"shared-{number}", SHARED, (6, 8))
    return [replace(turn, text=turn.text.replace("’", "'")) for turn in turns]


def clock(milliseconds: int, mark: str, hours: str = "02") -> str:
    seconds, thousandths = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:{hours}}:{minutes % 60:02}:{seconds:02}{mark}{thousandths:03}"


def times(name: str, count: int) -> list[tuple[int, int]]:
    """Start and end of each turn in milliseconds."""
    rng = random.Random(f"times-{name}")
    now = rng.randrange(60_000, 1_200_000)
    found = []
    for _ in range(count):
        end = now + rng.randrange(700, 5_000)
        found.append((now, end))
        now = end + rng.randrange(0, 900)
    return found


def table(rows: Iterable[Sequence[object]], line_end: str) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end).writerows(rows)
    return text.getvalue().encode()


def write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


MELD_HEADER = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
)
SENTIMENTS = {"happiness": "positive", "surprise": "positive", "neutral": "neutral"}


def make_meld(out: Path, scale: int) -> None:
    for split, file, count in (("train", "train", 60), ("validation", "dev", 12), ("test", "test", 16)):
        rows: list[Sequence[object]] = [MELD_HEADER.split(",")]
        for number in range(count * scale + 1):
            if number == 7:  # as in the real train split, one id is not there
                continue
            name = f"meld-{split}-{number}"
            # 0 of the test split stands in EmoryNLP's train split too, 3 of train in MEISD
            turns = shared(0) if (split, number) == ("test", 0) else talk(name, BASIC)
            turns = shared(1) if (split, number) == ("train", 3) else turns
            for index, (turn, (start, end)) in enumerate(zip(turns, times(name, len(turns)), strict=True)):
                if number % 9 == 4 and index == 2:  # a turn left out
                    continue
                is_c1 = split == "validation" and number == 1
                text = turn.text.encode("cp1252").decode("latin-1") if is_c1 else turn.text
                hours = "01" if number % 4 == 1 else "02"
                stop = clock(end, ",", hours)
                stop = stop[:-1] if (number, index) == (5, 1) else stop
                emotion = "joy" if turn.emotion == "happiness" else turn.emotion
                sentiment = SENTIMENTS.get(turn.emotion, "negative")
                key = (number, index, 1 + number % 3, 1 + number % 20)
                rows.append(
                    (len(rows), text, turn.speaker, emotion, sentiment, *key, clock(start, ",", hours), stop)
                )
        write(out / "meld" / f"{file}_sent_emo.csv", table(rows, "\r\n"))


EMORY_LABELS = {
    "happiness": "Joyful",
    "anger": "Mad",
    "fear": "Scared",
    "sadness": "Sad",
    "neutral": "Neutral",
    "powerful": "Powerful",
    "peaceful": "Peaceful",
}
EMORY_HEADER = "Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode,Start_Time,End_Time"


def make_emorynlp(out: Path, scale: int) -> None:
    """The JSON has all turns of all scenes; the CSV lacks the turns and the scene without times.

    The train JSON has no tokens, which nobody reads and which are most of its bytes.
    """
    for split, file, short, count in (
        ("train", "train", "trn", 40),
        ("validation", "dev", "dev", 10),
        ("test", "test", "tst", 10),
    ):
        rows: list[Sequence[object]] = [EMORY_HEADER.split(",")]
        episodes: dict[str, list[dict[str, object]]] = {}
        for number in range(count * scale):
            name = f"emorynlp-{split}-{number}"
            is_shared = (split, number) == ("train", 0)
            turns = shared(0) if is_shared else talk(name, tuple(EMORY_LABELS), (4, 8))
            season, episode, scene = 1 + number // 200, 1 + number // 4 % 50, 1 + number % 4
            episode_id = f"s{season:02}_e{episode:02}"
            scene_id = f"{episode_id}_c{scene:02}"
            utterances: list[dict[str, object]] = []
            for index, (turn, (start, end)) in enumerate(zip(turns, times(name, len(turns)), strict=True), 1):
                text = turn.text.replace("’", "'")
                speakers = [turn.speaker] if (number + index) % 17 else [turn.speaker, "Otto"]
                speakers = [f"{one} {SENTENCES['surnames'][len(one)]}" for one in speakers]
                emotion = EMORY_LABELS[turn.emotion]
                tokens = {} if split == "train" else {"tokens": [re.findall(r"\w+|[^\w\s]", text)]}
                utterances.append(
                    {
                        "utterance_id": f"{scene_id}_u{index:03}",
                        "speakers": speakers,
                        "transcript": text,
                        **tokens,
                        "emotion": emotion,
                    }
                )
                has_time = is_shared or (number != 5 and (number + index) % 6 != 0)
                if has_time:
                    key = (scene, index, season, episode)
                    rows.append((text, repr(speakers), emotion, *key, clock(start, "."), clock(end, ".")))
            scenes = episodes.setdefault(episode_id, [])
            scenes.append({"scene_id": scene_id, "utterances": utterances})
        season_data = {
            "season_id": short,
            "episodes": [{"episode_id": key, "scenes": scenes} for key, scenes in episodes.items()],
        }
        write(out / "emorynlp" / f"emorynlp_{file}_final.csv", table(rows, "\n"))
        write(out / "emorynlp" / f"emotion-detection-{short}.json", json.dumps(season_data, indent=2) + "\n")


DAILY_CODES = ("neutral", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
CUT_IN_TWO = (
    "Is this the way to the ferry ?",
    "Yes , but the next one leaves at noon .",
    "I walked here , so I am in no hurry .",
    "I've even brought a book .",
    "Then sit down here , the bench is dry .",
)


def tokenised(text: str) -> str:
    return re.sub(r"\s*([.,!?’])\s*", r" \1 ", text).strip()


def make_dailydialog(out: Path, scale: int) -> None:
    folder = out / "dailydialog"
    for split, count in (("train", 60), ("validation", 10), ("test", 10)):
        talks = [talk(f"dailydialog-{split}-{number}", BASIC) for number in range(count * scale)]
        if split == "test":  # a dialogue of the train split
            talks[2] = talk("dailydialog-train-4", BASIC)
        texts = [[tokenised(turn.text) for turn in turns] for turns in talks]
        labels = [[str(DAILY_CODES.index(turn.emotion)) for turn in turns] for turns in talks]
        if split == "train":  # one utterance more than labels
            texts[11], labels[11] = list(CUT_IN_TWO), ["0"] * (len(CUT_IN_TWO) - 1)
        members = {
            f"{split}/dialogues_{split}.txt": "".join(
                " ".join(f"{text} __eou__" for text in line) + "\n" for line in texts
            ),
            f"{split}/dialogues_emotion_{split}.txt": "".join(" ".join(line) + " \n" for line in labels),
        }
        if split == "test":
            write(folder / "test.zip", stored_zip(members))
            continue
        for name, text in members.items():
            write(folder / name, text)


def stored_zip(members: dict[str, str]) -> bytes:
    """A zip that is the same wherever it is made."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2017, 4, 14, 19, 56, 0)), text)
    return content.getvalue()


MEISD_HEADER = (
    "TV Series,Utterances,dialog_ids,uttr_ids,seasons,episodes,start_times,end_times,"
    "sentiment,emotion,intensity,emotion2,intensity2,emotion3,intensity3"
)
MEISD_SERIES = ("LH", "NB", "QS", "VT")
MEISD_DIRT = {
    (2, 1): {"emotion": "Disgust"},
    (4, 0): {"emotion": "acceptance "},
    (6, 2): {"emotion": "faer"},
    (8, 1): {"emotion2": "digust", "intensity2": "1"},
    (9, 3): {"emotion": "joy", "emotion2": "l", "intensity2": "3"},
    (12, 2): {"emotion": "like"},
    (14, 1): {"emotion": "anger", "emotion2": "like", "emotion3": "surprise"},
    (16, 0): {"intensity": "`"},
    (18, 1): {"Utterances": "she ordered a crã¨me brã»lã©e at the harbour"},
    (19, 2): {"Utterances": "i don\x92t know\x85"},
}


def make_meisd(out: Path, scale: int) -> None:
    columns = MEISD_HEADER.split(",")
    rows: list[Sequence[object]] = [columns]
    total = 60 * scale
    for number in range(total):
        name = f"meisd-{number}"
        turns = shared(1) if number == 20 else talk(name, (*BASIC, "acceptance"), (6, 12))
        series = MEISD_SERIES[number * len(MEISD_SERIES) // total]
        for index, (turn, (start, end)) in enumerate(zip(turns, times(name, len(turns)), strict=True)):
            native = "joy" if turn.emotion == "happiness" else turn.emotion
            second = "disgust" if native == "anger" and index % 2 else ""
            cells = {
                "TV Series": series,
                "Utterances": turn.text.lower() if series == "VT" else turn.text,
                "dialog_ids": number + 1 + (number > 28),  # id 30 is not there
                "uttr_ids": index - 1 if number == 33 and index > 1 else index,  # 33 repeats an id
                "seasons": 1 + number % 4,
                "episodes": 1 + number % 11,
                "start_times": clock(start, ",", "01") if series == "NB" else clock(start, ":"),
                "end_times": clock(end, ",", "01") if series == "NB" else clock(end, ":"),
                "sentiment": SENTIMENTS.get(turn.emotion, "negative"),
                "emotion": native,
                "intensity": "" if native == "neutral" else 1 + index % 3,
                "emotion2": second,
                "intensity2": "1" if second else "",
            } | MEISD_DIRT.get((number, index), {})
            rows.append([cells.get(column, "") for column in columns])
    write(out / "meisd" / "MEISD_text.csv", table(rows, "\n"))


IEMOCAP_CODES = {
    "happiness": "hap",
    "sadness": "sad",
    "neutral": "neu",
    "anger": "ang",
    "excitement": "exc",
    "frustration": "fru",
    "surprise": "sur",
}
APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "


def make_iemocap(out: Path, scale: int) -> None:
    for session in range(1, 6):
        dialog = out / "iemocap" / f"Session{session}" / "dialog"
        for number in range(4 * scale):
            actor = "FM"[number % 2]
            kind = f"script{1 + number // 4:02}_1" if number % 4 > 1 else f"impro{1 + number // 4:02}"
            stem = f"Ses{session:02}{actor}_{kind}"
            spoken, evaluated = iemocap_files(stem)
            write(dialog / "transcriptions" / f"{stem}.txt", spoken)
            write(dialog / "EmoEvaluation" / f"{stem}.txt", evaluated)
            if session == 1 and number == 0:
                write(dialog / "transcriptions" / f"._{stem}.txt", APPLE_DOUBLE)
                write(dialog / "EmoEvaluation" / f"._{stem}.txt", APPLE_DOUBLE)


def iemocap_files(stem: str) -> tuple[str, str]:
    """A transcription, and its evaluation in another order."""
    turns = talk(f"iemocap-{stem}", tuple(IEMOCAP_CODES), (6, 10))
    women = {turns[0].speaker}
    lines = []
    blocks = []
    counts = {"F": 0, "M": 0}
    for index, (turn, (start, end)) in enumerate(zip(turns, times(stem, len(turns)), strict=True)):
        speaker = "F" if turn.speaker in women else "M"
        name = f"{stem}_{speaker}{counts[speaker]:03}"
        counts[speaker] += 1
        text = turn.text.replace("’", "'")
        lines.append(f"{name} [{start / 1000:08.4f}-{end / 1000:08.4f}]: {text}")
        code = "xxx" if index == 3 else IEMOCAP_CODES[turn.emotion]
        blocks.append(
            f"[{start / 1000:.4f} - {end / 1000:.4f}]\t{name}\t{code}\t[2.5000, 3.0000, 3.5000]\n"
            f"C-E1:\tOther;\t()\nA-E3:\tval 3; act 3; dom  3;\t()\n"
        )
        if index == 2:
            lines.append(f"{stem}_{speaker}XX0 [{end / 1000:08.4f}-{end / 1000 + 0.2:08.4f}]: Mm-hm.")
    if stem.endswith("F_impro01"):
        lines.append("M: [LAUGHTER]")
    heading = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    return "\n".join(lines) + "\n", heading + "\n".join(reversed(blocks))


MASAC_LABELS = {"happiness": "joy", "disgust": "contempt"}
"""Labels of the corpus's own; `disgust` stays as it is in every second dialogue."""


def make_masac(out: Path, scale: int) -> None:
    """JSON with parallel lists; the test file has no labels."""
    for file, count in (("train", 8), ("val", 3), ("test", 1)):
        dialogues = []
        for number in range(count * scale):
            turns = talk(f"masac-{file}-{number}", BASIC)
            labels = dict(MASAC_LABELS) if number % 2 == 0 else {"happiness": "joy"}
            dialogue: dict[str, object] = {
                "episode": f"{file}{number}.wmv",
                "speakers": [turn.speaker.lower() for turn in turns],
                "utterances": [turn.text.lower() for turn in turns],
            }
            if file != "test":
                dialogue["emotions"] = [labels.get(turn.emotion, turn.emotion) for turn in turns]
            dialogues.append(dialogue)
        write(out / "masac" / f"MaSaC_{file}_erc.json", json.dumps(dialogues, indent=1) + "\n")


def make(out: Path, scale: int = 1) -> None:
    """Writes all corpora below a folder."""
    make_meld(out, scale)
    make_emorynlp(out, scale)
    make_dailydialog(out, scale)
    make_meisd(out, scale)
    make_iemocap(out, scale)
    make_masac(out, scale)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the synthetic corpora.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--scale", type=int, default=1)
    arguments = parser.parse_args()
    make(arguments.out, arguments.scale)
