"""The page in Chromium, by clicks and by keys: what a user does, and that none of it leaves the machine."""

from __future__ import annotations

import io
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="the page needs Gradio")
pytest.importorskip("playwright", reason="a browser is driven by playwright")

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
OFFLINE = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
PAINTER, NEGATIVE = "painter on painter-dots", "painter-negative on painter-sides"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=OFFLINE)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Browser, place: str) -> Iterator[Callable[..., Page]]:
    """Opens the page; at the end nothing may have gone elsewhere, or failed."""
    asked: list[str] = []
    failed: list[str] = []
    opened = []

    def visit(at: str = place, wide: int = 1440, scheme: Any = "light", **context: Any) -> Page:
        one = browser.new_context(viewport={"width": wide, "height": 900}, color_scheme=scheme, **context)
        opened.append(one)
        page = one.new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("websocket", lambda socket: asked.append(socket.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.on("console", lambda line: failed.append(line.text) if line.type == "error" else None)
        page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
        page.goto(at)
        expect(page.get_by_label("Run", exact=True)).to_have_value(re.compile("painter"), timeout=20_000)
        return page

    yield visit
    for one in opened:
        one.close()
    elsewhere = {url for url in asked if url.startswith(("http", "ws")) and urlsplit(url).hostname != "127.0.0.1"}
    assert len(asked) > 10
    assert not elsewhere
    assert not failed


def choose(page: Page, run: str) -> None:
    box = page.get_by_label("Run", exact=True)
    box.click()
    box.fill(run)
    page.get_by_role("option", name=run).first.click()
    expect(box).to_have_value(re.compile(re.escape(run)))


def tab(page: Page, name: str) -> Locator:
    page.get_by_role("tab", name=name, exact=True).click()
    panel = page.get_by_role("tabpanel").filter(visible=True)
    if name == "Draw":  # what the run that was chosen asks for, in place of what the first one did
        expect(panel.locator(".gk-box")).to_be_visible(timeout=20_000)
    return panel


def picture(page: Page, part: Locator) -> np.ndarray:
    """The picture that is shown there, once it is."""
    expect(part).to_be_visible(timeout=20_000)
    content = page.request.get(part.get_attribute("src") or "").body()
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def drawn(page: Page, panel: Locator) -> np.ndarray:
    return picture(page, panel.get_by_role("img", name="What was drawn").first)


def painted(page: Page, panel: Locator) -> np.ndarray:
    """The one sample that was drawn, 16 pixels a side: a sheet shows small ones larger."""
    image = drawn(page, panel)
    times = len(image) // 16
    assert image.shape == (16 * times, 16 * times, 3)
    return image[::times, ::times]


def test_a_box_is_dragged_and_painted_where_it_was_dragged(visit):
    page = visit()
    choose(page, PAINTER)
    panel = tab(page, "Draw")
    frame = panel.locator(".gk-box svg")
    frame.scroll_into_view_if_needed()
    place = frame.bounding_box()
    page.mouse.move(place["x"] + 0.5 * place["width"], place["y"] + 0.99 * place["height"])
    page.mouse.down()
    page.mouse.move(place["x"] + 0.7 * place["width"], place["y"] + 0.8 * place["height"])
    page.mouse.move(place["x"] + 0.99 * place["width"], place["y"] + 0.5 * place["height"])
    page.mouse.up()
    expect(panel.get_by_label("left", exact=True)).to_have_value("0.500")
    panel.get_by_label("label", exact=True).click()
    page.get_by_role("option", name="<b>blue</b>").click()
    page.keyboard.press("Escape")
    panel.get_by_label("number input for Count").fill("1")
    panel.get_by_label("text, one a line").fill("in a frame")
    panel.get_by_label("Set tone").check()
    panel.get_by_role("button", name="Draw", exact=True).click()
    image = painted(page, panel)
    assert image[12, 12].tolist() == [0, 0, 255]
    assert image[9, 9].tolist() == [0, 0, 255]
    assert image[4, 4].tolist() == image[12, 4].tolist() == [128, 128, 128]
    assert image[15, 3].tolist() == [255, 255, 255]
    command = panel.locator(".gk-command textarea").input_value()
    words = shlex.split(command)
    assert "label=<b>blue</b>" in words
    assert "text=in a frame" in words
    assert "tone=0" in words
    assert page.locator("b", has_text="blue").count() == 0  # the name of a class is no markup
    with page.expect_download() as saved:
        panel.get_by_role("button", name="Download PNG").click()
    assert (np.asarray(Image.open(saved.value.path()).convert("RGB")) == drawn(page, panel)).all()
    assert saved.value.suggested_filename.endswith(".png")


def test_by_the_keyboard_alone(visit):
    """Every step by Tab, arrows, letters, Enter: a run, a tab, a box by its numbers, a class, a seed, the drawing."""
    page = visit()

    def reach(wanted: Locator) -> None:
        expect(wanted).to_be_visible(timeout=20_000)
        for _ in range(80):
            if wanted.evaluate("element => element === document.activeElement"):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"no Tab leads to {wanted}")

    run = page.get_by_label("Run", exact=True)
    reach(run)
    page.keyboard.press("Control+a")
    page.keyboard.type(PAINTER)
    page.keyboard.press("Enter")
    expect(run).to_have_value(re.compile(re.escape(PAINTER) + ","))
    page.keyboard.press("Escape")
    reach(page.get_by_role("tab", name="Draw", exact=True))
    page.keyboard.press("Enter")
    panel = page.get_by_role("tabpanel").filter(visible=True)
    for side, number in (("left", "0"), ("top", "0.5"), ("right", "1"), ("bottom", "1")):
        reach(panel.get_by_label(side, exact=True))
        page.keyboard.type(number)
    reach(panel.get_by_label("label", exact=True))
    page.keyboard.type("green")
    page.keyboard.press("Enter")
    reach(panel.get_by_label("number input for Count"))
    page.keyboard.press("Control+a")
    page.keyboard.type("1")
    reach(panel.get_by_label("Seed", exact=True))
    page.keyboard.press("ArrowUp")
    reach(panel.get_by_role("button", name="Draw", exact=True))
    page.keyboard.press("Enter")
    image = painted(page, panel)
    assert image[12, 3].tolist() == [0, 255, 0]
    assert image[3, 3].tolist() == [0, 0, 0]
    assert "--seed 1 " in panel.locator(".gk-command textarea").input_value()
    reach(panel.get_by_role("button", name="Draw with the next seed"))
    page.keyboard.press("Enter")
    expect(panel.locator(".gk-command textarea")).to_have_value(re.compile("--seed 2 "), timeout=20_000)


def test_what_is_wrong_is_said_and_the_page_goes_on(visit):
    page = visit()
    choose(page, PAINTER)
    panel = tab(page, "Draw")
    for side in ("left", "top", "right", "bottom"):
        panel.get_by_label(side, exact=True).fill("0.5")
    panel.get_by_role("button", name="Draw", exact=True).click()
    expect(page.get_by_text("not a box; left,top,right,bottom are fractions of the image")).to_be_visible()
    panel.get_by_role("button", name="none", exact=True).click()
    panel.get_by_role("button", name="Draw", exact=True).click()
    assert drawn(page, panel).any()


@pytest.mark.parametrize(("wide", "scheme"), [(360, "dark"), (1440, "light")])
def test_an_image_is_dropped_and_translated(visit, tmp_path, wide, scheme):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 31, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    page = visit(wide=wide, scheme=scheme)
    choose(page, NEGATIVE)
    panel = tab(page, "Translate")
    panel.locator("input[type=file]").first.set_input_files(tmp_path / "bad.png")
    panel.get_by_role("button", name="Translate", exact=True).click()
    expect(page.get_by_text(re.compile("bad.png"))).to_be_visible(timeout=20_000)
    panel.get_by_role("button", name="Clear").first.click()
    panel.locator("input[type=file]").first.set_input_files(tmp_path / "photo.png")
    panel.get_by_label("in overlapping tiles").check()
    panel.get_by_role("button", name="Translate", exact=True).click()
    after = picture(page, panel.get_by_role("img", name="What became of it"))
    assert (np.abs(255 - pixels.astype(int) - after) <= 1).all()
    assert "--fit tiles" in panel.locator(".gk-command textarea").input_value()


def test_it_goes_between_captions(visit):
    page = visit()
    choose(page, PAINTER)
    panel = tab(page, "Interpolate")
    panel.get_by_label("number input for Frames a row").fill("3")
    panel.get_by_label("number input for Rows").fill("2")
    panel.get_by_role("button", name="Interpolate", exact=True).click()
    assert drawn(page, panel).shape[0] > 2 * 16
    panel.get_by_label("captions", exact=True).check()
    expect(panel.get_by_label("number input for Rows")).to_be_hidden()
    panel.get_by_role("button", name="Interpolate", exact=True).click()
    expect(page.get_by_text("give two captions or more")).to_be_visible(timeout=20_000)


def test_the_report_is_on_the_page_and_its_slider_moves(visit):
    page = visit()
    choose(page, PAINTER)
    tab(page, "Report")
    report = page.frame_locator("iframe.gk-page")
    expect(report.get_by_role("heading", level=1)).to_contain_text("painter", timeout=20_000)
    assert page.locator("iframe.gk-page").get_attribute("sandbox") == "allow-scripts"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_narrow_screen_nothing_lies_outside_of_it(visit, scheme):
    page = visit(wide=360, scheme=scheme)
    choose(page, PAINTER)
    for name in ("Run", "Draw", "Translate", "Interpolate", "Report"):
        panel = tab(page, name)
        if name == "Draw":
            panel.get_by_role("button", name="Draw", exact=True).click()
            drawn(page, panel)
        assert page.evaluate("document.documentElement.scrollWidth") == 360, name
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", light)[:3])) > 384) == (scheme == "light")


def test_a_run_that_trains_is_watched(serve, made, browser, tmp_path, visit):
    from gankit.runs.directory import RunDir

    root = tmp_path / "runs"
    path = shutil.copytree(made.painter, root / "painter-painter-dots" / "0001")
    config = path / "config.toml"
    config.write_text(re.sub(r"(?m)^steps = 2$", "steps = 10", config.read_text()))
    with serve(root=root) as place:
        page = visit(place)
        expect(page.get_by_text("stopped at step 2 of 10")).to_be_visible()
        with RunDir(path).lock(), (path / "log.jsonl").open("a") as log:
            log.write('{"step": 4, "generator/loss": 0.25, "seconds": 100}\n')
            log.flush()
            shutil.copy(next((path / "samples").glob("*.png")), path / "samples" / "000004.png")
            expect(page.get_by_text("000004.png")).to_be_visible(timeout=20_000)
            expect(page.get_by_text("4 of 10")).to_be_visible()
            expect(page.get_by_text("Time left")).to_be_visible()
            expect(page.get_by_label("Run", exact=True)).to_have_value("painter on painter-dots, 0001: training")
        shutil.rmtree(path)
        expect(page.get_by_text("is not here any more")).to_be_visible(timeout=20_000)
        page.context.close()


def test_with_a_password_a_browser_asks_for_it(serve, visit):
    with serve(GANKIT_UI_PASSWORD="open sesame") as place:
        page = visit(place, http_credentials={"username": "me", "password": "open sesame"})
        choose(page, PAINTER)
        panel = tab(page, "Draw")
        panel.get_by_role("button", name="Draw", exact=True).click()
        assert drawn(page, panel).any()
        page.context.close()
