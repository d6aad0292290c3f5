"""Tables of a report: what they hold, and the limits that they judge by."""

import copy

import pytest
from genlab.report import acceptance, findings, tables
from genlab.report.typeset import MINUS, UNKNOWN
from good_run import good_run


@pytest.fixture
def results():
    return good_run()


def test_a_number_at_its_limit_passes(results):
    results.divergences["largest_error"].update(jsd_elsewhere=0.005, w1_corrected=0.02)
    results.likelihood["vae"]["splits"]["valid"]["elbo"]["mean"] = -96
    results.fid["gan"]["ratio"] = 1.5
    assert [row["passed"] for row in acceptance.acceptance(results)] == [True] * 5 + [None, None, True]


@pytest.fixture
def made(results):
    return tables.all_tables(results)


def test_every_table_is_made(made):
    assert set(made) == {"acceptance", "divergences", "density", "training", "likelihood", "fid", "statistics",
                         "metrics", "comparison", "elbo"}  # fmt: skip


def test_rows_are_as_long_as_their_header(made):
    for table in made.values():
        assert all(len(row) == len(table.header) for row in table.rows), table.name


def test_tables_hold_their_numbers_to_sort_by(made):
    assert [row[2][1] for row in made["fid"].rows] == [2194.0, 445.0]
    assert [row[0][1] for row in made["divergences"].rows] == [-1.0, 0.0, 1.0]


def test_numbers_stand_with_their_spread(made):
    assert made["fid"].rows[1][2][0] == "445 ± 10" and made["fid"].rows[1][4][0] == "317.9 ± 3.0"
    assert made["metrics"].rows[1][1] == ("0.800\n[0.700, 0.900]", 0.8)


def test_the_ladder_has_a_row_for_each_binary_model(results):
    training = {"parameters": 938825, "best_epoch": 9, "settings": {"epochs": 9}, "stretches": [], "seed": 1}
    results.training["binary_vae"] = [training | {"seconds": seconds} for seconds in (60, 180)]
    results.training["binary_flow"] = [training | {"seconds": 600}]
    results.likelihood["flow"] = copy.deepcopy(results.likelihood["vae"])
    results.likelihood["flow"] |= {"seeds": [1], "active_latents": [31], "gain_beyond_k": {}, "overfitting": {}}
    results.brackets["vae"] = {"log_likelihood": -84.65, "gap": 0.098, "gap_error": 0.029}
    table = tables.all_tables(results)["ladder"]
    vae, flow = ([each if isinstance(each, str) else each[0] for each in row] for row in table.rows)
    assert vae == [
        "vae", "938,825", "2.00", "24.5 of 100", f"{MINUS}91.30 ± 0.17", f"{MINUS}90.73 ± 0.17",
        f"{MINUS}86.230 ± 0.080", "0.570 ± 0.050", f"{MINUS}84.65", "0.098 ± 0.029", "2.00 ± 0.10",
    ]  # fmt: skip
    assert flow[2:4] == ["10.0", "31 of 100"] and flow[4] == f"{MINUS}91.30 ± 0.24"  # one seed: over images
    assert flow[7:] == [UNKNOWN] * 4
    assert table.header[6:8] == ["K = 200", "K = 5000 adds"]


def test_an_extended_training_says_from_where(made):
    assert made["training"].rows[0][3] == ("3\nextended from 2", 3)


@pytest.mark.parametrize(
    "name, words", [("metrics", "SVHN"), ("metrics", "N = 1000"), ("likelihood", "Binarized MNIST")]
)
def test_captions_name_data_and_protocol(made, name, words):
    assert words in made[name].caption


def test_a_run_without_image_models_has_no_tables_of_them(results):
    results.fid, results.statistics, results.latents, results.elbo = {}, {}, {}, {}
    results.comparison = results.comparison.iloc[:0]
    assert set(tables.all_tables(results)) == {
        "acceptance",
        "divergences",
        "density",
        "training",
        "likelihood",
        "comparison",
    }
    assert findings.images(results) == {}


@pytest.fixture
def of_elsewhere(results):
    """Results with a model of two folders of samples."""
    about = {"source": "ann", "available": 1234, "converted": {"resized to 32 x 32": 1200, "of a palette": 3}}
    results.imported = {"class": [about | {"seed": 1}, {**about, "seed": 2, "source": "bob", "converted": {}}]}
    return results


def test_what_was_made_elsewhere_is_listed_with_what_was_converted(of_elsewhere):
    assert [row[2:] for row in tables.imported_table(of_elsewhere).rows] == [
        ["ann", ("1,234", 1234), "resized to 32 x 32: 1,200; of a palette: 3"],
        ["bob", ("1,234", 1234), "nothing"],
    ]


def test_differences_from_samples_from_elsewhere_are_said_to_be_unpaired(results, of_elsewhere):
    assert "paired by seed (samples from elsewhere are not paired)" in tables.comparison_table(of_elsewhere).caption


def test_the_elbo_table_has_one_scale_and_says_what_samples_are(results):
    made = tables.elbo_table(results)
    assert [row[:3] for row in made.rows] == [["vae", "N(x; g(z), I)", ("128", 127.5)]]
    assert made.rows[0][3][1] == 8.36 and made.rows[0][4][1] == 8.352 and made.rows[0][8] == "means of p(x|z)"
    results.config["images"]["models"]["vae"]["noise"] = True
    results.elbo["vae"]["standard_deviation"] = None
    made = tables.elbo_table(results)
    assert made.rows[0][2][0] == UNKNOWN and made.rows[0][8] == "drawn from p(x|z)"
