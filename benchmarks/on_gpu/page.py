"""The measurements of gpu.py as Markdown tables and figures for docs/gpu.md."""

import json

PARTS = ("parity", "resume", "speed", "sharing", "training")


def write(folder):
    """Write DIR/gpu.md and the figures from the JSON files in DIR."""
    parts = {part: json.loads(path.read_text()) for part in PARTS if (path := folder / f"{part}.json").exists()}
    if not parts:
        return
    lines = header(next(iter(parts.values())))
    for part, content in parts.items():
        lines += ["", f"## {part.capitalize()}", "", *globals()[part](content["records"])]
    (folder / "gpu.md").write_text("\n".join(lines) + "\n")
    if "training" in parts:
        figures(folder, {record["name"]: record for record in parts["training"]["records"]})


def header(content):
    about = content["device"]
    lines = [f"Machine: {about['machine']}.", f"Commit: `{content['commit']}`."]
    if "card" in about:
        lines.insert(0, f"Card: {about['card']}; CUDA {about['cuda']}, cuDNN {about['cudnn']}.")
    lines.append("Versions: " + ", ".join(f"{name} {version}" for name, version in about["versions"].items()) + ".")
    if content["quick"]:
        lines.append("**A quick run: the numbers mean nothing.**")
    return lines


def table(heads, rows):
    """A Markdown table with numbers aligned to the right."""
    marks = ["---"] + ["---:"] * (len(heads) - 1)
    return [f"| {' | '.join(map(str, row))} |" for row in (heads, marks, *rows)]


def short(value):
    """A number with about three digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def parity(records):
    hidden = ("name", "tolerances", "agrees")
    rows = []
    for record in records:
        found = "; ".join(f"{key.replace('_', ' ')} {short(v)}" for key, v in record.items() if key not in hidden)
        rows.append((record["name"], found, ", ".join(map(short, record["tolerances"])), verdict(record)))
    return table(("what", "found", "tolerance", "agrees"), rows)


def verdict(record):
    return "yes" if record["agrees"] else "**no**"


def resume(records):
    rows = [
        (record["name"], record["number"], *(short(record[key]) for key in ("undisturbed", "another_seed", "killed")),
         short(record["tolerances"][0]), verdict(record))
        for record in records
    ]  # fmt: skip
    return table(("training", "number", "undisturbed", "another seed", "killed", "tolerance", "agrees"), rows)


def speed(records):
    limits, rows, others = records[0], [], []
    for record in records[1:]:
        if "ratio_to_plain_loop" in record:
            rates = record["steps_a_second"]
            rows.append(
                (record["name"], short(rates["plain loop"]), short(rates["kernel by kernel"]),
                 *(short(rates.get(name, "")) for name in VARIANTS), f"{record['ratio_to_plain_loop']:.1f}",
                 f"{record['of_matrix_product']:.1%}", f"{record['of_copy']:.0%}")
            )  # fmt: skip
        elif "images_a_second" in record:
            others.append((record["name"], short(record["images_a_second"]), f"{record['of_matrix_product']:.1%}",
                           f"{record['of_copy']:.0%}"))  # fmt: skip
    peaks = ("of peak compute", "of peak bandwidth")
    heads = ("steps a second", "plain loop", "kernel by kernel", *VARIANTS, "ratio", *peaks)
    lines = [
        "Limits: " + "; ".join(f"{key} {v / 1e12:.3g} T/s" for key, v in limits.items() if key != "name") + ".",
        "",
    ]
    lines += [*table(heads, rows), "", *table(("images a second", "", *peaks), others)]
    return lines


def sharing(records):
    rows = [
        (record["name"], *(short(record[f"steps_a_second_{how}"]) for how in ("alone", "together")),
         f"{record['time_of_all_over_time_of_one']:.2f}")
        for record in records
    ]  # fmt: skip
    return table(("steps a second", "one alone", "all together", "time of all over time of one"), rows)


VARIANTS = (
    "graphs", "graphs, float32", "graphs, tf32", "graphs, cuDNN's fastest", "graphs, not deterministic",
    "graphs, plain layers",
)  # fmt: skip


def training(records):
    hidden = ("name", "curve", "settings", "best")
    rows = []
    for record in records:
        found = {key: value for key, value in record.items() if key not in hidden} | record.get("best", {})
        rows.append((record["name"], "; ".join(f"{key.replace('_', ' ')} {short(v)}" for key, v in found.items())))
    return table(("training", "found"), rows)


def figures(folder, records):
    """fid_curve.png and a sheet of samples of each image model."""
    import matplotlib
    import numpy as np

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from PIL import Image

    for path in folder.glob("samples_*.npy"):
        images = np.load(path)[:64]
        sheet = images.reshape(-1, 16, 3, 32, 32).transpose(0, 3, 1, 4, 2).reshape(-1, 16 * 32, 3)
        Image.fromarray(sheet).resize((sheet.shape[1] * 2, sheet.shape[0] * 2), Image.NEAREST).save(
            path.with_suffix(".png")
        )
    record = records.get("WGAN-GP")
    if record and record["curve"]:
        seconds, _, fid = zip(*record["curve"], strict=True)
        figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
        axes.plot(seconds, fid, "o-", color="#0072b2", label="WGAN-GP, 1,000 samples to the validation images")
        axes.axhline(record["real_data_fid"], color="#d55e00", ls="--", label="real-data FID, to the test images")
        axes.set(xlabel="seconds of training", ylabel="FID", yscale="log")
        axes.legend(frameon=False)
        figure.savefig(folder / "fid_curve.png", dpi=150)
        plt.close(figure)
