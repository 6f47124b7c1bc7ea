"""A tiny Qwen2 with a byte-level tokenizer and a chat template, made in seconds from nothing but the standard library's sources.

It knows nothing; it is enough to be served by vLLM and run by transformers, with the shapes of a real one.
"""

from __future__ import annotations

import math
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from inference.trajectory import Message

END = "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
CONTEXT_TOKENS = 4096


def make_tiny_model(folder: Path, *, vocabulary: int = 2048, hidden: int = 64, layers: int = 2, seed: int = 1) -> Path:
    """Write a checkpoint into ``folder`` (made if absent): config, random weights, tokenizer, chat template."""
    import torch
    from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

    tokenizer = _tokenizer(vocabulary)
    torch.manual_seed(seed)
    # vLLM's attention on CPUs knows no heads of fewer than 32 dimensions.
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers,
        num_attention_heads=hidden // 32, num_key_value_heads=1, max_position_embeddings=CONTEXT_TOKENS, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
        initializer_range=0.2))  # fmt: skip
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tiny_adapter(base: Path, folder: Path, seed: int, rank: int = 8) -> Path:
    """Write a random LoRA adapter for the checkpoint ``base``, as PEFT writes it; strong enough to change every greedy token."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
    configuration = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, init_lora_weights=False, task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), configuration)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.5)
    model.save_pretrained(folder)
    return folder


def _tokenizer(vocabulary: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(_sources(), trainers.BpeTrainer(
        vocab_size=vocabulary - len(ROLES) - 1, special_tokens=[], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))  # fmt: skip
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, additional_special_tokens=list(ROLES), clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT_TOKENS)  # fmt: skip
    fast.chat_template = TEMPLATE
    return fast


def _sources(most: int = 60) -> Iterator[str]:
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:most]:
        yield path.read_text(encoding="utf-8", errors="replace")


def teach(
    checkpoint: Path, lessons: Sequence[tuple[Sequence[Message], str]], *, steps: int = 400, rate: float = 3e-3, enough: float = 0.02
) -> float:
    """Train the checkpoint in place until it gives each dialogue its answer by heart; the mean loss of an answer's token at the end.

    Loss on the answers alone (with the token that ends them), as LEDEX's supervised stage has it; all weights, AdamW.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    rows = []
    for messages, answer in lessons:
        turns = [{"role": one.role, "content": one.content} for one in messages]
        prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        rows.append((tokenizer.encode(prompt, add_special_tokens=False), tokenizer.encode(answer + END, add_special_tokens=False)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    loss = math.inf
    for _ in range(steps):
        optimizer.zero_grad()
        losses = []
        for prompt, answer_ids in rows:
            out = model(input_ids=torch.tensor([prompt + answer_ids]), logits_to_keep=len(answer_ids) + 1)
            losses.append(torch.nn.functional.cross_entropy(out.logits[0, :-1], torch.tensor(answer_ids)))
        torch.autograd.backward(losses)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss = max(float(one.detach()) for one in losses)
        if loss < enough:
            break
    model.save_pretrained(checkpoint)
    return loss
