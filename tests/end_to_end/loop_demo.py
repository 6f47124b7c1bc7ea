"""The whole way by one command: ``make loop-demo``. From failed CI to a comment by the adapter that the first comments' fate trained.

GitHub is emulated and a scripted server with vLLM's API stands in for the model; everything else is real: webhooks, sandbox,
``ledex export`` and ``ledex-train loop`` as processes of their own, one step of SFT on a tiny checkpoint, evaluation, a gate (forced, one
step teaches nothing), registry, and the adapter's load on the server.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bot.demo.emulator import script
from bot.demo.emulator.state import Pull, Repository
from bot.demo.stage import Stage, stage
from inference.adapters import Card, Registry
from inference.completion import render_completion
from inference.outcome import Outcome
from inference.repair import RepairRequest, repair_checkout
from inference.text_edits import TextEdit
from inference.trajectory import Trajectory, read_trajectories
from tests.inference.model.scripted import Chat, ScriptedServer
from tests.vllm.tiny_model import make_tiny_model

REPOSITORY = "octo/shop"
SHOP = """\
def total(prices):
    return sum(prices)


def cheapest(prices):
    return min(prices)


def pieces(prices):
    return len(prices)
"""
TESTS = """\
from shop import cheapest, pieces, total


def test_total():
    assert total([1, 2]) == 3
    assert total([5]) == 5


def test_cheapest():
    assert cheapest([3, 1, 2]) == 1
    assert cheapest([2, 9]) == 2


def test_pieces():
    assert pieces([1, 2]) == 2
    assert pieces([]) == 0
"""
POLICY = "[learning]\nuse_feedback = true\n"
BUGS = {
    "cheapest": ("min(prices)", "max(prices)", "It takes the largest price where the smallest is asked for."),
    "total": ("sum(prices)", "sum(prices) + 1", "One too many is added to the sum."),
    "pieces": ("len(prices)", "len(prices) - 1", "The last piece is not counted."),
}
"""Function -> right, wrong, and what the scripted model says of it."""
RECIPE = """\
base_model = "{model}"
name = "shop"

[sft]
most_steps = 1
batch = 2
micro_batch = 2
lora_rank = 4
learning_rate = 1e-3
warmup_steps = 0
tensorboard = false

[bugs]
ids = "511-520"
count = 1

[evaluate]
samples = 1
rounds = 0
completion_tokens = 64

[loop]
least_new = 2
force = true
promote = true
"""


@dataclass(frozen=True)
class Shown:
    """What came of it. ``footers``: the last lines of the three comments; ``loaded``: served names on the model's server at the end."""

    footers: tuple[str, str, str]
    exported: tuple[Trajectory, ...]
    card: Card
    loaded: frozenset[str]


def demonstrate(folder: Path, say: Callable[[str], None]) -> Shown:
    """Everything, in ``folder``. Raises CalledProcessError where a command fails."""
    model = make_tiny_model(folder / "tiny", vocabulary=600, hidden=32, layers=1)
    registry = Registry(folder / "adapters")
    (folder / "inbox").mkdir()
    (folder / "recipe.toml").write_text(RECIPE.format(model=model), encoding="utf-8")
    with ScriptedServer(answer) as server:
        variables = {"LEDEX_INFERENCE_ENDPOINTS": server.url, "LEDEX_INFERENCE_ADAPTERS": str(registry.folder),
                     "LEDEX_INFERENCE_SAMPLES": "1", "LEDEX_INFERENCE_ROUNDS": "0", "LEDEX_TRAINING_WORK": str(folder / "work"),
                     "LEDEX_BOT_DATA_DIR": str(folder / "stage" / "bot")}  # fmt: skip
        os.environ.update(variables)
        with stage(folder / "stage", extra={"repair": by_the_model}, repair_seconds=30.0) as running:
            files = {"shop.py": SHOP, "test_shop.py": TESTS, ".github/ledex.toml": POLICY}
            shop = script.add_repository(running.emulator, REPOSITORY, files, writers=("octocat",))
            first, second = (fail(running, shop, name, say) for name in ("cheapest", "total"))
            before = footer(running, first), footer(running, second)
            tell(running, first, "/ledex apply", say)
            tell(running, second, "/ledex reject wrong the total is right as it is", say)
            inbox = folder / "inbox" / "trajectories.jsonl"
            command(say, "bot.cli", "export", "--out", str(inbox))
            command(say, "training.cli", "loop", "--trajectories", str(inbox.parent), "--work", str(folder / "loop"),
                    "--recipe", str(folder / "recipe.toml"), "--rounds", "1", "--poll-seconds", "1")  # fmt: skip
            active = registry.states().active
            if active is None:
                raise RuntimeError("the loop published nothing: its sentence stands above")
            third = fail(running, shop, "pieces", say)
            after = footer(running, third)
        say(f"the third comment ends with: {after}")
        return Shown((*before, after), tuple(read_trajectories(inbox)), registry.card(active), frozenset(server.adapters))


def by_the_model(request: RepairRequest) -> Outcome:
    """The real repair without the templates, which would be quicker than the model on such bugs."""
    return repair_checkout(replace(request, engine="model"))


def answer(chat: Chat) -> str:
    """The fix of the bug that the dialogue shows; of others the scripted model knows nothing."""
    shown = "\n".join(message["content"] for message in chat.messages)
    for right, wrong, explanation in BUGS.values():
        if f"return {wrong}\n" in shown:
            return render_completion(explanation, [TextEdit("shop.py", f"    return {wrong}\n", f"    return {right}\n")])
    return "I do not know."


def fail(running: Stage, shop: Repository, name: str, say: Callable[[str], None]) -> Pull:
    """A pull request that breaks one function, its failed run, and the bot's comment on it."""
    right, wrong, _ = BUGS[name]
    broken = SHOP.replace(f"return {right}\n", f"return {wrong}\n")
    pull = script.open_pull_request(running.emulator, shop, name, {"shop.py": broken}, title=f"Tidy {name}")
    script.fail_run(running.emulator, pull, [script.CiJob("test", log_of(name))])
    running.settle()
    said = next(line for line in script.comments_of(running.emulator, pull)[0].body.splitlines() if line.startswith("**"))
    say(f"#{pull.number} breaks {name}; the bot comments: {said}")
    return pull


def log_of(name: str) -> str:
    return (
        "============================= test session starts ==============================\ncollected 3 items\n"
        "=================================== FAILURES ===================================\n"
        f"_________________________________ test_{name} _________________________________\n"
        f"E       assert {name}\ntest_shop.py:5: AssertionError\n"
        "=========================== short test summary info ============================\n"
        f"FAILED test_shop.py::test_{name} - assert\n"
        "========================= 1 failed, 2 passed in 0.02s ==========================\n"
        "##[error]Process completed with exit code 1.\n"
    )


def tell(running: Stage, pull: Pull, words: str, say: Callable[[str], None]) -> None:
    script.comment(running.emulator, pull, words, by="octocat")
    running.settle()
    say(f"octocat on #{pull.number}: {words}")


def footer(running: Stage, pull: Pull) -> str:
    return script.comments_of(running.emulator, pull)[0].body.strip().splitlines()[-1]


def command(say: Callable[[str], None], module: str, *arguments: str, variables: Mapping[str, str] = {}) -> None:
    """A command line of its own; what it prints is told when it has ended."""
    name = {"bot.cli": "ledex", "training.cli": "ledex-train"}[module]
    say(f"$ {name} {' '.join(arguments)}")
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False,
                          env={**os.environ, **variables})  # fmt: skip
    for line in (done.stdout + done.stderr).splitlines():
        say(f"    {line}")
    done.check_returncode()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ledex-loop-") as name:
        Path(name).chmod(0o755)
        shown = demonstrate(Path(name), print)
    print(f"adapter {shown.card.served_name} of {shown.card.base_model}, forced: {shown.card.metrics['forced']}")


if __name__ == "__main__":
    main()
