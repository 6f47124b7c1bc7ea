"""``ledex demo``: an emulated GitHub, a pull request that breaks three tests, a signed webhook, and the bot's comment on it."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from rich.panel import Panel

from bot import demo, terminal
from bot.demo.ci import run_ci
from bot.demo.emulator import script
from bot.demo.emulator.state import CheckRun, Comment, Pull
from bot.demo.page import check_run_page, comment_page
from bot.demo.stage import stage
from inference.proposer import Progress
from inference.proposer import Report as Tell
from inference.repair import repair_checkout

REPOSITORY = "octo/corner-shop"
BUDGET_SECONDS = 40.0
SETUP_SECONDS = 240.0
_DETAILS = re.compile(r"<details><summary>(.*?)</summary>.*?</details>", re.DOTALL)
_INLINE_HTML = re.compile(r"</?sub>|<!--.*?-->", re.DOTALL)


@dataclass(frozen=True)
class Shown:
    """What the demonstration came to. ``comment`` is None when the bot had nothing to say; ``seconds`` from the push to the comment."""

    pull: Pull
    comment: Comment | None
    check: CheckRun | None
    seconds: float
    log: str

    @property
    def is_fixed(self) -> bool:
        return self.comment is not None and "**Fix ready**" in self.comment.body


def demonstrate(console: Console, keep: Path | None = None) -> bool:
    """Show the whole way in a terminal; whether the comment offers a verified fix. The pages stay in ``keep``, or in a folder of their own.

    Raises SandboxError where no sandbox can be had, FileExistsError when ``keep`` holds a corner-shop already.
    """
    started = time.monotonic()
    with _workplace(keep) as folder, terminal.watch(console) as tell:
        shown = play(folder, tell, console.print)
    pages = keep or Path(tempfile.mkdtemp(prefix="ledex-demo-page-"))
    for name, page in _pages(shown).items():
        (pages / name).write_text(page, encoding="utf-8")
    if shown.comment is None:
        reason = shown.check.summary if shown.check is not None and shown.check.summary else "no check run was made either"
        console.print(f"The bot wrote no comment: {reason}", markup=False)
    else:
        who = f"{shown.comment.author.login} commented on {REPOSITORY} #{shown.pull.number}"
        console.print(Panel(Markdown(folded(shown.comment.body), code_theme="ansi_dark"), title=who, title_align="left"))
    console.print(f"{shown.seconds:.1f} s from the failed run to this; {time.monotonic() - started:.1f} s in all. As GitHub shows it:")
    for name in _pages(shown):
        console.print(f"  {(pages / name).resolve().as_uri()}", markup=False, soft_wrap=True)
    return shown.is_fixed


def play(folder: Path, tell: Tell, say: Callable[[str], None]) -> Shown:
    """Everything that happens, in ``folder``: the shop is opened, a pull request breaks it, CI fails, the bot answers."""
    repair = partial(repair_checkout, progress=tell)
    with stage(folder, extra={"repair": repair}, repair_seconds=BUDGET_SECONDS, setup_seconds=SETUP_SECONDS) as running:
        emulator = running.emulator
        say(f"GitHub is emulated at {emulator.at.web}, and the bot answers webhooks at {running.url}/webhook.")
        repository = script.add_repository(emulator, REPOSITORY, demo.sound_files(), writers=("octocat",))
        pull = script.open_pull_request(emulator, repository, "tidy-up", demo.broken_files(), title="Tidy up prices, stock and receipts")
        say(f"octocat opened pull request #{pull.number}, “{pull.title}”: {len(demo.planted())} lines changed, each into a bug.")
        passed, log = run_ci(folder / "corner-shop", folder / "ci", REPOSITORY, lambda text: tell(Progress("CI", text)))
        if passed:
            raise ValueError("the sample's tests pass: nothing is broken that could be repaired")
        say(f"CI ran the tests: {log.rstrip().splitlines()[-2].split(' ', 1)[1].strip('= ')}. GitHub sends the signed webhook.")
        started = time.monotonic()
        script.fail_run(emulator, pull, [script.CiJob("test (3.12)", log), script.CiJob("test (3.13)", log)])
        tell(Progress("webhook", "verified, recorded, acknowledged; the job is queued"))
        running.settle(BUDGET_SECONDS + SETUP_SECONDS + 60)
        comments, checks = script.comments_of(emulator, pull), script.check_runs_of(emulator, pull)
        return Shown(pull, comments[-1] if comments else None, checks[-1] if checks else None, time.monotonic() - started, log)


def folded(body: str) -> str:
    """A comment for a terminal: what GitHub folds is one line, and what it hides is left out."""
    return _INLINE_HTML.sub("", _DETAILS.sub(r"▸ \1\n", body)).strip()


def _pages(shown: Shown) -> dict[str, str]:
    pages = {"comment.html": comment_page(shown.comment)} if shown.comment is not None else {}
    return {**pages, "check_run.html": check_run_page(shown.check)} if shown.check is not None else pages


@contextmanager
def _workplace(keep: Path | None) -> Iterator[Path]:
    """A folder with the checkout of the sample in it, that goes away; ``keep`` gets a copy of the checkout that stays."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ledex-demo-", ignore_cleanup_errors=True)))
        checkout = demo.lay_out(folder / "corner-shop")
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            shutil.copytree(checkout, keep / "corner-shop", symlinks=True)
        yield folder
