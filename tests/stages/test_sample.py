import numpy as np
import pytest
import sample
import torch
from genlab import cli
from genlab.data import images
from genlab.models import image_model, networks
from PIL import Image
from stage import run_stage


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small, untrained GAN; its batch normalisation has seen other statistics than 0 and 1."""
    path = tmp_path_factory.mktemp("model") / "gan.safetensors"
    torch.manual_seed(0)
    network = networks.Generator(4, 8)
    network(torch.randn(64, 4))
    about = {"kind": "gan", "model": "tiny", "seed": 5, "generator": {"latents": 4, "width": 8}}
    image_model.save_model(path, {"generator": network}, about)
    return path


def read(directory):
    return np.concatenate(list(images.read_directory(directory)[1]))


def contents(directory):
    return {file.name: file.read_bytes() for file in (directory / "samples").iterdir()}


def arguments(model, output, **options):
    words = [word for key, value in ({"seed": 3, "threads": 1} | options).items() for word in (f"--{key}", value)]
    return [str(word) for word in ("--weights", model, "--output", output, "--device", "cpu", *words)]


def draw(*args, **options):
    """The stage in this process: many calls in little time."""
    cli.run(sample.main, sample.parser(), arguments(*args, **options))


def test_writes_as_many_images_of_the_generator_in_eval_mode(model, tmp_path):
    result = run_stage("sample", *arguments(model, tmp_path / "out", count=12))
    assert (result.returncode, result.stdout) == (0, f"12 images of tiny in {tmp_path / 'out'}\n")
    assert "tiny (seed 5), latents of seed 3, device cpu" in result.stderr
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["samples"]
    assert sorted(contents(tmp_path / "out")) == [f"{n:04}.png" for n in range(12)]
    with Image.open(tmp_path / "out" / "samples" / "0000.png") as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (32, 32))
    network = image_model.load_model(model)[0]["generator"]
    z = torch.randn(12, 4, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = (network(z).double() + 1) * 127.5
    assert np.abs(read(tmp_path / "out") - expected.numpy()).max() <= 0.5001


def test_same_seed_same_bytes_and_another_seed_other_images(model, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        draw(model, tmp_path / name, count=5, seed=seed)
    assert contents(tmp_path / "a") == contents(tmp_path / "b") != contents(tmp_path / "c")
    before = contents(tmp_path / "a")
    draw(model, tmp_path / "a", count=2)  # an earlier directory is replaced as a whole
    assert len(contents(tmp_path / "a")) == 2 and before != contents(tmp_path / "a")


def test_default_is_1000(model, tmp_path):
    draw(model, tmp_path / "out")
    assert images.read_directory(tmp_path / "out")[0] == 1000


def test_refuses_with_one_line_and_writes_nothing(model, tmp_path, capsys):
    def refused(message, *args, **options):
        with pytest.raises(SystemExit) as left:
            draw(*args, count=2, **options)
        said = capsys.readouterr()
        assert left.value.code == 2 and said.out == ""
        assert said.err.count("\n") == 1 and ": error: " in said.err and message in said.err

    (tmp_path / "pickle.pt").write_bytes(b"\x80\x04K\x01.")
    refused("pickle.pt: not a sound safetensors file", tmp_path / "pickle.pt", tmp_path / "out")
    refused("absent: no such file", tmp_path / "absent", tmp_path / "out")
    refused("exists and is no sample directory", model, tmp_path)  # it holds other things
    assert [entry.name for entry in tmp_path.iterdir()] == ["pickle.pt"]
