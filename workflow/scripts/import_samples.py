"""Bring samples that another program made into a run, so that they are scored like those of its own models.

--samples names a folder of images, at any depth, or an .npz file of uint8 images. --command names a program that
draws them: in its words {output} is the folder that it must write, {count} the number of images, {seed} the seed. It
runs in the current folder, as the shell would run it.

Images are converted by the rules in docs/own_models.md; what was done to how many is recorded. If there are more
than --pool, so many are drawn at random. All are put in random order, since folders are often sorted by class.
Writes into DIR: samples/samples/0000.png, ..., the first --count of them, in the layout that score_fid.py reads;
images.npz, all of them; and import.json, what they are and what was converted.

example:
  python workflow/scripts/import_samples.py --samples students/ann --name ann --output results/runs/ann/seed1
  python workflow/scripts/import_samples.py --command "python draw.py --to {output} --images {count} --seed {seed}" \\
      --output results/runs/drawn/seed1 --seed 1
"""

import contextlib
import hashlib
import os
import shlex
import signal
import subprocess
import tempfile
from pathlib import Path

from genlab import ComputationError, InputError, cli, consistency, files, log, provenance


def parser():
    result = cli.parser(__doc__, seed=True)
    source = result.add_mutually_exclusive_group(required=True)
    source.add_argument("--samples", type=Path, metavar="PATH", help="folder of images, or .npz file of them")
    source.add_argument("--command", metavar="TEXT", help="program that writes images into a folder")
    result.add_argument("--name", default="samples", help="the model's name in tables and figures (default: samples)")
    result.add_argument("--count", type=cli.positive, default=1000, help="images that FID is taken of (default: 1000)")
    result.add_argument(
        "--draw", type=cli.natural, default=0, metavar="N",
        help="images that a command is asked for; 0 for --count (default: 0)",
    )  # fmt: skip
    result.add_argument(
        "--pool", type=cli.positive, default=10000, metavar="N", help="keep no more than so many (default: 10000)"
    )
    result.add_argument("--order-seed", type=cli.natural, default=1, help="seed of the random order (default: 1)")
    result.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    return result


def main(options):
    if options.command is not None and (fault := consistency.command_fault(options.command)):
        raise InputError(f"--command: {fault}")

    import numpy as np
    from genlab.data import arrays, images, samples
    from genlab.measures import copies

    if options.command is None:
        source = str(options.samples)
        files.check_apart([options.output / "samples", options.output / "images.npz"], [options.samples])
        found, done = samples.read(options.samples)
    else:
        source = options.command
        with tempfile.TemporaryDirectory(prefix="genlab-") as folder:
            found, done = samples.read(drawn(options, Path(folder) / "drawn"))
    if repeated := copies.repeated(found):
        done["equal to an earlier one"] = repeated
    if len(found) < options.count:
        raise InputError(
            f"{source}: {len(found)} images, fewer than the {options.count} that every model is scored on; give more, "
            f"or set images.evaluation.samples to {len(found)}"
        )
    rows = np.random.default_rng(options.order_seed).permutation(len(found))[: max(options.pool, options.count)]
    kept = found[rows]
    about = {
        "model": options.name,
        "seed": options.seed,
        "kind": "samples" if options.command is None else "external",
        "source": source,
        "available": len(found),
        "images": len(kept),
        "converted": done,
        "sha256": hashlib.sha256(np.ascontiguousarray(found)).hexdigest(),
        "provenance": provenance.record(options),
    }
    images.write_directory(options.output / "samples", kept[: options.count])
    with files.atomic(options.output / "images.npz") as temporary:
        arrays.write(temporary, about, images=kept)
    files.write_json(options.output / "import.json", about)
    if done:
        log.warning("%s, %d images: %s", options.name, len(found), samples.said(done))
    print(f"{len(kept)} of {len(found)} images of {options.name} from {source}")


def drawn(options, folder):
    """The folder that the command has written; what it prints goes to the log."""
    count = options.draw or options.count
    values = {"output": shlex.quote(str(folder)), "count": str(count), "seed": str(options.seed)}
    command = options.command
    for place, value in values.items():
        command = command.replace(f"{{{place}}}", value)
    log.info("running: %s", command)
    # In a session of its own, so that all that it starts ends with this stage.
    process = subprocess.Popen(["bash", "-c", command], env=cli.ENVIRONMENT, start_new_session=True)
    try:
        status = process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if status:
        raise ComputationError(f"--command: ended with exit code {status}; run it by hand: {options.command}")
    if not folder.is_dir():
        raise ComputationError(f"--command: has not made the folder {{output}}; run it by hand: {options.command}")
    return folder


if __name__ == "__main__":
    cli.run(main, parser())
