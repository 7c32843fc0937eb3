"""The app of the demo Space in a real browser, at the width of a desk and of a telephone."""

from __future__ import annotations

import csv
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import httpx2
import pytest

from dialoguellm_release.render.predictions import LIMITS_OF_USE
from dialoguellm_release.resources import resource_folder
from dialoguellm_release.schemas.release import AppAdapter, AppAdapters

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path"),
]
ATTACK = (
    "<script>window.attacked = 1</script><img src=x onerror='window.attacked = 2'> ${window.attacked = 3}"
)
SUBTITLES = """1
00:00:01,000 --> 00:00:02,000
MIRA: I am happy because of the music.

2
00:01:03,000 --> 00:01:04,000
JONAS: I am afraid.
"""

ONLY_LOOPBACK = """
import os, socket
connect = socket.socket.connect
def guarded(self, address):
    if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        with open(os.environ["OUTGOING"], "a") as file:
            file.write(f"{address}\\n")
        raise OSError("no network")
    return connect(self, address)
socket.socket.connect = guarded
"""
"""The `sitecustomize` of the server: whatever it asks of another machine is written down and refused."""

CONTRASTS = """() => {
  const parse = colour => {
    const numbers = colour.match(/[\\d.]+/g).map(Number), scale = colour.startsWith("color(") ? 255 : 1;
    return [...numbers.slice(0, 3).map(one => one * scale), numbers[3] ?? 1];
  };
  const over = (top, under) => [0, 1, 2].map(at => top[at] * top[3] + under[at] * (1 - top[3])).concat(1);
  const linear = part => part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4;
  const weights = [0.2126, 0.7152, 0.0722];
  const luminance = colour => weights.reduce((sum, weight, at) => sum + weight * linear(colour[at]), 0);
  const white = [255, 255, 255, 1];
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || element.closest("script, style, :disabled")) continue;
    if (!element.checkVisibility({visibilityProperty: true})) continue;
    const ancestors = [];
    for (let one = element; one; one = one.parentElement) ancestors.unshift(one);
    const layers = ancestors.map(one => parse(getComputedStyle(one).backgroundColor));
    const back = layers.reduce((under, layer) => over(layer, under), white);
    const both = [over(parse(getComputedStyle(element).color), back), back].map(luminance);
    found.push([(Math.max(...both) + 0.05) / (Math.min(...both) + 0.05), text]);
  }
  return found.sort((one, other) => one[0] - other[0]);
}"""
"""The contrast of every text that is shown with what is behind it, by WCAG 2.2, the lowest first."""


@pytest.fixture(scope="module")
def address(
    tmp_path_factory: pytest.TempPathFactory, tiny_adapter: Path, tiny_backbone: Path
) -> Iterator[str]:
    """Where the app is served with the tiny adapter, by a process that reaches no other machine."""
    folder = tmp_path_factory.mktemp("app")
    adapters = AppAdapters(adapters=(AppAdapter(adapter=str(tiny_adapter), backbone=str(tiny_backbone)),))
    (folder / "adapters.json").write_text(adapters.model_dump_json(), encoding="utf-8")
    (folder / "sitecustomize.py").write_text(ONLY_LOOPBACK, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "DLM_APP_ADAPTERS": str(folder / "adapters.json"),
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
        "OUTGOING": str(folder / "outgoing"),
        "TMPDIR": str(folder / "scratch"),
        "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    command = [sys.executable, str(resource_folder("spaces") / "emotion_demo" / "app.py")]
    (folder / "scratch").mkdir()
    with (folder / "log").open("w+") as log:
        server = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
        try:
            _wait_for(f"http://127.0.0.1:{port}/", server)
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.terminate()
            server.wait(30)
        assert "Traceback" not in (folder / "log").read_text()
    assert not list((folder / "scratch").rglob("*.csv"))  # only where Gradio deletes what is old
    assert not (folder / "outgoing").exists(), (folder / "outgoing").read_text()


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        assert server.poll() is None
        try:
            if httpx2.get(address).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError("the app did not start")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    quiet = ("background-networking", "component-update", "gpu", "quic", "sync")
    arguments = ["--no-sandbox", "--no-first-run", *(f"--disable-{one}" for one in quiet)]
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)


@pytest.fixture
def errors() -> list[str]:
    """What the page has put on the console as an error."""
    return []


@pytest.fixture
def scheme() -> Literal["light", "dark"]:
    """What the browser says that its user prefers."""
    return "light"


@pytest.fixture(params=[1280, 390])
def page(
    request: pytest.FixtureRequest,
    browser: Browser,
    address: str,
    errors: list[str],
    scheme: Literal["light", "dark"],
) -> Iterator[Page]:
    """The page at one width; an error on its console or a request to another host fails the test."""
    from playwright.sync_api import expect

    expect.set_options(timeout=60_000)
    elsewhere = list[str]()

    def only_here(route: Route) -> None:
        if route.request.url.startswith(address):
            route.continue_()
        else:
            elsewhere.append(route.request.url)
            route.abort()

    context = browser.new_context(viewport={"width": request.param, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    page.route("**/*", only_here)
    page.on("console", lambda one: errors.append(one.text) if one.type == "error" else None)
    page.on("pageerror", lambda one: errors.append(str(one)))
    page.goto(address)
    page.get_by_role("button", name="Show the emotions").wait_for()
    yield page
    assert page.evaluate("document.documentElement.scrollWidth") == request.param
    context.close()
    assert elsewhere == []
    assert errors == []


def show(page: Page, text: str | None = None) -> None:
    if text is not None:
        page.get_by_role("textbox", name="Conversation").fill(text)
    page.get_by_role("button", name="Show the emotions").click()


def test_an_example_is_labelled_and_downloaded(page: Page, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    assert page.evaluate("document.documentElement.lang") == "en"
    expect(page.get_by_text(LIMITS_OF_USE)).to_be_in_viewport()
    expect(page.get_by_role("button", name="Download the table")).to_be_disabled()
    page.get_by_role("button", name="A letter").click()
    page.wait_for_function("document.querySelector('#text textarea').value.startsWith('Mira')")
    show(page)
    turns = page.locator("#result .turn")
    expect(turns).to_have_count(8)
    timeline = page.get_by_role("region", name="Timeline")
    assert timeline.get_by_role("rowheader").all_inner_texts() == ["Mira", "Jonas"]
    labels = [text.rpartition(" ")[0] for text in page.locator("#result .turn .badge").all_inner_texts()]
    assert all(labels)
    named = timeline.locator("td.at .sr-only").all_text_contents()
    assert sorted(named) == sorted(labels)
    expect(page.get_by_text("not calibrated")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the table").click()
    download.value.save_as(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == labels
    assert {row["speaker"] for row in rows} == {"Mira", "Jonas"}


def test_pasted_markup_is_shown_as_text(page: Page) -> None:
    from playwright.sync_api import expect

    show(page, f"{ATTACK[:20]}: hello\nJonas: {ATTACK}")
    expect(page.locator("#result .said").last).to_have_text(ATTACK)
    assert page.evaluate("window.attacked") is None
    assert page.locator("#result script, #result img").count() == 0


def test_subtitles_are_uploaded(page: Page, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    path = tmp_path / "night train.srt"
    path.write_text(SUBTITLES, encoding="utf-8")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Click to upload").click()
    chooser.value.set_files(path)
    expect(page.locator("#file")).to_contain_text("night train")
    show(page)
    expect(page.locator("#result .turn")).to_have_count(2)
    expect(page.locator("#result .turn .head").last).to_contain_text("1:03")
    path.write_text("no times in here", encoding="utf-8")
    page.get_by_role("button", name="Remove").or_(page.get_by_label("Clear")).first.click()
    page.locator("#file input[type=file]").set_input_files(path)
    expect(page.locator("#file")).to_contain_text("night train")
    show(page)
    expect(page.get_by_role("alert")).to_contain_text("has no cue with times")
    expect(page.get_by_role("button", name="Download the table")).to_be_disabled()


def test_what_cannot_be_labelled_is_said_and_then_something_can(page: Page) -> None:
    from playwright.sync_api import expect

    show(page)
    expect(page.get_by_role("alert")).to_contain_text("is empty")
    show(page, "Mira: again\n" * 501)
    expect(page.get_by_role("alert")).to_contain_text("too many turns")
    show(page, "Mira: " + "again " * 200_000)
    expect(page.get_by_role("alert")).to_contain_text("too large")
    show(page, "Mira: I am happy.")
    expect(page.locator("#result .turn")).to_have_count(1)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_file_of_50_mb_is_refused_and_the_page_goes_on(
    page: Page, address: str, errors: list[str], tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    (tmp_path / "large.txt").write_text("Mira: I am happy.\n" * 2_900_000, encoding="utf-8")
    page.locator("#file input[type=file]").set_input_files(tmp_path / "large.txt")
    expect(page.get_by_text("exceed the maximum allowed size of 1.0 Mb")).to_be_visible()
    show(page, "Mira: I am happy.")
    expect(page.locator("#result .turn")).to_have_count(1)
    assert {one for one in errors if "404" not in one} <= {"Response"}
    errors.clear()  # Gradio asks how far the upload is that it has refused
    with (tmp_path / "large.txt").open("rb") as file:
        assert httpx2.post(f"{address}gradio_api/upload", files={"files": file}).status_code == 413


def test_everything_can_be_done_with_the_keyboard(page: Page) -> None:
    from playwright.sync_api import expect

    def tab_to(name: str) -> None:
        for _ in range(30):
            page.keyboard.press("Tab")
            if name in page.evaluate(
                "document.activeElement.innerText || document.activeElement.ariaLabel || ''"
            ):
                assert "solid 3px" in page.evaluate("getComputedStyle(document.activeElement).outline")
                return
        raise AssertionError(f"{name} is not reached by Tab")

    page.keyboard.press("Tab")
    expect(page.get_by_role("textbox", name="Conversation")).to_be_focused()
    page.keyboard.type("Mira: I am happy.\nJonas: I am afraid.")
    tab_to("Click to Upload")
    tab_to("Adapter")
    tab_to("Show the emotions")
    page.keyboard.press("Enter")
    expect(page.locator("#result .turn")).to_have_count(2)
    tab_to("Download the table")
    tab_to("Mira")  # the timeline, which the arrows scroll
    tab_to("All probabilities")
    page.keyboard.press("Enter")
    expect(page.locator("#result .shares").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(page: Page, scheme: str) -> None:
    from playwright.sync_api import expect

    assert page.evaluate(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
    lowest = [page.evaluate(CONTRASTS)[0]]
    show(page)
    expect(page.get_by_role("alert")).to_be_visible()
    lowest.append(page.evaluate(CONTRASTS)[0])
    show(page, "Mira: I am happy.\nJonas: I am afraid.")
    expect(page.locator("#result .turn")).to_have_count(2)
    page.get_by_text("All probabilities").first.click()
    lowest.append(page.evaluate(CONTRASTS)[0])
    assert all(ratio >= 4.5 for ratio, _ in lowest), lowest
