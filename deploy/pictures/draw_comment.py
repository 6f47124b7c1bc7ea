"""Draws the pictures of the comment and of the check run, as a browser shows GitHub's Markdown and stylesheet. Needs chromium.

Run: .venv/bin/python deploy/pictures/draw_comment.py
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from bot.demo.show import demonstrate

WIDTH = 908
SHARPNESS = 2
_UNFOLDED = "<details><summary>The patch</summary>"
_MEASURE = "<script>document.title = Math.ceil(document.querySelector('.box').getBoundingClientRect().bottom + 24)</script></body>"


def main() -> None:
    browser = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    if browser is None:
        sys.exit("no chromium found: apt-get install -y chromium")
    with tempfile.TemporaryDirectory(prefix="ledex-picture-") as name:
        folder = Path(name)
        if not demonstrate(Console(highlight=False, stderr=True), folder):
            sys.exit("the demonstration came to no fix: there is nothing to draw")
        for what in ("comment", "check_run"):
            page = folder / f"{what}.html"
            page.write_text(page.read_text(encoding="utf-8").replace(_UNFOLDED, _UNFOLDED.replace("<details>", "<details open>")))
            draw(browser, page, Path(__file__).with_name(f"{what}.png"))


def draw(browser: str, page: Path, target: Path) -> None:
    """One picture, as high as what the page holds."""
    measured = page.with_suffix(".measured.html")
    measured.write_text(page.read_text(encoding="utf-8").replace("</body>", _MEASURE), encoding="utf-8")
    found = re.search(r"<title>(\d+)</title>", _browse(browser, measured, f"--window-size={WIDTH},4000", "--dump-dom"))
    height = int(found.group(1)) if found else 1000
    _browse(browser, page, f"--window-size={WIDTH},{height}", f"--force-device-scale-factor={SHARPNESS}", f"--screenshot={target}")


def _browse(browser: str, page: Path, *options: str) -> str:
    # Our own page without any script from outside: the browser's sandbox, which refuses to run as root, protects nothing here.
    argv = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *options, page.resolve().as_uri()]
    return subprocess.run(argv, capture_output=True, check=True, text=True, timeout=120).stdout


if __name__ == "__main__":
    main()
