"""Time per record and peak memory of build, audit and check, on synthetic corpora up to 100 times MELD.

    python bench/scale.py [--scales 1 10 100]

MELD has 13,708 utterances. The corpora written here have as many at scale 1, in the native layouts of MELD,
EmoryNLP, DailyDialog and MEISD, of made-up words that are as rare or frequent as words are (Zipf). They
repeat themselves as real ones do: 15 % of the utterances are stock phrases of up to 3 words, 2 % stock
sentences, and 4 % of the dialogues are taken from any other split, with every tenth utterance changed.

Each step runs in a process of its own; its figures are of the whole process, imports included. Time is that
of the processor, so that neighbours on the machine do not count. What to look for: microseconds for each
record more that stay, and bytes for each record more, by which memory grows: all three steps keep numbers
for all utterances and for their words, but never the records. Goals: a build of 100 times MELD in 50 s,
and at most 300 bytes for each record more.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from dialoguellm_release.steps.dataset import audit_dataset, build_dataset, check_dataset

UTTERANCES = 13_708
PER_DIALOGUE = 10
SHARES = {"meld": 0.4, "emorynlp": 0.2, "dailydialog": 0.2, "meisd": 0.2}
SPLITS = {"train": 0.8, "validation": 0.08, "test": 0.12}
EMOTIONS = ("neutral", "anger", "disgust", "fear", "joy", "sadness", "surprise")
EMORY_EMOTIONS = ("Neutral", "Mad", "Scared", "Joyful", "Sad", "Powerful", "Peaceful")
STEPS = ("build", "audit", "check")

MELD_HEADER = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
)
EMORY_HEADER = "Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode,Start_Time,End_Time"
MEISD_HEADER = (
    "TV Series,Utterances,dialog_ids,uttr_ids,seasons,episodes,start_times,end_times,"
    "sentiment,emotion,intensity,emotion2,intensity2,emotion3,intensity3"
)
Rows = Iterator[tuple[object, ...]]


@dataclass(frozen=True)
class Talk:
    texts: list[str]
    labels: list[int]


class Talker:
    """Makes dialogues, the same ones each time."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        letters = np.array(list("etaoinshrdlucmfwyp"))
        lengths = self._rng.integers(2, 9, 30_000)
        self._words = np.array(["".join(self._rng.choice(letters, length)) for length in lengths])
        self._weights = np.cumsum(1 / (np.arange(len(self._words)) + 2.7))
        self._phrases = [self._sentence(1 + number % 3) for number in range(300)]
        self._sentences = [self._sentence(5 + number % 8) for number in range(1_000)]
        self._said: list[Talk] = []

    def talk(self) -> Talk:
        """A new dialogue, or now and then one of those before, not quite the same."""
        if self._said and self._rng.random() < 0.04:
            copied = self._said[self._rng.integers(len(self._said))]
            changed = [self._utterance() if self._rng.random() < 0.1 else text for text in copied.texts]
            return replace(copied, texts=changed)
        length = int(self._rng.integers(PER_DIALOGUE - 6, PER_DIALOGUE + 7))
        made = Talk([self._utterance() for _ in range(length)], self._rng.integers(0, 7, length).tolist())
        if len(self._said) < 20_000:
            self._said.append(made)
        return made

    def _utterance(self) -> str:
        kind = self._rng.random()
        if kind < 0.15:
            return self._phrases[self._rng.integers(len(self._phrases))]
        if kind < 0.17:
            return self._sentences[self._rng.integers(len(self._sentences))]
        return self._sentence(2 + int(self._rng.geometric(0.12)))

    def _sentence(self, words: int) -> str:
        drawn = np.searchsorted(self._weights, self._rng.random(min(words, 60)) * self._weights[-1])
        return " ".join(self._words[drawn]).capitalize() + "."


def write_corpora(out: Path, scale: int) -> dict[str, int]:
    """Writes the corpora; gives the dialogues that MEISD is to have in each split."""
    talker = Talker()
    counts = {
        (corpus, split): round(UTTERANCES * scale * share * part / PER_DIALOGUE)
        for (corpus, share), (split, part) in product(SHARES.items(), SPLITS.items())
    }
    for split, file in (("train", "train"), ("validation", "dev"), ("test", "test")):
        _write_table(out / f"meld/{file}_sent_emo.csv", MELD_HEADER, _meld(talker, counts["meld", split]))
        emory = _emorynlp(talker, counts["emorynlp", split])
        _write_table(out / f"emorynlp/emorynlp_{file}_final.csv", EMORY_HEADER, emory)
        _write_dailydialog(out / "dailydialog" / split, split, talker, counts["dailydialog", split])
    drawn = {split: counts["meisd", split] for split in SPLITS}
    _write_table(out / "meisd/MEISD_text.csv", MEISD_HEADER, _meisd(talker, sum(drawn.values())))
    # a fifth is not drawn: what shares a text with a training split may not be held out
    return {split: count * 4 // 5 if split == "train" else count // 4 for split, count in drawn.items()}


def _meld(talker: Talker, dialogues: int) -> Rows:
    for number in range(dialogues):
        talk = talker.talk()
        for index, (text, label) in enumerate(zip(talk.texts, talk.labels, strict=True)):
            sentiment = "neutral" if label == 0 else "negative"
            times = ("00:00:01,000", "00:00:02,000")
            yield number, text, "AB"[index % 2], EMOTIONS[label], sentiment, number, index, 1, 1, *times


def _emorynlp(talker: Talker, dialogues: int) -> Rows:
    for number in range(dialogues):
        talk = talker.talk()
        scene, season, episode = 1 + number % 20, 1 + number // 400, 1 + number // 20 % 20
        for index, (text, label) in enumerate(zip(talk.texts, talk.labels, strict=True), 1):
            times = ("00:00:01.000", "00:00:02.000")
            yield text, "['A']", EMORY_EMOTIONS[label], scene, index, season, episode, *times


def _write_dailydialog(folder: Path, split: str, talker: Talker, dialogues: int) -> None:
    folder.mkdir(parents=True)
    with (
        (folder / f"dialogues_{split}.txt").open("w", encoding="utf-8") as texts,
        (folder / f"dialogues_emotion_{split}.txt").open("w", encoding="utf-8") as labels,
    ):
        for _ in range(dialogues):
            talk = talker.talk()
            texts.write(" ".join(f"{text} __eou__" for text in talk.texts) + "\n")
            labels.write(" ".join(map(str, talk.labels)) + " \n")


def _meisd(talker: Talker, dialogues: int) -> Rows:
    for number in range(dialogues):
        talk = talker.talk()
        series = "VWXYZ"[number * 5 // dialogues]
        for index, (text, label) in enumerate(zip(talk.texts, talk.labels, strict=True)):
            sentiment = "neutral" if label == 0 else "negative"
            times = ("00:00:01:000", "00:00:02:000")
            native = (sentiment, EMOTIONS[label], "" if label == 0 else 1, "", "", "", "")
            yield series, text, number + 1, index, 1, 1, *times, *native


def _write_table(path: Path, header: str, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"{header}\n")
        csv.writer(file, lineterminator="\n").writerows(rows)


def run_one(step: str, sources: Path, drawn: dict[str, int], dataset: Path) -> None:
    """Runs one step in this process, and prints what it took as JSON."""
    if step == "build":
        sizes = ", ".join(f"{split}: {count}" for split, count in drawn.items())
        build_dataset(
            "demo",
            sources,
            dataset,
            skip=["iemocap"],
            overrides=[f"corpora.meisd.split.dialogues={{{sizes}}}"],
        )
    elif step == "audit":
        audit_dataset(dataset)
    elif problems := check_dataset(dataset):
        sys.exit("\n".join(map(str, problems)))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))


def measure(step: str, sources: Path, drawn: dict[str, int], dataset: Path) -> tuple[float, float]:
    """Processor seconds and peak megabytes of a process."""
    command = [sys.executable, __file__, "--one", step, str(sources), json.dumps(drawn), str(dataset)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    seconds, peak_mb = json.loads(done.stdout)
    return seconds, peak_mb


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scales", type=int, nargs="*", default=[1, 10, 100])
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        step, sources, drawn, dataset = arguments.one
        run_one(step, Path(sources), json.loads(drawn), Path(dataset))
        return

    before: dict[str, tuple[int, float, float]] = {}
    for scale in arguments.scales:
        with tempfile.TemporaryDirectory() as folder:
            sources, dataset = Path(folder, "sources"), Path(folder, "dataset")
            drawn = write_corpora(sources, scale)
            for step in STEPS:
                seconds, peak_mb = measure(step, sources, drawn, dataset)
                manifest = json.loads((dataset / "manifest.json").read_bytes())
                records = sum(manifest["figures"]["records"].values())
                line = f"x{scale:<4} {step:6} {records:9,} records {seconds:7.1f} s   peak {peak_mb:6.0f} MB"
                if step in before:
                    fewer, sooner, less = before[step]
                    more = records - fewer
                    line += f"   each more {1e6 * (seconds - sooner) / more:4.0f} µs"
                    line += f" and {1e6 * (peak_mb - less) / more:5.0f} bytes (goal: 300)"
                if (scale, step) == (100, "build"):
                    line += "   goal: 50 s"
                before[step] = records, seconds, peak_mb
                print(line, flush=True)


if __name__ == "__main__":
    main()
