"""``ledex-train collect | sft | ppo | evaluate``: options in, one call of a function, figures and paths out.

Every command works in a folder of its own and, run again, goes on where it was. Torch is imported by a command, not by ``--help``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer
from rich.table import Table

from training import DataError
from training.cli_options import DEFAULT_RECIPE, Base, RecipeName, one_of, open_place
from training.terminal import explained, watch

if TYPE_CHECKING:
    from inference.model import Sampler
    from training.stages import Workplace

_GUARD = ("An evaluation set that nothing may be learned from, NAME=PATH: a folder of Python files (quixbugs=FOLDER) or "
          "JSON lines (humaneval=HumanEval.jsonl.gz). May be given again. MBPP 11-600 always is one; no others ship.")  # fmt: skip
Data = Annotated[list[Path], typer.Argument(help="Files or folders of trajectories (*.jsonl), of collect or of the bot's export.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to ``app``."""
    for command in (collect, sft, ppo, evaluate):
        app.command()(command)


def collect(
    out: Annotated[Path, typer.Option(help="Folder of train.jsonl, held_out.jsonl and card.json.")],
    recipe: RecipeName = DEFAULT_RECIPE, base_model: Base = None,
    teacher: Annotated[str, typer.Option(help="templates, model (LEDEX_INFERENCE_...), or self: the base model.")] = "templates",
    wrong: Annotated[str, typer.Option(help="Wrong code of the tasks: planted, or sampled from the base model.")] = "planted",
    problems: Annotated[Path | None, typer.Option(help="Tasks as MBPP's JSONL, instead of its ids 601-974.")] = None,
    repository: Annotated[list[Path] | None, typer.Option(help="A checkout with tests to plant bugs in (may be given again).")] = None,
    trajectories: Annotated[list[Path] | None, typer.Option(help="The bot's, whose source was kept (may be given again).")] = None,
    licence: Annotated[str, typer.Option(help="The repositories' licence, for the data card.")] = "unknown",
    guard: Annotated[list[str] | None, typer.Option(help=_GUARD)] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Wrong programs at most, those of earlier runs included.")] = None,
) -> None:  # fmt: skip
    """Wrong code, explanations and refinements for it, all run, as trajectories with a data card."""
    with explained():
        place = open_place(recipe, base_model)
        from training.benchmark.isolation import default_runner
        from training.census import Census
        from training.collect import Collected
        from training.collect import collect as run
        from training.sources import evaluation_sets, sources, teacher_of

        runner, options = default_runner(), place.recipe.collect
        sampler = _teacher(teacher, place)
        author = _teacher("self", place) if one_of("--wrong", wrong, "planted", "sampled") == "sampled" else None
        census = Census()
        with watch(place.console, "collect") as tell:

            def report(state: Collected) -> None:
                tell(state.resumed + state.kept, limit, f"kept, {state.left_out.total()} left out")

            state = run(
                sources(runner, options, problems, repository or [], licence, author, trajectories or [], census),
                teacher_of(teacher, sampler, options), runner, out, evaluation_sets(guard or []), jobs=place.settings.jobs,
                held_out=options.held_out, limit=limit, python=place.settings.python, report=report)  # fmt: skip
        for line in census.lines():
            place.say(line)
        for reason, count in state.left_out.most_common():
            place.say(f"left out, {reason}: {count}")
        place.say(f"{state.resumed + state.kept} wrong programs with their attempts, {state.kept} of them new; card: {out / 'card.json'}")


def sft(
    data: Data, out: Annotated[Path, typer.Option(help="Folder of checkpoints, log and weights (final).")],
    recipe: RecipeName = DEFAULT_RECIPE, base_model: Base = None,
    method: Annotated[str, typer.Option(help="sft; or kto: only from what people accepted and rejected.")] = "sft",
) -> None:  # fmt: skip
    """Supervised fine-tuning on verified explanations and refinements."""
    with explained():
        place = open_place(recipe, base_model)
        from training.census import Census
        from training.stages import read_data, supervise

        census = Census()
        trajectories = read_data(data, place.recipe, census)
        chosen = cast(Literal["sft", "kto"], one_of("--method", method, "sft", "kto"))
        place.say(f"weights: {supervise(place, trajectories, out, census, chosen)}")


def ppo(
    out: Annotated[Path, typer.Option(help="Folder of checkpoints, metrics, curves and weights (policy).")],
    data: Annotated[list[Path] | None, typer.Argument(help="Trajectories; only references where the recipe's rollouts are online.")] = None,
    recipe: RecipeName = DEFAULT_RECIPE, base_model: Base = None,
    start: Annotated[Path | None, typer.Option("--from", help="What sft has written (…/final); without it, from the base model.")] = None,
    method: Annotated[str, typer.Option(help="ppo; or grpo: TRL's, on planted bugs, for comparison.")] = "ppo",
) -> None:  # fmt: skip
    """PPO with a reward for the explanation and one for the refinement."""
    with explained():
        place = open_place(recipe, base_model)
        from training.census import Census
        from training.stages import read_data, reinforce

        census = Census()
        trajectories = read_data(data or [], place.recipe, census)
        if one_of("--method", method, "ppo", "grpo") == "grpo":
            from training.grpo import compare_grpo

            place.say(f"weights: {compare_grpo(place, out, start)}")
        else:
            place.say(f"weights: {reinforce(place, trajectories, out, census, start)}")


def evaluate(
    out: Annotated[Path, typer.Option(help="Folder of the evaluations, a file for each mode and strategy.")],
    recipe: RecipeName = DEFAULT_RECIPE, base_model: Base = None,
    weights: Annotated[Path | None, typer.Option(help="What sft or ppo has written; without it, the base model.")] = None,
    mode: Annotated[list[str] | None, typer.Option(help="explain or refine (may be given again); default the recipe's.")] = None,
    strategy: Annotated[list[str] | None, typer.Option(help="refine or resample at equal budget (may be given again).")] = None,
    against: Annotated[Path | None, typer.Option(help="A folder of another model's same evaluations: what says the gate?")] = None,
) -> None:  # fmt: skip
    """pass@k, refinement rates, regressions, overfits and explanations on planted bugs, with intervals."""
    with explained():
        place = open_place(recipe, base_model)
        from training.benchmark.isolation import default_runner
        from training.round import figures_table
        from training.stages import compare, measure, options_for, planted_bugs

        runner = default_runner()
        bugs, found = planted_bugs(place, runner), {}
        for one in mode or [place.recipe.evaluate.mode]:
            for two in strategy or [place.recipe.evaluate.strategy]:
                name = f"{one_of('--mode', one, 'explain', 'refine')}-{one_of('--strategy', two, 'refine', 'resample')}"
                found[name] = measure(place, runner, out / f"{name}.jsonl", weights, options_for(place.recipe.evaluate, one, two), bugs)
        columns, rows = figures_table(found)
        table = Table(*columns)
        for row in rows:
            table.add_row(*row)
        place.console.print(table)
        for name in found if against is not None else ():
            assert against is not None
            promotion = compare(place, against / f"{name}.jsonl", out / f"{name}.jsonl")
            place.say(f"gate, {name}: {'promoted' if promotion.promoted else 'not promoted'}, {promotion.reason}")


def _teacher(name: str, place: Workplace) -> Sampler | None:
    from inference.settings import load_settings
    from training.sampling import open_sampler

    if one_of("--teacher", name, "templates", "model", "self") == "templates":
        return None
    inference = load_settings()
    if name == "model":
        if not inference.is_configured:
            raise DataError("no teacher is set: set LEDEX_INFERENCE_ENDPOINTS to its OpenAI-compatible server, or use --teacher self")
        return open_sampler(str(inference.checkpoint), None, place.settings.work / "teacher", inference).sampler
    return open_sampler(place.recipe.base_model, None, place.settings.work / "teacher", inference.model_copy(
        update={"endpoints": (), "vllm": None, "checkpoint": Path(place.recipe.base_model)})).sampler  # fmt: skip
