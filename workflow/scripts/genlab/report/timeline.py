"""When the jobs of a run ran and what they took, from Snakemake's benchmarks: a table, and bars on a time axis."""

import re
from dataclasses import dataclass

from .. import log
from .typeset import Table, cell

PAUSE = 600  # seconds without any job: what lies before belongs to an earlier run
KINDS = {  # of jobs, by how their rules begin; in the order of the legend
    "training": ("train_",),
    "estimates": ("estimate_", "bracket_"),
    "features, metrics, samples": (
        "sample", "extract_", "evaluate_", "score_", "explore_", "reconstruct_", "compare", "summarise_", "publish_",
        "import_",
    ),
    "figures and report": ("plot_", "export_", "write_"),
    "data": ("",),
}  # fmt: skip
WIDTH, HEIGHT, LETTER = 1000, 24, 7  # of the time axis, a row, and a letter of a label
STEPS = (5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)  # seconds between two ticks


@dataclass(frozen=True)
class Job:
    """A job's last run: its rule, its name in it, seconds since 1970 of its end, and what it took."""

    rule: str
    name: str
    end: float
    seconds: float
    memory: float  # MiB
    processor: float  # seconds

    @property
    def start(self):
        """Seconds since 1970."""
        return self.end - self.seconds


def jobs(results):
    """The jobs that this configuration has, in the order in which they began."""
    import pandas

    folder, found = results.folder / "benchmarks", []
    imported = [each["seed"] for of_model in results.imported.values() for each in of_model]
    seeds = {str(seed) for seed in (*results.config["seeds"], *imported)}
    names = {*results.likelihood, *results.fid, "references"}
    for path in sorted(folder.rglob("*.tsv")):
        rule, *job = path.relative_to(folder).with_suffix("").parts
        words = re.split(r"[/_]", "/".join(job))
        if {word[4:] for word in words if re.fullmatch("seed[0-9]+", word)} - seeds:
            continue  # of a seed that the configuration has no more
        if rule not in ("fetch", "render_digits") and job and not names & {*words, "_".join(words)}:
            continue
        try:
            row = pandas.read_csv(path, sep="\t").iloc[-1]
            numbers = [float(row[key]) for key in ("s", "max_rss", "cpu_time")]
        except (KeyError, ValueError, IndexError) as error:
            log.warning("%s: not a benchmark of Snakemake (%r); left out", path, error)
        else:
            found.append(Job(rule, " ".join(job).replace("_", " "), path.stat().st_mtime, *numbers))
    return sorted(found, key=lambda job: job.start)


def stages_table(jobs):
    """Time and peak memory of each stage."""
    rows = []
    for rule in {job.rule for job in jobs}:
        of_rule = [job for job in jobs if job.rule == rule]
        seconds, busy = [job.seconds for job in of_rule], sum(job.processor for job in of_rule)
        memory = max(job.memory for job in of_rule) / 1024
        numbers = (sum(seconds), max(seconds), busy, memory)
        rows.append((-sum(seconds), [rule, cell(len(of_rule)), *(cell(number, 3) for number in numbers)]))
    header = ["stage", "jobs", "seconds in all", "longest job, s", "processor time, s", "peak memory, GiB"]
    caption = (
        "Time and peak memory of each stage's last runs, by Snakemake's benchmarks; stages that ran at the same time "
        "are added up. Memory is the resident set, sampled: a short peak can be missed."
    )
    return Table("stages", caption, header, [row for _, row in sorted(rows)])


def timeline(jobs):
    """The bars of the jobs that ran without a long pause up to the last: a dict for the page, None of no job.

    A row holds jobs that ran one after another, so there are as many rows as jobs ran at the same time.
    """
    run = last_run(jobs)
    if not run:
        return None
    begin, end = run[0].start, max(job.end for job in run)
    scale, free, bars = WIDTH / max(end - begin, 1e-9), [], []
    for job in run:
        row = next((row for row, until in enumerate(free) if until <= job.start + 0.05), len(free))
        free[row : row + 1] = [job.end]
        width = job.seconds * scale
        label = job.rule if LETTER * len(job.rule) + 6 < width else ""
        title = f"{job.rule} {job.name}".strip() + f": {job.start - begin:.0f} to {job.end - begin:.0f} s"
        place = {"x": round((job.start - begin) * scale, 1), "y": row * HEIGHT, "width": max(round(width, 1), 0.5)}
        bars.append(place | {"kind": kind(job.rule), "label": label, "title": title})
    step = next((step for step in STEPS if (end - begin) / step <= 10), STEPS[-1])
    ticks = [
        (round(number * step * scale, 1), moment(number * step)) for number in range(int((end - begin) / step) + 1)
    ]
    worked = sum(job.seconds for job in run)
    return {
        "bars": bars, "ticks": ticks, "kinds": [each for each in KINDS if any(bar["kind"] == each for bar in bars)],
        "width": WIDTH, "height": HEIGHT, "rows": len(free), "jobs": len(run), "others": len(jobs) - len(run),
        "length": moment(end - begin), "worked": moment(worked), "at_once": worked / (end - begin),
    }  # fmt: skip


def last_run(jobs):
    """Those of `jobs`, in the order in which they began, that ran after the last long pause."""
    first, until = 0, float("-inf")
    for number, job in enumerate(jobs):
        if job.start > until + PAUSE:
            first = number
        until = max(until, job.end)
    return jobs[first:]


def kind(rule):
    """The kind of a rule's jobs."""
    return next(kind for kind, beginnings in KINDS.items() if rule.startswith(beginnings))


def moment(seconds):
    """A time in words."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
