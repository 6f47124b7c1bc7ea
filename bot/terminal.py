"""What ``ledex`` shows in a terminal: progress while it works, then explanation, patch and proof. Plain text when it is no terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from bot.markdown import one_line
from inference.outcome import test_patch
from inference.proposer import Progress as News
from inference.proposer import Proposal, Report
from inference.repair import Outcome
from sandbox.verification import Verdict

if TYPE_CHECKING:
    from sandbox.doctor import Finding

_STATE = {
    "fixed": ("green", "Fixed"), "unfixed": ("yellow", "Not fixed"), "flaky": ("yellow", "Flaky"),
    "pre_existing": ("yellow", "Failed before already"), "passing": ("green", "Nothing to fix"),
    "broken": ("red", "Could not run the tests"),
}  # fmt: skip


@contextlib.contextmanager
def watch(console: Console) -> Iterator[Report]:
    """A report function that shows news as a live line in a terminal, and each stage once elsewhere."""
    if not console.is_terminal:
        last = [""]

        def plain(news: News) -> None:
            if news.stage != last[0]:
                last[0] = news.stage
                console.print(f"{news.stage}: {news.detail}", markup=False, soft_wrap=True)

        yield plain
        return
    columns = (SpinnerColumn(), TextColumn("{task.description:<12}"), BarColumn(bar_width=24), TimeElapsedColumn(),
               TextColumn("{task.fields[detail]}", markup=False))  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("start", total=None, detail="")

        def live(news: News) -> None:
            progress.update(task, description=news.stage, detail=news.detail[: max(console.width - 52, 20)],
                            total=None if news.done is None else 1.0, completed=news.done or 0.0)  # fmt: skip

        yield live


def show(outcome: Outcome, console: Console) -> None:
    """Print an outcome."""
    colour, word = _STATE[outcome.status]
    best = outcome.best
    line = Text(word, style=f"bold {colour}")
    if best is not None and best.verdict is not None:
        verdict = best.verdict
        after = verdict.after
        target = next((c.detail for c in verdict.checks if c.name == "target"), "")
        line.append(f"  ·  verified V{verdict.level}  ·  {target}")
        if after is not None:
            line.append(f"  ·  0 new failures in {after.total}")
        if outcome.status != "fixed":
            line.append(f"  ·  {outcome.reason.split(';')[0]}")
    else:
        line.append(f"  ·  {outcome.reason}")
    console.print(line, soft_wrap=True)
    if best is not None:
        _show_proposal(best, console)
    elif outcome.reproduction is not None and outcome.status in ("unfixed", "pre_existing", "flaky"):
        for failure in outcome.reproduction.failures[:5]:
            console.print(f"  {failure.test_id}: {_first_line(failure.message) or failure.exception}", markup=False, soft_wrap=True)
        if outcome.suspects and outcome.status == "unfixed":
            names = ", ".join(f"{s.function.path}:{s.line} {s.function.qualname}" for s in outcome.suspects[:3])
            console.print(f"  most suspicious: {names}", markup=False, soft_wrap=True)
    timings = outcome.timings
    judged = sum(outcome.search.judged.values())
    console.print(
        f"[dim]environment {timings.environment:.1f} s, reproduction {timings.reproduction:.1f} s, repair {timings.search:.1f} s, "
        f"{judged} candidates judged[/]", soft_wrap=True)  # fmt: skip


def _show_proposal(proposal: Proposal, console: Console) -> None:
    if console.is_terminal:
        patch = proposal.patch.decode("utf-8", "replace")
        console.print(Panel(Text(proposal.explanation), title="Why it failed, and the fix", title_align="left", border_style="dim"))
        console.print(Syntax(patch.rstrip("\n"), "diff", theme="ansi_dark", background_color="default", word_wrap=True))
    else:
        console.print("\n" + proposal.explanation + "\n", markup=False, soft_wrap=True)
        _write_through(console, proposal.patch)
    if test := test_patch(proposal):
        console.print("\nA regression test that fails without the patch and passes with it:\n", soft_wrap=True)
        _write_through(console, test)
    if proposal.model:
        console.print(f"\nWritten by an AI model: {proposal.model}\n", markup=False, soft_wrap=True)
    if proposal.verdict is not None:
        _show_checks(proposal.verdict, console)


def _show_checks(verdict: Verdict, console: Console) -> None:
    rows = []
    for check in verdict.checks:
        sign = {"passed": "[green]ok[/]", "failed": "[red]no[/]", "no_opinion": "[yellow]--[/]"}[check.status]
        rows.append(Text.from_markup(f"  V{check.level} {sign} ").append(check.detail))
    console.print(Group(*rows), soft_wrap=True)


def show_replay(proof: Mapping[str, Any], holds: bool, reason: str, verdict: Verdict | None, console: Console) -> None:
    """Print whether a proof still holds. A bundle may come from anybody: nothing of it steers the terminal."""
    colour, word = ("green", "Still holds") if holds else ("red", "Does not hold")
    console.print(Text(word, style=f"bold {colour}").append(f"  ·  {one_line(reason, 600)}"), soft_wrap=True)
    subject = f"  {proof['repository']}#{proof['pull_request']}, patch {proof['patch']['sha256'][:12]} on {proof['head_sha'][:12]}"
    console.print(f"{subject}, recorded {proof['verdict']['level']}", markup=False, soft_wrap=True)
    if verdict is not None:
        shown = tuple(replace(check, detail=one_line(check.detail, 600)) for check in verdict.checks)
        _show_checks(replace(verdict, checks=shown), console)


def _write_through(console: Console, patch: bytes) -> None:
    """A patch as it is, for whoever copies or pipes it: rich would expand tabs, and the encoding of the output is not that of the file."""
    stream = console.file
    stream.flush()
    raw = getattr(stream, "buffer", None)
    if raw is None:
        stream.write(patch.decode("utf-8", "replace"))
    else:
        raw.write(patch)
        raw.flush()


def show_findings(findings: Sequence[Finding], console: Console) -> None:
    """Print the doctor's findings and the commands that mend them."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        table.add_row("[green]ok[/]" if finding.ok else "[red]no[/]", finding.name, Text(finding.detail))
    console.print(table)
    for finding in findings:
        if not finding.ok and finding.remedy:
            console.print(f"to mend {finding.name}:  {finding.remedy}", markup=False, soft_wrap=True)


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0] if lines else ""
