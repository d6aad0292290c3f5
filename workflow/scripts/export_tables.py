"""Write the tables of a finished run as Markdown and as LaTeX, for papers and notes.

Reads the results folder of a run, by the names that the workflow gives, and writes
{table}.md and {table}.tex for every table of the report. The LaTeX needs the package booktabs.

example:
  python workflow/scripts/export_tables.py --results results --configuration config.yaml --output results/tables
"""

from pathlib import Path

from genlab import cli, configuration, files


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--results", type=Path, required=True, metavar="DIR", help="results folder of a finished run")
    result.add_argument(
        "--configuration", required=True, metavar="FILE", help="its configuration, YAML or JSON; - reads standard input"
    )
    result.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write the tables to")
    return result


def main(options):
    from genlab.report import results, tables, typeset

    found = results.read(options.results, configuration.read(options.configuration))
    made = tables.all_tables(found)
    texts = {
        f"{name}.{suffix}": write(table)
        for name, table in made.items()
        for suffix, write in (("md", typeset.markdown), ("tex", typeset.latex))
    }
    for name, text in texts.items():
        files.write_text(options.output / name, text)
    print(f"{len(made)} tables in {options.output}")


if __name__ == "__main__":
    cli.run(main, parser())
