"""Sentences of a report: every judgement on both sides of its threshold, and none against its table."""

import itertools
import re

import pytest
from genlab.report import acceptance, findings, tables
from genlab.report.typeset import MINUS, UNKNOWN, number
from good_run import fid, good_run, latents, statistics


@pytest.fixture
def results():
    return good_run()


def text(sentences):
    return " ".join(sentences)


def test_divergences_of_a_good_run(results):
    said = text(findings.divergences(results))
    assert "jumps and then stays flat" in said and "not converged" not in said
    assert said.count("within the limit") == 2 and "tells near from far" in said and "wrong sign" not in said


def test_divergences_of_a_bad_run(results):
    results.divergences["range_of_jsd"]["elsewhere"]["lowest"] = 0.2
    results.divergences["largest_error"].update(jsd_elsewhere=0.49, w1_corrected=0.021)
    results.divergences["wrong_signs"] = 2
    said = text(findings.divergences(results))
    assert "not converged" in said and "flat:" not in said.replace("the exact one is flat:", "")
    assert said.count("beyond the limit") == 2 and "tells near from far" not in said
    assert "2 of 9 critics kept the wrong sign" in said


def test_density_is_held_against_both_limits(results):
    assert text(findings.density(results)).count("within the limit") == 2
    results.density["integral"]["lowest"] = 0.98
    said = text(findings.density(results))
    assert "off 1 by 0.020, beyond the limit of 0.01" in said and "0.013" in said and said.count("within") == 1


def test_a_bracket_says_where_the_truth_lies(results):
    assert "Annealed" not in text(findings.likelihood(results))
    results.brackets["vae"] = {
        "log_likelihood": -84.649, "gain": 1.488, "gain_error": 0.136, "images": 100,
        "gap": 0.098, "gap_error": 0.029, "simulated": 90,
    }  # fmt: skip
    said = text(findings.likelihood(results))
    assert "gains 1.49 ± 0.14 nats over K = 200 on 100 test images" in said
    assert "is about \u221284.65. On 90" in said
    assert "these are 0.098 ± 0.029 nats apart" in said
    for name in ("gap", "gap_error", "simulated"):
        del results.brackets["vae"][name]
    assert text(findings.likelihood(results)) == said.split(" On 90 images")[0] + said.split("nats apart.")[1]


APART = "Annealed importance sampling tells {} of 1 pairs of models apart, by twice its error."


@pytest.mark.parametrize(
    ("values", "gains", "said"),
    [
        ((-84.0, -85.25), (0.5, 1.5), f"{APART.format(1)} K = 200 gives the same order."),
        (
            (-85.25, -84.0), (0.5, 2.5),  # at K = 200: -85.75 and -86.5
            f"{APART.format(1)} K = 200 puts a above b; annealed importance sampling puts it below, by 1.25 ± 0.50 "
            "nats.",
        ),
        ((-84.75, -84.0), (0.5, 2.5), APART.format(0)),  # within twice the error, so no order is known
    ],
)  # fmt: skip
def test_the_order_of_the_models_is_held_against_annealing(results, values, gains, said):
    for model, value, gain, error in zip("ab", values, gains, (0.3, 0.4), strict=True):
        results.likelihood[model] = results.likelihood["vae"]
        results.brackets[model] = {"log_likelihood": value, "gain": gain, "gain_error": error, "images": 100}
    assert text(findings.order(results)) == said
    assert said in text(findings.likelihood(results))
    del results.brackets["b"]
    assert findings.order(results) == []


def likelihood_said(results, path, value):
    """The sentences on the likelihood, before and after one number of the VAE's summary is another."""
    before, place = text(findings.likelihood(results)), results.likelihood["vae"]
    *parents, last = path.split("/")
    for parent in parents:
        place = place[parent]
    place[last] = value
    return before, text(findings.likelihood(results))


def test_the_elbo_is_held_against_its_limit(results):
    before, after = likelihood_said(results, "splits/valid/elbo/mean", -96.01)
    assert f"{MINUS}91.30 ± 0.17 nats, at or above the limit of {MINUS}96" in before
    assert "below the limit" in after


def test_a_bound_of_few_effective_samples_is_loose(results):
    before, after = likelihood_said(results, "splits/test/effective_sample_size/median", 20.0)
    assert "the bound is loose" in before and "loose" not in after


def test_images_with_heavy_tailed_weights_are_counted_where_shapes_were_fitted(results):
    before, after = likelihood_said(results, "splits/test/pareto_k/share_above_0.7", None)
    assert "88.0% of the test images" in before and "k\u0302" not in after


def test_the_gain_of_more_samples_is_said(results):
    assert "0.570 ± 0.050 nats more" in text(findings.likelihood(results))


@pytest.mark.parametrize(
    "gap, words",
    [
        (2.0, "beyond twice the error: the model knows its training images better"),
        (0.6, "no overfitting is seen"),
        (-0.61, "sample of training images is the harder one"),
    ],
)
def test_overfitting_is_judged_by_twice_the_error(results, gap, words):
    results.likelihood["vae"]["overfitting"]["log_likelihood"]["mean"] = gap
    assert words in text(findings.likelihood(results))


def test_one_seed_shows_errors_over_images(results):
    results.likelihood["vae"]["seeds"] = [1]
    assert f"{MINUS}91.30 ± 0.24" in text(findings.likelihood(results))
    assert "one seed" in tables.likelihood_table(results).caption


@pytest.mark.parametrize("vae, first", [(fid(2194.0, 30.6), "gan"), (fid(400.0, 1.2), "vae")])
def test_the_lowest_fid_comes_first(results, vae, first):
    results.fid["vae"] = vae
    assert findings.quality(results)[0].startswith(f"{first}: FID ")


def test_a_fid_stands_beside_that_of_real_data(results):
    said = findings.quality(results)[0]
    assert said.startswith("gan: FID 445 ± 10 on 1,000 samples, 1.40 times the 317.9 that real")


@pytest.mark.parametrize(
    "vae, ratio, words",
    [(fid(2194.0, 30.6), 1.4, "within the limit of 1.5"), (fid(400.0, 1.2), 1.51, "beyond the limit of 1.5")],
)
def test_the_limit_of_the_fid_is_the_gan_s(results, vae, ratio, words):
    results.fid = {"vae": vae, "gan": fid(445.0, ratio)}
    said = {sentence.split(":")[0]: sentence for sentence in findings.quality(results)}
    assert words in said["gan"] and "limit" not in said["vae"]


def test_the_verdict_on_the_fid_comes_last(results):
    assert findings.quality(results)[2] == "FID: gan better than vae by 1749, beyond the noise of 2 seeds."


@pytest.mark.parametrize(
    "sharpness, words", [(4.89, "blurred"), (4.91, "within the noise"), (5.12, "more than the noise allows")]
)
def test_sharpness_is_judged_by_twice_the_noise(results, sharpness, words):
    # the noise: twice the root of 0.04^2 + 0.03^2, that is 0.1
    results.statistics = {"gan": statistics(sharpness)}
    (said,) = findings.sharpness(results)
    assert words in said and said.startswith(f"gan: samples have {number(sharpness / 5, 3)} times")


@pytest.fixture
def diversity(results):
    """What is said of a varied GAN, of its digits, of a VAE that is not varied, and of its digits."""
    results.statistics = {"gan": statistics(5.0), "vae": statistics(5.0, distance=15.0, divergence=0.01)}
    return findings.diversity(results)


def test_diversity_is_the_distance_of_samples_and_their_coverage(diversity):
    of_gan, _, of_vae, _ = diversity
    assert "as varied as test images" in of_gan and "cover 80.0% of them; training images cover 96.0%" in of_gan
    assert "less varied than test images (0.750 times" in of_vae and "20.0%" in of_vae


def test_digits_are_held_against_those_of_real_images(diversity):
    _, of_digits_of_gan, _, of_digits_of_vae = diversity
    assert "distributed like those" in of_digits_of_gan
    assert "distributed differently" in of_digits_of_vae and "0.010" in of_digits_of_vae


@pytest.mark.parametrize(
    "latent, image, words", [(0.729, 0.7, "double exposure"), (0.728, 0.7, "no difference"), (0.671, 0.7, "loses more")]
)
def test_interpolation_is_judged_by_twice_the_error(results, latent, image, words):
    # twice the root of 0.01^2 + 0.01^2, that is 0.0283
    results.latents = {"gan": latents(latent, image)}
    said = text(findings.interpolation(results))
    assert words in said and f"{latent:.1%}" in said and "40 of 100 latents" in said
    assert "On the sphere" in said and "keeps 95.0% of the sharpness" in said and "25 correlate" in said


def test_the_comparison_counts_its_verdicts(results):
    assert findings.comparison(results) == [
        "Beyond the noise between seeds, vae is better than gan on 0 of 2 metrics, and gan is better on 1; "
        "1 allow no verdict."
    ]


def test_findings_do_not_depend_on_how_rows_are_worded(results, monkeypatch):
    before = [*findings.comparison(results), *findings.diversity(results), *findings.density(results)]
    results.comparison["verdict"] = "in other words"
    results.summary["subject"] = "renamed"
    rows = acceptance.acceptance
    monkeypatch.setattr(findings, "acceptance", lambda results: [row | {"name": "renamed"} for row in rows(results)])
    assert before == [*findings.comparison(results), *findings.diversity(results), *findings.density(results)]


def test_a_model_whose_name_begins_another_s_has_its_own_row(results):
    results.fid = {"gan2": fid(500.0, 1.6), "gan": fid(445.0, 1.4)}
    results.config["images"]["models"]["gan2"] = {"kind": "gan"}
    assert findings.judged(results, "fid_ratio", "gan")["value"] == 1.4


def test_no_sentence_contradicts_the_table_of_limits(results):
    """For values around each limit, sentence and table give the same verdict."""
    errors, integral = results.divergences["largest_error"], results.density["integral"]
    for sign, factor in itertools.product((-1, 1), (0.5, 0.999, 1.0, 1.001, 2.0)):
        errors.update(jsd_elsewhere=0.005 * factor, w1_corrected=0.02 * factor)
        results.density["l1_error"]["highest"] = 0.03 * factor
        integral["highest" if sign > 0 else "lowest"] = 1 + sign * 0.01 * factor
        results.likelihood["vae"]["splits"]["valid"]["elbo"]["mean"] = -96 * factor
        results.fid["gan"]["ratio"] = 1.5 * factor
        said = [*findings.divergences(results), *findings.density(results), *findings.likelihood(results),
                *findings.quality(results)]  # fmt: skip
        judged = [not re.search("beyond the limit|below the limit", sentence) for sentence in said
                  if re.search("(within|beyond|above|below) the limit", sentence)]  # fmt: skip
        verdicts = [row[3] for row in acceptance.acceptance_table(results).rows]
        assert judged == [verdict == "pass" for verdict in verdicts if verdict != UNKNOWN] and len(judged) == 6


@pytest.fixture
def embedded(results):
    """The good run, on stand-in data, with what its configuration is known to reach there."""
    for summary in (*results.likelihood.values(), *results.fid.values()):
        summary["data"] = {"title": "stand-in", "source": "embedded", "files": {}}
    results.config["report"]["expected"] = {"elbo_valid": {"vae": -92}, "fid_ratio": {"vae": 30, "gan": 3}}
    return results


def test_on_stand_ins_models_are_held_against_what_the_configuration_is_known_to_reach(embedded):
    rows = [(row["limit"], row["passed"]) for row in acceptance.acceptance(embedded) if row["expected"]]
    assert rows == [(-92, True), (None, None), (30, False), (3, True)]
    said = text(findings.likelihood(embedded) + findings.quality(embedded))
    assert f"at or above the limit of {MINUS}92 for this configuration on stand-in data" in said
    assert "beyond the limit of 30 for this" in said and "within the limit of 3 for this" in said


def test_on_stand_ins_the_overview_tells_the_limits_on_real_data_without_judging_by_them(embedded):
    made = acceptance.acceptance_table(embedded)
    assert f"validation ELBO of {MINUS}96 nats" in made.caption and "1.5 times" in made.caption
    assert [row[2] for row in made.rows[4:]] == [f"expected ≥ {MINUS}92", UNKNOWN, "expected ≤ 30", "expected ≤ 3"]
    assert [row[3] for row in made.rows[4:]] == ["pass", UNKNOWN, "fail", "pass"]


def test_on_stand_ins_a_model_without_an_expectation_is_not_judged(embedded):
    embedded.config["report"]["expected"] = {"elbo_valid": {}, "fid_ratio": {}}
    assert [row["passed"] for row in acceptance.acceptance(embedded)][4:] == [None] * 4
    assert "the limit" not in text(findings.likelihood(embedded) + findings.quality(embedded))


def test_on_real_data_expectations_play_no_part(results):
    results.config["report"]["expected"] = {"elbo_valid": {"vae": 0}, "fid_ratio": {"gan": 0.1}}
    assert not any(row["expected"] for row in acceptance.acceptance(results))
    assert (
        acceptance.acceptance(results)[-1]["limit"] == 1.5
        and "Expected" not in acceptance.acceptance_table(results).caption
    )
