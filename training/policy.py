"""The policy of PPO: a causal language model and one linear layer on its last states that says what is still to be earned.

Section 2.3 shares the trunk between both. V(y_<t) is read from the state that the token y_t is sampled from. The reference policy is the
same model with its adapter off (or a frozen adapter in its place, where training goes on from one), and a frozen copy when all weights are
trained.

Rows are padded on the right: a causal model reads nothing to the right of a token, so the padding needs no attention mask and positions
count from 0 as they do in the sampler. Only states that a completion's token is sampled from go through the output layer; a vocabulary of
150,000 on every token of a long prompt would be most of the memory.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from training import DataError
from training.rewarded import Rollout

Precision = Literal["fp32", "bf16"]
VALUE_HEAD = "value_head.safetensors"
_REFERENCE = "reference"
"""Name of the frozen adapter beside ``default``, the trained one."""


@dataclass(frozen=True)
class LoraOptions:
    """Hu et al. (arXiv 2106.09685). ``targets``: names of modules, or "all-linear": all but the output layer."""

    rank: int = 16
    alpha: float = 32.0
    targets: str | tuple[str, ...] = "all-linear"


@dataclass(frozen=True)
class PolicyOptions:
    """``lora``: None trains all weights. ``precision``: "bf16" computes in bfloat16 while trained weights stay in float32 (a frozen base
    is kept in bfloat16 too). ``gradient_checkpointing``: states are computed again in the backward pass instead of kept."""

    lora: LoraOptions | None = LoraOptions()
    precision: Precision = "fp32"
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class Batch:
    """``ids``: (rows, tokens) of prompt and completion, padded on the right. ``mask``: (rows, completion tokens), True where one was
    sampled, a run from the left. ``places``: (sampled,) the states they were sampled from, as indices into the flattened rows.
    ``targets``: (sampled,) their ids. The last two go row by row, as ``mask`` does when it selects."""

    ids: Tensor
    mask: Tensor
    places: Tensor
    targets: Tensor

    @property
    def rows(self) -> int:
        return int(self.ids.shape[0])


def collate(rollouts: Sequence[Rollout], device: str | torch.device = "cpu") -> Batch:
    """Rollouts as one padded batch. Each needs a token of prompt and one of completion; raises ValueError."""
    if any(not one.prompt_ids or not one.completion_ids for one in rollouts):
        raise ValueError("a rollout without a prompt or without a completion cannot be learned from")
    longest = max(len(one.prompt_ids) + len(one.completion_ids) for one in rollouts)
    width = max(len(one.completion_ids) for one in rollouts)
    ids = torch.zeros(len(rollouts), longest, dtype=torch.long)
    mask = torch.zeros(len(rollouts), width, dtype=torch.bool)
    places = []
    for row, one in enumerate(rollouts):
        begin, length = len(one.prompt_ids), len(one.completion_ids)
        ids[row, : begin + length] = torch.tensor([*one.prompt_ids, *one.completion_ids])
        mask[row, :length] = True
        places.append(torch.arange(row * longest + begin - 1, row * longest + begin + length - 1))
    targets = torch.tensor([token for one in rollouts for token in one.completion_ids])
    return Batch(ids.to(device), mask.to(device), torch.cat(places).to(device), targets.to(device))


@dataclass(frozen=True)
class Outputs:
    """(rows, completion tokens) each, 0 outside the mask, in float32. ``entropy``: of the distribution that a token was sampled from,
    without a gradient."""

    logprobs: Tensor
    values: Tensor
    entropy: Tensor


class Policy(nn.Module):  # type: ignore[misc, unused-ignore]  # without torch its classes are Any
    """``model``: a causal language model of transformers, or PEFT's wrapper of one. ``forward`` is all that training calls, so that a
    wrapper for several processes may stand around the module."""

    def __init__(self, model: Any, options: PolicyOptions = PolicyOptions()) -> None:
        """Raises DataError for a model whose output layer is more than a linear one (soft caps, scales)."""
        super().__init__()
        self.options = options
        self.model = model
        self._adapted = hasattr(model, "peft_config")
        _without_dropout(model)
        if options.gradient_checkpointing:
            _recompute(_base(model))
        # transformers recomputes states only in a module that trains; nothing else differs, dropout being 0.
        self.train(options.gradient_checkpointing)
        base = _base(model)
        # What is kept whole where weights are spread over processes; accelerate asks the wrapped module for it.
        self._no_split_modules = getattr(base, "_no_split_modules", None)
        _check_head(base)
        self.value_head = nn.Linear(base.get_output_embeddings().in_features, 1).to(base.device)
        # From 0, so that the first advantages are the returns and not noise.
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)
        # In a tuple: no submodule, or it would be trained, saved and wrapped. In the policy's own precision: half of it would save memory,
        # and a KL that is not 0 before anything was learned (0.02 a token in bfloat16) would be the price.
        self._frozen: tuple[Any, ...] = () if self._adapted else (copy.deepcopy(base).requires_grad_(False).eval(),)

    def forward(self, batch: Batch, refer: bool = False) -> Outputs:
        """Log-probabilities, values and entropies of a batch's completions; with ``refer`` the reference policy's log-probabilities, and 0
        for the others. A wrapper that spreads the weights over processes gathers them around this call, and around no other."""
        if refer:
            told = self.reference_logprobs(batch)
            return Outputs(told, torch.zeros_like(told), torch.zeros_like(told))
        with self._autocast():
            states = _states(_base(self.model), batch)
            logits = _base(self.model).get_output_embeddings()(states).float()
        logprobs, entropy = _of_targets(logits, batch.targets)
        with torch.autocast(batch.ids.device.type, enabled=False):
            values = self.value_head(states.float()).squeeze(-1)
        return Outputs(*(_spread(one, batch.mask) for one in (logprobs, values, entropy)))

    @torch.no_grad()
    def reference_logprobs(self, batch: Batch) -> Tensor:
        """(rows, completion tokens): what the policy that training started from says of the batch's completions."""
        with self._referred() as model, self._autocast():
            logits = model.get_output_embeddings()(_states(model, batch)).float()
        told = logits.gather(-1, batch.targets[:, None]).squeeze(-1) - logits.logsumexp(-1)
        return _spread(told, batch.mask)

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that learn, by name."""
        return {name: one for name, one in self.named_parameters() if one.requires_grad}

    def size(self) -> int:
        """Parameters of the model, frozen ones too, without the value head and the reference."""
        return sum(one.numel() for one in _base(self.model).parameters())

    @property
    def is_adapter(self) -> bool:
        """Whether an adapter learns, and not all weights."""
        return self._adapted

    def save(self, folder: Path, state: Mapping[str, Tensor] | None = None) -> None:
        """Write the adapter (or the whole model) and the value head as safetensors. ``state``: of the policy, gathered from processes."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        model, head = (None, self.value_head.state_dict()) if state is None else (_under(state, "model."), _under(state, "value_head."))
        if self._adapted:
            self.model.save_pretrained(folder, selected_adapters=["default"], state_dict=model)
        else:
            self.model.save_pretrained(folder, state_dict=model)
        save_file({name: value.contiguous().cpu() for name, value in head.items()}, folder / VALUE_HEAD)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        device = self.value_head.weight.device.type
        return torch.autocast(device, dtype=torch.bfloat16, enabled=self.options.precision == "bf16")

    @contextlib.contextmanager
    def _referred(self) -> Iterator[Any]:
        if not self._adapted:
            yield self._frozen[0]
        elif _REFERENCE not in self.model.peft_config:
            with self.model.disable_adapter():
                yield _base(self.model)
        else:
            self.model.set_adapter(_REFERENCE, inference_mode=True)
            try:
                yield _base(self.model)
            finally:
                self.model.set_adapter("default")


def load_policy(
    checkpoint: Path | str, options: PolicyOptions = PolicyOptions(), adapter: Path | None = None, device: str | None = None, seed: int = 0
) -> Policy:
    """A checkpoint of transformers as a policy. ``adapter``: a LoRA adapter to go on from, which then is the reference too; with a
    ``value_head.safetensors`` in its folder (or the checkpoint's) the value head goes on as well. ``seed``: of a new adapter.

    Raises DataError.
    """
    from transformers import AutoModelForCausalLM

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    kept = torch.bfloat16 if options.precision == "bf16" and options.lora is not None else torch.float32
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=kept, use_safetensors=True).to(device)
        if adapter is not None:
            if options.lora is None:
                raise DataError(f"all weights cannot be trained from the adapter {adapter}: merge it into its checkpoint, or use LoRA")
            model = _with_adapter(model, adapter)
        elif options.lora is not None:
            model = _with_new_adapter(model, options.lora, seed)
    except (OSError, ValueError, KeyError) as error:
        told = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{adapter or checkpoint} cannot be loaded as a policy: {told}") from None
    policy = Policy(model, options)
    head = Path(adapter or checkpoint) / VALUE_HEAD
    if head.is_file():
        from safetensors.torch import load_file

        policy.value_head.load_state_dict(load_file(head, device=device))
    return policy


def _with_adapter(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    model = PeftModel.from_pretrained(model, adapter, is_trainable=True)
    model.load_adapter(adapter, _REFERENCE, is_trainable=False)
    return model


def _with_new_adapter(model: Any, options: LoraOptions, seed: int) -> Any:
    from peft import LoraConfig, get_peft_model

    targets = options.targets if isinstance(options.targets, str) else list(options.targets)
    configuration = LoraConfig(r=options.rank, lora_alpha=options.alpha, target_modules=targets, task_type="CAUSAL_LM")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(model, configuration)


def _under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _base(model: Any) -> Any:
    """The model of transformers, with the layers of an adapter in it."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _states(model: Any, batch: Batch) -> Tensor:
    """(sampled, hidden): the last states that the batch's tokens were sampled from."""
    states = model.get_decoder()(input_ids=batch.ids, use_cache=False).last_hidden_state
    selected: Tensor = states.flatten(0, 1)[batch.places]
    return selected


def _of_targets(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(sampled,) log-probabilities of the targets and, without a gradient, the entropies of their distributions."""
    told = logits.log_softmax(-1)
    with torch.no_grad():
        entropy = -(told.exp() * told).sum(-1)
    return told.gather(-1, targets[:, None]).squeeze(-1), entropy


def _spread(values: Tensor, mask: Tensor) -> Tensor:
    """(sampled,) as (rows, completion tokens), 0 where nothing was sampled."""
    return torch.zeros(mask.shape, dtype=values.dtype, device=values.device).masked_scatter(mask, values)


def _without_dropout(model: Any) -> None:
    """The ratio of a policy to itself must be 1."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0


def _recompute(model: Any) -> None:
    # The name is transformers 5.24's; before, and until 6, it is the other one. Without reentry frozen inputs need no gradient.
    if hasattr(model, "activation_checkpointing_enable"):
        model.activation_checkpointing_enable()
    else:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


@torch.no_grad()
def _check_head(model: Any) -> None:
    head = model.get_output_embeddings()
    # Not token 0: where it is the padding its state may be 0, and so is any function of it.
    ids = torch.arange(1, min(head.out_features, 9), device=model.device)[None]
    whole = model(input_ids=ids, use_cache=False).logits
    ours = head(model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state)
    # A soft cap hardly shows on the small logits of an untrained model.
    capped = getattr(model.config, "final_logit_softcapping", None) is not None
    if capped or not torch.allclose(whole.float(), ours.float(), rtol=1e-3, atol=1e-4):
        raise DataError(f"{type(model).__name__} does more to its logits than one linear layer; PPO supports models such as Qwen and Llama")
