"""The leaderboard's order, verdicts and words, on numbers chosen for them."""

import numpy as np
import prdc
import pytest
import torch
from genlab.measures import frechet, metric_table, ranking
from genlab.report import leaderboard
from torchmetrics.image.kid import poly_mmd

ABOUT = {"data": "SVHN", "reference": "2,000 images of test.mat", "features": "weights, SHA-256 01234567"}


def entry(name, fid, error=1.0, images=100, exact=0, near=0):
    measured = dict.fromkeys(ranking.METRICS, 0.5)
    return measured | {
        "name": name, "fid": fid, "error": error, "images": images, "exact": exact, "near": near, "repeated": 0,
        "converted": {},
    }  # fmt: skip


def real(fid, images=100):
    return dict.fromkeys(ranking.METRICS, 0.9) | {"fid": fid, "sd": 0.5, "images": images, "of": images}


@pytest.fixture
def board():
    entries = [entry("far", 90.0), entry("best", 20.0), entry("close", 21.0), entry("small", 5.0, images=50)]
    return ranking.rank(entries, [real(19.0), real(30.0, 50)])


def test_entries_are_ranked_by_fid_within_their_number_of_images(board):
    assert [(each["name"], each["rank"]) for each in board.entries] == [
        ("best", 1), ("close", 2), ("far", 3), ("small", 1),
    ]  # fmt: skip


def test_ratios_are_to_real_images_of_the_same_number(board):
    assert [each["ratio"] for each in board.entries] == pytest.approx([20 / 19, 21 / 19, 90 / 19, 5 / 30])


def test_only_entries_of_one_size_are_compared(board):
    assert {(pair["first"], pair["second"]) for pair in board.pairs} == {
        ("best", "close"), ("best", "far"), ("close", "far"),
    }  # fmt: skip


def test_a_verdict_names_a_winner_only_beyond_chance(board):
    assert [pair["winner"] for pair in board.pairs] == ["", "best", "close"]
    assert [each["like"] for each in board.entries] == [["close"], ["best"], [], []]


def test_many_entries_make_verdicts_harder():
    # The gap of 3 standard errors of the difference is significant alone, and not as one of 190 pairs.
    alone = ranking.rank([entry("a", 20.0), entry("b", 24.3)], [])
    crowd = ranking.rank([entry(str(i), 20.0 + 4.3 * (i == 0)) for i in range(20)], [])
    assert alone.pairs[0]["winner"] == "a" and not any(pair["winner"] for pair in crowd.pairs)


def test_intervals_are_student_s_and_not_below_zero():
    (found,) = ranking.rank([entry("a", 1.0)], []).entries
    assert found["low"] == 0 and found["high"] == pytest.approx(1 + 2.262157, rel=1e-6)
    assert found["ratio"] is None


def test_real_images_stand_where_their_fid_belongs(board):
    large, small = leaderboard.tables(board, ABOUT)
    assert [row[1] for row in large.rows] == ["real training images", "best", "close", "far"]
    assert [row[1] for row in small.rows] == ["small", "real training images"]


def test_copies_are_shown_exact_and_near():
    board = ranking.rank([entry("a", 1.0, exact=3, near=7)], [])
    assert leaderboard.tables(board, ABOUT)[0].rows[0][-2] == ("3 + 7", 10)


def test_samples_in_the_order_of_their_classes_score_as_in_any_other():
    """The jackknife deletes blocks: of sorted samples each would be a class, and the error many times too large."""
    rng = np.random.default_rng(4)
    classes = np.repeat(np.arange(10, dtype=np.uint8), 40)
    features = rng.normal(size=(400, 3)) + 4 * rng.normal(size=(10, 3))[classes]
    real = rng.permutation(400)[:150]
    test = metric_table.Subject(features[real], classes[real])
    moments = frechet.moments([test.features])
    mixed = rng.permutation(400)
    in_order = ranking.score(metric_table.Subject(features, classes), test, moments, 1)
    shuffled = ranking.score(metric_table.Subject(features[mixed], classes[mixed]), test, moments, 1)
    assert in_order["error"] == pytest.approx(shuffled["error"], rel=0.6)
    assert in_order["fid"] == pytest.approx(shuffled["fid"])
    # Of 400 samples, 150 are taken: of all classes.
    assert in_order["class_divergence"] < 0.05


def test_the_metrics_of_a_score_are_those_of_prdc_and_torchmetrics():
    rng, classes = np.random.default_rng(5), np.zeros(150, np.uint8)
    real, fake = rng.normal(size=(150, 6)), 0.7 * rng.normal(size=(150, 6)) + 0.4
    test = metric_table.Subject(real, classes)
    found = ranking.score(metric_table.Subject(fake, classes), test, frechet.moments([real]), 1)
    expected = prdc.compute_prdc(real, fake, 5)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    assert found["kid"] == pytest.approx(float(poly_mmd(torch.from_numpy(fake), torch.from_numpy(real))), rel=1e-9)
