"""Write untrained networks, whose files are as sound as those of trained ones: networks.py KIND OUTPUT [DATA].

A program, so that the tests themselves need not import torch.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow" / "scripts"))


def classifier(output):
    from genlab.models import networks
    from genlab.training import checkpoint

    weights = {key: value.contiguous() for key, value in networks.FeatureClassifier().state_dict().items()}
    if output.endswith(".pt"):
        import torch

        torch.save(weights, output)
    else:
        checkpoint.save_tensors(output, weights, {"model": "classifier", "source": "trained"})


def image_model(kind, output, data):
    from genlab.data import arrays
    from genlab.models import image_model, networks

    other = {"vae": ("encoder", networks.Encoder(5, 4)), "gan": ("critic", networks.Critic(4))}[kind]
    about = {"kind": kind, "model": kind, "seed": 1, "generator": {"latents": 5, "width": 4}}
    parts = {"generator": networks.Generator(5, 4), other[0]: other[1]}
    image_model.save_model(output, parts, about | {"data": arrays.load_images(data).about})


def binary_vae(output, data):
    from genlab.data import arrays
    from genlab.models import vae

    about = {"model": "vae", "seed": 1, "architecture": "suggested", "latents": 3}
    vae.save_vae(output, vae.binary_vae("suggested", 3), about | {"data": arrays.load_binarized_mnist(data).about})


def main():
    import torch

    torch.manual_seed(2)
    kind, output, *data = sys.argv[1:]
    if kind == "classifier":
        classifier(output)
    elif kind == "binary_vae":
        binary_vae(output, *data)
    else:
        image_model(kind, output, *data)


if __name__ == "__main__":
    main()
