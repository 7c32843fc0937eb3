"""Leaks in other scripts: planted ones are found whatever punctuation, width and case they have."""

from __future__ import annotations

import random
import unicodedata
from collections import defaultdict
from collections.abc import Callable

import pytest

from dialoguellm_release.leakage.audit import make_ledger
from dialoguellm_release.leakage.shared import find_ngrams, find_overlaps, find_shared, split_names
from dialoguellm_release.leakage.turns import as_turns
from dialoguellm_release.record_columns import columns_of
from dialoguellm_release.schemas.recipes.dataset import CleanRules
from dialoguellm_release.schemas.record import Record
from tests.dataset.test_leaks import by_brute_force

DialogueOf = Callable[..., list[Record]]

SENTENCES = {
    "zh": [
        "我昨天在图书馆看到了你的哥哥。",
        "你为什么不早一点告诉我？",
        "这家餐厅的面条真的很好吃！",
        "明天会下大雨，记得带伞。",
        "老师说考试推迟到下个星期。",
        "我的手机掉进水里了，怎么办？",
        "他终于找到了一份新工作。",
        "别担心，一切都会好起来的。",
    ],
    "ar": [
        "رأيت أخاك أمس في المكتبة العامة.",
        "لماذا لم تخبرني بذلك من قبل؟",
        "هذا المطعم يقدم طعاما لذيذا جدا!",
        "سوف تمطر غدا فلا تنس مظلتك.",
        "قالت المعلمة إن الامتحان تأجل أسبوعا.",
        "سقط هاتفي في الماء، ماذا أفعل الآن؟",
        "لقد وجد أخيرا عملا جديدا قريبا من بيته.",
        "لا تقلق، كل شيء سيكون على ما يرام.",
    ],
    "hi": [
        "मैंने कल तुम्हारे भाई को पुस्तकालय में देखा।",
        "तुमने मुझे यह पहले क्यों नहीं बताया?",
        "इस दुकान की चाय सचमुच बहुत अच्छी है!",
        "कल बारिश होगी, छाता ले जाना मत भूलना।",
        "अध्यापिका ने कहा कि परीक्षा टल गई है।",
        "मेरा फ़ोन पानी में गिर गया, अब क्या करूँ?",
        "उसे आख़िरकार घर के पास नई नौकरी मिल गई।",
        "चिंता मत करो, सब कुछ ठीक हो जाएगा।",
    ],
    "th": [
        "เมื่อวานฉันเห็นพี่ชายของเธอที่ห้องสมุด",
        "ทำไมเธอไม่บอกฉันให้เร็วกว่านี้",
        "ก๋วยเตี๋ยวร้านนี้อร่อยมากจริงๆ",
        "พรุ่งนี้ฝนจะตกหนัก อย่าลืมเอาร่มไปด้วย",
        "ครูบอกว่าเลื่อนสอบไปสัปดาห์หน้า",
        "โทรศัพท์ของผมตกน้ำ ต้องทำอย่างไรดี",
        "ในที่สุดเขาก็ได้งานใหม่ใกล้บ้าน",
        "ไม่ต้องกังวล ทุกอย่างจะดีขึ้นเอง",
    ],
}
PRESENTATION = {
    unicodedata.normalize("NFKC", chr(code)): chr(code)
    for code in (*range(0xF900, 0xFAD9), *range(0xFE80, 0xFEFD), 0x958, 0x959, 0x95A, 0x95B, 0x95E)
    if len(unicodedata.normalize("NFKC", chr(code))) <= 2
}
"""Characters, and letters with a nukta, that Unicode has in another form too."""

FULL_WIDTH = {code: code + 0xFEE0 for code in range(ord("!"), ord("~") + 1)} | {ord(" "): 0x3000}
PUNCTUATION = dict.fromkeys(map(ord, ".!?，,。！？،؟।"), " … ")
FORMS: dict[str, Callable[[str], str]] = {
    "identical": str,
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "compatible": lambda text: unicodedata.normalize("NFKD", text),
    "presentation forms": lambda text: presented(text),
    "full width": lambda text: text.translate(FULL_WIDTH),
    "other punctuation": lambda text: "«" + text.translate(PUNCTUATION) + "»",
    "marked direction": lambda text: f"\u200f{text}\u200e\ufeff",
    "emoji": lambda text: f"🙂 {text} 👍🏽",
}


def presented(text: str) -> str:
    """A text with other code points for the same letters, where its script has them."""
    for letters in sorted(PRESENTATION, key=len, reverse=True):
        text = text.replace(letters, PRESENTATION[letters])
    return text


def leaks_of(records: list[Record]) -> dict[str, set[str]]:
    turns = as_turns([columns_of(records)], ["meld"])
    leaks = make_ledger(turns, CleanRules()).leaks.tolist()
    return {
        turns.id_of(place): set(split_names(bits, turns.splits)) for place, bits in enumerate(leaks) if bits
    }


@pytest.mark.parametrize("language", SENTENCES)
@pytest.mark.parametrize("form", FORMS)
def test_a_planted_sentence_leaks_and_nothing_else_does(
    dialogue_of: DialogueOf, language: str, form: str
) -> None:
    sentences = SENTENCES[language]
    for planted in range(4):
        records = dialogue_of("meld/train/1", sentences[:4], k=0)
        records += dialogue_of("meld/test/1", [*sentences[4:6], FORMS[form](sentences[planted])], k=0)
        assert leaks_of(records) == {
            f"meld/train/1/{planted}": {"meld/test"},
            "meld/test/1/2": {"meld/train"},
        }


@pytest.mark.parametrize("language", SENTENCES)
def test_a_foreign_word_leaks_in_every_width_and_case(dialogue_of: DialogueOf, language: str) -> None:
    """These scripts have neither case nor width of their own; the words in Latin letters among them have."""
    for sentence in SENTENCES[language]:
        planted = f"WiFi 5G {sentence}"
        for form in (planted.upper(), planted.lower(), planted.translate(FULL_WIDTH)):
            assert form != planted
            records = dialogue_of("meld/train/1", [planted], k=0) + dialogue_of("meld/test/1", [form], k=0)
            assert len(leaks_of(records)) == 2


def test_other_forms_of_the_letters_are_other_code_points() -> None:
    for language, name in (("ar", "presentation forms"), ("hi", "presentation forms"), ("th", "compatible")):
        assert any(FORMS[name](sentence) != sentence for sentence in SENTENCES[language]), language
    assert presented(SENTENCES["zh"][1]) != SENTENCES["zh"][1]


@pytest.mark.parametrize("language", SENTENCES)
def test_a_dialogue_leaks_whichever_of_its_characters_is_changed(
    dialogue_of: DialogueOf, language: str
) -> None:
    """8-grams run over the dialogue, so the words around the changed one tell of it."""
    middle = max(SENTENCES[language], key=lambda sentence: len(words(sentence)))
    first, last, *others = [sentence for sentence in SENTENCES[language] if sentence != middle]
    other = {"ar": "ض", "hi": "घ", "th": "ฬ", "zh": "龙"}[language]
    training = dialogue_of("meld/train/1", [first, middle, last], k=0)
    training += dialogue_of("meld/test/2", others, k=0)
    expected = {f"meld/train/1/{turn}": {"meld/test"} for turn in range(3)}
    expected |= {f"meld/test/1/{turn}": {"meld/train"} for turn in range(3)}
    changed = 0
    for place, character in enumerate(middle):
        if character.isalpha():
            text = middle[:place] + other + middle[place + 1 :]
            records = training + dialogue_of("meld/test/1", [first, text, last], k=0)
            assert leaks_of(records) == expected, text
            changed += 1
    assert changed > 8


@pytest.mark.parametrize("language", SENTENCES)
def test_none_is_invented_between_many_unrelated_dialogues(dialogue_of: DialogueOf, language: str) -> None:
    """Words in random order: what two splits share is what brute force finds, and long runs are chance."""
    draw = random.Random(language)
    pool = [word for sentence in SENTENCES[language] for word in words(sentence)]
    records, splits = list[Record](), defaultdict[str, dict[str, list[str]]](dict)
    for number in range(150):
        name = draw.choice(["meld/train", "meld/validation", "meld/test"])
        texts = [" ".join(draw.choices(pool, k=draw.randint(2, 14))) for _ in range(draw.randint(1, 4))]
        splits[name][str(number)] = [" ".join(words(text)) for text in texts]
        records += dialogue_of(f"{name}/{number}", texts, k=1)
    assert leaks_of(records) == by_brute_force(splits, 1)
    assert len(leaks_of(records)) < len(records) / 50


@pytest.mark.parametrize("language", SENTENCES)
def test_unrelated_dialogues_share_nothing(dialogue_of: DialogueOf, language: str) -> None:
    sentences = SENTENCES[language]
    records = dialogue_of("meld/train/1", sentences[:4]) + dialogue_of("meld/test/1", sentences[4:])
    assert leaks_of(records) == {}
    turns = as_turns([columns_of(records)], ["meld"])
    shared = find_shared(turns)
    (overlap,) = find_overlaps(turns, shared, find_ngrams(shared.speech))
    assert (overlap.utterances, overlap.utterances_found, overlap.ngram_share) == (4, 0, 0)


def test_width_and_case_forms_are_the_same_text(dialogue_of: DialogueOf) -> None:
    pairs = [
        ("ＣＤを５枚かってきた", "cdを5枚かってきた"),
        ("ｶﾌｪでｺｰﾋｰをのむ", "カフェでコーヒーをのむ"),
        ("Ο ΣΚΎΛΟΣ ΤΡΈΧΕΙ ΣΤΟΝ ΚΉΠΟ", "ο σκύλος τρέχει στον κήπο"),
        ("СЕГОДНЯ НА УЛИЦЕ ОЧЕНЬ ХОЛОДНО", "Сегодня на улице очень холодно!"),
        ("Die STRASSE ist heute sehr glatt", "die Straße ist heute sehr glatt"),
    ]
    for one, other in pairs:
        records = dialogue_of("meld/train/1", [one], k=0) + dialogue_of("meld/test/1", [other], k=0)
        assert len(leaks_of(records)) == 2, one


def test_accents_that_tell_words_apart_are_kept(dialogue_of: DialogueOf) -> None:
    records = dialogue_of("meld/train/1", ["el papa come una papa fría"], k=0)
    records += dialogue_of("meld/test/1", ["el papá come una papa fría"], k=0)
    assert leaks_of(records) == {}


def words(text: str) -> list[str]:
    """The words of a text of the sentences above, counted in another way: Unicode names tell the script."""
    found, latest = list[str](), ""
    for character in unicodedata.normalize("NFKC", text).casefold():
        kind, name = unicodedata.category(character), unicodedata.name(character, "")
        alone = name.startswith(("CJK", "THAI"))
        if (kind[0] == "M" and latest) or (kind[0] in "LN" and latest == "word" and not alone):
            found[-1] += character
        elif kind[0] in "LN":
            found.append(character)
            latest = "alone" if alone else "word"
        else:
            latest = ""
    return found


@pytest.mark.parametrize("language", SENTENCES)
@pytest.mark.parametrize("k", [0, 2])
def test_mixed_dialogues_leak_what_brute_force_finds(dialogue_of: DialogueOf, language: str, k: int) -> None:
    draw = random.Random(f"{language} {k}")
    found = 0
    for _ in range(20):
        spoken = {
            name: {str(one): [mixed(draw, language) for _ in range(draw.randint(1, 5))] for one in range(2)}
            for name in ("meld/train", "meld/validation", "meld/test")
        }
        splits: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
        records = list[Record]()
        for name, dialogues in spoken.items():
            for number, texts in dialogues.items():
                splits[name][number] = [" ".join(words(text)) for text in texts]
                records += dialogue_of(f"{name}/{number}", texts, k=k)
        expected = by_brute_force(splits, k)
        assert leaks_of(records) == expected
        found += len(expected)
    assert found > 20


def mixed(draw: random.Random, language: str) -> str:
    """A sentence, a piece of one or two of them, or no word."""
    sentence, other = draw.choices(SENTENCES[language], k=2)
    start = draw.randrange(8)
    return draw.choice([sentence, sentence[start : start + 12] or "?", f"{sentence} {other}", "🙂…"])


@pytest.mark.parametrize("corpora", [14, 30])
def test_the_splits_of_many_corpora_are_told_apart(dialogue_of: DialogueOf, corpora: int) -> None:
    """Thirty corpora have more splits than any integer of a processor has bits."""
    names = [f"corpus{number}" for number in range(corpora)]
    splits = [f"{name}/{split}" for name in names for split in ("train", "validation", "test")]
    records = [
        record
        for place, split in enumerate(splits)
        for record in dialogue_of(
            f"{split}/1", [f"this is only said in {place}", "they all say this again"], k=0
        )
    ]
    turns = as_turns([columns_of(records)], names)
    leaks = make_ledger(turns, CleanRules()).leaks.tolist()
    found = {turns.id_of(place): set(split_names(bits, turns.splits)) for place, bits in enumerate(leaks)}
    training = {split for split in splits if split.endswith("/train")}
    for split in splits:
        assert found[f"{split}/1/0"] == set()
        assert found[f"{split}/1/1"] == (set(splits) - training if split in training else training)


@pytest.mark.parametrize("wordless", ["meld/train", "meld/test"])
def test_what_cannot_be_compared_is_unknown_and_not_nothing(dialogue_of: DialogueOf, wordless: str) -> None:
    texts = {
        name: ["A sentence of five words.", "Yes."] for name in ("meld/train", "meld/test", "meisd/test")
    }
    texts[wordless] = ["🙂🙂🙂", "…", "🙂"]
    records = [one for name, said in texts.items() for one in dialogue_of(f"{name}/1", said)]
    audit = make_ledger(as_turns([columns_of(records)], ["meld", "meisd"]), CleanRules()).audit
    for row in audit.overlaps:
        counts = (row.utterances_found, row.dialogues_with_run, row.dialogues_identical)
        assert (counts == (None, None, None)) == (wordless in (row.held_out, row.training))
        assert not row.shares_nothing
    assert audit.figures.overlaps == audit.overlaps
