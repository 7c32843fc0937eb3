from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.backbones.weights import base_of
from dialoguellm_release.errors import DataError
from dialoguellm_release.folders import MANIFEST, read_manifest, stamps
from dialoguellm_release.recipes.load import Loaded
from dialoguellm_release.schemas.labels import LABELS
from dialoguellm_release.schemas.manifests import BackboneManifest
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe, BuiltSource, HubSource
from dialoguellm_release.steps.model import build_backbone
from tests.hub_server.clients import point_clients_at

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LOAD = """
import sys
from dialoguellm_release.backbones.load import load_backbone
from dialoguellm_release.errors import DataError
from dialoguellm_release.schemas.recipes.backbone import BackboneRecipe
try:
    load_backbone(BackboneRecipe.model_validate_json(sys.argv[1]), None)
except DataError as error:
    print(error)
"""


def hub_recipe(revision: str | None = None, repo_id: str = "someone/small-llama") -> BackboneRecipe:
    return BackboneRecipe(
        version=1,
        kind="backbone",
        description="A model on the Hub.",
        license="apache-2.0",
        source=HubSource(type="hub", repo_id=repo_id, revision=revision),
    )


def refused(recipe: BackboneRecipe, folder: Path | None = None) -> list[str]:
    """The codes of the problems with which a backbone is refused."""
    with pytest.raises(DataError) as raised:
        load_backbone(recipe, folder)
    return [problem.code for problem in raised.value.problems]


@pytest.fixture
def hub_cache(tmp_path: Path, tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache as `hf download someone/small-llama` leaves it; gives the snapshot."""
    from huggingface_hub import constants
    from transformers.utils import hub

    repository = tmp_path / "models--someone--small-llama"
    snapshot = repository / "snapshots" / COMMIT
    shutil.copytree(tiny_backbone, snapshot, ignore=shutil.ignore_patterns(MANIFEST))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert hub.is_offline_mode()
    return snapshot


def test_the_manifest_describes_the_folder(tiny_backbone: Path, tiny_recipe: Loaded[BackboneRecipe]) -> None:
    manifest = read_manifest(tiny_backbone, BackboneManifest)
    assert manifest.outputs == stamps(tiny_backbone)
    assert manifest.recipe == tiny_recipe.stamp
    model, _ = load_backbone(tiny_recipe.recipe, tiny_backbone)
    assert manifest.parameters == model.num_parameters() < 500_000


def test_only_safetensors_and_no_path_of_this_machine(tiny_backbone: Path, tmp_path: Path) -> None:
    names = {path.name for path in tiny_backbone.iterdir()}
    assert "model.safetensors" in names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    for path in tiny_backbone.iterdir():
        content = path.read_bytes()
        for place in (tiny_backbone, tmp_path.parent, Path.cwd()):
            assert str(place).encode() not in content, path


def test_another_seed_gives_other_weights_and_leaves_the_random_state_of_the_caller(
    tiny_backbone: Path, tmp_path: Path
) -> None:
    import torch

    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    built = build_backbone("tiny", tmp_path / "tiny", overrides=["source.seed=4711"])
    assert torch.equal(torch.rand(3), expected)
    assert built.manifest.content_sha256 != read_manifest(tiny_backbone, BackboneManifest).content_sha256


def test_the_tokenizer_speaks_like_llama(tiny_backbone: Path, tiny_recipe: Loaded[BackboneRecipe]) -> None:
    _, tokenizer = load_backbone(tiny_recipe.recipe, tiny_backbone)
    for label in LABELS:
        assert len(tokenizer(f" {label}", add_special_tokens=False).input_ids) == 1, label
    text = "Ça va? 好, “really” 😀\n\n### Response:"
    ids = tokenizer(text).input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_a_model_on_the_hub_comes_from_the_cache(hub_cache: Path, tiny_backbone: Path) -> None:
    import torch

    for revision in (None, COMMIT):
        model, tokenizer = load_backbone(hub_recipe(revision), None)
        assert tokenizer("Response:").input_ids[0] == tokenizer.bos_token_id
        from safetensors.torch import load_file

        saved = load_file(tiny_backbone / "model.safetensors")
        assert torch.equal(model.state_dict()["lm_head.weight"].cpu(), saved["lm_head.weight"])
        assert base_of(hub_recipe(revision), None).revision == COMMIT
    assert hub_cache.is_dir()


def test_a_model_in_pickles_is_refused(hub_cache: Path) -> None:
    (hub_cache / "model.safetensors").rename(hub_cache / "pytorch_model.bin")
    assert refused(hub_recipe()) == ["backbones.not_loadable"]


def test_a_model_out_of_reach_says_how_to_get_it(hub_cache: Path) -> None:
    with pytest.raises(DataError) as raised:
        load_backbone(hub_recipe(repo_id="someone/absent"), None)
    (problem,) = raised.value.problems
    assert (problem.where, problem.code) == ("someone/absent", "backbones.unreachable")
    assert problem.fix is not None
    assert "hf download" in problem.fix
    assert hub_cache.is_dir()


class _Refusing(BaseHTTPRequestHandler):
    """A Hub that answers every request with one error code."""

    code = ""

    def do_GET(self) -> None:
        self.send_response(403 if self.code == "GatedRepo" else 404)
        self.send_header("X-Error-Code", self.code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class Served:
    """What answers as a Hub at an address."""

    url: str


@pytest.fixture
def refusing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sends the clients of this process to a Hub that answers every request with one error code."""
    handler = type("Handler", (_Refusing,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        point_clients_at(Served(f"http://127.0.0.1:{server.server_port}"), tmp_path / "cache", monkeypatch)
        yield lambda code: setattr(handler, "code", code)
        server.shutdown()


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("GatedRepo", "only to those who accepted its terms"),
        ("RepoNotFound", "the Hub has no such model, or does not show it to you"),
    ],
)
def test_a_model_that_the_hub_refuses_says_what_to_do(
    code: str, what: str, refusing: Callable[[str], None]
) -> None:
    refusing(code)
    with pytest.raises(DataError) as raised:
        load_backbone(hub_recipe(), None)
    assert what in str(raised.value)
    assert "hf auth login" in str(raised.value)


def test_a_revision_that_the_hub_lacks_is_named(refusing: Callable[[str], None]) -> None:
    refusing("RevisionNotFound")
    with pytest.raises(DataError) as raised:
        load_backbone(hub_recipe(COMMIT), None)
    assert str(raised.value).startswith(f"someone/small-llama at {COMMIT}: ")
    assert "check repo_id, revision or path in the backbone recipe" in str(raised.value)


@pytest.mark.slow
def test_a_hub_out_of_reach_is_told(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-c", LOAD, hub_recipe().model_dump_json()]
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert "neither in the local cache nor reachable on the Hub" in said
    assert "hf download" in said


def test_a_tokenizer_without_padding_is_enough(hub_cache: Path) -> None:
    path = hub_cache / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    del settings["pad_token"]
    path.write_text(json.dumps(settings), encoding="utf-8")
    _, tokenizer = load_backbone(hub_recipe(), None)
    assert tokenizer.pad_token is None


def test_a_tokenizer_without_end_of_sequence_is_refused(hub_cache: Path) -> None:
    path = hub_cache / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    del settings["eos_token"]
    path.write_text(json.dumps(settings), encoding="utf-8")
    assert refused(hub_recipe()) == ["backbones.no_end_of_sequence"]


def test_a_backbone_that_is_not_built_says_so(tmp_path: Path, tiny_recipe: Loaded[BackboneRecipe]) -> None:
    assert refused(tiny_recipe.recipe, tmp_path / "absent") == ["backbones.not_built_yet"]
    assert refused(tiny_recipe.recipe) == ["backbones.not_built_yet"]


def test_a_backbone_of_another_recipe_is_refused(
    tiny_backbone: Path, tiny_recipe: Loaded[BackboneRecipe]
) -> None:
    source = tiny_recipe.recipe.source
    assert isinstance(source, BuiltSource)
    other = tiny_recipe.recipe.model_copy(update={"source": source.model_copy(update={"seed": 5})})
    with pytest.raises(DataError) as raised:
        load_backbone(other, tiny_backbone)
    assert raised.value.problems[0].code == "backbones.other_recipe"
    assert "'seed': 5" in str(raised.value)


def test_a_model_on_the_hub_is_not_built(tmp_path: Path) -> None:
    recipe = tmp_path / "small.yaml"
    recipe.write_text(hub_recipe().model_dump_json())
    with pytest.raises(DataError) as raised:
        build_backbone(str(recipe), tmp_path / "out")
    assert raised.value.problems[0].code == "backbones.not_built"
    assert not (tmp_path / "out").exists()
