"""``ledex demo``: from a pull request that breaks three tests to the comment, as people see it."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from bot.cli import app


def test_the_demonstration_ends_with_a_verified_fix_in_less_than_a_minute(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["demo", "--keep", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "Fix ready" in done.output
    seconds = re.search(r"([\d.]+) s from the failed run to this", done.output)
    assert seconds is not None
    assert float(seconds.group(1)) < 60
    page = (tmp_path / "comment.html").read_text(encoding="utf-8")
    assert "<strong>Fix ready</strong>" in page
    assert "sum(amounts) / " in page
    assert (tmp_path / "check_run.html").is_file()
    assert (tmp_path / "corner-shop" / "shop" / "prices.py").is_file()
    again = CliRunner().invoke(app, ["demo", "--keep", str(tmp_path)])
    assert (again.exit_code, "corner-shop is there already" in again.output) == (2, True)
