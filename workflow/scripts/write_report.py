"""Write the report of a finished run: one HTML page that holds all it shows.

Reads the results folder of a run, by the names that the workflow gives: summaries, tables, figures,
samples, latents of the first seed, benchmarks. Every sentence that judges is chosen by the numbers.
The page needs no network and no server, and can be read without scripts.

example:
  python workflow/scripts/write_report.py --results results --configuration config.yaml \\
      --data resources/prepared/embedded/svhn.npz --output results/report.html
"""

from pathlib import Path

from genlab import InputError, cli, configuration, files

SOURCE = Path(__file__).parents[1]


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--results", type=Path, required=True, metavar="DIR", help="results folder of a finished run")
    result.add_argument(
        "--configuration", required=True, metavar="FILE", help="its configuration, YAML or JSON; - reads standard input"
    )
    result.add_argument(
        "--data", type=Path, metavar="NPZ", help="prepared colour images, for real images beside samples"
    )
    result.add_argument("--output", type=Path, required=True, metavar="HTML", help="page to write")
    return result


def main(options):
    from genlab.report import results

    found = results.read(options.results, configuration.read(options.configuration))
    if found.fid and options.data is None:
        raise InputError("--data: the run has image models; give the prepared colour images that they were trained on")
    files.write_text(options.output, render(found, options.data))
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB")


def render(found, data_path):
    """The page of `results.Results`, as text."""
    from genlab.report import acceptance, findings, page, tables, timeline

    # Numbers first: what is wrong with them is found before any picture is made.
    jobs = timeline.jobs(found)
    made = tables.all_tables(found) | {"stages": timeline.stages_table(jobs)}
    said = {
        "data": findings.data(found),
        "divergences": findings.divergences(found),
        "density": findings.density(found),
        "likelihood": findings.likelihood(found),
        "images": findings.images(found) if found.fid else {},
        "comparison": findings.comparison(found),
    }
    figures = page.figures(found)
    thumbnails = [
        {"name": figure["name"], "alt": figure["alt"]}
        | page.thumbnail(found.folder / "figures" / f"{figure['name']}.png")
        for section in ("divergences", "likelihood", "quality", "comparison", "latents")
        for figure in figures[section][:1]
    ]
    settings = page.as_yaml(found.config)
    return page.render(
        "report.html",
        results=found,
        config=found.config,
        acceptance=acceptance.acceptance(found),
        tables=made,
        findings=said,
        figures=figures,
        thumbnails=thumbnails,
        grids=page.grids(found, data_path) if found.fid else [],
        viewers=page.viewers(found),
        timeline=timeline.timeline(jobs),
        workflow=page.embedded(found.folder / "figures" / "workflow.png"),
        provenance=page.provenance(found, SOURCE),
        settings=settings,
        settings_file=page.data_uri(settings.encode(), "application/yaml"),
        script=(SOURCE / "report" / "report.js").read_text(encoding="utf-8"),
    )


if __name__ == "__main__":
    cli.run(main, parser())
