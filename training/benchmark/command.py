"""The benchmark commands: choose tasks, run them, print and write the tables. What they need from outside comes as arguments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.table import Table as RichTable

from inference.proposer import Strategy
from inference.settings import PREFIX, load_settings
from sandbox.runner import Runner
from training.benchmark import mbpp, plot, real_bugs, tables, throughput
from training.benchmark.attempt import Repair
from training.benchmark.run import Result, load_or_make_suite, mbpp_work, real_work, run_all

REPORTED_SEEDS = 1000
"""Reported figures use seeds from here on, so that no bug seen while developing is ever reported."""


class WrongUse(Exception):
    """An option that cannot be; one sentence with the way out."""


def choose_ids(ids: str | None, seed: int | None, develop: bool) -> tuple[range, int]:
    """The range of MBPP ids and the seed. Raises WrongUse where held-back ids and developing would mix."""
    chosen = mbpp.TUNING if develop else mbpp.REPORTED
    if ids is not None:
        match = re.fullmatch(r"(\d+)-(\d+)", ids)
        if not match or int(match[1]) > int(match[2]):
            raise WrongUse(f"--ids {ids!r} is no range: write FROM-TO, as in 511-600")
        chosen = range(int(match[1]), int(match[2]) + 1)
    held_back = chosen.start < mbpp.REPORTED.stop and chosen.stop > mbpp.REPORTED.start
    if held_back and develop:
        raise WrongUse("ids 11-510 are for reported figures only: leave --ids out, or choose ids from 511 on")
    if held_back and (seed is None or seed < REPORTED_SEEDS):
        raise WrongUse(f"ids 11-510 are for reported figures only: give --seed N from {REPORTED_SEEDS} on, or --develop for ids 511-600")
    return chosen, 0 if seed is None else seed


def mbpp_benchmark(
    runner: Runner, repair: Repair, console: Console, *, ids: str | None, tasks: int, seed: int | None, budget: float, jobs: int,
    out: Path, develop: bool, engine: str,
) -> list[Result]:  # fmt: skip
    """Runs the planted bugs, prints the tables, writes results, tables (markdown) and plot under ``out``."""
    chosen, number = choose_ids(ids, seed, develop)
    label = f"{chosen.start}-{chosen.stop - 1}"
    suite = load_or_make_suite(runner, mbpp.read_tasks(chosen), label, tasks, number, jobs, out, console)
    name = f"mbpp-{label}-{tasks}-{number}-{budget:g}s-{engine}"
    results = run_all(mbpp_work(suite.bugs, runner, repair, budget, engine), out / f"{name}.jsonl", jobs, console, "planted bugs")
    title = f"Planted bugs: MBPP {label}, {len(suite.bugs)} tasks, seed {number}, {budget:g} s each, engine {engine}"
    left_out = tables.Table("Left out while planting", ("reason", "count"), tuple((k, str(v)) for k, v in sorted(suite.skipped.items())))
    report([*tables.tables(results), left_out], results, title, out / name, console)
    return results


def strategies_benchmark(
    runner: Runner, repair: Repair, console: Console, *, ids: str | None, tasks: int, seed: int | None, budget: float, jobs: int,
    out: Path, develop: bool,
) -> dict[str, list[Result]]:  # fmt: skip
    """The same planted bugs given to the model twice: once it refines on what failed, once it draws anew from the first prompt, with the
    same samples, tokens and seconds. Raises WrongUse where no model is configured."""
    if not load_settings().is_configured:
        raise WrongUse(f"no model is configured: set {PREFIX}ENDPOINTS or {PREFIX}CHECKPOINT")
    chosen, number = choose_ids(ids, seed, develop)
    label = f"{chosen.start}-{chosen.stop - 1}"
    suite = load_or_make_suite(runner, mbpp.read_tasks(chosen), label, tasks, number, jobs, out, console)
    name = f"strategies-{label}-{tasks}-{number}-{budget:g}s"
    found = {
        strategy: run_all(mbpp_work(suite.bugs, runner, repair, budget, "model", {"strategy": strategy}),
                          out / f"{name}-{strategy}.jsonl", jobs, console, strategy)
        for strategy in get_args(Strategy)
    }  # fmt: skip
    title = f"Refinement and resampling: MBPP {label}, {len(suite.bugs)} tasks, seed {number}, {budget:g} s each"
    report([tables.strategies(found)], found["refine"], title, out / name, console)
    return found


def real_benchmark(
    runner: Runner, repair: Repair, console: Console, *, mirrors: Path | None, only: Sequence[str], budget: float, jobs: int, work: Path,
    out: Path, engine: str, manifest: Path = real_bugs.MANIFEST,
) -> list[Result]:  # fmt: skip
    """Runs the real bugs, prints the tables, writes results, tables (markdown) and plot under ``out``."""
    bugs = choose_bugs(only, manifest)
    name = f"real-{budget:g}s-{engine}"
    tasks = real_work(bugs, runner, repair, budget, engine, work, mirrors)
    results = run_all(tasks, out / f"{name}.jsonl", jobs, console, "real bugs")
    title = f"Real bugs: {len(bugs)} fixes, {budget:g} s each, engine {engine}"
    report([*tables.tables(results), tables.per_task(results)], results, title, out / name, console)
    return results


def check_real_bugs(
    runner: Runner,
    console: Console,
    *,
    mirrors: Path | None,
    only: Sequence[str],
    work: Path,
    jobs: int = 1,
    manifest: Path = real_bugs.MANIFEST,
) -> bool:
    """Prints for each bug whether it fails before and passes after its true fix; whether all do."""

    def one(bug: real_bugs.RealBug) -> real_bugs.Check:
        try:
            git_dir = real_bugs.find_mirror(bug.repository, mirrors, work)
            return real_bugs.check(runner, bug, git_dir, real_bugs.build_environment(bug, work))
        except real_bugs.MaterializeError as error:
            return real_bugs.Check(bug.id, False, str(error))

    bugs = choose_bugs(only, manifest)
    # One bug of each repository first, alone: it makes the clone and the environment that the others share.
    first = list({bug.repository: bug for bug in reversed(bugs)}.values())
    checks = [one(bug) for bug in first]
    with ThreadPoolExecutor(jobs) as pool:
        checks += pool.map(one, [bug for bug in bugs if bug not in first])
    for result in sorted(checks, key=lambda c: c.id):
        console.print(f"{'ok ' if result.ok else 'BAD'} {result.id}: {result.detail}", markup=False, highlight=False)
    console.print(f"{sum(c.ok for c in checks)} of {len(checks)} reproduce", highlight=False)
    return all(c.ok for c in checks)


def throughput_benchmark(runner: Runner, console: Console) -> None:
    """Print candidates a second by tier and the sandbox's start."""
    found = throughput.measure(runner)
    console.print("Candidates judged a second, one core, a function whose tests take microseconds:")
    console.print(f"  in process {found.in_process:,.0f}   fork {found.fork:,.0f}   cold {found.cold:.1f}")
    over = found.sandboxed_ms - found.bare_ms
    console.print(f"Sandbox start, median of 50: {found.sandboxed_ms:.1f} ms, {over:.1f} ms over a bare process ({found.bare_ms:.1f} ms)")


def ppo_benchmark(console: Console, *, steps: int, settings: Sequence[tuple[str, Any]] | None = None) -> None:
    """Print PPO's speed as a share of TRL's GRPO. ``settings``: names and ``Sizes``, if not the benchmark's own.

    Raises WrongUse without the packages of training.
    """
    try:
        from training.benchmark import ppo_throughput
    except ImportError as error:
        raise WrongUse(f"{error.name} is not installed: pip install 'ledexbot[training]'") from None
    console.print("A PPO step of ours, value head included, and a GRPO step of TRL on the same completions:", soft_wrap=True)
    for name, sizes in settings or ppo_throughput.settings(steps):
        found = ppo_throughput.compare(sizes)
        console.print(
            f"  {name:36}{found.ratio:.2f} of TRL's speed ({found.least:.2f} to {found.most:.2f}): {found.ours:.2f} and {found.trl:.2f} s, "
            f"{found.tokens:,} tokens, {found.parameters / 1e6:.1f} M parameters, process at most {found.memory / 1e9:.2f} GB",
            highlight=False, soft_wrap=True)  # fmt: skip


def choose_bugs(only: Sequence[str], manifest: Path) -> list[real_bugs.RealBug]:
    """The bugs of these ids, or all. Raises WrongUse for an unknown id."""
    bugs = real_bugs.read_manifest(manifest)
    unknown = set(only) - {bug.id for bug in bugs}
    if unknown:
        raise WrongUse(f"no bug is called {', '.join(sorted(unknown))}: the ids are in {manifest.name}")
    return [bug for bug in bugs if not only or bug.id in only]


def report(made: Sequence[tables.Table], results: Sequence[Result], title: str, base: Path, console: Console) -> None:
    """Prints the tables and writes ``base``.md and ``base``.png; without matplotlib the picture is left out and that is said."""
    console.print(title, style="bold", markup=False, highlight=False)
    for table in made:
        shown = RichTable(*table.columns, title=table.title, title_justify="left")
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown, markup=False)
    path = base.parent / f"{base.name}.md"
    path.write_text(f"## {title}\n\n{tables.markdown(made)}", encoding="utf-8")
    written = [path]
    try:
        plot.draw(results, title, base.parent / f"{base.name}.png")
        written.append(base.parent / f"{base.name}.png")
    except ModuleNotFoundError as error:
        console.print(f"no plot: {error.name} is not installed (pip install matplotlib)", markup=False, highlight=False)
    console.print("written: " + ", ".join(map(str, written)), markup=False, highlight=False, soft_wrap=True)
