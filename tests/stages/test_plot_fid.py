"""summarise_fid.py and plot_fid.py: from scores of single seeds to what is quoted and drawn."""

import json
import statistics

import numpy as np
import plot_fid
import pytest
import summarise_fid
from genlab import InputError
from PIL import Image
from stage import run_here, run_stage, run_without_torch

TITLE = "embedded stand-in for SVHN"


def score(seed=1, fid=1234.5, model="gan", floor=(400.0, 402.0), **changes):
    """What score_fid.py writes."""
    source = {"file": "svhn.npz", "sha256": "5a", "split": "train", "images": 9000, "title": TITLE}
    result = {
        "model": model,
        "data": {"title": TITLE, "source": "embedded"},
        "seed": seed,
        "fid": fid,
        "samples": 1000,
        "reference": source | {"split": "test", "images": 2000},
        "floor": floor and {"mean": 0, "sd": 0, "values": [v + seed for v in floor], "images": 1000, "source": source},
        "features": {"file": "model.safetensors", "sha256": "c0ffee12", "title": TITLE},
        "protocol": "Protocol in one sentence.",
        "provenance": {"settings": {"seed": seed}},
    }
    return result | changes


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def summarise(folder, scores):
    """The summary's JSON and text of scores, run in this process."""
    files = [write(folder / f"score{n}.json", each) for n, each in enumerate(scores)]
    out = folder / "out"
    run_here(summarise_fid, "--scores", *files, "--output", out / "fid.txt")
    return json.loads((out / "fid.json").read_text()), (out / "fid.txt").read_text()


# The summary


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (score() | {"reference": {"images": 3}}, r"score1\.json: 'reference/title' is missing"),
        (score() | {"floor": {"values": [1.0], "images": 3}}, r"score1\.json: 'floor/source/title' is missing"),
        (score() | {"fid": "3"}, r"score1\.json: 'fid' is \"3\"; remake it"),
    ],
)
def test_what_is_no_score_is_named(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        summarise(tmp_path, [score(), content])
    assert not (tmp_path / "out").exists()


def test_a_fault_of_the_code_is_not_called_a_fault_of_the_scores(tmp_path, monkeypatch):
    monkeypatch.setattr(summarise_fid, "text", lambda summary: {}["a fault of ours"])
    with pytest.raises(KeyError, match="a fault of ours"):
        summarise(tmp_path, [score()])
    assert not (tmp_path / "out").exists()


VALUES = [1230.0, 1250.0, 1226.0]


@pytest.fixture
def of_three_seeds(tmp_path):
    """The summary's JSON and text of three seeds."""
    return summarise(tmp_path, [score(seed, fid) for seed, fid in enumerate(VALUES, 1)])


def test_several_seeds_are_quoted_in_the_first_line(of_three_seeds):
    first, empty, *_ = of_three_seeds[1].splitlines()
    assert first == f"FID 1235.3 +- 12.9 (gan, 3 seeds, N = 1000, real data 403.0, ratio 3.07) on {TITLE}"
    assert empty == ""


def test_the_score_is_the_mean_and_the_deviation_over_the_seeds(of_three_seeds):
    expected = {"mean": statistics.fmean(VALUES), "sd": statistics.stdev(VALUES), "values": VALUES}
    assert of_three_seeds[0]["fid"] == expected


def test_each_seed_has_its_line(of_three_seeds):
    assert "  seed 2: 1250" in of_three_seeds[1].splitlines()


def test_the_real_data_fid_is_of_the_draws_of_all_seeds(of_three_seeds):
    summary, text = of_three_seeds
    draws = [401, 403, 402, 404, 403, 405]
    assert summary["floor"]["values"] == draws and summary["floor"]["mean"] == statistics.fmean(draws)
    assert summary["floor"]["sd"] == pytest.approx(np.std(draws, ddof=1))
    assert "6 draws: the FID of 1000 training images" in text


def test_the_ratio_is_of_the_means(of_three_seeds):
    assert of_three_seeds[0]["ratio"] == pytest.approx(np.mean(VALUES) / 403)


def test_the_summary_says_what_was_scored(of_three_seeds):
    summary = of_three_seeds[0]
    assert (summary["model"], summary["samples"], summary["seeds"]) == ("gan", 1000, [1, 2, 3])
    assert len(summary["provenance"]) == 3


def test_the_text_names_reference_classifier_and_protocol(of_three_seeds):
    text = of_three_seeds[1]
    assert f"reference  2000 test images of {TITLE} (svhn.npz)" in text.splitlines()
    assert "model.safetensors, SHA-256 c0ffee12" in text and text.endswith("Protocol in one sentence.\n")


def test_the_text_is_printed_too(tmp_path, capsys):
    _, text = summarise(tmp_path, [score()])
    assert capsys.readouterr().out == text


def test_one_seed_has_no_spread(tmp_path):
    summary, text = summarise(tmp_path, [score(fid=63.46, floor=(60.0,))])
    assert text.splitlines()[0] == f"FID 63.5 (gan, 1 seed, N = 1000, real data 61.0, ratio 1.04) on {TITLE}"
    assert summary["fid"]["sd"] is None and summary["floor"]["sd"] is None


def test_one_draw_of_all_images_counts_once_and_is_said_to_be_of_few(tmp_path):
    of_all = [score(seed, floor=(60.0,)) for seed in (1, 2)]
    for each in of_all:
        each["floor"] |= {"values": [60.0], "images": 900, "source": each["floor"]["source"] | {"images": 900}}
    summary, text = summarise(tmp_path, of_all)
    assert (summary["floor"]["values"], summary["floor"]["sd"]) == ([60.0], None)
    assert "note       only 900 training images: the real-data FID reads high\n" in text


def test_no_floor_is_said(tmp_path):
    summary, text = summarise(tmp_path, [score(1, floor=None), score(2, floor=None)])
    assert text.startswith("FID 1234.5 +- 0.00 (gan, 2 seeds, N = 1000, real data unknown) on ")
    assert summary["floor"] is None and summary["ratio"] is None
    assert "unknown: scored without training images" in text


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (score(2, model="vae"), r"score1\.json: its model differs from that of .*score0\.json; give the seeds of one"),
        (score(2, samples=999), "its samples differs"),
        (score(2, data={"title": "SVHN"}), "its data differs"),
        (score(2, reference=score()["reference"] | {"images": 999}), "its reference differs"),
        (score(2, features=score()["features"] | {"sha256": "bad"}), "its features differs"),
        (score(2, protocol=""), "its protocol differs"),
        (score(2, floor=None), "its floor's images differs"),
        (score(1), "the seeds are 1, 1; give one score for each seed"),
        ([], r"score1\.json: 'model' is missing; remake it"),
        ({"model": "gan"}, r"score1\.json: 'data/title' is missing; remake it"),
        ("no JSON", r"score1\.json: not a JSON file"),
    ],
)
def test_scores_that_do_not_belong_together_are_refused(tmp_path, second, message):
    with pytest.raises(InputError, match=message):
        summarise(tmp_path, [score(1), second])
    assert not (tmp_path / "out").exists()


# The figure


@pytest.fixture
def summaries(tmp_path):
    """Summaries of a VAE and a GAN of two seeds."""
    for model, fids in (("vae", (5000.0, 5200.0)), ("gan", (1230.0, 1250.0))):
        files = [write(tmp_path / f"{seed}.json", score(seed, fid, model)) for seed, fid in enumerate(fids, 1)]
        run_here(summarise_fid, "--scores", *files, "--output", tmp_path / f"{model}.txt")
    return [tmp_path / "vae.json", tmp_path / "gan.json"]


def test_a_stage_writes_png_and_pdf_without_torch_and_the_same_bytes_again(summaries, tmp_path):
    output = tmp_path / "out" / "fid.png"
    result = run_stage("plot_fid", "--scores", *summaries, "--output", output)
    assert (result.returncode, result.stderr) == (0, "")
    before = output.read_bytes(), output.with_suffix(".pdf").read_bytes()
    with Image.open(output) as image:
        assert image.width > 1000
    run_without_torch({"plot_fid": ["--scores", *summaries, "--output", output]})
    assert (output.read_bytes(), output.with_suffix(".pdf").read_bytes()) == before


@pytest.fixture
def figure(summaries):
    return plot_fid.draw([plot_fid.read_score(path) for path in summaries])


def test_each_model_has_a_row_with_its_seeds(figure):
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["vae", "gan"]
    dots = [line for line in axes.lines if line.get_marker() == "."]
    assert [list(line.get_xdata()) for line in dots] == [[5000, 5200], [1230, 1250]]


def test_scores_that_lie_far_apart_stand_on_a_logarithmic_axis(figure):
    assert figure.axes[0].get_xscale() == "log"


def test_each_row_says_mean_deviation_and_ratio(figure):
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[0].startswith("5,100 \N{PLUS-MINUS SIGN} 141  (12.67 \N{MULTIPLICATION SIGN} real-data FID)")
    assert texts[1].startswith("1,240 \N{PLUS-MINUS SIGN} 14 ") and "(3.08 " in texts[1]


def test_the_legend_gives_the_real_data_fid(figure):
    (real_data, *_) = figure.axes[0].get_legend().get_texts()  # 402.5: of 401, 403, 402, 404, each once
    assert real_data.get_text() == "real-data FID, of 1,000 training images: 402.5"


def test_the_title_names_the_sets(figure):
    (title,) = (" ".join(text.get_text().split()) for text in figure.texts)
    assert TITLE in title and "1,000 samples to 2,000 real test images (svhn.npz)" in title


def test_near_scores_stand_on_a_linear_axis_from_0(tmp_path):
    summary, _ = summarise(tmp_path, [score(fid=900.0)])
    figure = plot_fid.draw([plot_fid.read_score(write(tmp_path / "gan.json", summary))])
    axes = figure.axes[0]
    assert axes.get_xscale() == "linear" and axes.get_xlim()[0] == 0 < 900 < axes.get_xlim()[1]
    assert axes.texts[0].get_text().startswith("900.0  (")


def test_no_floor_no_line(tmp_path):
    summary, _ = summarise(tmp_path, [score(floor=None)])
    figure = plot_fid.draw([plot_fid.read_score(write(tmp_path / "gan.json", summary))])
    assert figure.axes[0].get_legend() is None
    assert "real-data FID" not in " ".join(text.get_text() for text in [*figure.texts, *figure.axes[0].texts])


def change(path, **changes):
    content = json.loads(path.read_text())
    for field, value in changes.items():
        place = content
        *parents, last = field.split("__")
        for parent in parents:
            place = place[parent]
        place[last] = value
    write(path, content)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "vae"}, "the models are vae, vae; give each once"),
        ({"samples": 500}, r"gan\.json: its samples is 500, but 1000 in .*vae\.json; give models that were scored"),
        ({"reference__images": 100}, "its reference is 100 real test images"),
        ({"features__sha256": "bad"}, "its features is bad"),
        ({"data": {"title": "SVHN"}}, "its data is SVHN"),
        ({"floor": None}, "its images of the real-data FID is 0, but 1000"),
        ({"fid__mean": "1"}, r"'fid\.mean' is \"1\"; expected a finite number"),
        ({"fid__values": [1, -1]}, r"'fid\.values' holds -1, less than 0"),
        ({"fid": {}}, r"'fid\.mean' is missing"),
        ({"reference": "x"}, r"'reference\.images' is missing"),
    ],
)
def test_figure_refuses(summaries, tmp_path, changes, message):
    change(summaries[1], **changes)
    with pytest.raises(InputError, match=message):
        run_here(plot_fid, "--scores", *summaries, "--output", tmp_path / "out" / "fid.png")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("stage", "output", "message"),
    [
        ("plot_fid", "out/fid.png", "vae.json: 'model' is missing"),
        ("summarise_fid", "t.txt", "vae.json: 'model' is missing; remake it"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(summaries, tmp_path, stage, output, message):
    write(summaries[0], "[]")
    result = run_stage(stage, "--scores", *summaries, "--output", tmp_path / output)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob("t.*"))


def test_a_summary_must_be_named_txt(summaries, tmp_path):
    result = run_stage("summarise_fid", "--scores", *summaries, "--output", tmp_path / "t.json")
    assert result.returncode == 2 and "t.json: give a name that ends in .txt" in result.stderr.splitlines()[-1]
