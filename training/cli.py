"""``ledex-train``: the command line of training and benchmarks. Each command parses its options and calls one function."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training import cli_model, cli_serving, cli_stages
from training.benchmark import command
from training.benchmark.attempt import ledex_repair
from training.benchmark.isolation import default_runner
from training.terminal import explained

main = typer.Typer(no_args_is_help=True, add_completion=False, help="Train Ledexbot's models and measure its repairs.")
bench = typer.Typer(no_args_is_help=True, help="Measure repairs: planted bugs (mbpp) and real ones (real).")
main.add_typer(bench, name="bench")
for commands in (cli_model, cli_stages, cli_serving):
    commands.register(main)

Ids = Annotated[str | None, typer.Option(help="MBPP ids FROM-TO; default 511-600 with --develop, else 11-510.")]
Tasks = Annotated[int, typer.Option(min=1, help="Number of planted bugs.")]
Seed = Annotated[int | None, typer.Option(help="Fixes which bugs are planted. Below 1000: developing; from 1000: reported figures.")]
Develop = Annotated[bool, typer.Option("--develop", help="The tuning split: use this while working on the engine.")]
Jobs = Annotated[int, typer.Option(min=1, help="Repairs at a time; keep at or below the number of cores.")]
Out = Annotated[Path, typer.Option(help="Folder of results, tables and plot; run again to resume.")]
Engine = Annotated[str, typer.Option(help="auto, templates or model.")]
Mirrors = Annotated[Path | None, typer.Option(help="Folder of git mirrors (owner+name/repo, owner+name.git, owner/name); else cloned.")]
WorkFolder = Annotated[Path, typer.Option("--work", help="Cache of environments and clones.")]
Only = Annotated[list[str] | None, typer.Option(help="Only the bug of this id (may be given again).")]

OUT, WORK = Path("bench-results"), Path("bench-work")


@bench.command("mbpp")
def bench_mbpp(
    ids: Ids = None, tasks: Tasks = 200, seed: Seed = None, budget: float = 20.0, jobs: Jobs = 2, out: Out = OUT,
    develop: Develop = False, engine: Engine = "auto",
) -> None:  # fmt: skip
    """Bugs planted in MBPP solutions, judged by the reference on held-back inputs."""
    with explained():
        command.mbpp_benchmark(default_runner(), ledex_repair, Console(), ids=ids, tasks=tasks, seed=seed, budget=budget, jobs=jobs,
                               out=out, develop=develop, engine=engine)  # fmt: skip


@bench.command("strategies")
def bench_strategies(
    ids: Ids = None, tasks: Tasks = 50, seed: Seed = None, budget: float = 60.0, jobs: Jobs = 1, out: Out = OUT, develop: Develop = False,
) -> None:  # fmt: skip
    """The configured model refining on what failed, beside resampling at the same budget, on bugs planted in MBPP solutions."""
    with explained():
        command.strategies_benchmark(default_runner(), ledex_repair, Console(), ids=ids, tasks=tasks, seed=seed, budget=budget, jobs=jobs,
                                     out=out, develop=develop)  # fmt: skip


@bench.command("real")
def bench_real(
    mirrors: Mirrors = None, only: Only = None, budget: float = 120.0, jobs: Jobs = 1, work: WorkFolder = WORK, out: Out = OUT,
    check: Annotated[bool, typer.Option("--check", help="Only check that each bug fails before and passes after its true fix.")] = False,
    engine: Engine = "auto",
) -> None:  # fmt: skip
    """Bugs of real projects, judged by the projects' own tests."""
    with explained():
        runner, console = default_runner(), Console()
        if check:
            raise typer.Exit(0 if command.check_real_bugs(runner, console, mirrors=mirrors, only=only or [], work=work, jobs=jobs) else 1)
        command.real_benchmark(runner, ledex_repair, console, mirrors=mirrors, only=only or [], budget=budget, jobs=jobs, work=work,
                               out=out, engine=engine)  # fmt: skip


@bench.command("throughput")
def bench_throughput() -> None:
    """Candidates a second by tier, and the sandbox's start over a bare process."""
    with explained():
        command.throughput_benchmark(default_runner(), Console())


@bench.command("ppo")
def bench_ppo(steps: Annotated[int, typer.Option(min=1, help="Measured steps of each side.")] = 7) -> None:
    """A PPO step beside a GRPO step of TRL: same model, tokens and epochs, without generation and rewards. Needs the training extra."""
    with explained():
        command.ppo_benchmark(Console(), steps=steps)


@bench.command("all")
def bench_all(
    seed: Seed = None, develop: Develop = False, jobs: Jobs = 2, mirrors: Mirrors = None, work: WorkFolder = WORK, out: Out = OUT,
    engine: Engine = "auto",
) -> None:  # fmt: skip
    """All of them, with their default sizes and budgets."""
    with explained():
        runner, console = default_runner(), Console()
        command.throughput_benchmark(runner, console)
        command.mbpp_benchmark(runner, ledex_repair, console, ids=None, tasks=200, seed=seed, budget=20.0, jobs=jobs, out=out,
                               develop=develop, engine=engine)  # fmt: skip
        command.real_benchmark(runner, ledex_repair, console, mirrors=mirrors, only=[], budget=120.0, jobs=jobs, work=work, out=out,
                               engine=engine)  # fmt: skip


if __name__ == "__main__":
    main()
