"""The page of a timeline in a real browser: it is drawn, hover and keyboard work, nothing is reported."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("QTWEBENGINE_CHROMIUM_FLAGS", "--no-sandbox --disable-gpu")
pytest.importorskip("PySide6.QtWebEngineCore", reason="`tox -e browser` installs one")

from PySide6.QtCore import QEvent, QEventLoop, QPoint, Qt, QTimer, QUrl
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest
from PySide6.QtWebEngineCore import QWebEnginePage
from PySide6.QtWebEngineWidgets import QWebEngineView
from PySide6.QtWidgets import QApplication

from microbatch.timeline.bars import Bar
from microbatch.timeline.finding import Diagnosis, Finding
from microbatch.timeline.page import page_of
from microbatch.timeline.summary import summary_of

ROOT = Path(__file__).parents[2]
SHOTS = "TIMELINE_SCREENSHOTS"
"""Names a folder for screenshots, to look at."""
LIMIT_MS = 60_000
"""Milliseconds that nothing here takes."""


class Page(QWebEnginePage):
    """Keeps what the page writes to the console."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        self.console: list[str] = []

    def javaScriptConsoleMessage(self, level: Any, message: str, line: int, source: str) -> None:
        self.console.append(f"{line}: {message}")


class Browser:
    """A window of Chromium, as Qt has it, without a screen."""

    def __init__(self) -> None:
        self.application: Any = QApplication.instance() or QApplication([])
        self.view = QWebEngineView()
        self.page = Page(self.view)
        self.view.setPage(self.page)
        self.view.resize(1000, 700)
        self.view.show()

    def close(self) -> None:
        """Let the page go before what it is part of."""
        self.page.deleteLater()
        self.view.close()
        self.view.deleteLater()
        self.application.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)

    def wait(self, begin: Callable[[Callable[..., None]], object]) -> Any:
        """What the callback that `begin` is given is called with."""
        loop, answers = QEventLoop(), list[Any]()

        def done(*given: Any) -> None:
            answers.extend(given)
            loop.quit()

        QTimer.singleShot(LIMIT_MS, loop.quit)
        begin(done)
        if not answers:
            loop.exec()
        return answers[0]

    def open(self, path: Path) -> None:
        """Load a file."""

        def begin(done: Callable[..., None]) -> None:
            self.page.loadFinished.connect(done)
            self.page.load(QUrl.fromLocalFile(str(path)))

        assert self.wait(begin)
        self.page.loadFinished.disconnect()
        self.ask("window.keys = 0; addEventListener('keyup', () => { window.keys += 1 }); 1")

    def ask(self, script: str) -> Any:
        """The value of a script."""
        return self.wait(lambda done: self.page.runJavaScript(script, 0, done))

    def until(self, condition: Callable[[], bool]) -> None:
        """Come back when `condition` holds; another process draws and hears of keys."""
        for _ in range(1000):
            if condition():
                return
            QTest.qWait(10)
        raise TimeoutError

    def press(self, key: Any) -> None:
        """A key, where the focus is; back when the page has heard of it."""
        heard = self.ask("window.keys")
        QTest.keyClick(self.view.focusProxy(), key)
        self.until(lambda: self.ask("window.keys") > heard)

    def point_at(self, selector: str) -> None:
        """Move the pointer to the middle of an element."""
        box = f"document.querySelector('{selector}').getBoundingClientRect()"
        x = self.ask(f"{box}.x + {box}.width / 2")
        y = self.ask(f"{box}.y + {box}.height / 2")
        QTest.mouseMove(self.view.focusProxy(), QPoint(1, 1))
        QTest.mouseMove(self.view.focusProxy(), QPoint(int(x), int(y)))
        self.until(lambda: self.told() != "Nothing is chosen.")

    def told(self) -> str:
        """What the page says of the chosen bar."""
        return str(self.ask("document.getElementById('told').textContent"))

    def picture(self) -> QImage:
        """A screenshot, when two in a row are the same."""
        taken = [self.view.grab().toImage()]

        def same() -> bool:
            QTest.qWait(150)
            taken.append(self.view.grab().toImage())
            return taken[-1] == taken[-2] and colours(taken[-1]) > 8

        self.until(same)
        return taken[-1]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    made = Browser()
    yield made
    made.close()


def drawn(count: int) -> list[Bar]:
    """`count` bars of six lanes, one after another on each."""
    draw, bars, times = random.Random(count), list[Bar](), [0.0] * 6
    for place in range(count):
        lane = place % 6
        start = times[lane] + draw.random() * 1e-4
        times[lane] = end = start + draw.random() * 1e-3
        phase: Any = draw.choice(["cut", "compute", "communicate", "copy in", "store", "wait", "yield"])
        bars.append(
            Bar(
                phase=phase,
                start=start,
                end=end,
                lane=f"lane <{lane}> & more",
                ubatch=place,
                label="a </script>",
            )
        )
    return sorted(bars, key=lambda bar: bar.start)


def saved(folder: Path, bars: list[Bar]) -> Path:
    """The page of the bars."""
    finding = Finding(cause="a cause", text="so it is", evidence="1 < 2", remedy="do that")
    summary, doctor = summary_of(bars, [])._repr_html_(), Diagnosis(findings=(finding,))._repr_html_()
    place = folder / "seen.html"
    place.write_text(page_of(bars, summary, doctor), "utf-8")
    return place


def colours(picture: QImage) -> int:
    """How many colours a screenshot has."""
    return len(
        {picture.pixel(x, y) for x in range(0, picture.width(), 3) for y in range(0, picture.height(), 3)}
    )


@pytest.mark.parametrize("count", [0, 1, 100, 10_000])
def test_the_page_is_drawn_and_nothing_is_reported(browser: Browser, tmp_path: Path, count: int) -> None:
    """From none to ten thousand bars; each is there, and so are lanes, figures and the doctor's words."""
    browser.page.console.clear()
    browser.open(saved(tmp_path, drawn(count)))
    assert browser.ask("document.querySelectorAll('rect[data-i]').length") == count
    assert "so it is" in browser.ask("document.body.innerText")
    if count:
        assert "lane <0> & more" in browser.ask("document.body.innerText")
        assert colours(browser.picture()) > 8
    if SHOTS in os.environ:
        browser.picture().save(str(Path(os.environ[SHOTS]) / f"timeline-{count}.png"))
    assert browser.page.console == []


def test_hover_tells_of_a_bar(browser: Browser, tmp_path: Path) -> None:
    """What it is, when, how long, where."""
    browser.open(saved(tmp_path, drawn(20)))
    browser.point_at('rect[data-i="7"]')
    assert "ubatch" in browser.told() and "lane <" in browser.told() and " on, " in browser.told()
    assert browser.ask("chosen") == 7


def test_the_keyboard_reaches_every_bar(browser: Browser, tmp_path: Path) -> None:
    """Tab to the picture, arrows between bars and lanes, zoom and back."""
    bars = drawn(30)
    browser.open(saved(tmp_path, bars))
    browser.view.focusProxy().setFocus()
    browser.press(Qt.Key.Key_Tab)
    assert browser.ask("document.activeElement.id") == "bars"
    seen = set()
    browser.press(Qt.Key.Key_Right)
    for key in (Qt.Key.Key_Down, Qt.Key.Key_Up):
        for _ in range(6):
            for way in (Qt.Key.Key_Left, Qt.Key.Key_Right):
                for _ in range(5):
                    seen.add(browser.ask("chosen"))
                    browser.press(way)
            seen.add(browser.ask("chosen"))
            browser.press(key)
    assert seen == set(range(len(bars)))
    browser.press(Qt.Key.Key_Plus)
    assert browser.ask("width") == 500
    browser.press(Qt.Key.Key_0)
    assert browser.ask("width") == 1000
    browser.press(Qt.Key.Key_Escape)
    assert browser.told() == "Nothing is chosen."


SCHEMES = {"light": 1, "dark": 0}
"""What Chromium calls them when it starts."""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_light_and_dark_follow_the_reader(tmp_path: Path, scheme: str) -> None:
    """The paper is white, and near black where dark is preferred; Chromium asks once, when it starts."""
    place, picture = saved(tmp_path, drawn(120)), Path(os.environ.get(SHOTS, tmp_path)) / f"{scheme}.png"
    flags = f"--no-sandbox --disable-gpu --blink-settings=preferredColorScheme={SCHEMES[scheme]}"
    environment = os.environ | {"QTWEBENGINE_CHROMIUM_FLAGS": flags}
    command = [sys.executable, "-c", SHOW, str(place), str(picture)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=True, cwd=ROOT
    )
    paper = {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]
    assert done.stdout.strip() == paper
    shown = QImage(str(picture)).pixelColor(3, 3)
    assert f"rgb({shown.red()}, {shown.green()}, {shown.blue()})" == paper


SHOW = """
import sys
from pathlib import Path
from tests.browser.test_page import Browser
browser = Browser()
browser.open(Path(sys.argv[1]))
print(browser.ask("getComputedStyle(document.body).backgroundColor"))
browser.picture().save(sys.argv[2])
browser.close()
"""
"""Opens a page, prints the colour of its paper and takes a screenshot."""
