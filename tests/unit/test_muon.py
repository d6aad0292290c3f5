"""Muon: against torch's, against singular values, and through an interruption."""

import os
import signal

import pytest
import torch
from genlab import Interrupted
from genlab.models import vae, vae_training
from genlab.training import checkpoint, loop, optimization
from torch import nn

SETTINGS = {"learning_rate": 0.001, "optimizer": "muon", "weight_decay": 0.0, "schedule": "cosine", "warmup_steps": 3}


def test_orthogonalised_matrices_keep_their_singular_vectors_and_have_values_near_one():
    torch.manual_seed(0)
    for shape in ((3, 20, 50), (2, 50, 20), (2, 16, 16)):
        matrices = torch.randn(shape)
        found = optimization.orthogonalise(matrices)
        left, values, right = torch.linalg.svd(matrices, full_matrices=False)
        inside = left.mT @ found @ right.mT  # diagonal: the same singular vectors
        diagonal = torch.diagonal(inside, dim1=1, dim2=2)
        torch.testing.assert_close(inside, torch.diag_embed(diagonal), rtol=0, atol=1e-3)
        kept = values > 0.03 * values[:, :1]
        assert found.shape == shape and kept.float().mean() > 0.9
        assert (diagonal[kept] > 0.6).all() and (diagonal[kept] < 1.25).all()


@pytest.mark.parametrize("shape", [(20, 50), (50, 20)])
def test_muon_is_torch_s_on_a_matrix(shape):
    """torch's computes in bfloat16, so updates agree to some percent."""
    torch.manual_seed(0)
    start, *gradients = torch.randn(5, *shape)  # a new direction at every step
    weights = [nn.Parameter(start.clone()) for _ in range(2)]
    rate, decay = 0.001, 0.5
    both = (
        optimization.Muon(weights[:1], rate, decay),
        torch.optim.Muon(weights[1:], optimization.MUON_RATE * rate, weight_decay=decay),
    )
    for gradient in gradients:
        for weight, each in zip(weights, both, strict=True):
            weight.grad = gradient.clone()
            each.step()
    ours, theirs = (weight.detach() - start for weight in weights)
    assert float((ours - theirs).norm() / theirs.norm()) < 0.03


def test_muon_takes_a_kernel_as_a_matrix_whatever_its_layout_in_memory():
    torch.manual_seed(0)
    start, gradients = torch.randn(16, 8, 3, 3), torch.randn(3, 16, 8, 3, 3)
    layouts = [start.flatten(1).clone(), start.clone(), start.clone(memory_format=torch.channels_last)]
    weights = [nn.Parameter(each) for each in layouts]
    for weight in weights:
        muon = optimization.Muon([weight], 0.01)
        for gradient in gradients:
            weight.grad = torch.empty_like(weight).copy_(gradient.view(weight.shape))
            muon.step()
    for weight in weights[1:]:
        torch.testing.assert_close(weight.flatten(1), weights[0])
    assert not torch.allclose(weights[0], start.flatten(1))


def test_muon_has_the_layers_and_adamw_the_rest():
    model = vae.binary_vae("residual", 20, prior="mixture", width=16)
    found = optimization.optimizers(model, SETTINGS | {"weight_decay": 0.1})
    names = {id(weight): name for name, weight in model.named_parameters()}
    held = {name: {names[id(w)] for w in each.param_groups[0]["params"]} for name, each in found.items()}
    assert held["muon"] | held["optimizer"] == set(names.values()) and not held["muon"] & held["optimizer"]
    assert {"encoder.3.body.2.weight", "decoder.0.weight", "decoder.3.weight"} <= held["muon"]
    last = max(
        (name for name in names.values() if name.startswith("decoder")), key=lambda name: int(name.split(".")[1])
    )
    assert {"encoder.0.weight", "encoder.3.body.2.bias", last, "prior.means"} <= held["optimizer"]
    assert type(found["optimizer"]) is torch.optim.AdamW
    assert all(each.param_groups[0]["weight_decay"] == 0.1 for each in found.values())


def test_training_with_muon_resumes_with_the_same_bytes(tmp_path):
    settings = SETTINGS | {
        "average_decay": 0.9, "precision": "float32", "samples_per_image": 1, "prior": "flow",
        "kl_warmup_epochs": 0, "kl_weight": 1.0, "encoder_steps": 1, "objective": "elbo",
    }  # fmt: skip
    x = torch.randint(0, 2, (40, 784), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))

    class Training(vae_training.VAETraining):
        def schedule(self, progress):
            if progress.step == self.stops_at:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().schedule(progress)

    def trained(folder, stops_at=None):
        torch.manual_seed(2)
        task = Training(vae.binary_vae("residual", 4, width=16, prior="flow"), x[:8], settings)
        task.stops_at, state = stops_at, checkpoint.StateFolder(folder)
        with state.lock(), checkpoint.stop_signals() as stop:
            checkpoints = checkpoint.CheckpointPolicy(state, {}, 60.0, 0, stop)
            loop.train(task, x, epochs=2, batch_size=8, seed=3, checkpoints=checkpoints)
        return task.model.state_dict()

    whole = trained(tmp_path / "whole")
    with pytest.raises(Interrupted):
        trained(tmp_path / "pieces", stops_at=7)
    for name, value in trained(tmp_path / "pieces").items():
        assert torch.equal(value, whole[name]), name
