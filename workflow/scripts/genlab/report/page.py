"""The parts of the report: figures with captions and alternative texts, sheets, provenance; all without torch."""

import base64
import io
import json
import subprocess
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from .. import InputError
from ..data import arrays
from .figures import SECTIONS, figures_of
from .typeset import meaning

FOLDER = Path(__file__).parents[3] / "report"  # captions, templates, style and script
GRID = 10  # images in a row, and rows, of a grid of samples
SIDE = 16383  # pixels of the largest WebP


def render(template, **content):
    """The page that a template of workflow/report makes of `content`, as text; it also gets the `style`."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (FOLDER / "report.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(style=style, **content)


def figures(results):
    """{section: [figure]}; a figure is a dict name, caption (HTML), alt, data (URI), width, height."""
    found = {section: [] for section in SECTIONS}
    titles = {problem: results.title(problem) for problem in ("likelihood", "images")}
    used = [problem for problem, models in (("likelihood", results.likelihood), ("images", results.fid)) if models]
    shown = {"data": used, "divergences": [], "likelihood": ["likelihood"]}
    for row, model, name in figures_of(results.config):
        run = name.removeprefix("learning_curves_")
        said = captioned(row.caption or row.name.removesuffix("_{model}"), results.config, model=model, run=run)
        if data := "; ".join(titles[problem] for problem in shown.get(row.section, ["images"])):
            said += f" <span class='data'>Data: {escaped(data)}.</span>"
        figure = embedded(results.folder / "figures" / f"{name}.png")
        found[row.section].append(figure | {"name": name, "caption": said, "alt": row.alt.format(model=model)})
    return found


def escaped(text):
    """Text as HTML."""
    from markupsafe import escape

    return str(escape(text))


def captioned(name, config, **wildcards):
    """A caption of workflow/report, written for Snakemake's own report, as HTML."""
    from docutils.core import publish_parts
    from jinja2 import Template

    job = SimpleNamespace(config=config, wildcards=SimpleNamespace(**wildcards))
    text = Template((FOLDER / f"{name}.rst").read_text(encoding="utf-8")).render(snakemake=job)
    settings = {"raw_enabled": False, "file_insertion_enabled": False, "report_level": 4}
    html = publish_parts(text, writer="html5", settings_overrides=settings)["body"]
    return html.strip().removeprefix("<p>").removesuffix("</p>")


def data_uri(content, kind):
    """Bytes as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def picture(image, **options):
    """A Pillow image as a dict data, width, height: lossless WebP unless `options` say otherwise; PNG if too large."""
    buffer, kind = io.BytesIO(), "webp" if max(image.size) <= SIDE else "png"
    options = {"lossless": True, "quality": 60, "method": 4} | options if kind == "webp" else {}
    image.save(buffer, kind, **options)
    return {"data": data_uri(buffer.getvalue(), f"image/{kind}"), "width": image.width, "height": image.height}


def opened(path):
    """A picture from a file as a Pillow image; raises `InputError` for anything else."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise InputError(
            f"{path}: not a picture that can be read ({error}); remake it with the stage that draws it"
        ) from None


def embedded(path):
    """A figure's file as `picture` gives it."""
    return picture(opened(path))


def thumbnail(path, width=360):
    """A small copy of a figure, with loss."""
    image = opened(path)
    image.thumbnail((width, width))
    return picture(image, lossless=False, quality=80)


def sheet(rows):
    """One image of many: `rows`, a list of uint8 (N, 3, 32, 32), row under row without gaps, as `picture` gives it.

    Where a picture cannot be so wide, all rows wrap, as the lines of a text do.
    """
    from PIL import Image

    images = np.stack(rows).transpose(0, 1, 3, 4, 2)  # (rows, N, 32, 32, 3)
    columns = min(images.shape[1], SIDE // 32)
    bands = -(-images.shape[1] // columns)
    cells = np.full((len(rows), bands * columns, 32, 32, 3), 255, np.uint8)  # white where no image is left
    cells[:, : images.shape[1]] = images
    cells = cells.reshape(len(rows), bands, columns, 32, 32, 3).transpose(1, 0, 3, 2, 4, 5)
    return picture(Image.fromarray(cells.reshape(bands * len(rows) * 32, columns * 32, 3)))


def grids(results, data_path):
    """A grid of GRID x GRID at most of each image model and of real test images: dicts title, alt and a `picture`."""
    from ..data import arrays, images

    found = []
    for model in results.fid:
        _, batches = images.read_directory(results.folder / "samples" / model, GRID * GRID)
        found.append((model, f"Samples of {model}, not selected.", next(batches)))
    test = arrays.load_images(data_path).test_images
    rows = np.random.default_rng(results.first).permutation(len(test))[: GRID * GRID]
    found.append(("real test images", "Real test images drawn at random.", test[rows]))
    rows = min(len(images) for _, _, images in found) // GRID
    return [
        {"title": title, "alt": alt} | sheet(np.split(images[: rows * GRID], rows))
        for title, alt, images in found
        if rows
    ]


def viewers(results):
    """For every generator what its sliders show: {model: {interpolation, latents}}, sheets with their numbers."""
    found = {}
    for model in results.latents:
        path = results.folder / "runs" / model / f"seed{results.first}" / "latents.npz"
        paths = [f"{path}_path" for path in arrays.PATHS]
        shapes = {"alphas": ("A",)} | dict.fromkeys(paths, ("A", 3, 32, 32))
        shapes |= {"base": (3, 32, 32), "plus": ("L", 3, 32, 32), "minus": ("L", 3, 32, 32)}
        shapes |= {"effect": ("L",), "order": ("L",), "epsilon": (), "correlation": ("L", "C")}
        fields, about = arrays.read_pictures(path, shapes)
        order = fields["order"].astype(int)
        base = np.repeat(fields["base"][None], len(order), 0)
        found[model] = {
            "seed": about["seed"],
            "epsilon": float(fields["epsilon"]),
            "alphas": [round(float(alpha), 6) for alpha in fields["alphas"]],
            "interpolation": sheet([fields[path] for path in paths]),
            "order": order.tolist(),
            "effects": [round(float(effect), 3) for effect in fields["effect"][order]],
            "meanings": [meaning(fields["correlation"][latent], about) for latent in order],
            "latents": sheet([fields["minus"][order], base, fields["plus"][order]]),
        }
    return found


def provenance(results, source):
    """Where the run comes from: a dict of commit, machines, versions and files; `source` is the project's folder."""
    contents = [
        results.divergences["provenance"],
        *(each["provenance"] for run in results.training.values() for each in run),
    ]
    versions = dict(contents[0]["versions"])
    versions |= {name: metadata.version(name) for name in ("matplotlib", "pandas", "pillow", "jinja2")}
    files = {}
    for summary in (*results.likelihood.values(), *results.fid.values()):
        files[summary["data"]["title"]] = summary["data"]["files"]
    return {
        "commit": commit(source),
        "machines": list(dict.fromkeys(each["machine"] for each in contents)),
        "versions": versions,
        "files": files,
    }


def commit(folder):
    """The git commit of a folder, with a word if files differ from it; None outside a git checkout."""

    def git(*words):
        return subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + (" with local changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def as_yaml(config):
    """The configuration as YAML."""
    import yaml

    return yaml.safe_dump(json.loads(json.dumps(config)), sort_keys=False, allow_unicode=True)
