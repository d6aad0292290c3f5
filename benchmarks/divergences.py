"""Problem 1: 42 separate trainings (21 discriminators, 21 critics) against one batched model, one seed.

Both have the same networks, batches, steps, losses and optimizer. The reference is the plain loop over theta,
with torch.nn.Linear layers and an optimizer for each network. Both must reach the exact values.

    python benchmarks/divergences.py
"""

import side_by_side
from genlab import cli, configuration

SETTINGS = configuration.complete({})["divergences"]["estimation"]


def parser():
    result = side_by_side.parser(__doc__, turns=1)
    steps = SETTINGS["steps"]
    result.add_argument("--steps", type=cli.positive, default=steps, help=f"steps of each training (default: {steps})")
    result.add_argument("--thetas", type=cli.positive, default=21, help="values of theta (default: 21)")
    result.add_argument("--tolerance", type=float, default=0.02, help="largest error of both (default: 0.02)")
    return result


def main(options):
    side_by_side.limit_threads(options.threads)
    import torch
    import torch.nn.functional as F
    from genlab.models import divergences

    torch.set_num_threads(options.threads)
    settings = SETTINGS | {"steps": options.steps}
    thetas = (torch.arange(options.thetas) - options.thetas // 2) / max(1, options.thetas // 2)
    batch, steps, weight = settings["batch_size"], settings["steps"], settings["penalty_weight"]

    def network():
        width = settings["width"]
        return torch.nn.Sequential(
            torch.nn.Linear(2, width), torch.nn.Softplus(5),
            torch.nn.Linear(width, width), torch.nn.Softplus(5),
            torch.nn.Linear(width, 1),
        )  # fmt: skip

    def segment(theta, count):
        return torch.stack([torch.full((count,), float(theta)), torch.rand(count)], 1)

    def bound(discriminator, p, q):
        return (
            divergences.LOG_2
            + 0.5 * F.logsigmoid(discriminator(p)).mean()
            + 0.5 * F.logsigmoid(-discriminator(q)).mean()
        )

    def slopes(critic, p, q):
        alpha = torch.rand(len(p), 1)
        points = (alpha * p + (1 - alpha) * q).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
        return gradient.norm(dim=1)

    def lagrangian(critic, p, q, done):
        penalty = ((slopes(critic, p, q) - 1) ** 2).mean()
        return critic(p).mean() - critic(q).mean() - weight * min(1, done / settings["penalty_warmup"]) * penalty

    def train(objective, theta):
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), settings["learning_rate"])
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for step in range(steps):
            loss = -objective(model, segment(0, batch), segment(theta, batch), step / steps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        return model

    def reference():
        torch.manual_seed(1)
        rows = []
        for theta in thetas:
            discriminator = train(lambda model, p, q, done: bound(model, p, q), theta)
            critic = train(lagrangian, theta)
            p, q = segment(0, 20000), segment(theta, 20000)
            steepest = slopes(critic, p, q).max().item()
            with torch.no_grad():
                w1 = critic(p).mean() - critic(q).mean()
                rows.append([bound(discriminator, p, q), w1, w1 / steepest])
        return torch.tensor(rows).T

    def ours():
        generators = [torch.Generator().manual_seed(1)]
        pair = divergences.segments(torch.zeros(len(thetas))), divergences.segments(thetas)
        discriminators = divergences.train_discriminators(*pair, generators, settings)
        critics = divergences.train_critics(*pair, generators, settings)
        jsd, _ = divergences.read_jensen_shannon(discriminators, *pair, 20000, generators)
        w1, _, lipschitz = divergences.read_wasserstein(critics, *pair, 20000, generators)
        return torch.stack([jsd, w1, w1 / lipschitz])

    def check(*results):
        w1 = divergences.segments_wasserstein(thetas)
        exact = torch.stack([divergences.segments_jensen_shannon(thetas), w1, w1])
        for result in results:
            torch.testing.assert_close(result, exact, atol=options.tolerance, rtol=0)

    subject = f"Problem 1, {2 * len(thetas)} trainings of {steps} steps"
    return [side_by_side.compare(subject, reference, ours, check, options.turns, 10)]


if __name__ == "__main__":
    options = parser().parse_args()
    side_by_side.write(options, main(options))
