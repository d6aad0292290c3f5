"""Every benchmark at a tiny size: both ways of each must agree. No time is asserted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import amat_parsing
import binary_vae_training
import breakdown
import divergences
import feature_extraction
import frechet_distance
import gan_training
import image_vae_training
import likelihood
import machine
import peers
import proposals
import run_all
import scaling
import side_by_side
import whole_run


def run(program, *words):
    """The records of a program's main, with one thread and one turn."""
    options = program.parser().parse_args(["--threads", "1", "--turns", "1", *map(str, words)])
    return program.main(options)


def compare_here(subject, reference, ours, arguments, check, *more):
    """`compare_apart` in this process."""
    return side_by_side.compare(subject, lambda: reference(*arguments)[1], lambda: ours(*arguments)[1], check, *more)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (amat_parsing, ["--lines", 30]),
        (binary_vae_training, ["--images", 96, "--batch-size", 32, "--tolerance", 0.2]),
        (image_vae_training, ["--images", 64, "--batch-size", 32, "--width", 8, "--precision", "float32", "bfloat16"]),
        (gan_training, ["--updates", 1, "--batch-size", 8, "--width", 8, "--precision", "float32", "bfloat16"]),
        (likelihood, ["--images", 12, "--batch", 5, "--samples", 20]),
        (feature_extraction, ["--images", 40]),
        (frechet_distance, ["--vectors", 300, 40, "--dimensions", 12]),
        (divergences, ["--steps", 3, "--thetas", 3, "--tolerance", 10]),
        (whole_run, ["--targets", "resources/smoke/embedded/binarized_mnist_valid.amat", "--cores", 1]),
    ],
)  # fmt: skip
def test_both_ways_agree(program, words, monkeypatch, capsys):
    if program is not frechet_distance:  # whose processes need no torch
        monkeypatch.setattr(side_by_side, "compare_apart", compare_here)
    records = run(program, *words)
    assert "results agree" in capsys.readouterr().out
    assert all(record["ratio"]["median"] > 0 and len(record["seconds"]["ours"]) == 1 for record in records)


def test_proposals_are_compared_with_the_first(trained_vae, prepared_digits, monkeypatch, capsys):
    monkeypatch.setattr(proposals, "SETTINGS", [(0, 0, 5), (40, 4, 100)])
    weights = trained_vae / "model.safetensors"
    words = ["--weights", weights, "--data", prepared_digits, "--images", 6]
    proposals.main(proposals.parser().parse_args([*map(str, words)]))
    first, second = capsys.readouterr().out.splitlines()[2:]
    assert first.startswith(r"| none: q(z\|x) as it is | 5 | ") and first.endswith("| 0.00 ± 0.00 |")
    assert second.startswith("| 40, 4 | 100 | ") and float(second.split("|")[-2].split("±")[0]) > 0


def test_estimates_too_far_apart_for_chance_are_an_error():
    with pytest.raises(AssertionError, match="nats apart"):
        likelihood.check([1.0, 2.0, 3.0], [2.0, 3.1, 4.2])


def test_a_disagreement_is_an_error():
    def check(expected, found):
        assert expected == found

    with pytest.raises(AssertionError):
        side_by_side.compare("nothing", lambda: 1, lambda: 2, check, 1)


def test_packages_beside_ours_agree_and_those_that_are_missing_are_told(monkeypatch):
    monkeypatch.setattr(side_by_side, "compare_apart", compare_here)
    monkeypatch.setattr(side_by_side, "apart", lambda function, arguments: (function(*arguments), 100.0))
    sizes = ["--vectors", 300, 200, "--dimensions", 12, "--equal", 150, "--images", 3, "--lines", 20, "--pictures", 10]
    records = [record | {"peak_mib": {"reference": 2, "ours": 1}} for record in run(peers, *sizes)]
    measured = {record["package"] for record in records if "ratio" in record}
    assert measured >= {"torchmetrics", "prdc", "numpy", "scipy"}  # requirements.txt has them
    others = {(record["package"], record["state"]) for record in records if "ratio" not in record}
    missing = {"torch-fidelity", "pytorch-fid", "clean-fid", "pythae"} - measured
    assert others == {("pot", "not measured"), *((package, "not installed") for package in missing)}
    lines = peers.table(records, 1).splitlines()[2:]
    assert len(lines) == 2 + len(records) and {line.count("|") for line in lines} == {9}


def fails(number):
    raise ZeroDivisionError(f"no inverse of {number}\nand more")


def test_a_package_that_fails_has_a_row_and_ours_may_not_fail():
    row = peers.Row("inverse", "numpy", fails, None, (7,), None, "an inverse")
    record = peers.measure(row, 1)
    assert record["state"] == "fails: ZeroDivisionError: no inverse of 7"
    assert "| fails: ZeroDivisionError: no inverse of 7 | an inverse |" in peers.table([record], 1)
    with pytest.raises(side_by_side.Failed, match="no inverse of 400"):
        peers.measure(row._replace(theirs=large_before, ours=fails, arguments=(400,)), 1)


@pytest.mark.parametrize(
    ("check", "theirs", "ours"),
    [
        (peers.Within(1e-3), 1.002, 1.0),
        (peers.Within(1e-3, 0.1), 1.2, 1.0),
        (peers.Within(1e-3), {"precision": 0.5, "recall": 0.6}, {"precision": 0.5, "recall": 0.7}),
        (peers.SameBytes(), "aa", "ab"),
    ],
)
def test_a_package_that_disagrees_is_an_error(check, theirs, ours):
    check(ours, ours)
    with pytest.raises(AssertionError):
        check(theirs, ours)


def test_scaling_measures_every_computation(monkeypatch):
    monkeypatch.setattr(side_by_side, "apart", lambda function, arguments: (function(*arguments), 100.0))
    records = run(scaling, "--factors", 1, 2, "--smaller", 100)
    counts = {record["what"]: [] for record in records}
    for record in records:
        counts[record["what"]].append(record["count"])
    assert len(counts) == 5 and counts["lines of .amat parsed"] == [125, 250]
    assert counts["latents an image, log-likelihood of 5 images"] == [2, 4]


def large_before(size):
    """Hold `size` MiB, let them go, hold a quarter of them when it counts."""
    bytearray(b"1") * (size << 20)
    return side_by_side.timed(lambda: len(bytearray(b"1") * (size << 18)))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak cannot be reset")
def test_the_peak_memory_is_that_of_the_timed_call_alone():
    ballast = bytearray(b"1") * (400 << 20)  # of this process, not of the one that is measured
    (_, length), peak = side_by_side.apart(large_before, (400,))
    assert length == 100 << 20 and 100 < peak < 250 and len(ballast) == 400 << 20


def test_the_breakdown_accounts_for_every_step():
    records = run(breakdown, "--width", 8, "--images", 20, "--vectors", 300, 40)
    parts = {}
    for record in records:
        parts.setdefault(record["computation"], {})[record["part"]] = record["seconds"]
    trainings = [names for computation, names in parts.items() if computation.startswith("train")]
    assert len(parts) == 6 and len(trainings) == 3
    assert all(seconds > 0 for names in parts.values() for seconds in names.values())  # "the rest" of a step, too
    assert {"BinaryStem, backward", "ELU, forward", "optimizer", "moving average", "the rest"} < set(trainings[0])
    assert {"BatchNorm2d, backward", "ConvTranspose2d, forward"} < set(trainings[1])


def test_operations_are_counted():
    import torch

    a, b = torch.ones(2, 3), torch.ones(3, 5)
    assert machine.count(lambda: a @ b) == (2 * 2 * 3 * 5, 4 * (6 + 15 + 10))


def test_the_tables_go_between_the_marks(tmp_path):
    options = machine.parser().parse_args(["--threads", "1", "--json", str(tmp_path / "amat.json")])
    record = side_by_side.record(
        "parse", {"reference": [(6.0, 9.0), (4.0, 8.0)], "ours": [(2.0, 3.0), (1.0, 2.0)]}, 3, (8, "MB")
    )
    assert record["ratio"] == {"min": 3.0, "median": 3.5, "max": 4.0}
    side_by_side.write(options, [record | {"peak_mib": {"reference": 20.2, "ours": 10.1}}])
    text = run_all.tables({"amat_parsing": side_by_side.read(tmp_path / "amat.json")}, 0.5)
    assert "| parse | 3 | 3.5 | 3 to 4 | 3.5 | 1.6 MB/s, 20 MiB | 5.333 MB/s, 10 MiB |" in text
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured -->\nold\n<!-- end of measured -->\nafter\n")
    run_all.write(page, text)
    content = page.read_text()
    assert content.startswith("before\n<!-- measured -->\nMeasured") and content.endswith(
        "<!-- end of measured -->\nafter\n"
    )
    assert "old" not in content and json.loads((tmp_path / "amat.json").read_text())["threads"] == 1


def test_the_gpu_benchmark_runs_to_its_end_on_a_cpu_and_says_that_its_numbers_mean_nothing(tmp_path):
    program = Path(side_by_side.__file__).with_name("gpu.py")
    words = ["--device", "cpu", "--quick", "--only", "parity", "sharing", "--trainings", "classifier"]
    subprocess.run([sys.executable, program, *words, "--output", tmp_path], check=True, timeout=300)
    records = {record["name"]: record for record in json.loads((tmp_path / "parity.json").read_text())["records"]}
    assert all(record["agrees"] for record in records.values())
    # On one device float32 and float32 agree to the bit, and bfloat16 does not.
    exact, rounded = (records[f"classifier, one step in {kind}"]["gradient_error"] for kind in ("float32", "bfloat16"))
    assert exact == 0 and 1e-4 < rounded < 0.15
    page = (tmp_path / "gpu.md").read_text()
    assert "the numbers mean nothing" in page and "| log-likelihood, K = 200 |" in page
