"""Draws the README's picture: `ledex demo` as a terminal shows it. Run: .venv/bin/python deploy/pictures/draw_demo.py"""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console

from bot import demo, terminal
from inference.repair import RepairRequest, repair_checkout


def main() -> None:
    console = Console(record=True, force_terminal=True, width=118, highlight=False)
    with tempfile.TemporaryDirectory(prefix="ledex-picture-") as folder:
        checkout = demo.lay_out(Path(folder) / "corner-shop")
        console.print("[bold]$ ledex fix corner-shop[/]")
        terminal.show(repair_checkout(RepairRequest(path=checkout, budget=60.0)), console)
    console.save_svg(str(Path(__file__).with_name("demo.svg")), title="ledex fix")


if __name__ == "__main__":
    main()
