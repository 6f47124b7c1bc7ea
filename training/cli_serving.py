"""``ledex-train publish | loop | worker``: what runs beside production."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from training.cli_options import DEFAULT_RECIPE, Base, RecipeName, open_place
from training.terminal import explained


def register(app: typer.Typer) -> None:
    """Adds the commands to ``app``."""
    for command in (publish, loop, worker):
        app.command()(command)


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
        place = open_place(recipe, base_model)
        from inference.settings import load_settings
        from training.evaluation import load_evaluation
        from training.round import open_destination, release
        from training.sampling import name_of
        from training.stages import compare

        figures = None
        if evaluation is not None:  # of these very weights, or the gate would judge others
            figures = load_evaluation(evaluation, model=name_of(place.recipe.base_model, weights))
        promotion = compare(place, against, evaluation) if evaluation is not None and against is not None else None
        with contextlib.closing(open_destination(place.settings, load_settings())) as to:
            done = release(place.recipe, to, weights, promotion, figures, {}, force=force, promote=promote)
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
        place = open_place(recipe, base_model)
        from functools import partial

        from inference.settings import load_settings
        from training.benchmark.isolation import default_runner
        from training.loop import watch as watch_folder
        from training.round import learn_and_publish, open_destination

        with contextlib.closing(open_destination(place.settings, load_settings())) as to:
            one_round = partial(learn_and_publish, place, default_runner(), to)
            watch_folder(trajectories, work, one_round, least_new=place.recipe.loop.least_new, poll_seconds=poll_seconds,
                         most_rounds=rounds, say=place.say)  # fmt: skip


def worker(
    concurrency: Annotated[int, typer.Option(min=1, help="Bugs at a time.")] = 1,
    recipe: RecipeName = DEFAULT_RECIPE, base_model: Base = None,
) -> None:  # fmt: skip
    """Do rollouts for ppo, sent through LEDEX_TRAINING_BROKER_URL, on the model of LEDEX_INFERENCE_... or the recipe's.

    LEDEX_TRAINING_WORK is the trainer's own folder: the policy's weights are found there.
    """
    with explained():
        place = open_place(recipe, base_model)
        from inference.settings import load_settings
        from training.benchmark.isolation import default_runner
        from training.sampling import open_sampler
        from training.tasks import attempt_here, make_celery, work

        make_celery(place.settings)  # a broker that is missing is said before a model is loaded
        sampled = open_sampler(place.recipe.base_model, None, place.settings.work / "rolling", load_settings())
        place.say(f"waiting for rollouts, {concurrency} at a time")
        work(place.settings, attempt_here(default_runner(), sampled.sampler, place.settings.python), concurrency)
