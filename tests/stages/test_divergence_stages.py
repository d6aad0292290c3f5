"""Problem 1's stages: the accuracy of the default configuration, their tables, their figures, what they refuse."""

import json

import numpy as np
import pandas as pd
import plot_density
import plot_divergences
import pytest
from genlab import InputError
from genlab.report import plotting
from stage import run_here, run_stage, run_without_torch

LOG_2 = 0.6931471805599453
BRIEFLY = ("--steps", 20, "--batch-size", 16, "--threads", 1)


def estimate(folder, *more, name="divergences"):
    """Run an estimator's stage; returns its process, its table and its summary."""
    output = folder / f"{name}.csv"
    process = run_stage(f"estimate_{name}", "--output", output, *more)
    if process.returncode:
        return process, None, None
    return process, pd.read_csv(output), json.loads(output.with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def by_default(tmp_path_factory):
    """A folder with divergences.csv and divergences.json of the default settings and three seeds; and both read."""
    folder = tmp_path_factory.mktemp("divergences")
    process, table, summary = estimate(folder, "--seeds", 1, 2, 3, "--threads", 1)
    assert process.returncode == 0, process.stderr
    return folder, table, summary


@pytest.fixture(scope="module")
def density_by_default(tmp_path_factory):
    folder = tmp_path_factory.mktemp("density")
    process, table, summary = estimate(folder, "--seeds", 1, 2, 3, "--threads", 1, name="density")
    assert process.returncode == 0, process.stderr
    return folder, table, summary


# Divergences


def test_there_is_a_row_for_each_theta_and_seed(by_default):
    _, table, _ = by_default
    assert list(table[["theta", "seed"]].itertuples(index=False, name=None)) == [
        (pytest.approx(tenth / 10), seed) for seed in (1, 2, 3) for tenth in range(-10, 11)
    ]


def test_the_default_settings_reach_the_exact_values_at_every_theta_and_seed(by_default):
    _, table, summary = by_default
    zero = table["theta"] == 0
    assert table["jsd"][zero].abs().max() <= 0.005
    assert (table["jsd"][~zero] - LOG_2).abs().max() <= 0.005
    assert (table["w1_corrected"] - table["theta"].abs()).abs().max() <= 0.02
    assert (table["w1"] - table["theta"].abs()).abs().max() <= 0.01
    assert summary["wrong_signs"] == 0


def test_the_table_holds_exact_values(by_default):
    _, table, _ = by_default
    np.testing.assert_allclose(table["jsd_exact"], np.where(table["theta"] == 0, 0, LOG_2))
    np.testing.assert_allclose(table["w1_exact"], table["theta"].abs())


def test_the_distance_is_corrected_by_the_lipschitz_constant(by_default):
    _, table, _ = by_default
    np.testing.assert_allclose(table["w1_corrected"], table["w1"] / table["lipschitz"], rtol=1e-6)


@pytest.mark.parametrize(("name", "exact"), [("jsd", "jsd_exact"), ("w1", "w1_exact"), ("w1_corrected", "w1_exact")])
def test_an_error_is_the_estimate_less_the_exact_value(by_default, name, exact):
    _, table, _ = by_default
    np.testing.assert_allclose(table[f"{name}_error"], table[name] - table[exact], atol=1e-7)


def test_the_summary_holds_the_largest_errors(by_default):
    _, table, summary = by_default
    zero = table["theta"] == 0
    for name, values in {
        "jsd_at_zero": table["jsd_error"][zero],
        "jsd_elsewhere": table["jsd_error"][~zero],
        "w1": table["w1_error"],
        "w1_corrected": table["w1_corrected_error"],
    }.items():
        assert summary["largest_error"][name] == pytest.approx(values.abs().max(), rel=1e-5)


def test_the_summary_says_what_was_run(by_default):
    _, _, summary = by_default
    assert summary["seeds"] == [1, 2, 3] and summary["provenance"]["settings"]["thetas"] == 21


def test_a_critic_of_the_wrong_sign_is_named(tmp_path):
    process, table, summary = estimate(
        tmp_path,
        "--steps",
        2,
        "--thetas",
        3,
        "--seeds",
        1,
        2,
        3,
        "--threads",
        1,
        "--penalty-warmup",
        0,
        "--points",
        500,
    )
    wrong = table[table["w1"] < -3 * table["w1_standard_error"]]
    assert len(wrong) > 0 and summary["wrong_signs"] == len(wrong)
    assert process.stderr.count("the critic has the wrong sign") == len(wrong)
    row = wrong.iloc[0]
    assert f"theta {row['theta']:g}, seed {row['seed']:g}: the critic has the wrong sign" in process.stderr


@pytest.mark.parametrize(
    ("stage", "options", "code", "message"),
    [
        ("divergences", ("--thetas", 20), 2, "--thetas: 20 is even; give an odd number, so that 0 is one of them"),
        ("divergences", ("--seeds", 1, 2, 1), 2, "--seeds: 1 2 1; give each once"),
        ("divergences", ("--penalty-weight", 0), 2, "argument --penalty-weight: 0 is out of range; give more than 0"),
        (
            "divergences",
            ("--optimizer", "sgd", "--learning-rate", 1e9),
            1,
            "numbers stopped being finite by step 20; lower --learn",
        ),
        ("density", ("--seeds", 3, 3), 2, "--seeds: 3 3; give each once"),
        ("density", ("--limit", 50), 2, "argument --limit: 50 is out of range; give 10 or less"),
        (
            "density",
            ("--optimizer", "sgd", "--learning-rate", 1e9),
            1,
            "numbers stopped being finite by step 20; lower --learning",
        ),
    ],
)
def test_bad_settings_are_refused_and_nothing_is_written(tmp_path, stage, options, code, message):
    process, *_ = estimate(tmp_path, *BRIEFLY, *options, name=stage)
    assert process.returncode == code and message in process.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


# Density


@pytest.fixture(scope="module")
def measured(density_by_default):
    """{name: values by seed} of what tells a found density from the exact one, from the table."""
    found = {"integral": [], "l1_error": [], "kl": []}
    for _, rows in density_by_default[1].groupby("seed"):
        x, exact, density = (rows[name].to_numpy() for name in ("x", "density_exact", "density"))
        integral = np.trapezoid(density, x)
        found["integral"].append(integral)
        found["l1_error"].append(np.trapezoid(np.abs(density - exact), x))
        found["kl"].append(np.trapezoid(exact * np.log(exact / (density / integral)), x))
    return {name: np.array(values) for name, values in found.items()}


def test_the_default_settings_find_the_density(measured):
    assert (np.abs(measured["integral"] - 1) <= 0.01).all() and (measured["l1_error"] <= 0.03).all()
    assert (measured["kl"] >= 0).all() and (measured["kl"] < 0.001).all()


@pytest.mark.parametrize("name", ["integral", "l1_error", "kl"])
def test_the_summary_of_the_density_is_of_the_table(density_by_default, measured, name):
    found = density_by_default[2][name]
    assert found["by_seed"] == pytest.approx(list(measured[name]), rel=1e-4, abs=1e-7)
    assert found["lowest"] == min(found["by_seed"])
    assert found["highest"] == max(found["by_seed"])


def test_the_density_is_given_on_a_grid_for_each_seed(density_by_default):
    _, table, _ = density_by_default
    assert sorted(table["x"].unique())[::1000] == [-5, 5] and len(table) == 3 * 1001


def test_discriminator_and_density_are_one_another_s_transform(density_by_default):
    _, table, _ = density_by_default
    base = np.exp(-0.5 * table["x"] ** 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(table["density"], base * table["d"] / (1 - table["d"]), rtol=1e-5)
    np.testing.assert_allclose(table["d_optimal"], table["density_exact"] / (base + table["density_exact"]), rtol=1e-6)


def test_the_histogram_is_of_samples_of_the_exact_density(density_by_default):
    folder, table, _ = density_by_default
    histogram = pd.read_csv(folder / "density_histogram.csv")
    widths = histogram["right"] - histogram["left"]
    assert (histogram["density"] * widths).sum() == pytest.approx(1, rel=1e-5)
    middle = (histogram["left"] + histogram["right"]) / 2
    one = table[table["seed"] == 1]
    exact = np.interp(middle, one["x"], one["density_exact"])
    error = np.sqrt((exact + 1e-3) / (20000 * widths))  # of a Poisson count
    assert (np.abs(histogram["density"] - exact) / error).max() < 4.5


# Figures


@pytest.fixture
def drawings(by_default, density_by_default, tmp_path):
    """{stage: arguments} of both figures, which go to the folder tmp_path / "out"."""
    first, second = by_default[0], density_by_default[0]
    return {
        "plot_divergences": [
            *("--table", first / "divergences.csv", "--summary", first / "divergences.json"),
            *("--output", tmp_path / "out" / "divergences.png"),
        ],
        "plot_density": [
            *("--table", second / "density.csv", "--summary", second / "density.json"),
            *("--histogram", second / "density_histogram.csv", "--output", tmp_path / "out" / "density.png"),
        ],
    }


def test_figures_are_written_as_png_and_pdf_without_torch(drawings, tmp_path):
    run_without_torch(drawings)
    files = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert files == ["density.pdf", "density.png", "divergences.pdf", "divergences.png"]


def captured(module, arguments, monkeypatch):
    """The figure that a plot stage would write."""
    figures = []
    monkeypatch.setattr(plotting, "save_figure", lambda figure, path: figures.append(figure))
    run_here(module, *arguments)
    return figures[0]


@pytest.fixture
def divergence_axes(drawings, monkeypatch):
    """The axes of both divergences, and of their errors."""
    return captured(plot_divergences, drawings["plot_divergences"], monkeypatch).axes


def drawn(axes, values):
    return any(len(line.get_ydata()) == 21 and np.allclose(line.get_ydata(), values, atol=1e-9) for line in axes.lines)


def test_divergences_are_drawn_with_exact_values(divergence_axes, by_default):
    jsd, w1, *_ = divergence_axes
    mean = by_default[1].groupby("theta").mean()
    assert drawn(jsd, mean["jsd"]) and drawn(w1, mean["w1"]) and drawn(w1, mean["w1_corrected"])
    assert drawn(w1, mean.index.to_series().abs())
    assert "exact" in w1.get_legend().get_texts()[-1].get_text()


def test_divergences_are_drawn_in_nats(divergence_axes):
    assert "nats" in divergence_axes[0].get_ylabel()


def test_errors_of_divergences_are_drawn(divergence_axes, by_default):
    *_, jsd_error, w1_error = divergence_axes
    mean = by_default[1].groupby("theta").mean()
    assert drawn(jsd_error, mean["jsd"] - mean["jsd_exact"])
    assert drawn(w1_error, mean["w1_corrected"] - mean["w1_exact"])


def test_a_band_shows_the_errors_of_all_seeds(divergence_axes, by_default):
    corners = divergence_axes[3].collections[0].get_paths()[0].vertices
    errors = by_default[1].query("theta == 0.5")["w1_error"]
    at = corners[np.isclose(corners[:, 0], 0.5), 1]
    np.testing.assert_allclose([at.min(), at.max()], [errors.min(), errors.max()], atol=1e-9)


def test_the_summary_has_the_range_of_the_divergence(by_default):
    _, table, summary = by_default
    apart = table[table["theta"] != 0]
    assert summary["range_of_jsd"]["elsewhere"] == pytest.approx(
        {"lowest": apart["jsd"].min(), "highest": apart["jsd"].max()}
    )


def test_the_summary_has_the_slope_of_the_distance(by_default):
    _, table, summary = by_default
    fit = np.linalg.lstsq(table[["w1_exact"]], table["w1_corrected"], rcond=None)[0]
    assert summary["slope"] == pytest.approx(fit[0], rel=1e-5)


def test_density_is_drawn_with_the_best_discriminator(drawings, density_by_default, monkeypatch):
    _, table, _ = density_by_default
    figure = captured(plot_density, drawings["plot_density"], monkeypatch)
    left, right = figure.axes
    mean = table.groupby("x").mean()
    for axes, names in ((left, ("d", "d_optimal")), (right, ("density", "density_exact"))):
        for line, name in zip(axes.lines, names, strict=True):
            np.testing.assert_allclose(line.get_xydata(), mean[name].reset_index())
    assert len(right.patches) == 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table[table["theta"] != 0], "column 'theta' needs 0 and other values"),
        (lambda table: pd.concat([table, table[:1]]), "a theta stands twice for one seed"),
        (lambda table: table.drop(columns="w1"), "no column 'w1'"),
        (lambda table: table.assign(jsd=np.nan), "column 'jsd' holds ''"),
    ],
)
def test_a_table_that_cannot_be_drawn_is_refused(drawings, by_default, tmp_path, change, message):
    change(by_default[1]).to_csv(tmp_path / "other.csv", index=False)
    drawings["plot_divergences"][1] = tmp_path / "other.csv"
    with pytest.raises(InputError, match=message):
        run_here(plot_divergences, *drawings["plot_divergences"])
    assert not (tmp_path / "out").exists()
