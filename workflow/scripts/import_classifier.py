"""Convert existing weights of the feature classifier to the format of this pipeline.

Takes the course's svhn_classifier as safetensors or as a .pt file of torch.save. A .pt file is read
without running anything in it; a file that asks for more than layers and tensors is refused. Names,
shapes and types of the weights are checked. The output names the file it came from and its SHA-256.

example:
  python workflow/scripts/import_classifier.py --weights svhn_classifier.pt --output classifier.safetensors
"""

from pathlib import Path

from genlab import cli


def parser():
    result = cli.parser(__doc__)
    result.add_argument(
        "--weights", type=Path, required=True, metavar="FILE", help="existing weights, .safetensors or .pt"
    )
    result.add_argument("--output", type=Path, required=True, metavar="SAFETENSORS", help="weights to write")
    return result


def main(options):
    from genlab.models import classifier
    from genlab.training import checkpoint

    network, about = classifier.load_classifier(options.weights)
    original = {key: about[key] for key in ("file", "sha256")}
    checkpoint.save_tensors(options.output, network.state_dict(), {"source": "given", "original": original})


if __name__ == "__main__":
    cli.run(main, parser())
