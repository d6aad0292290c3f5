"""What the updates of all trainings share: optimizers, learning rates, precision, averages of weights."""

import copy
import math
from dataclasses import dataclass

import torch

FALLING = 0.3  # the share of the updates over which a trapezoid falls
MOMENTUM = 0.95  # of Muon
MUON_RATE = 20  # Muon's rate for each 1 of the setting `learning_rate`, which is Adam's: 0.02 for 0.001
SMALLEST = 16  # fewest rows and columns for Muon; smaller weights, such as those of a last layer, are left to AdamW
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients of the polynomial in Jordan et al. (2024)


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


def optimizers(model, settings):
    """{name: optimizer} of a VAE: one for all its weights, or for `muon` one for its matrices and AdamW for the rest.

    Matrices are the weights of linear and convolutional layers. A prior keeps AdamW: not all of its weights are layers.
    """
    if settings["optimizer"] != "muon":
        return {"optimizer": optimizer(model.parameters(), settings)}
    matrices, rest = [], []
    for name, weight in model.named_parameters():
        large = weight.ndim > 1 and min(len(weight), weight[0].numel()) >= SMALLEST
        (matrices if large and not name.startswith("prior.") else rest).append(weight)
    return {
        "optimizer": optimizer(rest, settings | {"optimizer": "adamw"}),
        "muon": Muon(matrices, settings["learning_rate"], settings["weight_decay"]),
    }


class Muon(torch.optim.Optimizer):
    """Momentum that is orthogonalised before each step (Jordan et al. 2024, "Muon").

    A weight (n, ...) counts as a matrix of n rows. Its update has about the same size in every direction, also in those
    along which gradients are small. torch's own Muon takes matrices alone, and computes in bfloat16, which most CPUs
    lack.

    rate: Adam's; the step of a matrix (n, m) is MUON_RATE times this, and sqrt(n / m) times more if n > m.
    """

    def __init__(self, weights, rate, weight_decay=0.0):
        super().__init__(weights, {"lr": rate, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            rate, same = MUON_RATE * group["lr"], {}
            for weight in group["params"]:
                if weight.grad is not None:
                    state = self.state[weight]
                    if not state:
                        state["momentum"] = torch.zeros_like(weight)
                    state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
                    ahead = weight.grad.lerp(state["momentum"], MOMENTUM)  # as Nesterov
                    same.setdefault(ahead.flatten(1).shape, []).append((weight, ahead.flatten(1)))
            for (rows, columns), found in same.items():
                scale = max(1.0, rows / columns) ** 0.5
                steps = orthogonalise(torch.stack([matrix for _, matrix in found]))
                for (weight, _), step in zip(found, steps, strict=True):
                    weight.mul_(1 - rate * group["weight_decay"])
                    weight.sub_(scale * rate * step.view(weight.shape))


def orthogonalise(matrices):
    """The nearest matrices with orthonormal rows or columns, roughly, of matrices (B, n, m): (B, n, m).

    Five steps of a Newton-Schulz iteration. It keeps the singular vectors and brings the singular values to between 0.7
    and 1.2, except very small ones. That is enough for an optimizer, and only takes products of matrices.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if matrices.shape[1] > matrices.shape[2] else x


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
