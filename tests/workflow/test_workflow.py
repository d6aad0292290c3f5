"""The workflow end to end with config/smoke.yaml, from another directory, and what reruns after a change.

All tests share one run; those that change something only dry-run, and the ones
that really rerun stand last and work on a copy of the project.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time

import pandas
import pytest
import yaml
from genlab import configuration
from genlab.data import arrays, images
from genlab.measures.metric_table import OF_IMAGES
from genlab.report.figures import figures_of
from smoke import ROOT, SMOKE, snakemake

LIKELIHOOD_PLOTS = dict.fromkeys(("plot_learning_curves", "plot_digits", "plot_log_likelihood"), 1)
# What depends on the samples of image models: for one model, and once for all of them.
SAMPLES = dict.fromkeys(("sample", "publish_samples", "score_fid", "summarise_fid", "evaluate_samples"), 1)
LATENTS = dict.fromkeys(("explore_latents", "plot_latents", "plot_interpolation"), 1)
COMPARISONS = dict.fromkeys(("plot_samples", "plot_image_statistics", "plot_fid"), 1)
VAE = {"train_vae": 1, "plot_learning_curves": 1, "reconstruct_images": 1, "plot_reconstructions": 1}
GAN = {"train_gan": 1, "plot_gan_training": 1}


def times(jobs, number):
    return {name: number * count for name, count in jobs.items()}


CLASSIFIER = {"evaluate_classifier": 1, "plot_confusion": 1}
ALL_IMAGES = times(SAMPLES, 2) | times(LATENTS, 2) | COMPARISONS | VAE | GAN
# At every change of the configuration.
REPORT = dict.fromkeys(("write_configuration", "plot_workflow", "export_tables", "write_report"), 1)
SUMMARY = {"compare": 1, "plot_summary": 1}


def metrics(sets, extracted=None, nearest=0):
    """What follows when so many of the seven sets of images are measured, and extracted, anew."""
    jobs = {"extract_features": sets if extracted is None else extracted, "evaluate_features": sets}
    return jobs | SUMMARY | {"plot_fid_curve": 1, "plot_nearest": nearest}


def planned(*words, directory, **keywords):
    """The rules that a dry run would run, with the number of jobs."""
    process = snakemake("all", "--dry-run", *words, directory=directory, **keywords)
    assert process.returncode == 0, process.stdout
    if "Nothing to be done" in process.stdout:
        return {}
    stats = process.stdout.split("Job stats:")[-1].split("total")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", stats, re.MULTILINE) if name != "all"}


def test_the_log_likelihood_is_quoted_with_its_data_and_k(run):
    text = (run / "results" / "smoke" / "log_likelihood_vae.txt").read_text()
    assert text.startswith("vae on embedded stand-in for Binarized MNIST") and "K = 20" in text


@pytest.mark.parametrize("split", ["valid", "test"])
def test_the_log_likelihood_is_estimated_on_every_image(run, split):
    summary = json.loads((run / "results" / "smoke" / "log_likelihood_vae.json").read_text())
    numbers = summary["splits"][split]
    assert numbers["images"] == 40 and numbers["elbo"]["mean"] < numbers["log_likelihood"]["mean"] < 0


def test_every_figure_is_a_png_and_a_pdf(run):
    config = configuration.complete(yaml.safe_load(SMOKE.read_text()))
    names = {name for _, _, name in figures_of(config)} | {"samples", "workflow"}
    figures = run / "results" / "smoke" / "figures"
    assert {path.name for path in figures.iterdir()} == {
        f"{name}.{suffix}" for name in names for suffix in ("png", "pdf")
    }
    for name in names:
        assert (figures / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (figures / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_a_seed_has_its_folder_with_all_of_its_training(run):
    seed = run / "results" / "smoke" / "runs" / "binary_vae" / "seed1"
    assert {path.name for path in seed.iterdir()} == {
        "model.safetensors", "history.csv", "training.json", "log_likelihood.json", "log_likelihood.csv", "images.npz",
        "tensorboard", "model.safetensors.state",
    }  # fmt: skip
    assert list((seed / "tensorboard").glob("events.out.tfevents.*"))


@pytest.mark.parametrize("model", ["vae", "gan"])
def test_the_score_of_an_image_model_is_quoted_with_its_data(run, model):
    text, summary = (run / "results" / "smoke" / f"fid_{model}.{suffix}" for suffix in ("txt", "json"))
    assert re.match(rf"FID [\d.]+ .*{model}.*N = 60.*stand-in for SVHN", text.read_text().splitlines()[0])
    assert json.loads(summary.read_text())["ratio"] > 1


@pytest.mark.parametrize("model", ["vae", "gan"])
def test_samples_of_an_image_model_are_published(run, model):
    samples = run / "results" / "smoke" / "samples" / model / "samples"
    assert [path.name for path in sorted(samples.iterdir())] == [f"{i:04d}.png" for i in range(60)]


@pytest.mark.parametrize("model", ["vae", "gan"])
def test_the_pool_holds_none_of_the_published_samples(run, model):
    folder = run / "results" / "smoke" / "runs" / model / "seed1"
    _, batches = images.read_directory(folder / "samples")
    published = {image.tobytes() for batch in batches for image in batch}
    pool = arrays.load_features(folder / "features.npz").images
    assert len(published) == 60 and len(pool) == 16 and not published & {image.tobytes() for image in pool}


def test_the_summary_has_every_subject_and_metric(run):
    summary = pandas.read_csv(run / "results" / "smoke" / "summary.csv")
    of_images = summary[summary["problem"] == "images"].groupby("subject")["metric"].count()
    of_test, of_train = (sum(metric.against != name for metric in OF_IMAGES) for name in ("test", "train"))
    assert dict(of_images) == {
        **dict.fromkeys(("vae", "gan", "vae reconstructions", "noise", "mean training image"), len(OF_IMAGES)),
        **{"training images": of_train, "test images": of_test},
    }
    assert set(summary.loc[summary["problem"] == "likelihood", "metric"]) == {
        f"{name}_{split}" for name in ("elbo", "log_likelihood") for split in ("valid", "test")
    }


def test_the_comparison_of_one_seed_has_every_metric_and_no_verdict(run):
    comparison = pandas.read_csv(run / "results" / "smoke" / "comparison.csv")
    assert len(comparison) == sum(metric.better != "neither" for metric in OF_IMAGES)
    assert comparison["verdict"].str.contains("one seed allows no verdict").all()


def test_divergences_are_estimated_at_each_theta_and_seed(run):
    table = pandas.read_csv(run / "results" / "smoke" / "divergences.csv")
    assert list(table.columns[:7]) == ["theta", "seed", "jsd", "jsd_exact", "w1", "w1_corrected", "w1_exact"]
    assert list(table["theta"]) == [-1, -0.5, 0, 0.5, 1] * 2 and list(table["seed"].unique()) == [1, 2]


def test_the_density_is_estimated_at_each_x_and_seed(run):
    table = pandas.read_csv(run / "results" / "smoke" / "density.csv")
    assert {"x", "d", "d_optimal", "density", "density_exact"} < set(table.columns) and len(table) == 2 * 101


def test_afterwards_nothing_is_to_be_done(run):
    assert planned(directory=run) == {}


@pytest.fixture
def with_older_numbers(run, tmp_path):
    """A copy of the run with numbers of an older one in another results folder."""
    folder = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("tensorboard"))
    (folder / "results" / "log_likelihood_vae.txt").write_text("of an older run")
    (folder / "results" / "fid_old.txt").write_text("FID 1 (of an older run)")
    return folder


def test_numbers_are_those_of_the_results_folder_in_use(with_older_numbers):
    process = snakemake("all", "numbers", directory=with_older_numbers)
    results = with_older_numbers / "results" / "smoke"
    _, table = (results / "tables" / "acceptance.md").read_text().split("\n\n")
    assert process.returncode == 0 and table in process.stdout and "vae: test log-likelihood, K = 20" in table
    for model in ("vae", "gan"):
        assert (results / f"fid_{model}.txt").read_text().splitlines()[0] + "\n" in process.stdout
    assert "The report: results/smoke/report.html\n" in process.stdout and "older run" not in process.stdout


def test_numbers_of_another_results_folder_are_looked_for_there(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "fid_old.txt").write_text("FID 1 (of an older run)")
    process = snakemake("numbers", "--dry-run", "--config", "results=elsewhere", directory=tmp_path)
    assert "elsewhere/fid_gan.txt" in process.stdout and "1 results/" not in process.stdout


def test_a_training_knows_the_time_limit_of_its_job_where_there_is_one_and_never_reruns_for_it(run):
    limited = ("--default-resources", "spare_seconds=60", "--set-resources", "train_gan:runtime=10")
    assert planned(*limited, directory=run) == {}
    forced = ("--forcerun", "train_gan", "--printshellcmds")
    for words, limit in (((), 0), (limited, 540), ((*limited[:1], "spare_seconds=600", *limited[2:]), 300)):
        process = snakemake("images", "--dry-run", *words, *forced, directory=run)
        assert f" --max-seconds {limit} " in process.stdout, process.stdout


@pytest.mark.parametrize("profile", ["slurm", "cluster-generic"])
def test_a_cluster_profile_reruns_nothing_and_limits_trainings(run, profile):
    words = ("--profile", ROOT / "profiles" / profile, "--printshellcmds")
    assert planned(*words, directory=run) == {}
    process = snakemake("images", "--dry-run", *words, "--forcerun", "train_gan", directory=run)
    assert f" --max-seconds {1440 * 60 - 120} " in process.stdout


def test_jobs_ask_for_a_gpu_only_if_the_configuration_does(tmp_path):
    target = "results/smoke/runs/gan/seed1/model.safetensors"
    for words, gpus in (((), 0), (("--config", "device=cuda"), 2)):  # of the classifier and the GAN
        process = snakemake(target, "--dry-run", *words, directory=tmp_path)
        assert process.returncode == 0 and len(re.findall(r"resources: .*\bgpu=1\b", process.stdout)) == gpus


def test_no_results_land_beside_the_snakefile(run):
    assert not list(run.glob("*.npz")) and {path.name for path in run.iterdir()} == {
        "results",
        "resources",
        ".snakemake",
        "finished",
    }


@pytest.mark.parametrize(
    "change, expected",
    [
        (
            "divergences={'estimation': {'steps': 40}}",
            {"estimate_divergences": 1, "plot_divergences": 1},
        ),
        (
            "likelihood={'evaluation': {'samples': 10}}",
            {"estimate_likelihood": 1, "summarise_likelihood": 1, "plot_log_likelihood": 1} | SUMMARY,
        ),
        (
            "likelihood={'models': {'vae': {'epochs': 3}}}",
            {"train_binary_vae": 1, "sample_binary_vae": 1, "estimate_likelihood": 1, "summarise_likelihood": 1}
            | LIKELIHOOD_PLOTS | SUMMARY,
        ),
        (
            "data={'svhn': {'split_seed': 2}}",
            {"prepare_svhn": 1, "plot_data": 1, "train_classifier": 1} | CLASSIFIER | ALL_IMAGES
            | metrics(7, nearest=2),
        ),
        (
            "seeds=[1, 2]",
            {"train_binary_vae": 1, "estimate_likelihood": 1, "summarise_likelihood": 1, "plot_log_likelihood": 1,
             "train_vae": 1, "train_gan": 1, "sample": 2, "score_fid": 2, "evaluate_samples": 2, "summarise_fid": 2,
             "plot_learning_curves": 2, "plot_gan_training": 1, "plot_fid": 1} | metrics(3),
        ),  # and no sample_binary_vae or explore_latents: figures show the first seed
        ("images={'classifier': {'epochs': 3}}", {"train_classifier": 1} | CLASSIFIER | ALL_IMAGES
         | {"train_vae": 0, "plot_learning_curves": 0, "reconstruct_images": 0, "plot_reconstructions": 0, "sample": 1,
            "publish_samples": 1} | metrics(7, nearest=2)),
        ("images={'models': {'vae': {'epochs': 3}}}", SAMPLES | LATENTS | COMPARISONS | VAE | metrics(2, nearest=1)),
        *(
            (f"images={{'models': {model}}}", SAMPLES | LATENTS | COMPARISONS | GAN | metrics(1, nearest=1))
            for model in ("{'gan': {'critic_steps': 3}}", "{'gan5': {'kind': 'gan', 'epochs': 1}}")
        ),
        ("images={'models': {'gan': null}}", COMPARISONS | metrics(0)),
        ("images={'generator': {'width': 5}}", ALL_IMAGES | metrics(3, nearest=2)),
        ("images={'evaluation': {'samples': 50}}", times(SAMPLES, 2) | COMPARISONS | metrics(7, 0, nearest=2)),
        ("images={'exploration': {'pairs': 11}}", times(LATENTS, 2)),
        (
            "likelihood={'models': {'deep': {'architecture': 'residual'}}}",
            {"train_binary_vae": 1, "sample_binary_vae": 1, "estimate_likelihood": 1, "summarise_likelihood": 1}
            | LIKELIHOOD_PLOTS | SUMMARY | {"plot_ladder": 1},
        ),
        (  # with brackets, the annealing and what shows it
            "likelihood={'bracket': True}",
            {"bracket_likelihood": 1, "plot_log_likelihood": 1},
        ),
    ],
)  # fmt: skip
def test_a_change_reruns_exactly_its_descendants(run, change, expected):
    expected = {name: count for name, count in (expected | REPORT).items() if count}
    assert planned("--config", change, directory=run) == expected


def test_the_threads_of_the_configuration_reach_every_training_and_estimate(tmp_path):
    said = snakemake("all", "--dry-run", "--printshellcmds", "--config", "threads=2", directory=tmp_path).stdout
    jobs = re.findall(r"^Shell command: .*?python \S*?((?:train|estimate)_\w+)\.py (.*)$", said, re.MULTILINE)
    assert {name for name, _ in jobs} == {
        "estimate_divergences", "estimate_density", "train_binary_vae", "estimate_likelihood", "train_classifier",
        "train_vae", "train_gan",
    }  # fmt: skip
    assert all(" --threads 2 " in f"{line} " for _, line in jobs)


def test_a_single_target_runs_just_what_it_needs(tmp_path):
    process = snakemake("results/smoke/log_likelihood_vae.txt", "--dry-run", directory=tmp_path)
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", process.stdout.split("Job stats:")[-1].split("total")[0], re.MULTILINE))
    assert jobs == {
        "render_digits": "3", "prepare_binarized_mnist": "1", "train_binary_vae": "1", "estimate_likelihood": "1",
        "summarise_likelihood": "1",
    }  # fmt: skip


def test_the_score_of_the_gan_needs_no_vae_and_no_figure(tmp_path):
    process = snakemake("results/smoke/fid_gan.txt", "--dry-run", directory=tmp_path)
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", process.stdout.split("Job stats:")[-1].split("total")[0], re.MULTILINE))
    assert jobs == {
        "render_digits": "2", "prepare_svhn": "1", "train_classifier": "1", "train_gan": "1", "sample": "1",
        "score_fid": "1", "summarise_fid": "1",
    }  # fmt: skip


def test_existing_weights_take_the_place_of_the_trained_classifier(tmp_path):
    change = "images={'feature_weights': 'mine.safetensors'}"
    (tmp_path / "mine.safetensors").write_bytes(bytes(8) + b"{")  # how such a file begins
    process = snakemake("results/smoke/fid_vae.txt", "--dry-run", "--config", change, directory=tmp_path)
    assert "rule import_classifier:" in process.stdout and "rule train_classifier:" not in process.stdout


@pytest.mark.parametrize(
    "change, message",
    [
        ("sede=[2]", "sede: unknown key; did you mean seeds?"),
        (
            "likelihood={'models': {'vae': {'epocs': 3}}}",
            "likelihood.models.vae.epocs: unknown key; did you mean epochs?",
        ),
        ("threads=0", "threads: 0 is less than the minimum of 1"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_remedy(tmp_path, change, message):
    process = snakemake("all", "--dry-run", "--config", change, directory=tmp_path)
    assert process.returncode != 0 and message in process.stdout and "Traceback" not in process.stdout


@pytest.mark.parametrize(
    "target, message",
    [
        ("fid_gna.txt", "No rule to produce results/smoke/fid_gna.txt"),
        ("log_likelihood_vea.txt", "No rule to produce results/smoke/log_likelihood_vea.txt"),
        ("log_likelihood_gan.txt", "results/smoke/runs/binary_gan/seed1/model.safetensors"),  # no binary VAE
        ("runs/vae/seed1/sampels/metrics.json", "No rule to produce"),
    ],
)
def test_a_mistyped_target_is_named(tmp_path, target, message):
    process = snakemake(f"results/smoke/{target}", "--dry-run", directory=tmp_path)
    assert process.returncode and message in process.stdout and "Traceback" not in process.stdout, process.stdout


def test_the_full_configuration_fetches_the_official_files(tmp_path):
    plan = planned(directory=tmp_path, configfile=ROOT / "config" / "full.yaml")
    assert plan["fetch"] == 5 and "render_digits" not in plan


def test_the_report_has_figures_and_captions(run):
    process = snakemake("--report", "report.html", directory=run)
    assert process.returncode == 0, process.stdout
    page = (run / "report.html").read_text()
    (run / "report.html").unlink()
    assert "learning_curves_binary_vae.png" in page and "Likelihood" in page and "kept" in page


def test_it_can_be_used_as_a_module(tmp_path):
    (tmp_path / "Snakefile").write_text(
        f'module genlab:\n    snakefile: "{ROOT / "workflow" / "Snakefile"}"\n    config: {{"results": "mine"}}\n'
        "use rule * from genlab\n"
        'rule mine:\n    default_target: True\n    input: "mine/log_likelihood_vae.txt"\n'
    )
    process = snakemake("mine", "--dry-run", directory=tmp_path, snakefile=tmp_path / "Snakefile", configfile=None)
    assert process.returncode == 0, process.stdout
    assert "mine/runs/binary_vae/seed1/model.safetensors" in process.stdout


@pytest.fixture(scope="module")
def mirrored(run, tmp_path_factory):
    """A folder with data that came from a mirror, and their path."""
    from genlab import files

    folder = tmp_path_factory.mktemp("mirrored")
    mirror = run / "resources" / "smoke" / "embedded"
    official = {
        split: {"urls": [f"http://example.invalid/binarized_mnist_{split}.amat"],
                "sha256": files.checksum(mirror / f"binarized_mnist_{split}.amat"), "bytes": None}
        for split in ("train", "valid", "test")
    }  # fmt: skip
    (folder / "mirror.json").write_text(
        json.dumps(
            {
                "resources": "here",
                "data": {"mirrors": [str(mirror)], "binarized_mnist": {"source": "official", "files": official}},
            }
        )
    )
    data = "here/prepared/official/binarized_mnist.npz"
    process = snakemake(data, directory=folder, configfile=folder / "mirror.json")
    assert process.returncode == 0, process.stdout
    return folder, data


def test_other_files_take_the_place_of_the_official_ones_and_are_called_custom(mirrored):
    folder, data = mirrored
    about = arrays.load_binarized_mnist(folder / data).about
    assert about["source"] == "custom" and about["title"].startswith("custom files")


def test_another_mirror_is_no_reason_to_fetch_again(mirrored):
    folder, data = mirrored
    (folder / "elsewhere").mkdir()
    process = snakemake(
        data, "--dry-run", "--config", "data={'mirrors': ['elsewhere']}",
        directory=folder, configfile=folder / "mirror.json",
    )  # fmt: skip
    assert "Nothing to be done" in process.stdout


def test_two_files_of_one_name_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "data": {
                    "svhn": {
                        "files": {split: {"urls": [f"http://x.invalid/{split}/a.mat"]} for split in ("train", "test")}
                    }
                }
            }
        )
    )
    process = snakemake("all", "--dry-run", directory=tmp_path, configfile=tmp_path / "config.json")
    assert process.returncode != 0 and "another file is called a.mat too" in process.stdout


@pytest.fixture(scope="module")
def finished_project(run, tmp_path_factory):
    """A copy of the project with a finished run inside."""
    project = tmp_path_factory.mktemp("finished project")
    for name in ("Snakefile", "config.yaml"):
        shutil.copy2(ROOT / name, project)
    for name in ("workflow", "profiles", "config"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("results", "resources", ".snakemake"):
        shutil.copytree(run / name, project / name)
    # What Snakemake noted of the run names the workflow's files by where they lay, sorted; now they lie here.
    for file in (project / ".snakemake" / "metadata").iterdir():
        noted = file.read_text()
        for there in (os.path.relpath(ROOT, run), ROOT):
            noted = noted.replace(f"{there}/", "")
        noted = json.loads(noted)
        noted["input"].sort()
        file.write_text(json.dumps(noted))
    return project


@pytest.fixture
def project(finished_project, tmp_path):
    """A copy of that, to change as one likes."""
    return shutil.copytree(finished_project, tmp_path / "my project")


def test_a_touched_script_reruns_nothing(project):
    os.utime(project / "workflow" / "scripts" / "train_binary_vae.py")
    assert planned(directory=project, snakefile=project / "Snakefile") == {}


def test_a_changed_script_reruns_its_descendants(project):
    style = project / "workflow" / "scripts" / "genlab" / "report" / "plotting.py"
    style.write_text(style.read_text() + "\n# another style\n")
    images = {"plot_confusion": 1, "plot_reconstructions": 1, "plot_gan_training": 1} | COMPARISONS
    twice = dict.fromkeys(("plot_learning_curves", "plot_latents", "plot_interpolation", "plot_nearest"), 2)
    once = dict.fromkeys(("plot_data", "plot_divergences", "plot_density", "plot_summary", "plot_fid_curve"), 1)
    page = {name: count for name, count in REPORT.items() if name != "write_configuration"}
    expected = once | LIKELIHOOD_PLOTS | images | twice | page
    assert planned(directory=project, snakefile=project / "Snakefile") == expected


LIKELIHOOD_CHAIN = ("train_binary_vae", "estimate_likelihood", "summarise_likelihood")
FID_CHAIN = ("train_gan", "sample", "score_fid", "summarise_fid")


@pytest.mark.parametrize(
    "name, target, chain",
    [
        ("train_binary_vae", "all", LIKELIHOOD_CHAIN),
        ("train_binary_vae", "likelihood", LIKELIHOOD_CHAIN),
        ("train_binary_vae", "results/smoke/log_likelihood_vae.txt", LIKELIHOOD_CHAIN),
        ("render_digits", "results/smoke/log_likelihood_vae.txt", LIKELIHOOD_CHAIN),
        ("train_gan", "images", FID_CHAIN),
        ("train_gan", "results/smoke/fid_gan.txt", FID_CHAIN),
        ("train_classifier", "results/smoke/fid_gan.txt", FID_CHAIN),
        ("train_gan", "results/smoke/report.html", ("train_gan", "score_fid", "export_tables", "write_report")),
        ("train_gan", "results/smoke/summary.csv", ("train_gan", "extract_features", "evaluate_features", "compare")),
    ],
)
def test_a_failed_rerun_leaves_no_number_that_looks_current(project, name, target, chain):
    where = {"directory": project, "snakefile": project / "Snakefile"}
    (project / "workflow" / "scripts" / f"{name}.py").write_text("raise SystemExit(1)\n")
    process = snakemake(target, **where)
    assert process.returncode != 0 and name in process.stdout
    # The same broken script: Snakemake knows it by now, and still must not say that nothing is to be done.
    process = snakemake(target, "--dry-run", **where)
    for rule in (name, *chain):
        assert f"rule {rule}:" in process.stdout


def test_a_failed_rerun_after_a_changed_setting_leaves_no_number_that_looks_current(project):
    where = {"directory": project, "snakefile": project / "Snakefile"}
    target, change = (
        "results/smoke/log_likelihood_vae.txt",
        "likelihood={'models': {'vae': {'learning_rate': 1e20, 'optimizer': 'sgd'}}}",
    )
    process = snakemake(target, "--config", change, **where)
    assert process.returncode != 0 and "stopped being finite" in process.stdout  # the failed job's log is shown
    process = snakemake(target, "--dry-run", "--config", change, **where)
    for rule in ("train_binary_vae", "estimate_likelihood", "summarise_likelihood"):
        assert f"rule {rule}:" in process.stdout


class Trained:
    """A project whose binary VAE is trained anew, for other numbers of epochs."""

    def __init__(self, project):
        self.where = {"directory": project, "snakefile": project / "Snakefile"}
        results = project / "results" / "smoke"
        self.seed = results / "runs" / "binary_vae" / "seed1"
        self.log = results / "logs" / "train_binary_vae" / "vae_seed1.log"
        self.state = self.seed / "model.safetensors.state" / "checkpoint.safetensors"
        self.target = str((self.seed / "model.safetensors").relative_to(project))

    def epochs(self, number):
        return "--config", f"likelihood={{'models': {{'vae': {{'epochs': {number}}}}}}}"

    def train(self, number, *words):
        """Train for so many epochs; returns the job's log."""
        assert snakemake(self.target, *self.epochs(number), *words, **self.where).returncode == 0
        return self.log.read_text()


@pytest.fixture(scope="module")
def killed(finished_project, tmp_path_factory):
    """A project whose training of 40 epochs was killed outright, with Snakemake itself, at its first checkpoint."""
    trained = Trained(shutil.copytree(finished_project, tmp_path_factory.mktemp("killed") / "my project"))
    trained.state.unlink()  # of the finished training, which would go on to more epochs
    command = [sys.executable, "-m", "snakemake", trained.target, "--cores", "2", "--configfile", SMOKE]
    process = subprocess.Popen(
        [*command, *trained.epochs(40)], cwd=trained.where["directory"], start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not trained.state.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert snakemake("--unlock", **trained.where).returncode == 0
    words = ("results/smoke/log_likelihood_vae.txt", "--dry-run", *trained.epochs(40))
    trained.plan = snakemake(*words, **trained.where).stdout
    return trained


@pytest.fixture(scope="module")
def resumed(killed):
    """The log of the training when it was run again, and the lines of its history."""
    log = killed.train(40)
    return log, (killed.seed / "history.csv").read_text().splitlines()


@pytest.fixture(scope="module")
def extended(killed, resumed):
    """The log of the training when it was run for one more epoch, and the epochs of its stretches."""
    log = killed.train(41)
    return log, [stretch["epochs"] for stretch in json.loads((killed.seed / "training.json").read_text())["stretches"]]


@pytest.fixture(scope="module")
def shortened(killed, extended):
    """The log of the training when it was run for fewer epochs, and when that was forced again."""
    return killed.train(2), killed.train(2, "--forcerun", "train_binary_vae")


def test_a_run_killed_outright_leaves_no_number_that_looks_current(killed):
    for rule in LIKELIHOOD_CHAIN:
        assert f"rule {rule}:" in killed.plan


def test_a_run_killed_outright_goes_on_where_it_stopped(resumed):
    log, history = resumed
    assert "resuming at epoch" in log and "starting afresh" not in log
    assert len(history) == 1 + 40


def test_more_epochs_go_on_from_a_finished_training(extended):
    log, stretches = extended
    assert "the training was planned for 40 epochs and is now for 41" in log and "resuming at epoch 41, step 0" in log
    assert stretches == [40, 41]


def test_fewer_epochs_train_anew(shortened):
    log, _ = shortened
    assert "a finished training of 41 epochs is there, and 2 are asked for; training anew" in log


def test_a_forced_run_of_as_many_epochs_trains_anew(shortened):
    _, log = shortened
    assert "a finished training of 2 epochs is there, and 2 are asked for; training anew" in log


def test_a_project_may_lie_in_a_folder_with_a_space(tmp_path):
    """Its environment lies there too: Snakemake starts some kinds of jobs by the unquoted path of its interpreter."""
    environment = tmp_path / "my project" / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "all.pth").write_text(sysconfig.get_path("purelib"))
    command = [environment / "bin" / "python", "-m", "snakemake", "results/smoke/figures/workflow.png", "--cores", "1"]
    command += ["--snakefile", ROOT / "Snakefile", "--configfile", SMOKE]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    written = json.loads((tmp_path / "results" / "smoke" / "configuration.json").read_text())
    assert (written["results"], written["seeds"], list(written["images"]["models"])) == (
        "results/smoke",
        [1],
        ["vae", "gan"],
    )
