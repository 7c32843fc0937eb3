from __future__ import annotations

from pathlib import Path

import pytest

from dialoguellm_release.hub.secrets import secret_problems

FOUND = {
    b"hf_" + b"a1" * 15: "a token of the Hub",
    b"sk-" + b"a1" * 10: "an API key",
    b"AKIA" + b"A1" * 8: "an access key of AWS",
    b"gho_" + b"a1" * 18: "a token of GitHub",
    b"-----BEGIN RSA PRIVATE KEY-----": "a private key",
    b"/home/somebody/data": "a local path",
    b"/Users/somebody/data": "a local path",
    b"/root/data": "a local path",
    b"C:\\Users\\somebody": "a local path",
    b"C:\\\\Users\\\\somebody": "a local path",
}
"""What gives a secret away; none is real."""


@pytest.mark.parametrize("text", FOUND)
@pytest.mark.parametrize("before", [b"", b"\n", b"token=", b'{"key": "'])
@pytest.mark.parametrize("after", [b"", b"\n", b'"}'])
def test_a_secret_is_found_wherever_it_stands(text: bytes, before: bytes, after: bytes) -> None:
    (problem,) = secret_problems("a.txt", before + text + after)
    assert problem.what == f"holds {FOUND[text]}"
    assert "path" in problem.what or text.decode() not in str(problem)


def test_a_secret_is_found_where_it_begins_inside_the_prefix_of_another() -> None:
    found = secret_problems("a.txt", b"task-----BEGIN RSA PRIVATE KEY-----, /home/root/data")
    assert [problem.what for problem in found] == ["holds a private key", "holds a local path"]


@pytest.mark.parametrize(
    "text",
    [
        b"xhf_" + b"a1" * 15,
        b"hf_short",
        b"task-" + b"a1" * 10,
        b"XAKIA" + b"A1" * 8,
        b"hugho_" + b"a1" * 18,
        b"ours/root/data",
        b"AC:\\Users\\somebody",
        b"-----BEGIN CERTIFICATE-----",
    ],
)
def test_what_only_looks_like_one_is_not(text: bytes) -> None:
    assert not list(secret_problems("a.txt", text))


def test_of_weights_the_header_is_searched_and_all_where_it_is_none(tmp_path: Path) -> None:
    path, secret = tmp_path / "a.safetensors", b"hf_" + b"a1" * 15
    header = b'{"__metadata__": {"made": "' + secret + b'"}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 64)
    assert len(list(secret_problems(path.name, path))) == 1
    path.write_bytes((2).to_bytes(8, "little") + b"{}" + b"\0" * 64)
    assert not list(secret_problems(path.name, path))
    path.write_bytes((1 << 40).to_bytes(8, "little") + b"{}" + secret)
    assert len(list(secret_problems(path.name, path))) == 1
