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
    size = {"latents": 4, "width": 8}
    about = {"kind": "gan", "model": "tiny", "seed": 5, "generator": size, "data": {"title": "none"}}
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


@pytest.fixture(scope="module")
def sampled(model, tmp_path_factory):
    """The folder of 12 images, and the finished process."""
    out = tmp_path_factory.mktemp("sampled") / "out"
    return out, run_stage("sample", *arguments(model, out, count=12))


def test_it_says_how_many_images_of_which_model_it_drew(sampled):
    out, result = sampled
    assert (result.returncode, result.stdout) == (0, f"12 images of tiny in {out}\n")
    assert "tiny (seed 5), latents of seed 3, device cpu" in result.stderr


def test_it_writes_as_many_small_png_files_as_asked_for(sampled):
    out, _ = sampled
    assert [entry.name for entry in out.iterdir()] == ["samples"]
    assert sorted(contents(out)) == [f"{n:04}.png" for n in range(12)]
    with Image.open(out / "samples" / "0000.png") as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (32, 32))


def test_images_are_of_the_generator_in_eval_mode(model, sampled):
    network = image_model.load_model(model)[0]["generator"]
    z = torch.randn(12, 4, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected = (network(z).double() + 1) * 127.5
    assert np.abs(read(sampled[0]) - expected.numpy()).max() <= 0.5001


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_images(model, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        draw(model, tmp_path / name, count=5, seed=seed)
    assert contents(tmp_path / "a") == contents(tmp_path / "b") != contents(tmp_path / "c")


def test_an_earlier_directory_is_replaced_as_a_whole(model, tmp_path):
    draw(model, tmp_path / "a", count=5)
    before = contents(tmp_path / "a")
    draw(model, tmp_path / "a", count=2)
    assert len(contents(tmp_path / "a")) == 2 and before != contents(tmp_path / "a")


def test_default_is_1000(model, tmp_path):
    draw(model, tmp_path / "out")
    assert images.read_directory(tmp_path / "out")[0] == 1000


@pytest.mark.parametrize(
    ("weights", "output", "message"),
    [
        ("pickle.pt", "out", "pickle.pt: not a sound safetensors file"),
        ("absent", "out", "absent: no such file"),
        (None, "", "exists and is no sample directory"),  # it holds other things
    ],
)
def test_refuses_with_one_line_and_writes_nothing(model, tmp_path, capsys, weights, output, message):
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(SystemExit) as left:
        draw(tmp_path / weights if weights else model, tmp_path / output, count=2)
    said = capsys.readouterr()
    assert left.value.code == 2 and said.out == ""
    assert said.err.count("\n") == 1 and ": error: " in said.err and message in said.err
    assert [entry.name for entry in tmp_path.iterdir()] == ["pickle.pt"]


def test_noise_is_refused_of_a_gan(model, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        cli.run(sample.main, sample.parser(), [*arguments(model, tmp_path / "out", count=2), "--noise"])
    assert left.value.code == 2 and "--noise: the weights are of no VAE" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
