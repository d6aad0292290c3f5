"""Results of a good run with two image models, for the tests of what is said and tabulated of a run."""

import copy

import pandas
from genlab import configuration
from genlab.report import tables
from genlab.report.results import Results

LIKELIHOOD = {
    "data": {"title": "Binarized MNIST", "source": "official", "files": {}},
    "k": 200,
    "seeds": [1, 2],
    "splits": {
        split: {
            "images": 10000,
            "elbo": {"mean": elbo, "sd": 0.17, "standard_error": 0.24},
            "log_likelihood": {"mean": elbo + 4.5, "sd": 0.08, "standard_error": 0.22},
            "elbo_gap": {"mean": 4.5, "sd": 0.1, "standard_error": 0.02},
            "effective_sample_size": {"mean": 8.0, "median": 5.7, "min": 1.0},
            "pareto_k": {"median": 1.05, "share_above_0.7": 0.88},
        }
        for split, elbo in (("valid", -91.3), ("test", -90.73))
    },
    "latents": 100,
    "active_latents": [24, 25],
    "overfitting": {"log_likelihood": {"mean": 2.0, "sd": 0.1, "standard_error": 0.3}},
    "gain_beyond_k": {"test": {"k": 5000, "images": 100, "mean": 0.57, "sd": 0.05, "standard_error": 0.06}},
}


def fid(mean, ratio, sd=10.0):
    return {
        "data": {"title": "SVHN", "source": "official", "files": {}},
        "samples": 1000,
        "seeds": [1, 2],
        "reference": {"images": 26032},
        "features": {"sha256": "0123456789abcdef", "network": "classifier", "words": "512 features"},
        "fid": {"mean": mean, "sd": sd, "values": [mean - 7, mean + 7]},
        "floor": {"mean": mean / ratio, "sd": 3.0},
        "ratio": ratio,
    }


def statistics(sharpness, distance=20.0, divergence=0.001):
    measures = dict.fromkeys(tables.MEASURES, 1.0) | {
        "sharpness": 5.0,
        "feature_distance": 20.0,
        "class_divergence": 0.0,
    }
    own = measures | {"sharpness": sharpness, "feature_distance": distance, "class_divergence": divergence}
    real = measures | {"class_divergence": 0.001}
    return {
        "images": 1000,
        "draws": 10,
        "samples": {name: {"value": value, "standard_error": 0.03} for name, value in own.items()},
        "test": {name: {"value": value, "standard_error": 0.03} for name, value in measures.items()},
        "train": {name: {"value": value, "sd": 0.04 if value > 0.1 else 0.0002} for name, value in real.items()},
    }


def latents(latent, image, error=0.01):
    middle = {
        f"{path}_sharpness_ratio": {"mean": mean, "standard_error": error}
        for path, mean in (("latent", latent), ("sphere", 0.95), ("image", image))
    }
    effects = {"latents": 100, "visible": 40, "threshold": 1.0}
    return {"middle": middle, "pairs": 200, "epsilon": 3.0, "effects": effects, "correlated": 25}


def good_run():
    """Results of a good run with two image models, to be changed by a test."""
    models = {"vae": {"kind": "vae"}, "gan": {"kind": "gan"}}
    config = configuration.complete({"images": {"models": models}})
    errors = {"jsd_at_zero": 7e-7, "jsd_elsewhere": 6.4e-5, "w1": 0.0066, "w1_corrected": 0.0129}
    ranges = {"at_zero": {"lowest": -7e-7, "highest": 0.0}, "elsewhere": {"lowest": 0.69308, "highest": 0.69314}}
    divergences = {"data": {"title": "p, q"}, "seeds": [1, 2, 3], "largest_error": errors, "range_of_jsd": ranges,
                   "slope": 0.991, "wrong_signs": 0}  # fmt: skip
    span = {"lowest": 0.999, "highest": 1.0016, "by_seed": [0.999, 1.0, 1.0016]}
    density = {"data": {"title": "distribution 4"}, "seeds": [1, 2, 3], "integral": span,
               "l1_error": {"lowest": 0.007, "highest": 0.0126, "by_seed": [0.007, 0.01, 0.0126]},
               "kl": {"lowest": 0.0, "highest": 0.0, "by_seed": [0.0, 0.0, 0.0]}}  # fmt: skip
    thetas = pandas.DataFrame(
        [{"theta": theta, "seed": seed, "jsd": 0.69, "jsd_exact": 0.69, "w1": abs(theta), "w1_corrected": abs(theta),
          "w1_exact": abs(theta)} for theta in (-1.0, 0.0, 1.0) for seed in (1, 2, 3)]
    )  # fmt: skip
    found = Results("results", config, divergences, density, thetas)
    found.likelihood = {"vae": copy.deepcopy(LIKELIHOOD)}
    found.fid = {"vae": fid(2194.0, 30.6), "gan": fid(445.0, 1.4)}
    found.statistics = {"vae": statistics(2.0), "gan": statistics(5.01)}
    splits = {"valid": {"elbo": -2900.0, "standard_error": 3.0, "kl": 25.0, "bits": 8.36},
              "test": {"elbo": -2890.0, "standard_error": 2.0, "kl": 24.0, "bits": 8.352}}  # fmt: skip
    found.elbo = {"vae": {"likelihood": "N(x; g(z), I)", "standard_deviation": 1.0, "rmse": 14.2, "splits": splits}}
    found.latents = {"vae": latents(0.9, 0.7), "gan": latents(0.98, 0.6)}
    found.training = {
        "gan": [
            {
                "seed": 1,
                "parameters": 10,
                "settings": {"epochs": 3},
                "best_epoch": 3,
                "seconds": 60,
                "stretches": [{"from_step": 0, "epochs": 2}, {"from_step": 9, "epochs": 3}],
            }
        ]
    }
    subjects = (
        ("runs/vae", "vae", "model", 0.2),
        ("runs/gan", "gan", "model", 0.8),
        ("references/train", "training images", "reference", 0.96),
    )
    common = {"problem": "images", "data": "SVHN", "protocol": "N = 1000", "better": "higher", "over": "seeds"}
    found.summary = pandas.DataFrame(
        common
        | {"key": key, "subject": subject, "kind": kind, "metric": metric}
        | {"value": value, "low": value - 0.1, "high": value + 0.1}
        for key, subject, kind, value in subjects
        for metric in ("coverage", "recall")
    )
    verdicts = {
        "fid": ("gan", "gan better than vae by 1749, beyond the noise of 2 seeds"),
        "recall": ("", "vae ahead of gan by 0.1, within the noise of 2 seeds"),
    }
    common = {"problem": "images", "first": "vae", "second": "gan", "difference": 1.0, "low": 0.5, "high": 1.5}
    found.comparison = pandas.DataFrame(
        common | {"metric": metric, "winner": winner, "verdict": verdict}
        for metric, (winner, verdict) in verdicts.items()
    )
    return found
