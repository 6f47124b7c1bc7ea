"""How fast each sampler writes: ``python -m tests.vllm.measure`` makes a tiny model, serves it with vLLM's CPU build and prints a table.

The same model, prompts, lengths and machine in one run: vLLM with 32 requests at once, the sampler in this process with batches of 32, and
both one prompt at a time. Every completion has exactly ``--tokens`` tokens (end tokens are ignored), and each way is warmed before it is
measured. The last line is of second rounds with vLLM, whose beginnings are in its prefix cache.
"""

from __future__ import annotations

import argparse
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


def dialogues(count: int, lines: int) -> list[Dialogue]:
    """Prompts of the same length that have no beginning in common."""
    return [(Message("user", f"# {number:04d}\n" + "def f(value):\n    return value + 1\n" * (lines // 2)),) for number in range(count)]


def timed(ask: Callable[[Sequence[Dialogue]], list[Answer]], prompts: Sequence[Dialogue], tokens: int, repeats: int) -> float:
    """Median tokens a second over the repeats, after one round that is not counted."""
    rates = []
    for number in range(repeats + 1):
        began = time.perf_counter()
        answers = ask(prompts)
        seconds = time.perf_counter() - began
        written = sum(answer.usage.completion_tokens for answer in answers)
        assert written == tokens * len(prompts), f"{written} tokens were written, not {tokens * len(prompts)}"
        if number:
            rates.append(written / seconds)
    return statistics.median(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parallel", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--lines", type=int, default=16, help="lines of each prompt")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0, help="of torch in this process; 0: as it chooses")
    given = parser.parse_args()
    import torch

    if given.threads:
        torch.set_num_threads(given.threads)
    options = Options(temperature=0.8, max_tokens=given.tokens, seed=1)
    prompts = dialogues(given.parallel, given.lines)

    def soon() -> float:
        return time.monotonic() + 600

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = make_tiny_model(Path(folder) / "tiny", hidden=given.hidden, layers=given.layers)
        local = TransformersSampler(checkpoint, batch=given.parallel, device="cpu", ignore_end=True)
        rates = {
            "transformers, one by one": timed(
                lambda batch: [local.sample(one, options, soon()) for one in batch], prompts[:8], given.tokens, given.repeats),
            f"transformers, {given.parallel} in a batch": timed(
                lambda batch: local.sample_many(batch, options, soon()), prompts, given.tokens, given.repeats),
        }  # fmt: skip
        settings = load_settings(concurrency=given.parallel, extra_body={"ignore_eos": True}, endpoints="http://replaced")
        with (
            served(checkpoint, Path(folder) / "vllm.log") as url, ThreadPoolExecutor(given.parallel) as pool,
            OpenAISampler(settings.model_copy(update={"endpoints": (url,)})) as sampler,
        ):
            rates["vLLM, one by one"] = timed(
                lambda batch: [sampler.sample(one, options, soon()) for one in batch], prompts[:8], given.tokens, given.repeats)
            rates[f"vLLM, {given.parallel} at once"] = timed(
                lambda batch: list(pool.map(lambda one: sampler.sample(one, options, soon()), batch)), prompts, given.tokens,
                given.repeats)
            cached = second_round(sampler, dialogues(given.parallel, 200), options, soon())  # fmt: skip
    parameters = sum(one.numel() for one in local._base.parameters())
    print(f"{parameters:,} parameters, prompts of {local.count_tokens(prompts[0][0].content)} tokens, {given.tokens} new tokens each, "
          f"median of {given.repeats}, torch with {torch.get_num_threads()} threads")  # fmt: skip
    slowest = rates["transformers, one by one"]
    print(f"\n{'':32}{'tokens/s':>10}{'of one by one':>16}")
    for name, rate in rates.items():
        print(f"{name:32}{rate:>10.0f}{rate / slowest:>15.1f}x")
    batched, at_once = rates[f"transformers, {given.parallel} in a batch"], rates[f"vLLM, {given.parallel} at once"]
    print(f"\nvLLM at {given.parallel} is {at_once / batched:.2f} times the batched sampler in this process.")
    print(f"Prefix cache, second rounds of {given.parallel} dialogues: {cached:.0%} of their prompt tokens were cached.")


def second_round(sampler: OpenAISampler, begin: Sequence[Dialogue], options: Options, deadline: float) -> float:
    """Share of the prompt tokens of second rounds that the prefix cache had."""
    cached = total = 0
    for dialogue in begin:
        first = sampler.sample(dialogue, options, deadline)
        turns = (Message("assistant", first.completions[0].text), Message("user", "The test fails still."))
        usage = sampler.sample((*dialogue, *turns), options, deadline).usage
        cached, total = cached + usage.cached_tokens, total + usage.prompt_tokens
    return cached / total


if __name__ == "__main__":
    main()
