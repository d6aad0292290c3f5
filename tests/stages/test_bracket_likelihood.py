"""bracket_likelihood through its command line: what it writes, going on after a kill, bad input."""

import csv
import json
import signal
import statistics
import subprocess
import time

import bracket_likelihood
import numpy as np
import pytest
import torch
from conftest import succeed
from genlab import InputError, kinds
from genlab.data import amat, arrays
from genlab.models import annealing, importance, proposals, vae
from stage import command, run_here, run_stage

QUICK = (
    "--device", "cpu", "--threads", 1, "--chains", 4, "--temperatures", 30, "--leapfrog-steps", 2,
    "--warmup-temperatures", 6, "--samples", 60, "--refine-steps", 20, "--refine-samples", 4,
)  # fmt: skip


def words(model, data, folder, *more):
    """Options of a run of seconds that writes x.json and x.csv into a folder."""
    return [
        "--weights", model / "model.safetensors", "--data", data, "--output", folder / "x.json", *QUICK, *more,
    ]  # fmt: skip


def columns(folder, name):
    """The table's columns of a set, as arrays."""
    rows = [row for row in csv.DictReader((folder / "x.csv").open()) if row["set"] == name]
    return {key: np.array([float(row[key] or "nan") for row in rows]) for key in rows[0] if key != "set"}


COUNTS = {"test": 6, "simulated": 8}


@pytest.fixture(scope="module")
def bracketed(trained_vae, prepared_digits, tmp_path_factory):
    """A folder with x.json and x.csv of both sets, and what was printed."""
    folder = tmp_path_factory.mktemp("bracketed")
    counts = ("--images", COUNTS["test"], "--simulated-images", COUNTS["simulated"])
    process = succeed("bracket_likelihood", *words(trained_vae, prepared_digits, folder, *counts))
    return folder, process.stdout


@pytest.fixture(scope="module")
def content(bracketed):
    return json.loads((bracketed[0] / "x.json").read_text())


@pytest.fixture(scope="module", params=COUNTS)
def set_name(request):
    return request.param


@pytest.fixture(scope="module")
def table(bracketed, set_name):
    return columns(bracketed[0], set_name)


@pytest.fixture(scope="module")
def summary(content, set_name):
    return content["sets"][set_name]


each_proposal = pytest.mark.parametrize("proposal", ["posterior", "refined"])


def test_the_json_says_what_it_rests_on(content):
    assert content["seed"] == 1 and "stand-in" in content["data"]["title"]
    assert content["settings"]["temperatures"] == 30 and "torch" in content["provenance"]["versions"]


def test_it_writes_both_sets(content):
    assert list(content["sets"]) == ["test", "simulated"]


def test_a_finished_run_leaves_no_state(bracketed):
    assert not (bracketed[0] / "x.json.state").exists()


def test_a_set_has_as_many_images_as_asked_for(set_name, table, summary):
    assert summary["images"] == len(table["annealed"]) == COUNTS[set_name]


def test_the_annealed_summary_is_of_the_table(table, summary):
    annealed, error = table["annealed"], table["annealed_error"]
    assert summary["annealed"] == {
        "mean": pytest.approx(annealed.mean()),
        "standard_error": pytest.approx(statistics.stdev(annealed) / len(annealed) ** 0.5),
        "chain_error": pytest.approx((error**2).sum() ** 0.5 / len(annealed)),
    }


def test_every_annealed_estimate_has_an_error(table):
    assert (table["annealed_error"] > 0).all()


def test_some_moves_are_accepted_but_not_all(summary):
    assert 0.2 < summary["acceptance"]["min"] <= summary["acceptance"]["mean"] < 1


def test_the_annealed_mean_is_printed(bracketed, set_name, table):
    error = (table["annealed_error"] ** 2).sum() ** 0.5 / len(table["annealed"])
    said = f"{set_name}: log-likelihood {table['annealed'].mean():.3f} nats, error of the chains alone {error:.3f}"
    assert said in bracketed[1]


@each_proposal
def test_the_curve_is_the_mean_over_the_images_at_each_number_of_samples(table, summary, proposal):
    curve = summary[proposal]["curve"]
    assert [row["k"] for row in curve] == [1, 10, 50, 60]
    for row in curve:
        assert row["log_likelihood"]["mean"] == pytest.approx(table[f"{proposal}_{row['k']}"].mean())


@each_proposal
def test_the_shortfall_is_paired_with_the_annealed_estimate(table, summary, proposal):
    for row in summary[proposal]["curve"]:
        shortfalls = table["annealed"] - table[f"{proposal}_{row['k']}"]
        assert row["shortfall"]["mean"] == pytest.approx(shortfalls.mean(), abs=1e-5)  # the table has nine figures
        assert row["shortfall"]["standard_error"] == pytest.approx(
            statistics.stdev(shortfalls) / len(shortfalls) ** 0.5, rel=1e-5
        )


@each_proposal
def test_the_elbo_falls_shortest(summary, proposal):
    shortfalls = [row["shortfall"]["mean"] for row in summary[proposal]["curve"]]
    assert shortfalls[0] > max(0, *shortfalls[1:])


@each_proposal
def test_the_shape_of_the_weights_is_summarised(summary, proposal):
    assert -1 < summary[proposal]["pareto_k"]["median"] < 10


@each_proposal
def test_the_effective_sample_size_is_the_mean_of_the_table(table, summary, proposal):
    sizes = table[f"{proposal}_effective_sample_size"]
    assert summary[proposal]["effective_sample_size"]["mean"] == pytest.approx(sizes.mean())


def test_refinement_raises_the_elbo(table):
    assert (table["refined_1"] > table["posterior_1"]).mean() > 0.8


def test_the_gap_of_simulated_images_is_between_the_bounds(bracketed, content):
    table = columns(bracketed[0], "simulated")
    gap = table["gap"]
    np.testing.assert_allclose(gap, table["upper"] - table["annealed"], atol=1e-5)
    assert gap.mean() > 0 and content["sets"]["simulated"]["gap"]["mean"] == pytest.approx(gap.mean())


def test_test_images_have_no_upper_bound(bracketed, content):
    assert "gap" not in content["sets"]["test"] and np.isnan(columns(bracketed[0], "test")["upper"]).all()


def test_a_row_is_of_the_image_that_it_names(trained_vae, prepared_digits, tmp_path):
    more = ("--images", 5, "--simulated-images", 2, "--samples", 300, "--chunk", 8)  # two images at a time
    succeed("bracket_likelihood", *words(trained_vae, prepared_digits, tmp_path, *more))
    table = columns(tmp_path, "test")
    rows = table["image"].astype(int)
    expected = np.random.default_rng([1, 2]).permutation(40)[:5]  # the first of estimate_likelihood's
    assert rows.tolist() == sorted(expected)
    model, _ = vae.load_binary_vae(trained_vae / "model.safetensors")
    x = torch.from_numpy(amat.unpack_bits(arrays.load_binarized_mnist(prepared_digits).test[rows])).float()
    with torch.no_grad():
        weights = proposals.importance_weights(model, x, model.posterior(x), 300, torch.Generator(), 100)
    # The same mean from other draws; images differ by tens of nats.
    error = (weights.std(1) * (2 / 300) ** 0.5).numpy()
    assert (np.abs(table["posterior_1"] - weights.mean(1).numpy()) < 4 * error).all() and error.max() < 1.5
    assert (table["annealed"] > table["posterior_1"]).all()
    np.testing.assert_allclose(table["annealed"], importance.log_mean_exp(weights), rtol=0, atol=8)


@pytest.fixture(scope="module")
def killed(trained_vae, prepared_digits, tmp_path_factory):
    """A folder with a run in "undisturbed", one in "killed" that was killed and run again, and what that said."""
    folder = tmp_path_factory.mktemp("killed")
    more = ("--images", 4, "--simulated-images", 4, "--chunk", 8)  # two blocks of images in each set
    for name in ("undisturbed", "killed"):
        (folder / name).mkdir()
    succeed("bracket_likelihood", *words(trained_vae, prepared_digits, folder / "undisturbed", *more))
    arguments = words(trained_vae, prepared_digits, folder / "killed", *more)
    process = subprocess.Popen(command("bracket_likelihood", *arguments), stderr=subprocess.PIPE, text=True)
    state, deadline = folder / "killed" / "x.json.state" / "test.safetensors", time.monotonic() + 60
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL and state.exists() and not (folder / "killed" / "x.csv").exists()
    again = succeed("bracket_likelihood", *arguments)
    assert not state.exists()
    return folder, again.stderr


def test_killed_halfway_and_run_again_it_ends_with_the_same_bytes(killed):
    folder, said = killed
    assert "test: resuming after " in said
    assert (folder / "undisturbed" / "x.csv").read_bytes() == (folder / "killed" / "x.csv").read_bytes()


def test_each_block_of_images_draws_its_own(killed):
    assert len(set(columns(killed[0] / "killed", "simulated")["annealed"])) == 4


def test_the_time_limit_ends_it_within_a_block(trained_vae, prepared_digits, tmp_path):
    more = ("--images", 40, "--temperatures", 100_000, "--max-seconds", 1)
    process = run_stage("bracket_likelihood", *words(trained_vae, prepared_digits, tmp_path, *more))
    assert process.returncode == 75 and "interrupted: by the limit of 1 s" in process.stderr.splitlines()[-1]
    assert not (tmp_path / "x.json").exists() and not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize(
    "more, message",
    [
        (("--images", "-1"), "-1 is out of range; give 0 or more"),
        (("--images", "5", "--chains", "1"), "1 is out of range; give 2 or more"),
        (("--images", "5", "--acceptance", "1"), "1 is out of range; give less than 1"),
        (("--images", "5", "--start", "nowhere"), "invalid choice: 'nowhere'"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path, capsys, more, message):
    with pytest.raises(SystemExit) as stop:
        run_here(bracket_likelihood, *words(tmp_path, tmp_path / "x.npz", tmp_path, *more))
    assert stop.value.code == 2 and message in capsys.readouterr().err.splitlines()[-1]


def test_no_images_at_all_are_refused_in_one_line(trained_vae, prepared_digits, tmp_path):
    none = ("--images", 0, "--simulated-images", 0)
    process = run_stage("bracket_likelihood", *words(trained_vae, prepared_digits, tmp_path, *none))
    assert process.returncode == 2 and process.stderr == (
        "bracket_likelihood.py: error: --images and --simulated-images are 0; give a number of images for one of "
        "them or both\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "more, message",
    [
        (("--weights", __file__), r"test_bracket_likelihood\.py: not a sound safetensors file"),
        (("--data", __file__), r"test_bracket_likelihood\.py: "),
        (("--data", "missing.npz"), r"missing\.npz"),
    ],
)
def test_files_of_no_use_are_refused(trained_vae, prepared_digits, tmp_path, more, message):
    with pytest.raises((InputError, FileNotFoundError), match=message):
        run_here(bracket_likelihood, *words(trained_vae, prepared_digits, tmp_path, "--images", 5, *more))
    assert not list(tmp_path.iterdir())


def test_the_counts_of_samples_end_with_the_one_asked_for():
    assert kinds.sample_counts(1) == [1]
    assert kinds.sample_counts(200) == [1, 10, 50, 200]
    assert kinds.sample_counts(300) == [1, 10, 50, 200, 300]


@pytest.fixture
def summary_of_one():
    """The summary of one image, to whose weights no shape could be fitted."""
    names = ("annealed", "annealed_error", "acceptance", "posterior_1", "refined_1")
    numbers = {name: np.array([-2.0]) for name in names}
    for name in ("posterior", "refined"):
        numbers |= {f"{name}_effective_sample_size": np.array([1.0]), f"{name}_pareto_k": np.array([np.nan])}
    return bracket_likelihood.summarise(numbers, [1])


def test_the_mean_of_one_image_has_a_standard_error_of_zero(summary_of_one):
    assert summary_of_one["annealed"] == {"mean": -2.0, "standard_error": 0.0, "chain_error": 2.0}


def test_shapes_that_could_not_be_fitted_are_not_counted(summary_of_one):
    assert summary_of_one["posterior"]["pareto_k"] == {"median": None, "share_above_0.7": None}


@pytest.mark.parametrize("start", ["posterior", "refined", "prior"])
def test_chains_start_where_the_setting_says(monkeypatch, start):
    seen, zero = [], torch.zeros(2, dtype=torch.float64)
    answer = {"log_likelihood": zero, "standard_error": zero, "acceptance": zero}
    monkeypatch.setattr(
        annealing, "annealed_log_likelihood", lambda model, x, proposal, *rest: seen.append(proposal) or dict(answer)
    )
    model, x = vae.binary_vae("suggested", 3).eval(), torch.randint(0, 2, (2, 784)).float()
    settings = {"start": start, "samples": 1, "refine_steps": 3, "refine_samples": 2, "refine_rate": 0.05}
    bracket_likelihood.estimate_block(model, x, None, torch.Generator().manual_seed(1), settings, 100, lambda: None)
    with torch.no_grad():
        posterior = model.posterior(x)
    assert all(map(torch.equal, seen[0], posterior)) == (start == "posterior")
    assert all((part == 0).all() for part in seen[0]) == (start == "prior")
