"""Train the WGAN-GP: the plain loop with double backward against this project's, in generator updates per second.

The reference: DataLoader, the same layers in the default layout, float32, torch.optim.Adam, and separate passes of
the critic over real images, generated images and interpolates. Ours: the task of train_gan.py, stepped as in the
training loop, with its moving average of the weights. Both start from the same weights and take as many critic updates
per generator update; every turn runs in its own process. The results must agree: for the gradient of the critic's
first loss on the same images and noise, the cosine must be at least 0.9999 (float32) or 0.99 (bfloat16) and the
lengths equal to 1e-3 or 0.05; the penalty in training must be between 0 and 1 for both.
"""

import side_by_side
from genlab import cli, configuration


def parser():
    result = side_by_side.parser(__doc__)
    result.add_argument("--updates", type=cli.positive, default=44, help="generator updates in a turn (default: 44)")
    result.add_argument(
        "--critic-steps", type=cli.positive, default=1, help="critic updates per generator update (default: 1)"
    )
    result.add_argument("--batch-size", type=cli.positive, default=64, help="images in an update (default: 64)")
    result.add_argument(
        "--width", type=cli.positive, default=32, help="width of both networks (default: 32, as in config/full.yaml)"
    )
    result.add_argument(
        "--precision", choices=("float32", "bfloat16"), nargs="+", default=["bfloat16"],
        help="number formats of ours, a comparison for each (default: bfloat16, `auto` on processors that support it)",
    )  # fmt: skip
    return result


def main(options):
    side_by_side.limit_threads(options.threads)
    return [compare(options, precision) for precision in options.precision]


def compare(options, precision):
    arguments = (
        options.threads, options.updates, options.critic_steps, options.batch_size, options.width, precision,
    )  # fmt: skip
    task, plainly, pixels, _ = begin(*arguments)
    agree_on_a_gradient(task, plainly, pixels[:64], precision)

    def check(expected, found):
        assert 0 < expected < 1 and 0 < found < 1, (expected, found)

    return side_by_side.compare_apart(
        f"train the WGAN-GP, width {options.width}, critic updates {options.critic_steps}, ours in {precision}",
        reference, ours, arguments, check, options.turns, 2, (options.updates, "generator updates"),
    )  # fmt: skip


def begin(threads, updates, critic_steps, batch_size, width, precision):
    """(task, its plain reference, images uint8, the same images as floats), the same in every call."""
    side_by_side.limit_threads(threads)
    import copy

    import plain
    import torch
    from genlab.data import images
    from genlab.models import layers, networks, wgan

    plain.set_up(threads)
    defaults = configuration.complete({"images": {"models": {"gan": {"kind": "gan"}}}})["images"]["models"]["gan"]
    settings = defaults | {
        "critic_steps": critic_steps, "schedule": "constant", "warmup_steps": 0, "precision": precision,
        "epochs": 1, "learning_rate": 2e-4,
    }  # fmt: skip
    pixels = plain.coloured_blobs(updates * critic_steps * batch_size)
    features = networks.FeatureClassifier().eval()
    printed = networks.Generator(100, width), networks.Critic(width)
    parts = [copy.deepcopy(part).to(memory_format=torch.contiguous_format) for part in printed]
    for part, shape in zip(printed, ((100,), (3, 32, 32)), strict=True):
        layers.accelerate(part, *shape)
    task = wgan.WGANTraining(*printed, pixels[:64], features, settings)
    return task, WGANTraining(*parts, settings), pixels, images.to_model(pixels)


def reference(threads, updates, critic_steps, batch_size, width, precision):
    """(times, mean penalty) of a pass of the plain loop, after two updates of the generator."""
    _, training, _, floats = begin(threads, updates, critic_steps, batch_size, width, precision)
    training.epoch(floats[: 2 * critic_steps * batch_size], batch_size)
    return side_by_side.timed(lambda: training.epoch(floats, batch_size))


def ours(threads, updates, critic_steps, batch_size, width, precision):
    """(times, mean penalty) of a pass of the project's task, after two updates of the generator."""
    from genlab.training import loop

    loop.set_up("cpu", threads, seed=1)
    task, _, pixels, _ = begin(threads, updates, critic_steps, batch_size, width, precision)
    import plain

    plain.epoch(task, pixels[: 2 * critic_steps * batch_size], batch_size, seed=1)
    return side_by_side.timed(lambda: plain.epoch(task, pixels, batch_size, seed=1)["train_penalty"])


class WGANTraining:
    """The plain loop: `critic_loss` of Gulrajani et al. (2017), and `epoch`, one pass over floats (N, 3, 32, 32)."""

    def __init__(self, generator, critic, settings):
        self.generator, self.critic, self.settings = generator, critic, settings
        import torch

        rate, betas = settings["learning_rate"], (settings["beta1"], settings["beta2"])
        self.critic_optimizer = torch.optim.Adam(critic.parameters(), rate, betas)
        self.generator_optimizer = torch.optim.Adam(generator.parameters(), rate, betas)

    def critic_loss(self, real):
        """(loss, penalty) of a batch."""
        import torch

        fake = self.generator(torch.randn(len(real), self.generator.latents, device=real.device)).detach()
        alpha = torch.rand(len(real), 1, 1, 1, device=real.device)
        mixed = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
        scores = self.critic(mixed)
        gradient = torch.autograd.grad(scores, mixed, torch.ones_like(scores), create_graph=True, retain_graph=True)[0]
        penalty = ((gradient.reshape(len(real), -1).norm(2, dim=1) - 1) ** 2).mean()
        loss = self.critic(fake).mean() - self.critic(real).mean() + self.settings["penalty_weight"] * penalty
        return loss, penalty

    def epoch(self, images, batch_size):
        """The mean penalty over the pass."""
        import torch

        total, data = 0.0, torch.utils.data.TensorDataset(images)
        device, latents = next(self.critic.parameters()).device, self.generator.latents
        for step, (real,) in enumerate(torch.utils.data.DataLoader(data, batch_size, shuffle=True)):
            real = real.to(device)
            loss, penalty = self.critic_loss(real)
            self.critic_optimizer.zero_grad()
            loss.backward()
            self.critic_optimizer.step()
            total += penalty.item() * len(real)
            if (step + 1) % self.settings["critic_steps"] == 0:
                loss = -self.critic(self.generator(torch.randn(len(real), latents, device=device))).mean()
                self.generator_optimizer.zero_grad()
                loss.backward()
                self.generator_optimizer.step()
        return total / len(images)


def agree_on_a_gradient(task, reference, pixels, precision):
    """Raise AssertionError unless both give the same gradient of the first critic loss."""
    import copy

    import torch
    from genlab.data import images
    from genlab.training import optimization

    gradients = []
    torch.manual_seed(2)
    reference.critic_loss(images.to_model(pixels))[0].backward()
    gradients.append([parameter.grad for parameter in reference.critic.parameters()])
    reference.critic.zero_grad()

    before = copy.deepcopy(task.critic.state_dict())
    statistics = copy.deepcopy(task.generator.state_dict())
    caught = {}

    def catch(name, loss, rate):
        parameters = list(task.critic.parameters())
        caught.setdefault(name, torch.autograd.grad(loss, parameters) if name == "critic" else None)

    task.update = catch  # for this object only: differentiate the loss, but take no step
    try:
        torch.manual_seed(2)
        task.step(pixels, task.schedule(optimization.Progress(0, 1, 0.0)))
    finally:
        del task.update
        task.critic.requires_grad_(True)
    task.critic.load_state_dict(before)
    task.generator.load_state_dict(statistics)
    gradients.append(caught["critic"])
    expected, found = (torch.cat([gradient.reshape(-1) for gradient in each]) for each in gradients)
    cosine = torch.nn.functional.cosine_similarity(expected, found, dim=0).item()
    length = (found.norm() / expected.norm()).item()
    least, off = (0.9999, 1e-3) if precision == "float32" else (0.99, 0.05)
    assert cosine > least and abs(length - 1) < off, f"cosine {cosine}, length {length} of the plain gradient's"


if __name__ == "__main__":
    options = parser().parse_args()
    side_by_side.write(options, main(options))
