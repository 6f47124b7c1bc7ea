"""``ledex-train collect | sft | ppo | evaluate | publish | loop``: options in, one call of a function, figures and paths out.

Every command works in a folder of its own and, run again, goes on where it was. Torch is imported by a command, not by ``--help``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer
from rich.console import Console
from rich.table import Table

from training import DataError
from training.terminal import explained, watch

if TYPE_CHECKING:
    from inference.model import Sampler
    from training.stages import Workplace

RecipeName = Annotated[Path, typer.Option("--recipe", help="A recipe's file, or the name of one that ships: paper, gated, tiny ...")]
Data = Annotated[list[Path], typer.Argument(help="Files or folders of trajectories (*.jsonl), of collect or of the bot's export.")]
Base = Annotated[str | None, typer.Option("--base-model", help="A folder or hub name, instead of the recipe's.")]
DEFAULT_RECIPE = Path("gated")


def register(app: typer.Typer) -> None:
    """Adds the commands to ``app``."""
    for command in (collect, sft, ppo, evaluate, publish, loop):
        app.command()(command)


def collect(
    out: Annotated[Path, typer.Option(help="Folder of train.jsonl, held_out.jsonl and card.json.")],
    recipe: RecipeName = DEFAULT_RECIPE, base_model: Base = None,
    teacher: Annotated[str, typer.Option(help="templates, model (LEDEX_INFERENCE_...), or self: the base model.")] = "templates",
    problems: Annotated[Path | None, typer.Option(help="Tasks as MBPP's JSONL, instead of its ids 601-974.")] = None,
    repository: Annotated[list[Path] | None, typer.Option(help="A checkout with tests to plant bugs in (may be given again).")] = None,
    licence: Annotated[str, typer.Option(help="The repositories' licence, for the data card.")] = "unknown",
    guard: Annotated[list[str] | None, typer.Option(help="NAME=FOLDER of programs not to be learned from; MBPP 11-600 never are.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Wrong programs at most, those of earlier runs included.")] = None,
) -> None:  # fmt: skip
    """Wrong code, explanations and refinements for it, all run, as trajectories with a data card."""
    with explained():
        place = _place(recipe, base_model)
        from training.benchmark.isolation import default_runner
        from training.collect import Collected
        from training.collect import collect as run
        from training.sources import evaluation_sets, sources, teacher_of

        runner, options = default_runner(), place.recipe.collect
        sampler = _teacher(teacher, place)
        with watch(place.console, "collect") as tell:

            def report(state: Collected) -> None:
                tell(state.resumed + state.kept, limit, f"kept, {state.left_out.total()} left out")

            state = run(
                sources(runner, options, problems, repository or [], licence), teacher_of(teacher, sampler, options), runner, out,
                evaluation_sets(guard or []), jobs=place.settings.jobs, held_out=options.held_out, limit=limit,
                python=place.settings.python, report=report)  # fmt: skip
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
        place = _place(recipe, base_model)
        from training.census import Census
        from training.stages import read_data, supervise

        census = Census()
        trajectories = read_data(data, place.recipe, census)
        chosen = cast(Literal["sft", "kto"], _one_of("--method", method, "sft", "kto"))
        place.say(f"weights: {supervise(place, trajectories, out, census, chosen)}")


def ppo(
    data: Data, out: Annotated[Path, typer.Option(help="Folder of checkpoints, metrics, curves and weights (policy).")],
    recipe: RecipeName = DEFAULT_RECIPE, base_model: Base = None,
    start: Annotated[Path | None, typer.Option("--from", help="What sft has written (…/final); without it, from the base model.")] = None,
) -> None:  # fmt: skip
    """PPO with a reward for the explanation and one for the refinement."""
    with explained():
        place = _place(recipe, base_model)
        from training.census import Census
        from training.stages import read_data, reinforce

        census = Census()
        place.say(f"weights: {reinforce(place, read_data(data, place.recipe, census), out, census, start)}")


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
        place = _place(recipe, base_model)
        from training.benchmark.isolation import default_runner
        from training.round import figures_table
        from training.stages import compare, measure, options_for, planted_bugs

        runner = default_runner()
        bugs, found = planted_bugs(place, runner), {}
        for one in mode or [place.recipe.evaluate.mode]:
            for two in strategy or [place.recipe.evaluate.strategy]:
                name = f"{_one_of('--mode', one, 'explain', 'refine')}-{_one_of('--strategy', two, 'refine', 'resample')}"
                found[name] = measure(place, runner, out / f"{name}.jsonl", weights, options_for(place.recipe.evaluate, one, two), bugs)
        columns, rows = figures_table(found)
        # A figure a line: there are more of them than a terminal has columns for.
        table = Table("", *(row[0] for row in rows))
        for place_in_row, column in enumerate(columns[1:], 1):
            table.add_row(column, *(row[place_in_row] for row in rows))
        place.console.print(table)
        for name in found if against is not None else ():
            assert against is not None
            promotion = compare(place, against / f"{name}.jsonl", out / f"{name}.jsonl")
            place.say(f"gate, {name}: {'promoted' if promotion.promoted else 'not promoted'}, {promotion.reason}")


def publish(
    weights: Annotated[Path, typer.Argument(help="A folder with an adapter, of sft or ppo.")],
    recipe: RecipeName = DEFAULT_RECIPE, base_model: Base = None,
    evaluation: Annotated[Path | None, typer.Option(help="The file that evaluate wrote for these weights.")] = None,
    against: Annotated[Path | None, typer.Option(help="The file that evaluate wrote for what answers now.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Whatever the gate says; the card says so.")] = False,
    promote: Annotated[bool, typer.Option("--promote", help="For everybody at once, without a canary's trial.")] = False,
) -> None:  # fmt: skip
    """Put an adapter into the registry and on the running servers, if the gate lets it."""
    with explained():
        place = _place(recipe, base_model)
        from inference.settings import load_settings
        from training.round import load_figures, open_registry, open_servers, release
        from training.stages import compare

        inference = load_settings()
        promotion = compare(place, against, evaluation) if evaluation is not None and against is not None else None
        done = release(place, open_registry(place.settings, inference), open_servers(inference), weights, promotion,
                       load_figures(evaluation), None, force=force, promote=promote)  # fmt: skip
        place.say(f"{done.card.served_name} is {'active' if done.states.active == done.card.served_name else 'on trial'}")


def loop(
    trajectories: Annotated[Path, typer.Option(help="The folder that the bot's export fills.")],
    work: Annotated[Path, typer.Option(help="Folder of the rounds and their state.")] = Path("training-loop"),
    recipe: RecipeName = DEFAULT_RECIPE, base_model: Base = None,
    poll_seconds: Annotated[float, typer.Option(min=0.1, help="Between two looks at the folder.")] = 60.0,
    rounds: Annotated[int | None, typer.Option(min=1, help="End after so many; otherwise it goes on for ever.")] = None,
) -> None:  # fmt: skip
    """Watch a folder of trajectories: train, evaluate, gate and publish whenever enough is new."""
    with explained():
        place = _place(recipe, base_model)
        from functools import partial

        from inference.settings import load_settings
        from training.benchmark.isolation import default_runner
        from training.loop import watch as watch_folder
        from training.round import learn_and_publish, open_registry, open_servers

        inference = load_settings()
        one_round = partial(learn_and_publish, place, default_runner(), open_registry(place.settings, inference), open_servers(inference))
        watch_folder(trajectories, work, one_round, least_new=place.recipe.loop.least_new, poll_seconds=poll_seconds, most_rounds=rounds,
                     say=place.say)  # fmt: skip


def _place(recipe: Path, base_model: str | None) -> Workplace:
    from dataclasses import replace

    from training.recipe import read_recipe
    from training.settings import load_settings
    from training.stages import Workplace

    settings, found = load_settings(), read_recipe(recipe)
    return Workplace(replace(found, base_model=base_model) if base_model else found, settings, Console())


def _teacher(name: str, place: Workplace) -> Sampler | None:
    from inference.settings import load_settings
    from training.sampling import open_sampler

    if _one_of("--teacher", name, "templates", "model", "self") == "templates":
        return None
    inference = load_settings()
    if name == "model":
        if not inference.is_configured:
            raise DataError("no teacher is set: set LEDEX_INFERENCE_ENDPOINTS to its OpenAI-compatible server, or use --teacher self")
        return open_sampler(str(inference.checkpoint), None, place.settings.work / "teacher", inference).sampler
    return open_sampler(place.recipe.base_model, None, place.settings.work / "teacher", inference.model_copy(
        update={"endpoints": (), "vllm": None, "checkpoint": Path(place.recipe.base_model)})).sampler  # fmt: skip


def _one_of(option: str, value: str, *known: str) -> str:
    if value not in known:
        raise DataError(f"{option} {value}: it is one of {', '.join(known)}")
    return value
