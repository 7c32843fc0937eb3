"""What is known of the public files, held against the files themselves."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from dialoguellm_release.schemas.labels import Label, Split
from dialoguellm_release.schemas.record import Dialogue

if TYPE_CHECKING:
    from tests.corpora_readers.conftest import Corpora, Read

pytestmark = pytest.mark.corpora

Sizes = dict[Split | None, tuple[int, int]]


def sizes(read: Read) -> Sizes:
    found: dict[Split | None, list[Dialogue]] = {}
    for dialogue in read.dialogues:
        found.setdefault(dialogue.split, []).append(dialogue)
    return {
        split: (len(dialogues), sum(len(dialogue.utterances) for dialogue in dialogues))
        for split, dialogues in found.items()
    }


def labels(read: Read, split: Split | None) -> Counter[Label | None]:
    return Counter(
        utterance.label
        for dialogue in read.dialogues
        if dialogue.split == split
        for utterance in dialogue.utterances
    )


def test_meld(real: Corpora) -> None:
    read = real.read("meld")

    assert sizes(read) == {"train": (1038, 9989), "validation": (114, 1109), "test": (280, 2610)}
    assert labels(read, "test") == {
        "neutral": 1256,
        "happiness": 402,
        "surprise": 281,
        "anger": 345,
        "sadness": 208,
        "disgust": 68,
        "fear": 50,
    }
    assert labels(read, "train")["happiness"] == 1743
    assert labels(read, "validation")["fear"] == 40
    train = [dialogue for dialogue in read.dialogues if dialogue.split == "train"]
    assert {str(number) for number in range(1039)} - {dialogue.id for dialogue in train} == {"60"}
    assert sum(dialogue.utterances[0].index != 0 for dialogue in train) == 10
    assert len({turn.speaker for dialogue in train for turn in dialogue.utterances}) == 260
    assert [file.path for file in read.notes.files] == [
        "meld/train_sent_emo.csv",
        "meld/dev_sent_emo.csv",
        "meld/test_sent_emo.csv",
    ]
    assert read.notes.unknown_files == []
    assert read.notes.repairs == {"meld.white_space": 864}


def test_meld_in_its_older_encoding_gives_the_same_dialogues(real: Corpora, real_copy: Corpora) -> None:
    for name in ("train", "dev", "test"):
        real_copy.edit(
            f"meld/{name}_sent_emo.csv",
            lambda content: (
                content.decode().encode("cp1252").decode("latin-1").encode().replace(b"\r\n", b"\n")
            ),
        )

    older, present = real_copy.read("meld"), real.read("meld")

    assert older.dialogues == present.dialogues
    assert older.notes.unknown_files == [file.path for file in older.notes.files]
    with_cp1252 = sum(
        any(character in "’…—‘“”–" for character in f"{turn.text}{turn.speaker}")
        for dialogue in present.dialogues
        for turn in dialogue.utterances
    )
    assert older.notes.repairs == {"meld.c1_as_cp1252": with_cp1252, "meld.white_space": 864}
    assert with_cp1252 > 3000


def test_emorynlp_csv(real: Corpora) -> None:
    read = real.read("emorynlp")

    assert sizes(read) == {"train": (659, 7551), "validation": (89, 954), "test": (79, 984)}
    assert labels(read, "train") == {
        "neutral": 2485,
        "happiness": 1677,
        "fear": 941,
        "anger": 785,
        "peaceful": 638,
        "powerful": 551,
        "sadness": 474,
    }
    assert labels(read, "test")["powerful"] == 96
    assert read.notes.unknown_files == []
    first = read.dialogues[0]
    assert (first.id, first.utterances[0].index) == ("s01_e02_c01", 1)
    assert first.utterances[0].speaker == "Monica Geller"
    speakers = {turn.speaker for dialogue in read.dialogues for turn in dialogue.utterances}
    assert "Joey Tribbiani, Monica Geller, Phoebe Buffay" in speakers


def test_emorynlp_json_and_csv_agree(real: Corpora, real_copy: Corpora) -> None:
    folder = real_copy["emorynlp"]
    (folder / "emotion-detection-trn.rebuilt.json").rename(folder / "emotion-detection-trn.json")

    read = real_copy.read("emorynlp", json=True)

    assert sizes(read) == {"train": (713, 9934), "validation": (99, 1344), "test": (85, 1328)}
    assert labels(read, "validation") == {
        "neutral": 393,
        "happiness": 289,
        "fear": 178,
        "anger": 143,
        "peaceful": 132,
        "powerful": 134,
        "sadness": 75,
    }
    assert read.notes.unknown_files == ["emorynlp/emotion-detection-trn.json"]
    turns = {
        (dialogue.split, dialogue.id, turn.index): (turn.text, turn.speaker, turn.label)
        for dialogue in read.dialogues
        for turn in dialogue.utterances
    }
    for dialogue in real.read("emorynlp").dialogues:
        for turn in dialogue.utterances:
            key = (dialogue.split, dialogue.id, turn.index)
            assert turns[key] == (turn.text, turn.speaker, turn.label)


def test_the_rebuilt_train_json_is_not_taken_silently(real: Corpora) -> None:
    problems = real.problems("emorynlp", json=True)

    assert "emorynlp/emotion-detection-trn.json: is missing" in problems[0]
    assert "emotion-detection-trn.rebuilt.json is there" in problems[0]


def test_dailydialog(real: Corpora) -> None:
    read = real.read("dailydialog")

    assert sizes(read) == {"train": (11118, 87170), "validation": (1000, 8069), "test": (1000, 7740)}
    assert read.notes.public_utterances == {"train": 87171, "validation": 8069, "test": 7740}
    assert labels(read, "train") == {
        "neutral": 72143,
        "anger": 827,
        "disgust": 303,
        "fear": 146,
        "happiness": 11182,
        "sadness": 969,
        "surprise": 1600,
    }
    assert labels(read, "test")["disgust"] == 47
    assert read.notes.unknown_files == []


def test_dailydialog_mends_one_line_as_the_later_release_has_it(real: Corpora) -> None:
    read = real.read("dailydialog")

    assert read.notes.repairs == {
        "dailydialog.utterances_joined_to_fit_labels": 1,
        "dailydialog.white_space": 1,
    }
    turns = read.dialogues[7851].utterances
    assert read.dialogues[7851].id == "7851"
    assert len(turns) == 11
    assert turns[3].text.startswith("What happened to your old one")
    assert turns[4].text.startswith("I left it at my parent's house")
    assert turns[4].text.endswith("but he needs it back .")
    assert turns[5].text == "Let's go then ."
    assert [turn.speaker for turn in turns[3:7]] == ["B", "A", "B", "A"]


def test_dailydialog_zips_alone_give_the_same_dialogues(real: Corpora, real_copy: Corpora) -> None:
    for split in ("train", "validation", "test"):
        for file in (real_copy["dailydialog"] / split).iterdir():
            file.unlink()

    zipped = real_copy.read("dailydialog")

    assert zipped.dialogues == real.read("dailydialog").dialogues
    assert [file.path for file in zipped.notes.files] == [
        "dailydialog/train.zip",
        "dailydialog/validation.zip",
        "dailydialog/test.zip",
    ]
    assert zipped.notes.unknown_files == []


def test_meisd(real: Corpora) -> None:
    read = real.read("meisd")

    assert sizes(read) == {None: (1124, 20017)}
    assert labels(read, None) == {
        "neutral": 3833,
        "anger": 3215,
        "happiness": 3216,
        "sadness": 3017,
        "surprise": 2096,
        "acceptance": 1911 + 216,
        "disgust": 1686,
        "fear": 825 + 2,
    }
    native = Counter(turn.source_label for dialogue in read.dialogues for turn in dialogue.utterances)
    assert native["like"] == 216
    assert Counter(dialogue.series for dialogue in read.dialogues) == {
        "GA": 102,
        "CA": 101,
        "BBT": 116,
        "GOT": 88,
        "HIMYM": 101,
        "HMD": 101,
        "BD": 100,
        "FR": 215,
        "HOC": 101,
        "TO": 99,
    }
    assert {str(number) for number in range(1, 1126)} - {dialogue.id for dialogue in read.dialogues} == {
        "360"
    }
    assert read.notes.unknown_files == []
    assert {turn.speaker for dialogue in read.dialogues for turn in dialogue.utterances} == {None}


def test_meisd_repairs_are_counted(real: Corpora) -> None:
    read = real.read("meisd")

    assert read.notes.repairs == {
        "meisd.white_space": 138,
        "meisd.label_case_or_space": 1696,
        "meisd.label_respelled": 40,
        "meisd.dropped_label_l": 1,
        # 554 rows have C1 characters; in 6 of them they are part of double-encoded UTF-8
        "meisd.c1_as_cp1252": 548,
        "meisd.utf8_as_utf8": 21,
        "meisd.dialogue_renumbered": 4,
    }
    texts = {turn.text for dialogue in read.dialogues for turn in dialogue.utterances}
    assert not any("\x80" <= character <= "\x9f" for text in texts for character in text)
    assert "penny would be the entrée" in texts
    assert "(beckett) you've got quite a résumé, mr. te" in texts
    assert "♪ i kissed a girl and i liked it ♪" in texts
    assert "effectively deprived him of his raison d'être" in texts


def test_meisd_indexes_are_unique_and_rise(real: Corpora) -> None:
    by_id = {
        dialogue.id: [turn.index for turn in dialogue.utterances] for dialogue in real.read("meisd").dialogues
    }

    assert all(sorted(set(indexes)) == indexes for indexes in by_id.values())
    assert by_id["734"] == [0, 1, 2, 3, 4]
    assert by_id["1082"] == list(range(40))
    assert by_id["772"] == [0, 1, 2, 4, 5]


@pytest.mark.parametrize(
    ("taken", "given", "owner"),
    [
        ("meld/train_sent_emo.csv", "meld/dev_sent_emo.csv", "dev_sent_emo.csv of meld"),
        (
            "dailydialog/test/dialogues_emotion_test.txt",
            "dailydialog/test/dialogues_act_test.txt",
            "test/dialogues_act_test.txt of dailydialog",
        ),
        ("dailydialog/train.zip", "dailydialog/test.zip", "test.zip of dailydialog"),
        ("meisd/MEISD_text.csv", "meld/test_sent_emo.csv", "test_sent_emo.csv of meld"),
    ],
)
def test_one_file_in_the_place_of_another(
    real: Corpora, real_copy: Corpora, taken: str, given: str, owner: str
) -> None:
    real_copy.edit(taken, lambda _: (real.root / given).read_bytes())
    corpus = taken.partition("/")[0]

    problems = real_copy.problems(corpus)

    assert problems[0].startswith(f"{taken}: holds the content of another file: {owner}")


@pytest.mark.parametrize(("corpus", "other"), [("meld", "emorynlp"), ("meisd", "dailydialog")])
def test_the_folder_of_another_corpus(real_copy: Corpora, corpus: str, other: str) -> None:
    (real_copy[corpus]).rename(real_copy.root / "away")
    (real_copy[other]).rename(real_copy[corpus])

    problems = real_copy.problems(corpus)

    assert problems[-1].startswith(f"{corpus}: looks like the folder of another corpus: {other}")
    assert sum("is missing" in problem for problem in problems) == len(problems) - 1
