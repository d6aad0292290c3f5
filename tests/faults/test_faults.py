"""Stages that are killed, or run out of disk, at any moment: nothing half-written, and the same bytes in the end.

The commands are those of the workflow with the smoke configuration. Moments are drawn from a seed, printed if a test
fails; GENLAB_FAULT_SEED draws others.
"""

import csv
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from smoke import snakemake
from stage import SCRIPTS

TESTS = Path(__file__).parents[1]
SEED = int(os.environ.get("GENLAB_FAULT_SEED", 1))
TRAININGS = {
    "train_binary_vae": "model.safetensors",
    "train_classifier": "trained.safetensors",
    "train_vae": "model.safetensors",
    "train_gan": "model.safetensors",
    "estimate_divergences": "divergences.csv",
    "estimate_density": "density.csv",
}
MORE_STEPS = ("train_classifier", "train_vae", "train_gan")  # than the smoke configuration's six
# Of the stages that draw, which all write by the same function, two; test_files.py looks at how the others write.
OTHERS = (
    "render_digits", "prepare_binarized_mnist", "prepare_svhn", "evaluate_classifier", "sample_binary_vae",
    "estimate_likelihood", "summarise_likelihood", "sample", "score_fid", "summarise_fid", "evaluate_samples",
    "explore_latents", "reconstruct_images", "extract_features", "evaluate_features", "plot_data", "plot_digits",
)  # fmt: skip


class Stages:
    """The jobs of the smoke workflow, run one at a time in forked processes of one server."""

    def __init__(self, folder):
        self.folder, self.jobs, self.owner, self.events = folder, {}, {}, {}
        plan = snakemake("all", "--dry-run", "--printshellcmds", directory=folder).stdout
        for block in re.split(r"^(?=rule \w+:)", plan, flags=re.MULTILINE)[1:]:
            if "\nShell command: python " not in block:
                continue
            outputs = re.search(r"^ +output: (.*)$", block, re.MULTILINE)[1].split(", ")
            inputs = re.search(r"^ +input: (.*)$", block, re.MULTILINE)[1].split(", ")
            command = shlex.split(re.search("^Shell command: python (.*?) > ", block, re.MULTILINE)[1])
            for name in outputs:
                self.owner[name] = inputs, outputs, command
            self.jobs.setdefault(re.match(r"rule (\w+):", block)[1], (inputs, outputs, command))
        self.server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("server.py")], cwd=folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": f"{SCRIPTS}:{TESTS}"},
        )  # fmt: skip

    def __call__(self, command, **faults):
        """Run a command; returns exit code, number of events and what it printed."""
        request = {"words": command, "log": str(self.folder / "log.txt")} | faults
        print(json.dumps(request), file=self.server.stdin, flush=True)
        answer = json.loads(self.server.stdout.readline())
        return answer["code"], answer["events"], (self.folder / "log.txt").read_text()

    def ready(self, name):
        """Outputs and command of a rule's first job, its inputs made by whole runs of the stages before."""
        inputs, outputs, command = self.jobs[name]
        self.make(inputs)
        return [self.folder / output for output in outputs], command

    def make(self, files):
        for file in files:
            if file in self.owner and not (self.folder / file).exists():
                inputs, _, command = self.owner[file]
                self.make(inputs)
                code, _, log = self(command)
                assert code == 0, log


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    stages = Stages(tmp_path_factory.mktemp("faults"))
    yield stages
    stages.server.stdin.close()
    stages.server.wait()


def content(path):
    """The bytes of a file, or of all files of a directory by name; None if there is nothing."""
    if path.is_dir():
        return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
    return path.read_bytes() if path.exists() else None


def lasting(path):
    """What of an output must be the same in every run: all but times, and where the files lie."""
    if path.name == "history.csv":
        rows = list(csv.DictReader(path.open()))
        return [{key: row[key] for key in row if key not in ("seconds", "images_per_second")} for row in rows]
    if path.suffix == ".json":
        summary = json.loads(path.read_text())
        for key in ("seconds", "provenance"):
            summary.pop(key, None)
        for key in ("seconds", "images_per_second"):
            summary.get("best", {}).pop(key, None)
        return summary
    return content(path)


def leftovers(folder):
    return [path for path in folder.rglob(".*") if ".part" in path.name or ".old" in path.name]


def elsewhere(command, outputs, folder):
    """A training's outputs and command in a folder of its own, so that every test has a state of its own."""
    names = {output.name for output in outputs}
    words = list(command)
    for place, word in enumerate(words):
        if Path(word).name in names | {f"{outputs[0].name}.state"}:
            words[place] = str(folder / Path(word).name)
        elif words[place - 1] == "--output":  # the folder of all
            words[place] = str(folder)
    return [folder / output.name for output in outputs], words


@pytest.fixture(scope="module")
def undisturbed(stages, tmp_path_factory):
    """A function: outputs and command of a training, what its undisturbed run gave, and how many events it had."""
    known = {}

    def undisturbed(name):
        if name not in known:
            outputs, command = stages.ready(name)
            if name in MORE_STEPS:
                command = [*command, "--batch-size", "16"]
            folder = stages.folder / "undisturbed" / name
            files, words = elsewhere(command, outputs, folder)
            code, events, log = stages(words, save_every=5)
            assert code == 0, log
            known[name] = outputs, command, {file.name: lasting(file) for file in files}, events
        return known[name]

    return undisturbed


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_killed_again_and_again_ends_with_the_same_bytes(stages, undisturbed, name):
    outputs, command, expected, events = undisturbed(name)
    draw = random.Random(f"{SEED} {name}")
    # Once within the training, and again, and again; once while the outputs are published. At the very last event
    # all is noted as finished, and the same command would train anew.
    chains = [
        [(draw.randint(1, events // 4), kind) for kind in draw.sample(("SIGKILL", "SIGTERM", "SIGUSR1"), 3)],
        [(draw.randint(events - 12, events - 1), draw.choice(("SIGKILL", "SIGTERM")))],
    ]
    for number, chain in enumerate(chains):
        files, words = elsewhere(command, outputs, stages.folder / f"chain{number}" / name)
        for moment, kind in chain:
            print(f"seed {SEED}: {kind} at event {moment} of {events}")
            code, _, log = stages(words, save_every=5, moment=moment, signal=kind)
            print(log)
            # A signal that comes while the outputs are published no longer stops anything.
            assert code in ([-signal.SIGKILL] if kind == "SIGKILL" else [75] + [0] * number), log
            for file in files:  # whole or not there
                assert not file.exists() or lasting(file) == expected[file.name], file
        if code:
            code, _, log = stages(words, save_every=5)
        assert code == 0 and not re.search("Traceback|anew|afresh", log), log
        assert {file.name: lasting(file) for file in files} == expected
        assert leftovers(files[0].parent) == []


def test_more_epochs_of_a_constant_rate_end_with_the_bytes_of_as_many_undisturbed_ones(stages):
    outputs, command = stages.ready("train_gan")
    _, longer = elsewhere(command, outputs, stages.folder / "longer")
    _, more = elsewhere(command, outputs, stages.folder / "more")
    for words, epochs in ((longer, 5), (more, 3), (more, 5)):
        code, _, log = stages([*words, "--schedule", "constant", "--epochs", str(epochs)])
        assert code == 0, log
    assert "the training was planned for 3 epochs and is now for 5" in log and "resuming at epoch 4, step 0" in log
    for name in ("model.safetensors", "frames.npz"):
        assert (stages.folder / "more" / name).read_bytes() == (stages.folder / "longer" / name).read_bytes()
    summary = json.loads((stages.folder / "more" / "training.json").read_text())
    assert [stretch["epochs"] for stretch in summary["stretches"]] == [3, 5]


@pytest.mark.parametrize("name", OTHERS)
def test_a_stage_killed_while_it_writes_leaves_the_old_output_or_the_new_one(stages, name):
    outputs, command = stages.ready(name)
    code, events, log = stages(command)
    assert code == 0, log
    new = {output: content(output) for output in outputs}
    draw = random.Random(f"{SEED} {name}")
    kind, moment = draw.choice(("SIGKILL", "SIGTERM")), draw.randint(1, events)
    old = {}
    for output in outputs:
        if output.is_dir():
            next(output.rglob("*.png")).unlink()
        else:
            output.write_bytes(b"old")
        old[output] = content(output)
    print(f"seed {SEED}: {kind} at event {moment} of {events}")
    code, _, log = stages(command, moment=moment, signal=kind)
    assert code == {"SIGKILL": -signal.SIGKILL, "SIGTERM": 75}[kind], log
    for output in outputs:
        # Nothing moves one directory onto another in one step: between two of them there may be none.
        assert content(output) in ([old[output], new[output]] + [None] * isinstance(new[output], dict)), output
    code, _, log = stages(command)
    assert code == 0, log
    assert {output: content(output) for output in outputs} == new
    assert leftovers(outputs[0].parent) == []


# One stage for each way of writing: text, NPZ, CSV, JSON, a directory of PNG, a figure.
@pytest.mark.parametrize(
    "name", ["render_digits", "prepare_svhn", "explore_latents", "summarise_likelihood", "sample", "plot_data"]
)
def test_a_disk_that_takes_no_more_is_one_line_and_leaves_the_old_outputs(stages, name):
    outputs, command = stages.ready(name)
    if not outputs[0].exists():
        assert stages(command)[0] == 0
    before = {output: content(output) for output in outputs}
    largest = max(len(b) for value in before.values() for b in (value.values() if isinstance(value, dict) else [value]))
    code, _, log = stages(command, file_size=largest - 1)
    last = log.splitlines()[-1]
    assert code == 1 and f"{name}.py: failed: " in last and "cannot be written" in last and "make room" in last, log
    assert "Traceback" not in log and {output: content(output) for output in outputs} == before
    assert leftovers(outputs[0].parent) == []


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_whose_state_finds_no_room_keeps_the_last_one(stages, undisturbed, name):
    outputs, command, expected, events = undisturbed(name)
    files, words = elsewhere(command, outputs, stages.folder / "full" / name)
    moment = random.Random(f"{SEED} {name} full").randint(events // 6, events // 3)
    code, _, log = stages(words, save_every=5, moment=moment, signal="SIGTERM")
    assert code == 75, log
    (state,) = files[0].parent.rglob("*.safetensors")
    before = state.read_bytes()
    for file in files:
        file.write_bytes(b"old")
    room = len(before) - 64  # the next state can be a few bytes smaller: it holds times as text
    code, _, log = stages(words, save_every=5, file_size=room)
    assert code == 1 and f"{state}: cannot be written (" in log.splitlines()[-1] and "Traceback" not in log, log
    assert state.read_bytes() == before and {file.read_bytes() for file in files} == {b"old"}
    code, _, log = stages(words, save_every=5)
    assert code == 0 and "resuming at" in log, log
    assert {file.name: lasting(file) for file in files} == expected


@pytest.fixture
def disk(stages):
    """A function that gives a small disk of its own so many bytes of room."""
    folder = stages.folder / "disk"
    folder.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder]
    if not shutil.which("mount") or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("mounting a disk takes root's rights")

    def room(size):
        usage = shutil.disk_usage(folder)
        subprocess.run(["mount", "-o", f"remount,size={usage.used + size}", folder], check=True)

    room.folder = folder
    yield room
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_full_disk_stops_a_training_in_one_line_and_room_lets_it_go_on(stages, undisturbed, disk, share):
    outputs, command, expected, events = undisturbed("train_vae")
    files, words = elsewhere(command, outputs, disk.folder)
    assert stages(words, save_every=5, moment=events // 3, signal="SIGTERM")[0] == 75
    (state,) = disk.folder.rglob("*.safetensors")
    before = state.read_bytes()
    disk(int(share * len(before)))
    code, _, log = stages(words, save_every=5)
    assert code == 1 and "Traceback" not in log, log
    assert re.search(r": cannot be written \(.*o space left.*make room, run again$", log.splitlines()[-1]), log
    assert state.read_bytes() == before and not any(file.exists() for file in files)
    disk(64 << 20)
    code, _, log = stages(words, save_every=5)
    assert code == 0 and "resuming at" in log, log
    assert {file.name: lasting(file) for file in files} == expected
