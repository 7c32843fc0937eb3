"""What servers do differently, kind by kind: the answers are read, or are invalid and counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.manifests import ScoreManifest
from tests.serve.conftest import TOP, Http, Quirks, completion

Score = Callable[..., ScoreManifest]
INF = float("inf")


def predictions(tmp_path: Path) -> set[str]:
    return set(pq.read_table(tmp_path / "out" / "predictions.parquet").column("prediction").to_pylist())


def marked(form: str) -> list[tuple[str, float]]:
    return [(form.format(token), value) for token, value in TOP]


def code_of(score: Score, *arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        score(*arguments)
    (problem,) = caught.value.problems
    return problem.code


@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize(
    "form", ["{}", " {}", "\u2581{}", "\u0120{}", "\u010a{}", "<0x20>{}", "\n{}"], ids=ascii
)
def test_marks_of_tokenizers_are_no_part_of_a_label(
    form: str, api: str, score: Score, tmp_path: Path
) -> None:
    figures = score(lambda _path, body, _number: completion(body, "neutral", marked(form)), api).figures
    assert figures.protocol.scorer == "first_token"
    assert predictions(tmp_path) == {"neutral"}
    assert figures.served is not None
    assert figures.served.label_mass == pytest.approx(0.9908, abs=1e-3)
    assert figures.served.without_label == 0
    assert figures.served.invalid == {}


@pytest.mark.parametrize(
    "top",
    [
        [("token_id:9000", -0.1), ("token_id:9001", -2.0)],
        [("<think>", 0.0), ("\n", -20.0)],
        [("The", -0.1), ("neutral", -4.0)],
        [("*", -0.1), ("**", -2.0)],
        [("s", -0.1), ("a", -2.0)],
        [("", -0.1)],
    ],
    ids=lambda top: top[0][0],
)
@pytest.mark.parametrize("api", ["chat", "completions"])
def test_first_tokens_that_begin_no_label_are_not_read(
    top: list[tuple[str, float]], api: str, score: Score, tmp_path: Path
) -> None:
    def reply(_path: str, body: Any, _number: int) -> Any:
        return completion(body, "<think>\nsad? No.\n</think>\n\nneutral", top)

    assert score(reply, api).figures.protocol.scorer == "free_generation"
    assert predictions(tmp_path) == {"neutral"}
    assert code_of(score, reply, api, "scorer=first_token") == "score.first_token_unreadable"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("neutral</s>", "neutral"),
        ("neutral<|im_end|>", "neutral"),
        ("neutral\n\n### Instruction:\nNow", "neutral"),
        ("Hm.</think>\nNeutral.", "neutral"),
        ("[THINK]sadness[/THINK]neutral", "neutral"),
        (
            "<|channel|>analysis<|message|>sad<|end|><|start|>assistant<|channel|>final<|message|>neutral",
            "neutral",
        ),
        ("<think>neutral", "invalid"),
        ("not neutral", "invalid"),
        ("\u0000\ud800", "invalid"),
    ],
    ids=ascii,
)
def test_what_is_written_without_thoughts_and_special_tokens(
    text: str, expected: str, score: Score, tmp_path: Path
) -> None:
    score(lambda _path, body, _number: completion(body, text, None))
    assert predictions(tmp_path) == {expected}


def test_one_letter_is_no_label_and_one_odd_record_does_not_change_the_scorer(
    score: Score, tmp_path: Path
) -> None:
    """llama.cpp on a model that labels: an article among the likeliest tokens, and once something else."""
    top = [("neutral", -0.5), (" A", -1.2), ("And", -1.1), ("s", -3.0), ("sur", -6.0), ("surely", -5.0)]

    def reply(_path: str, body: Any, number: int) -> Any:
        return completion(body, "neutral", [("S", -0.1), (" A", -3.0)] if number == 3 else top)

    figures = score(reply, "completions").figures
    assert figures.protocol.scorer == "first_token"
    assert figures.served is not None
    assert figures.served.label_mass == pytest.approx(14 / 15 * 0.6065, abs=1e-3)
    assert figures.served.without_label == pytest.approx(1 / 15)
    assert figures.served.invalid == {"no label among the likeliest first tokens": 1}
    assert predictions(tmp_path) == {"neutral", "invalid"}


def test_a_short_beginning_counts_where_the_label_was_written_after_it(score: Score, tmp_path: Path) -> None:
    top = [("ne", -0.1), ("h", -3.0), ("s", -4.0), ("a", -4.5)]
    figures = score(lambda _path, body, _number: completion(body, "neutral", top)).figures
    assert figures.protocol.scorer == "first_token"
    assert figures.served is not None
    assert figures.served.label_mass == pytest.approx(0.9048, abs=1e-3)
    assert predictions(tmp_path) == {"neutral"}


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_minus_infinity_is_probability_0(api: str, score: Score, tmp_path: Path) -> None:
    top = [*TOP, ("surprise", -INF), ("disgust", -9999.0)]
    score(lambda _path, body, _number: completion(body, "neutral", top), api)
    table = pq.read_table(tmp_path / "out" / "predictions.parquet")
    assert predictions(tmp_path) == {"neutral"}
    assert set(table.column("score_surprise").to_pylist()) == {0.0}


@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize("value", [float("nan"), None, 0.7, INF, "x", True, {}], ids=str)
def test_values_that_are_no_log_probabilities(value: Any, api: str, score: Score, tmp_path: Path) -> None:
    def reply(_path: str, body: Any, _number: int) -> Any:
        return completion(body, "sadness", [*TOP, ("zzz", value)])

    assert score(reply, api).figures.protocol.scorer == "free_generation"
    assert predictions(tmp_path) == {"sadness"}
    assert code_of(score, reply, api, "scorer=first_token") == "score.first_token_unreadable"


@pytest.mark.parametrize(
    "log_probs",
    [[-0.1, -0.2], {"content": [{"top_logprobs": None}]}, {"content": []}, {"top_logprobs": [None]}, "x", 3],
    ids=json.dumps,
)
def test_log_probabilities_in_another_form_are_none(log_probs: Any, score: Score, tmp_path: Path) -> None:
    figures = score(
        lambda _path, body, _number: completion(body, "neutral", None, logprobs=log_probs)
    ).figures
    assert figures.protocol.scorer == "free_generation"
    assert predictions(tmp_path) == {"neutral"}


@pytest.mark.parametrize("status", [400, 422, 500, 501])
@pytest.mark.parametrize("parameter", ["logprobs", "temperature", "max_tokens"])
def test_a_server_that_rejects_a_parameter_is_asked_without_it(
    status: int, parameter: str, score: Score, tmp_path: Path
) -> None:
    def reply(_path: str, body: Any, _number: int) -> Any:
        if parameter in body:
            return Http(b'{"error": {"message": "unknown parameter"}}', status)
        return completion(body, "neutral")

    scorer = "free_generation" if parameter != "max_tokens" else "first_token"
    assert score(reply).figures.protocol.scorer == scorer
    assert predictions(tmp_path) == {"neutral"}


def test_the_name_of_the_length_that_openai_wants_is_found(score: Score, tmp_path: Path) -> None:
    message = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
    )
    error = Http(json.dumps({"error": {"message": message, "code": "unsupported_parameter"}}).encode(), 400)
    figures = score(
        lambda _, body, _n: error if "max_tokens" in body else completion(body, "neutral")
    ).figures
    assert figures.protocol.scorer == "first_token"
    assert predictions(tmp_path) == {"neutral"}


def test_a_server_that_refuses_every_prompt_gives_no_score(score: Score, tmp_path: Path) -> None:
    refused = Http(b'{"error": {"message": "maximum context length is 2 tokens"}}', 400)
    assert code_of(score, lambda *_arguments: refused) == "serve.refuses"
    assert not (tmp_path / "out").exists()
    score(lambda _path, body, _number: completion(body, "neutral"))
    assert predictions(tmp_path) == {"neutral"}


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (402, "Insufficient Balance", "serve.quota"),
        (401, "no", "serve.unauthorized"),
        (403, "no", "serve.unauthorized"),
    ],
)
def test_what_concerns_every_request_ends_the_run(status: int, message: str, code: str, score: Score) -> None:
    error = Http(json.dumps({"error": {"message": message}}).encode(), status)
    assert code_of(score, lambda *_arguments: error) == code


def test_only_what_a_scorer_needs_is_asked_for(score: Score, quirks: Quirks) -> None:
    def reply(_path: str, body: Any, _number: int) -> Any:
        return completion(body, "neutral")

    score(reply, "chat", "scorer=free_generation")
    assert not any("logprobs" in body for body in quirks.asked)
    quirks.asked.clear()
    score(reply, "chat", "scorer=first_token", "few_shot.shots=1", "max_records=15")
    assert all(body["logprobs"] for body in quirks.asked)


def test_one_token_is_asked_for_where_one_is_read(
    score: Score, quirks: Quirks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dialoguellm_release.scoring.served.PROBES", 4)
    score(lambda _path, body, _number: completion(body, "neutral"))
    assert sorted(body["max_tokens"] for body in quirks.asked) == [*[1] * 11, *[16] * 4]


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (400, {"message": "The response was filtered", "code": "content_filter"}, "refused: content filter"),
        (403, {"message": "blocked by our safety policy"}, "refused: content filter"),
        (400, {"message": "x", "code": "context_length_exceeded"}, "refused: prompt too long"),
        (413, {"message": "This model's maximum context length is 8 tokens"}, "refused: prompt too long"),
        (
            422,
            {"message": "`inputs` must have less than 8 tokens: input is too long"},
            "refused: prompt too long",
        ),
        (400, {"message": "the request exceeds the available context size"}, "refused: prompt too long"),
    ],
)
@pytest.mark.parametrize("refused", [1, 9], ids=["the first", "a later one"])
def test_a_prompt_that_the_server_refuses_is_an_invalid_answer(
    status: int,
    error: dict[str, str],
    reason: str,
    refused: int,
    score: Score,
    quirks: Quirks,
    tmp_path: Path,
) -> None:
    def reply(_path: str, body: Any, number: int) -> Any:
        if number == refused:
            quirks.asked[0]["refused"] = body["messages"]
        if quirks.asked[0].get("refused") == body["messages"]:
            return Http(json.dumps({"error": error}).encode(), status)
        return completion(body, "neutral", None)

    served = score(reply).figures.served
    assert served is not None
    assert served.invalid == {reason: 1}
    assert predictions(tmp_path) == {"neutral", "invalid"}
    assert sum(body["messages"] == quirks.asked[0]["refused"] for body in quirks.asked) == 1


def test_an_answer_that_a_filter_cut_off_is_counted(score: Score) -> None:
    figures = score(
        lambda _path, body, _number: completion(body, "I", None, finish_reason="content_filter")
    ).figures
    assert figures.served is not None
    assert figures.served.invalid == {"refused: content filter": 15}


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "reasoning_content": "Let me think"},
        {"content": "", "reasoning": "Let me think"},
        {"content": "<think>Let me think"},
        {"content": None},
    ],
    ids=json.dumps,
)
def test_an_answer_eaten_by_reasoning_is_counted_with_the_setting_to_raise(
    message: Any, score: Score
) -> None:
    def reply(_path: str, body: Any, _number: int) -> Any:
        return completion(body, "", None, message=message, finish_reason="length")

    figures = score(reply).figures
    assert figures.served is not None
    assert figures.served.invalid == {"cut off while reasoning (max_new_tokens: 16)": 15}
    assert "15 answers are invalid: cut off while reasoning (max_new_tokens: 16)" in figures.warnings
    assert any("raise max_new_tokens" in warning for warning in figures.warnings)


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "neutral"}],
        ["neu", "tral"],
        [{"type": "thinking", "thinking": "sad"}, {"type": "text", "text": "neutral"}],
    ],
    ids=json.dumps,
)
def test_content_as_a_list_of_parts_is_read(content: Any, score: Score, tmp_path: Path) -> None:
    score(lambda _path, body, _number: completion(body, content, None))
    assert predictions(tmp_path) == {"neutral"}


@pytest.mark.parametrize("text", ["**Neutral**", '"neutral"', "neutral!"])
def test_text_that_is_no_label_alone_is_invalid_and_counted(text: str, score: Score) -> None:
    served = score(lambda _path, body, _number: completion(body, text, None)).figures.served
    assert served is not None
    assert served.invalid == {"not a label": 15}


def test_a_changed_address_is_asked_again(score: Score, quirks: Quirks) -> None:
    score(lambda _path, body, _number: completion(body, "neutral"))
    assert len(quirks.asked) == 15
    score()
    assert len(quirks.asked) == 15
    quirks.url = quirks.url.replace("127.0.0.1", "localhost")
    score()
    assert len(quirks.asked) == 30


def test_a_model_that_the_server_lacks_is_named(score: Score) -> None:
    missing = Http(b'{"error": {"message": "model not found"}}', 404)
    assert code_of(score, lambda *_arguments: missing) == "serve.not_found"
