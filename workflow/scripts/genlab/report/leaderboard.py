"""A leaderboard of folders of samples: ranks, verdicts, and its files. Nothing here imports torch."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from .. import files
from ..measures import intervals
from ..measures.metric_table import BY_KEY
from . import page, typeset
from .typeset import PLUS_MINUS, UNKNOWN, Table, cell, number

SOURCE = Path(__file__).parents[3]  # the folder workflow
FREEDOM = 9  # degrees of freedom of a jackknife over ten blocks
LEVEL = 0.05  # of the corrected p-values
SHOWN = ("kid", "precision", "recall", "density", "coverage", "class_divergence")


@dataclass
class Board:
    """Entries in order, of one size after the other; `real` {images: row of real training images}; pairs compared."""

    entries: list
    real: dict
    pairs: list
    about: dict


def rank(entries, real_rows, about):
    """The `Board` of scored entries: dicts with name, images, fid, error, the metrics of SHOWN, and copies.

    Entries of one size are compared in pairs by Welch's test of their FIDs, corrected by Holm over all pairs.
    """
    entries = sorted(entries, key=lambda entry: (-entry["images"], entry["fid"]))
    pairs = []
    for first, second in itertools.combinations(entries, 2):
        if first["images"] == second["images"]:
            errors = first["error"], second["error"]
            found = intervals.compare(first["fid"], second["fid"], errors, [FREEDOM, FREEDOM])
            pairs.append({"first": first["name"], "second": second["name"], **found})
    for pair, corrected in zip(pairs, intervals.holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_corrected"] = float(corrected)
        better = pair["first"] if pair["difference"] < 0 else pair["second"]
        pair["winner"] = better if corrected < LEVEL else ""
    real = {row["images"]: row for row in real_rows}
    for entry in entries:
        alike = [pair for pair in pairs if not pair["winner"] and entry["name"] in (pair["first"], pair["second"])]
        entry["like"] = [pair["second" if pair["first"] == entry["name"] else "first"] for pair in alike]
        row = real.get(entry["images"])
        entry["ratio"] = entry["fid"] / row["fid"] if row and row["fid"] > 0 else None
        spread = intervals.student(entry["fid"], entry["error"], FREEDOM, 0.95)
        entry["low"], entry["high"] = max(0.0, spread["low"]), spread["high"]
    for _, group in itertools.groupby(entries, key=lambda entry: entry["images"]):
        for place, entry in enumerate(group, 1):
            entry["rank"] = place
    return Board(entries, real, pairs, about)


def tables(board):
    """A `typeset.Table` for each number of images, the largest first."""
    made = []
    for count, group in itertools.groupby(board.entries, key=lambda entry: entry["images"]):
        rows = [entry_row(entry) for entry in group]
        if real := board.real.get(count):
            place = sum(row[2][1] < real["fid"] for row in rows)
            rows.insert(place, real_row(real))
        header = ["", "samples", "FID", "FID / real-data FID", *(BY_KEY[key].title for key in SHOWN), "copies",
                  "FID not told apart from"]  # fmt: skip
        caption = (
            f"{count:,} images of each entry against {board.about['reference']}, by FID, lower is better; on the 512 "
            f"features of {board.about['classifier']}: no Inception FID. Brackets: 95% intervals, by a jackknife over "
            "ten blocks of the images. Copies: images that equal a real one + those within 5 grey levels of one (root "
            "mean square). The last column names entries whose difference may be chance (Welch's test, corrected by "
            "Holm for all pairs)."
        )
        made.append(Table(f"leaderboard{count}", caption, header, rows))
    return made


def entry_row(entry):
    """The cells of an entry."""
    interval = f"{number(entry['fid'])}\n[{number(entry['low'])}, {number(entry['high'])}]"
    return [
        cell(entry["rank"]),
        entry["name"],
        (interval, entry["fid"]),
        cell(entry["ratio"], 3),
        *(cell(entry[key], 3) for key in SHOWN),
        (f"{entry['exact']} + {entry['near']}", entry["exact"] + entry["near"]),
        ", ".join(entry["like"]) or UNKNOWN,
    ]


def real_row(real):
    """The cells of as many real training images."""
    spread = real["sd"]
    text = number(real["fid"]) + (f"\n{PLUS_MINUS} {number(spread, 2)} over draws" if spread else "")
    name = "real training images" + (f" (only {real['of']:,})" if real["of"] < real["images"] else "")
    return [UNKNOWN, name, (text, real["fid"]), ("1", 1.0), *(cell(real[key], 3) for key in SHOWN), UNKNOWN, UNKNOWN]


def text(board):
    """The board for a terminal."""
    lines = []
    for table in tables(board):
        from tabulate import tabulate

        lines.append(tabulate([row[:4] + row[-2:] for row in table.texts()], table.header[:4] + table.header[-2:]))
    return "\n\n".join(lines)


def write(board, shown, real, folder):
    """Write leaderboard.{md,tex,csv,html} and pairs.csv. shown: {name: some images}; real: some real ones."""
    import jinja2
    import pandas

    made = tables(board)
    columns = ["rank", "name", "images", "fid", "low", "high", "error", "ratio", *SHOWN, "exact", "near", "repeated"]
    entries = pandas.DataFrame([{key: entry[key] for key in columns} for entry in board.entries])
    pairs = pandas.DataFrame(
        board.pairs, columns=["first", "second", "difference", "low", "high", "p", "p_corrected", "winner"]
    )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(SOURCE / "report"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    grids = [
        {"title": name} | page.sheet([images[start : start + 6] for start in range(0, len(images) - 5, 6)])
        for name, images in {**shown, "real images": real}.items()
    ]
    html = environment.get_template("leaderboard.html").render(
        tables=made, about=board.about, grids=grids, style=(SOURCE / "report" / "report.css").read_text()
    )
    contents = {
        "leaderboard.md": "\n".join(map(typeset.markdown, made)),
        "leaderboard.tex": "\n".join(map(typeset.latex, made)),
        "leaderboard.csv": entries.to_csv(index=False),
        "pairs.csv": pairs.to_csv(index=False),
        "leaderboard.html": html,
    }
    for name, content in contents.items():
        files.write_text(folder / name, content)
