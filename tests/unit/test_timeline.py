"""The times of jobs: the table of the stages, and the bars of the last run."""

import os
from types import SimpleNamespace

import pytest
from genlab.report import timeline
from genlab.report.timeline import Job

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def job(rule, start, seconds, name="", memory=1024.0, processor=1.0):
    return Job(rule, name, start + seconds, seconds, memory, processor)


@pytest.fixture
def results(tmp_path):
    """A run's benchmarks, some of jobs that its configuration has no more."""
    ends = {"train_gan/gan_seed1": 100, "train_gan/gan_seed9": 100, "train_gan/old_seed1": 100, "compare": 130}
    for name, end in ends.items():
        path = tmp_path / "benchmarks" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{HEADER}20.5\t0:00:20\t2048\t1\t1\t1\t1\t1\t1\t18\n")
        os.utime(path, (end, end))
    config = {"seeds": [1]}
    return SimpleNamespace(folder=tmp_path, config=config, imported={}, likelihood={}, fid={"gan": {}})


def test_jobs_are_those_of_the_configuration_in_the_order_of_their_beginning(results):
    assert timeline.jobs(results) == [
        Job("train_gan", "gan seed1", 100.0, 20.5, 2048.0, 18.0), Job("compare", "", 130.0, 20.5, 2048.0, 18.0),
    ]  # fmt: skip
    assert timeline.jobs(results)[0].start == 79.5


def test_what_is_no_benchmark_is_left_out(results, caplog):
    (results.folder / "benchmarks" / "compare.tsv").write_text("x\n")
    assert [job.rule for job in timeline.jobs(results)] == ["train_gan"]
    assert "compare.tsv: not a benchmark of Snakemake" in caplog.text


def test_the_table_adds_up_the_jobs_of_a_stage():
    jobs = [job("fetch", 0, 1), job("train_vae", 0, 10, memory=2048.0, processor=8.0), job("train_vae", 5, 20)]
    (first, *numbers), (last, *_) = timeline.stages_table(jobs).rows
    assert (first, last) == ("train_vae", "fetch")
    assert [value for _, value in numbers] == [2, 30, 20, 9, 2]  # jobs, in all, longest, processor time, GiB


def test_jobs_that_ran_at_once_have_rows_of_their_own():
    made = timeline.timeline([job("train_gan", 1000, 100), job("plot_fid", 1020, 30), job("compare", 1060, 40)])
    assert [(bar["x"], bar["width"], bar["y"]) for bar in made["bars"]] == [
        (0, 1000, 0), (200, 300, timeline.HEIGHT), (600, 400, timeline.HEIGHT),
    ]  # fmt: skip
    assert made["rows"] == 2 and made["at_once"] == pytest.approx(1.7)
    assert made["ticks"][:2] == [(0, "0 s"), (100, "10 s")] and len(made["ticks"]) == 11
    assert made["bars"][1]["title"] == "plot_fid: 20 to 50 s"
    assert made["kinds"] == ["training", "features, metrics, samples", "figures and report"]


def test_a_label_stands_where_there_is_room():
    made = timeline.timeline([job("train_gan", 0, 100), job("train_vae", 100, 2)])
    assert [bar["label"] for bar in made["bars"]] == ["train_gan", ""]


def test_what_ran_before_a_long_pause_is_left_out():
    early, late = [job("train_vae", 0, 50), job("train_gan", 0, 5000)], [job("compare", 5000 + 601, 9)]
    made = timeline.timeline([*early, *late])
    assert (made["jobs"], made["others"], made["bars"][0]["x"]) == (1, 2, 0)
    assert timeline.timeline([*early, job("compare", 5000 + 599, 9)])["jobs"] == 3


def test_no_job_has_no_bars():
    assert timeline.timeline([]) is None


@pytest.mark.parametrize(
    ("rule", "kind"),
    [("train_classifier", "training"), ("estimate_density", "estimates"),
     ("sample_binary_vae", "features, metrics, samples"), ("plot_data", "figures and report"),
     ("render_digits", "data")],
)  # fmt: skip
def test_kinds_of_rules(rule, kind):
    assert timeline.kind(rule) == kind


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (9000, "2.5 h")]
)
def test_times_in_words(seconds, words):
    assert timeline.moment(seconds) == words
