"""What a person sees in a terminal while the workflow runs: `snakemake --logger genlab`, as `make` calls it.

A line for each finished job; below them, redrawn, a line for each running job, with the epoch and the main number of a
training, and a bar of the whole run with the time left. Where nothing can be redrawn only the lines of finished jobs
are printed. Snakemake finds this module by its name in PYTHONPATH.

Times are expected ones: of a rule's jobs in this run, else in the run before, as their benchmarks tell; a running job
says itself how far it is. A job of which nothing is known adds no time, and the time left is then "at least".
"""

import csv
import re
import time
from collections import defaultdict
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

TAIL = 8192  # bytes at the end of a job's log that are looked at
SHOWN = 8  # last lines of a failed job's log that are shown
MAIN = {"valid_fid": "FID", "valid_elbo": "ELBO", "valid_accuracy": "accuracy"}  # of a training, on validation images
BAR = re.compile(r"(\d+)%\|.*?\| *(\d+)/(\d+) \[[\d:]+<([\d:]+)")
EPOCH = re.compile(r"INFO epoch (\d+), step (\d+), (.*)")
NUMBER = re.compile(r"(\w+) (-?\d[-+.e\d]*)\b")


class LogHandler(LogHandlerBase):
    """Snakemake's handler of its events."""

    def __post_init__(self):
        self.console = Console(stderr=True, highlight=False)
        self.jobs, self.waiting, self.known = {}, {}, defaultdict(list)  # known: {rule: seconds of its finished jobs}
        self.earlier, self.done, self.total, self.cores, self.began = None, 0, 0, 1, time.monotonic()
        self.shown = Live(console=self.console, get_renderable=self.picture, transient=True, refresh_per_second=2)

    writes_to_stream = property(lambda self: True)
    writes_to_file = property(lambda self: False)
    has_filter = property(lambda self: True)
    has_formatter = property(lambda self: True)
    needs_rulegraph = property(lambda self: False)

    def emit(self, record):
        """Take one event or message of Snakemake."""
        try:
            self.take(record, getattr(record, "event", None))
        except Exception:
            self.handleError(record)

    def take(self, record, event):
        """Note what an event says, and print what stays."""
        if event == LogEvent.RUN_INFO:
            counts = dict(record.stats)
            self.total = counts.pop("total", sum(counts.values()))
            self.waiting = counts
            if self.common_settings.dryrun:
                self.say("\n".join(f"{count:6} {rule}" for rule, count in [*counts.items(), ("total", self.total)]))
            elif self.console.is_terminal and not self.console.is_dumb_terminal:
                self.shown.start()
        elif event == LogEvent.RESOURCES_INFO:
            self.cores = getattr(record, "cores", None) or self.cores
        elif event == LogEvent.JOB_INFO and not self.common_settings.dryrun:
            self.waiting[record.rule_name] = self.waiting.get(record.rule_name, 1) - 1
            self.jobs[record.jobid] = Job(record)
            self.read_earlier(record.benchmark)
        elif event == LogEvent.JOB_FINISHED:
            if job := self.jobs.pop(record.job_id, None):
                self.known[job.rule].append(job.seconds())
                self.say(f"[green]\N{CHECK MARK}[/] {escape(job.name)} [dim]{lasted(job.seconds())}[/]")
        elif event == LogEvent.JOB_ERROR:
            job = self.jobs.pop(record.jobid, None)
            name, last = (job.name, job.last_lines()) if job else (f"job {record.jobid}", [])
            self.say(f"[red]\N{BALLOT X} {escape(name)} failed[/]" + "".join(f"\n    {escape(line)}" for line in last))
            if job and job.log:
                self.say(f"    [dim]its log:[/] {escape(str(job.log))}")
        elif event == LogEvent.PROGRESS:
            self.done, self.total = record.done, record.total
        elif event in (None, LogEvent.ERROR) and worth_saying(record):
            self.say(escape(record.getMessage()), {30: "yellow", 40: "red"}.get(record.levelno))

    def say(self, text, style=None):
        self.console.print(text, style=style, soft_wrap=True)

    def read_earlier(self, benchmarks):
        """Read the times of an earlier run, once, from the folder of its benchmarks."""
        if self.earlier is not None or not benchmarks:
            return
        self.earlier, path = defaultdict(list), Path(next(iter(benchmarks)))
        folder = next((parent for parent in path.parents if parent.name == "benchmarks"), None)
        for file in folder.rglob("*.tsv") if folder else ():
            try:
                row = list(csv.DictReader(file.open(), delimiter="\t"))[-1]
                self.earlier[file.relative_to(folder).with_suffix("").parts[0]].append(float(row["s"]))
            except (OSError, KeyError, ValueError, IndexError, TypeError):
                continue  # being written, or of another kind

    def expected(self, rule):
        """Seconds that a job of a rule takes, or None if nothing is known."""
        times = self.known.get(rule) or (self.earlier or {}).get(rule)
        times = times or [job.whole() for job in list(self.jobs.values()) if job.rule == rule and job.whole()]
        return sum(times) / len(times) if times else None

    def left(self):
        """(seconds left, whether that is all) of the run."""
        sure, running = True, []
        for job in list(self.jobs.values()):
            whole = job.whole() or self.expected(job.rule)
            sure &= whole is not None
            running.append(max(0.0, (whole or 0.0) - job.seconds()))
        times = {rule: self.expected(rule) for rule, count in list(self.waiting.items()) if count > 0 and rule != "all"}
        sure &= None not in times.values()
        queue = sum((times[rule] or 0.0) * self.waiting[rule] for rule in times)
        return max([(sum(running) + queue) / self.cores, *running]), sure

    def picture(self):
        """The lines that are redrawn, by a thread of their own: so it goes over copies."""
        table = Table.grid(padding=(0, 2))
        for job in list(self.jobs.values()):
            table.add_row(Text(job.name, "bold", no_wrap=True), Text(lasted(job.seconds())), Text(job.said()))
        seconds, sure = self.left()
        words = f"{self.done} of {self.total} jobs, {lasted(time.monotonic() - self.began)}"
        if seconds:
            words += f"; {'about' if sure else 'at least'} {lasted(seconds)} left"
        bar = Table.grid(padding=(0, 2))
        bar.add_row(ProgressBar(total=max(1, self.total), completed=self.done, width=30), Text(words))
        return Group(table, bar)

    def close(self):
        self.shown.stop()
        super().close()


class Job:
    """One running job, and what its log says of it."""

    def __init__(self, record):
        self.rule, self.began = record.rule_name, time.monotonic()
        self.name = " ".join([self.rule, *(str(value) for value in dict(record.wildcards or {}).values())])
        self.log = next(iter(record.log or ()), None)

    def seconds(self):
        return time.monotonic() - self.began

    def tail(self):
        """The end of the log, as text."""
        try:
            with open(self.log, "rb") as file:
                file.seek(max(0, file.seek(0, 2) - TAIL))
                return file.read().decode("utf-8", "replace")
        except (OSError, TypeError):
            return ""

    def last_lines(self):
        return self.tail().splitlines()[-SHOWN:]

    def bar(self):
        """(percent, steps done, steps in all, seconds left) of the last bar in the log, or None."""
        if not (found := BAR.findall(self.tail())):
            return None
        percent, done, total, left = found[-1]
        return int(percent), int(done), int(total), sum(int(n) * 60**i for i, n in enumerate(reversed(left.split(":"))))

    def whole(self):
        """Seconds that the job will have taken, as its log says, or None."""
        bar = self.bar()
        return self.seconds() + bar[3] if bar else None

    def said(self):
        """How far the job is: of a training the epoch and the main number, of others their bar."""
        bar, epochs = self.bar(), EPOCH.findall(self.tail())
        said = [f"{bar[0]}%, {lasted(bar[3])} left"] if bar else []
        if epochs:
            epoch, step, rest = epochs[-1]
            of = f" of {round(bar[2] * int(epoch) / int(step))}" if bar and int(step) else ""
            said.insert(0, f"epoch {epoch}{of}")
            numbers = dict(NUMBER.findall(rest))
            said += [f"validation {name} {float(numbers[key]):,.4g}" for key, name in MAIN.items() if key in numbers]
        return ", ".join(said)


def lasted(seconds):
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes, hours = round(seconds / 60), int(seconds // 3600)
    return f"{minutes} min" if seconds < 5400 else f"{hours} h {minutes - 60 * hours} min"


def worth_saying(record):
    """Whether a message without an event is for a person: warnings, errors, and how the run ends."""
    ends = ("Nothing to be done", "This was a dry-run", "Building DAG", "Complete log")
    return record.levelno >= 30 or record.getMessage().startswith(ends)
