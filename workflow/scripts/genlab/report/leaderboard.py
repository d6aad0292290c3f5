"""The tables and files of a leaderboard of folders of samples. Nothing here imports torch."""

import itertools

from .. import files
from ..data.samples import said
from ..measures.copies import NEAR
from ..measures.metric_table import BY_KEY
from ..measures.ranking import BLOCKS, METRICS
from . import page, typeset
from .typeset import PLUS_MINUS, UNKNOWN, Table, cell, number


def tables(board, about):
    """A `typeset.Table` for each number of images of a `ranking.Board`, the largest first.

    about: data, reference and features, in words.
    """
    made = []
    for count, group in itertools.groupby(board.entries, key=lambda entry: entry["images"]):
        rows = [entry_row(entry) for entry in group]
        if real := board.real.get(count):
            place = sum(row[2][1] < real["fid"] for row in rows)
            rows.insert(place, real_row(real))
        header = ["rank", "samples", "FID", "FID / real-data FID", *(BY_KEY[key].title for key in METRICS), "copies",
                  "FID not told apart from"]  # fmt: skip
        caption = (
            f"{count:,} images of each entry against {about['reference']}, by FID, lower is better; on "
            f"{about['features']}. Brackets: 95% intervals, by a jackknife over "
            f"{BLOCKS} blocks of the images. Copies: images that equal a real one + those within {NEAR:g} grey levels "
            "of one (root mean square). The last column names entries whose difference may be chance (Welch's test, "
            "corrected by Holm for all pairs)."
        )
        made.append(Table(f"leaderboard{count}", caption, header, rows))
    return made


def converted(board):
    """[(name, text)] of the entries whose images were not taken as they were."""
    return [(entry["name"], said(entry["converted"])) for entry in board.entries if entry["converted"]]


def entry_row(entry):
    """The cells of an entry."""
    interval = f"{number(entry['fid'])}\n[{number(entry['low'])}, {number(entry['high'])}]"
    return [
        cell(entry["rank"]),
        entry["name"],
        (interval, entry["fid"]),
        cell(entry["ratio"], 3),
        *(cell(entry[key], 3) for key in METRICS),
        (f"{entry['exact']} + {entry['near']}", entry["exact"] + entry["near"]),
        ", ".join(entry["like"]) or UNKNOWN,
    ]


def real_row(real):
    """The cells of as many real training images."""
    spread = real["sd"]
    text = number(real["fid"]) + (f"\n{PLUS_MINUS} {number(spread, 2)} over draws" if spread else "")
    name = "real training images" + (f" (only {real['of']:,})" if real["of"] < real["images"] else "")
    return [UNKNOWN, name, (text, real["fid"]), ("1", 1.0), *(cell(real[key], 3) for key in METRICS), UNKNOWN, UNKNOWN]


def text(board, about):
    """The board for a terminal: its main columns, and what was converted."""
    from tabulate import tabulate

    shown = [
        tabulate([row[:4] + row[-2:] for row in table.texts()], table.header[:4] + table.header[-2:])
        for table in tables(board, about)
    ]
    lines = [f"{name}: {text}" for name, text in converted(board)]
    return "\n\n".join([*shown, *(["Converted:\n" + "\n".join(lines)] if lines else [])])


def write(board, about, shown, folder):
    """Write leaderboard.{md,tex,csv,html} and pairs.csv. shown: {name: some images}."""
    import pandas

    made = tables(board, about)
    columns = ["rank", "name", "images", "fid", "low", "high", "error", "ratio", *METRICS, "exact", "near", "repeated"]
    entries = pandas.DataFrame([{key: entry[key] for key in columns} for entry in board.entries])
    pairs = pandas.DataFrame(
        board.pairs, columns=["first", "second", "difference", "low", "high", "p", "p_corrected", "winner"]
    )
    grids = [
        {"title": name} | page.sheet([images[start : start + 6] for start in range(0, len(images) - 5, 6)])
        for name, images in shown.items()
    ]
    html = page.render("leaderboard.html", tables=made, about=about, grids=grids, converted=converted(board))
    markdown = [*map(typeset.markdown, made), *(f"* Converted, {name}: {text}" for name, text in converted(board))]
    contents = {
        "leaderboard.md": "\n".join(markdown) + "\n",
        "leaderboard.tex": "\n".join(map(typeset.latex, made)),
        "leaderboard.csv": entries.to_csv(index=False),
        "pairs.csv": pairs.to_csv(index=False),
        "leaderboard.html": html,
    }
    for name, content in contents.items():
        files.write_text(folder / name, content)
