"""How fast each sampler writes: ``python -m tests.vllm.measure`` makes a tiny model, serves it with vLLM's CPU build and prints a table.

The same model, prompts, lengths and machine in one run: vLLM with 32 requests at once, the sampler in this process with batches of 32, and
both one prompt at a time. Every completion has exactly ``--tokens`` tokens (end tokens are ignored), each way is warmed before it is
measured, and no prompt is asked twice, so that no prefix cache helps. The last lines are of second rounds with vLLM, whose beginnings are
in its prefix cache. The model is narrow and deep: with two layers a step is little but vLLM's own way from process to process.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from inference.model import Answer, Options
from inference.model.openai import OpenAISampler
from inference.model.transformers import TransformersSampler
from inference.settings import load_settings
from inference.trajectory import Message
from tests.vllm.serving import served
from tests.vllm.tiny_model import make_tiny_model

Dialogue = tuple[Message, ...]


_number = itertools.count()


def dialogues(count: int, lines: int) -> list[Dialogue]:
    """New prompts of the same length that have no beginning in common."""
    code = "def f(value):\n    return value + 1\n" * (lines // 2)
    return [(Message("user", f"# {next(_number):06d}\n{code}"),) for _ in range(count)]


def timed(ask: Callable[[Sequence[Dialogue]], list[Answer]], count: int, given: argparse.Namespace) -> float:
    """Median tokens a second over the repeats, after one round that is not counted."""
    rates = []
    for number in range(given.repeats + 1):
        prompts = dialogues(count, given.lines)
        began = time.perf_counter()
        answers = ask(prompts)
        seconds = time.perf_counter() - began
        written = sum(answer.usage.completion_tokens for answer in answers)
        assert written == given.tokens * count, f"{written} tokens were written, not {given.tokens * count}"
        if number:
            rates.append(written / seconds)
    return statistics.median(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parallel", type=int, default=32)
    parser.add_argument("--singles", type=int, default=8, help="prompts of each measurement one by one")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--lines", type=int, default=16, help="lines of each prompt")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--threads", type=int, default=0, help="of torch in this process; 0: as it chooses")
    given = parser.parse_args()
    import torch

    if given.threads:
        torch.set_num_threads(given.threads)
    options = Options(temperature=0.8, max_tokens=given.tokens, seed=1)

    def soon() -> float:
        return time.monotonic() + 600

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = make_tiny_model(Path(folder) / "tiny", hidden=given.hidden, layers=given.layers)
        local = TransformersSampler(checkpoint, batch=given.parallel, device="cpu", ignore_end=True)
        one, many = given.singles, given.parallel

        def each(sampler: TransformersSampler | OpenAISampler, batch: Sequence[Dialogue]) -> list[Answer]:
            return [sampler.sample(one, options, soon()) for one in batch]

        rates = {
            "transformers, one by one": timed(lambda batch: each(local, batch), one, given),
            f"transformers, {many} in a batch": timed(lambda batch: local.sample_many(batch, options, soon()), many, given),
        }
        settings = load_settings(concurrency=many, extra_body={"ignore_eos": True}, endpoints="http://replaced")
        with (
            served(checkpoint, Path(folder) / "vllm.log") as url, ThreadPoolExecutor(many) as pool,
            OpenAISampler(settings.model_copy(update={"endpoints": (url,)})) as sampler,
        ):  # fmt: skip
            rates["vLLM, one by one"] = timed(lambda batch: each(sampler, batch), one, given)
            rates[f"vLLM, {many} at once"] = timed(
                lambda batch: list(pool.map(lambda one: sampler.sample(one, options, soon()), batch)), many, given)  # fmt: skip
            before = sampler.totals
            second_round(sampler, dialogues(many, 200), options, soon())
            totals = sampler.totals
    parameters = sum(one.numel() for one in local._base.parameters())
    [[prompt]] = dialogues(1, given.lines)
    print(f"{parameters:,} parameters, {given.layers} layers, prompts of {local.count_tokens(prompt.content)} tokens, {given.tokens} new "
          f"tokens each, median of {given.repeats}, torch with {torch.get_num_threads()} threads")  # fmt: skip
    slowest = rates["transformers, one by one"]
    print(f"\n{'':32}{'tokens/s':>10}{'of one by one':>16}")
    for name, rate in rates.items():
        print(f"{name:32}{rate:>10.0f}{rate / slowest:>15.1f}x")
    batched, at_once = rates[f"transformers, {given.parallel} in a batch"], rates[f"vLLM, {given.parallel} at once"]
    print(f"\nvLLM at {given.parallel} is {at_once / batched:.2f} times the batched sampler in this process.")
    rounds = totals.usage.prompt_tokens - before.usage.prompt_tokens
    cached = totals.usage.cached_tokens - before.usage.cached_tokens
    print(f"Two rounds of {many} dialogues: {rounds:,} prompt tokens, {cached:,} ({cached / rounds:.0%}) from the prefix cache.")
    usage = totals.usage
    print(f"vLLM in all: {totals.requests} requests, {usage.prompt_tokens:,} prompt tokens ({totals.cached_share:.0%} cached), "
          f"{usage.completion_tokens:,} new ones, busy for {totals.gpu_seconds:.0f} s, waited for {usage.seconds:.0f} s.")  # fmt: skip


def second_round(sampler: OpenAISampler, begin: Sequence[Dialogue], options: Options, deadline: float) -> None:
    """Ask each dialogue's first round, and then its second."""
    for dialogue in begin:
        first = sampler.sample(dialogue, options, deadline)
        turns = (Message("assistant", first.completions[0].text), Message("user", "The test fails still."))
        sampler.sample((*dialogue, *turns), options, deadline)


if __name__ == "__main__":
    main()
