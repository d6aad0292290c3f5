"""What the updates of all trainings share: optimizers, learning rates, precision, averages of weights."""

import copy
import math
from dataclasses import dataclass

import torch

FALLING = 0.3  # the share of the updates over which a trapezoid falls


@dataclass(frozen=True)
class Progress:
    """The progress before a step: `step` of `total` updates, `epochs` done so far (may be fractional)."""

    step: int
    total: int
    epochs: float


def optimizer(parameters, settings):
    """The optimizer that `settings` names: adam, adamw or sgd. `set_rate` sets its rate before every step."""
    parameters, decay = list(parameters), settings["weight_decay"]
    on_gpu = parameters[0].is_cuda
    if settings["optimizer"] == "sgd":
        return torch.optim.SGD(parameters, settings["learning_rate"], weight_decay=decay, fused=on_gpu)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings["optimizer"]]
    betas = (settings.get("beta1", 0.9), settings.get("beta2", 0.999))
    return kind(parameters, settings["learning_rate"], betas, weight_decay=decay, fused=True, capturable=on_gpu)


def set_rate(optimizer, rate):
    """Set the learning rate of all parameters: a float, or a tensor () on their device."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def precision(name, device):
    """The dtype that the setting `precision` names; auto is bfloat16 if the processor supports it, else float32."""
    if name == "auto":
        native = ("avx512_bf16", "amx_bf16", "sve_bf16")
        fast = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if device.type == "cuda"
            else any(torch.cpu.get_capabilities().get(feature) for feature in native)
        )
        return torch.bfloat16 if fast else torch.float32
    return {"float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16}[name]


def precision_name(settings, device):
    """What a training with `settings` computes in, in a word: auto is resolved."""
    name = settings.get("precision", "float32")
    return str(precision(name, device)).removeprefix("torch.") if name == "auto" else name


def autocast(settings, device):
    """A context in which convolutions and matrix products run in the dtype that `settings["precision"]` names.

    tf32 is not a dtype but a way to multiply float32 numbers. GPUs use it from now on, in the backward pass too.
    """
    dtype = precision(settings["precision"], device)
    if device.type == "cuda":
        allowed = settings["precision"] == "tf32"
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def learning_rate(progress, settings):
    """The learning rate at a step: linear warm-up, then by the schedule.

    constant; cosine, half a period, to zero at the end; or trapezoid, constant and linear to zero over the last 30%.
    """
    rate = settings["learning_rate"] * min(1.0, (progress.step + 1) / max(1, settings["warmup_steps"]))
    if settings["schedule"] == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * progress.step / progress.total))
    elif settings["schedule"] == "trapezoid":
        rate *= min(1.0, (1 - progress.step / progress.total) / FALLING)
    return rate


class WeightAverage(torch.nn.Module):
    """Exponential moving average of a module's parameters; `.module` is the averaged copy.

    The decay grows as (1 + n) / (10 + n) up to `decay`, so that early, poor weights are
    forgotten. With decay 0 the copy equals the module.
    """

    def __init__(self, module, decay):
        super().__init__()
        self.module, self.decay = copy.deepcopy(module).requires_grad_(False), decay
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64, device="cpu"))

    def next_rate(self):
        """How far the next `update` moves towards the module: 1 - decay. Call it once for each update."""
        self.updates += 1
        n = int(self.updates)
        return 1 - min(self.decay, (1 + n) / (10 + n))

    @torch.no_grad()
    def update(self, module, rate):
        """Move towards the module's weights. rate: that of `next_rate`, as a float or a tensor ()."""
        averages, current = list(self.module.parameters()), list(module.parameters())
        if isinstance(rate, torch.Tensor):  # three kernels; lerp with a tensor would launch one per parameter
            way = torch._foreach_sub(current, averages)
            torch._foreach_mul_(way, rate)
            torch._foreach_add_(averages, way)
        else:
            torch._foreach_lerp_(averages, current, rate)
        for average, current in zip(self.module.buffers(), module.buffers(), strict=True):
            average.copy_(current)
