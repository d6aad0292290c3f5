"""Gather the FID of one model over its seeds: a text to read and quote, and a JSON.

Reads what score_fid.py --output wrote for each seed. The text's first line can be quoted as it stands:
with several seeds mean and standard deviation over them, with one its value; always with the number
of samples, the real-data FID and the ratio to it. The real-data FID is the mean over the draws of all seeds.

example:
  python workflow/scripts/summarise_fid.py --scores seed1.json seed2.json --output fid_gan.txt
"""

import textwrap
from pathlib import Path

from genlab import InputError, cli, files

# What is read of a score, and of the real-data FID if it has one.
FIELDS = {
    **dict.fromkeys(("model", "data/title", "protocol"), str),
    **{"seed": int, "fid": files.NUMBER, "samples": int, "floor": dict | None, "provenance": dict},
    **{"reference/images": int, "reference/title": str, "reference/file": str},
    **{"features/file": str, "features/sha256": str},
}
FLOOR = {"floor/values": [files.NUMBER], "floor/images": int, "floor/source/title": str, "floor/source/file": str}

# What must be equal in all scores that are gathered.
COMMON = ("model", "data", "samples", "reference", "features", "protocol")


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--scores", type=Path, nargs="+", required=True, metavar="JSON", help="one for each seed")
    result.add_argument(
        "--output", type=cli.path_ending(".txt"), required=True, metavar="TXT",
        help="text to write; with the same name and .json, the same numbers",
    )  # fmt: skip
    return result


def main(options):
    files.check_apart([options.output, options.output.with_suffix(".json")], options.scores)
    summary = gather(options.scores, [read_score(path) for path in options.scores])
    written = text(summary)
    files.write_json(options.output.with_suffix(".json"), summary)
    files.write_text(options.output, written)
    print(written, end="")


def read_score(path):
    """What score_fid.py has written of one seed."""
    score = files.read_json(path, FIELDS)
    if score["floor"]:
        files.check_fields(path, score, FLOOR)
    return score


def gather(paths, scores):
    """The summary of scores; raises `InputError` if they do not belong together."""
    from genlab.measures import intervals

    first = scores[0]
    for path, score in zip(paths, scores, strict=True):
        differing = [key for key in COMMON if score[key] != first[key]]
        if floor_source(score) != floor_source(first):
            differing.append("floor's images")
        if differing:
            raise InputError(
                f"{path}: its {differing[0]} differs from that of {paths[0]}; "
                "give the seeds of one model, feature network, reference and number of samples"
            )
    seeds = [score["seed"] for score in scores]
    if len(set(seeds)) < len(seeds):
        raise InputError(f"--scores: the seeds are {', '.join(map(str, seeds))}; give one score for each seed")
    fid, floor = intervals.spread([score["fid"] for score in scores]), None
    if first["floor"]:
        draws = [value for score in scores for value in score["floor"]["values"]]
        if first["floor"]["images"] == first["floor"]["source"]["images"]:  # of all: the same draw with every seed
            draws = draws[:1]
        floor = intervals.spread(draws) | floor_source(first)
    return {
        **{key: first[key] for key in COMMON},
        "seeds": seeds,
        "fid": fid,
        "floor": floor,
        "ratio": fid["mean"] / floor["mean"] if floor and floor["mean"] > 0 else None,
        "provenance": [score["provenance"] for score in scores],
    }


def floor_source(score):
    """Of what images, and of how many at a time, the real-data FID is; {} without one."""
    return {key: score["floor"][key] for key in ("images", "source")} if score["floor"] else {}


def text(summary):
    """The summary for a person; its first line can be quoted."""
    fid, floor, seeds, samples = summary["fid"], summary["floor"], summary["seeds"], summary["samples"]
    reference, weights = summary["reference"], summary["features"]
    facts = [summary["model"], f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}", f"N = {samples}"]
    facts.append(f"real data {rounded(floor['mean'])}" if floor else "real data unknown")
    if summary["ratio"]:
        facts.append(f"ratio {summary['ratio']:.2f}")
    value = rounded(fid["mean"]) + (f" +- {rounded(fid['sd'])}" if fid["sd"] is not None else "")
    lines = [f"FID {value} ({', '.join(facts)}) on {summary['data']['title']}", ""]

    def number(of, kind):
        count = len(of["values"])
        return f"{of['mean']:.8g}" + (f" +- {of['sd']:.4g}, mean and sd of {count} {kind}" if count > 1 else "")

    lines.append(f"FID        {number(fid, 'seeds')}")
    lines += [f"  seed {seed}: {value:.8g}" for seed, value in zip(seeds, fid["values"], strict=True)]
    lines.append(f"samples    {samples} of each seed")
    lines.append(f"reference  {named(reference)}")
    if floor:
        lines.append(f"real data  {number(floor, 'draws')}: the FID of {named(floor['source'], floor['images'])}")
        if floor["images"] < samples:
            lines.append(f"note       only {floor['images']} training images: the real-data FID reads high")
    else:
        lines.append("real data  unknown: scored without training images")
    if summary["ratio"]:
        lines.append(f"ratio      {summary['ratio']:.4g}, FID / real-data FID")
    lines.append(f"features   {weights['file']}, SHA-256 {weights['sha256']}")
    return "\n".join([*lines, "", *textwrap.wrap(summary["protocol"], 100)]) + "\n"


def rounded(value):
    """One decimal, or as many as three figures need: an FID is in squared units of its features, of any size."""
    return f"{value:.1f}" if value >= 100 else f"{value:#.3g}"


def named(taken, count=None):
    """Real images in words: how many, which, and where they were read."""
    split = {"train": "training ", "test": "test "}.get(taken.get("split"), "")
    return f"{count or taken['images']} {split}images of {taken['title']} ({taken['file']})"


if __name__ == "__main__":
    cli.run(main, parser())
