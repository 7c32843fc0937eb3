"""Examines this machine: what the commands need, and what is missing; quick, and without a network too."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from packaging.requirements import Requirement

from dialoguellm_release.corpora.check import list_corpora
from dialoguellm_release.resources import constraints
from dialoguellm_release.step import StrPath

PACKAGE = "dialoguellm-release"
SOURCES_VARIABLE = "DLM_CORPORA"
PATIENCE_S = 3.0
LEAST_FREE_BYTES = 1_000_000_000
"""Under this much a build of the dataset and its release may not fit."""

COMMANDS: dict[str, str] = {
    "demo": "demo --app",
    "figures": "pictures in the card of dataset build",
    "quantize": "backbones that are loaded in 4 or 8 bits (NVIDIA GPU)",
    "score": "score run, predict, verify (predictions)",
    "served": "score served",
    "train": "adapter train, verify (loading)",
    "video": "video describe",
}
"""Which commands need an extra."""


@dataclass(frozen=True)
class Finding:
    """One thing that was examined."""

    name: str
    # With `missing` some commands do not work, `wrong` has to be fixed, `unknown` was not answered.
    state: Literal["ok", "missing", "wrong", "unknown"]
    note: str
    fix: str | None = None


def examine(sources: StrPath | None = None) -> list[Finding]:
    """Examines this machine; works without a network.

    Args:
        sources: Folder of the corpora; None takes the one that `DLM_CORPORA` names, if any.

    Returns:
        The findings in the order in which they are shown.

    Example:
        >>> [one.name for one in examine() if one.state != "ok"]  # doctest: +SKIP
    """
    return [
        _packages(),
        *_extras(),
        _pins(),
        _git(),
        _disk(),
        _gpu(),
        _endpoint(),
        _token(),
        *_corpora(Path(sources) if sources else None),
    ]


def _faults(extra: str = "") -> list[str]:
    """What is wrong with the libraries of an extra, or of the core: missing, or of another version."""

    def is_needed(one: Requirement, extra: str) -> bool:
        return one.marker is None or one.marker.evaluate({"extra": extra})

    listed = [Requirement(line) for line in requires(PACKAGE) or []]
    core = [one for one in listed if is_needed(one, "")]
    added = [one for one in listed if one not in core and is_needed(one, extra)]
    faults = []
    for needed in added if extra else core:
        try:
            found = version(needed.name)
        except PackageNotFoundError:
            faults.append(f"{needed.name} is not installed")
            continue
        if not needed.specifier.contains(found, prereleases=True):
            faults.append(f"{needed.name} {found} is not {needed.specifier}")
    return faults


def _packages() -> Finding:
    if faults := _faults():
        return Finding("packages", "wrong", "; ".join(faults), f"pip install --upgrade {PACKAGE}")
    on = f"{PACKAGE} {version(PACKAGE)} on Python {platform.python_version()}"
    return Finding("packages", "ok", f"{on}, with all libraries that it needs")


def _extras() -> Iterator[Finding]:
    for extra in sorted(set(metadata(PACKAGE).get_all("Provides-Extra") or []) - {"all", "dev"}):
        commands = COMMANDS.get(extra, f"the extra {extra}")
        if faults := _faults(extra):
            note = f"{'; '.join(faults)}; needed by: {commands}"
            yield Finding(f"extra {extra}", "missing", note, f"pip install '{PACKAGE}[{extra}]'")
        else:
            yield Finding(f"extra {extra}", "ok", f"for: {commands}")


def _pins() -> Finding:
    """Libraries whose version is not the one that was tested with the others."""
    others = []
    for name, pinned in constraints().items():
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        if found.partition("+")[0] != pinned:
            others.append(f"{name} {found} (tested: {pinned})")
    note = f"other versions than those tested together: {', '.join(others)}" if others else "all as tested"
    return Finding("versions", "ok", note)


def _git() -> Finding:
    if shutil.which("git") is None:
        return Finding("git", "missing", "needed by: publish --to DIR, verify --at DIR", "install git")
    said = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False).stdout
    return Finding("git", "ok", said.strip())


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    note = f"{free / 1e9:,.1f} GB free in {Path.cwd()}"
    if free < LEAST_FREE_BYTES:
        return Finding("disk", "wrong", note, f"free at least {LEAST_FREE_BYTES / 1e9:.0f} GB")
    return Finding("disk", "ok", note)


def _gpu() -> Finding:
    if shutil.which("nvidia-smi") is None:
        return Finding("GPU", "missing", "none found; the tiny backbone needs none, LLaMA does")
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("GPU", "unknown", f"nvidia-smi does not answer: {error}")
    if done.returncode:
        return Finding("GPU", "wrong", (done.stderr or done.stdout).strip(), "check the driver")
    return Finding("GPU", "ok", "; ".join(done.stdout.strip().splitlines()))


def _endpoint() -> Finding:
    from huggingface_hub import constants as hub

    if hub.is_offline_mode():
        return Finding("endpoint", "unknown", f"{hub.ENDPOINT}, not asked: HF_HUB_OFFLINE is set")
    if _is_within_reach(hub.ENDPOINT):
        return Finding("endpoint", "ok", hub.ENDPOINT)
    note = f"{hub.ENDPOINT} does not answer within {PATIENCE_S:.0f} s; what is in the cache can be used"
    return Finding("endpoint", "missing", note, "go online, or set HF_ENDPOINT")


def _is_within_reach(address: str) -> bool:
    """Whether something answers at an address, or at its proxy."""
    parts = urlsplit(address)
    if not proxy_bypass(parts.hostname or ""):
        parts = urlsplit(getproxies().get(parts.scheme, address))
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=PATIENCE_S):
            return True
    except OSError:
        return False


def _token() -> Finding:
    from huggingface_hub import HfApi, get_token
    from huggingface_hub import constants as hub
    from huggingface_hub.errors import HfHubHTTPError

    from dialoguellm_release.hub.hub_errors import FAILURES

    if get_token() is None:
        note = "none; needed by: publish --to hub, and for what is private or gated"
        return Finding("token", "missing", note, "hf auth login")
    source = _token_source()
    if hub.is_offline_mode() or not _is_within_reach(hub.ENDPOINT):
        return Finding("token", "unknown", f"from {source}; not asked whose it is: no connection")
    try:
        found = HfApi().whoami()
    except FAILURES as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code == 401:
            return Finding("token", "wrong", f"from {source}: the Hub does not accept it", "hf auth login")
        return Finding("token", "unknown", f"from {source}: the Hub did not answer ({type(error).__name__})")
    role = found.get("auth", {}).get("accessToken", {}).get("role", "of unknown rights")
    owners = ", ".join([found["name"], *(one["name"] for one in found.get("orgs", []))])
    note = f"from {source}; {role}; of {owners}"
    if role == "read":
        note = f"{note}; publish --to hub needs one that may write"
        return Finding("token", "missing", note, "hf auth login")
    return Finding("token", "ok", note)


def _token_source() -> str:
    from huggingface_hub import constants as hub

    for name in ("HF_OIDC_RESOURCE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if os.environ.get(name):
            return f"the variable {name}"
    path = Path(hub.HF_TOKEN_PATH)
    return f"the file {path}" if path.is_file() else "the secrets of the notebook"


def _corpora(sources: Path | None) -> Iterator[Finding]:
    stated = os.environ.get(SOURCES_VARIABLE)
    folder = sources or (Path(stated) if stated else None)
    if folder is None:
        note = "no folder; needed by: dataset build paper, corpora check"
        yield Finding("corpora", "missing", note, f"name it with --sources or {SOURCES_VARIABLE}")
        return
    if not folder.is_dir():
        yield Finding("corpora", "wrong", f"{folder} is not a folder", "name the folder of the corpora")
        return
    for listed in list_corpora(folder):
        name = f"corpus {listed.entry.name}"
        if not listed.is_there:
            fix = f"dlm-release corpora fetch {listed.entry.name} --out {shlex.quote(str(folder))}"
            if listed.entry.request:
                fix = "dlm-release corpora list  (it says whom to ask)"
            yield Finding(name, "missing", f"not in {folder}", fix)
            continue
        known = sum(file.state == "known" for file in listed.files)
        yield Finding(name, "ok", f"{known} of {len(listed.files)} public files known by their hashes")
