"""Draw the ELBO and the log-likelihood of several binary VAEs on test images, one below the other.

Reads what summarise_likelihood.py writes for each model, in the order to be drawn. The error of an estimate is the
standard deviation over seeds, or with one seed the standard error over images. With --brackets, a file of
bracket_likelihood.py for each model in the same order, the figure also shows where annealed importance sampling puts
the log-likelihood: what it reads more on a few images, added to the value of all.

example:
  python workflow/scripts/plot_ladder.py --summaries log_likelihood_vae.json log_likelihood_flow.json \\
      --output ladder.png
"""

from pathlib import Path

from genlab import InputError, cli, files

FIELDS = {
    **{"model": str, "k": int, "seeds": list, "data/title": str},
    **{
        f"splits/test/{name}/{key}": kind
        for name in ("elbo", "log_likelihood")
        for key, kind in (("mean", files.NUMBER), ("sd", files.NUMBER | None), ("standard_error", files.NUMBER))
    },
}
LOOKS = {"elbo": ("blue", "o", "white"), "log_likelihood": ("vermillion", "s", None), "annealed": ("green", "D", None)}


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--summaries", type=Path, required=True, nargs="+", metavar="JSON", help="one for each model")
    result.add_argument("--brackets", type=Path, nargs="*", default=[], metavar="JSON", help="one for each, or none")
    result.add_argument("--output", type=Path, required=True, metavar="PNG", help="figure to write, with a PDF beside")
    return result


def main(options):
    from genlab.report import brackets, plotting

    summaries = [files.read_json(path, FIELDS) for path in options.summaries]
    if options.brackets and len(options.brackets) != len(summaries):
        raise InputError(
            f"--brackets: {len(options.brackets)} for {len(summaries)} summaries; give one for each, or none"
        )
    wanted, *others = ((summary["k"], summary["data"]["title"]) for summary in summaries)
    for path, found in zip(options.summaries[1:], others, strict=True):
        if found != wanted:
            raise InputError(
                "{}: K = {} on {}, but {} has K = {} on {}; give models of one evaluation".format(
                    path, *found, options.summaries[0], *wanted
                )
            )
    at_k = [summary["splits"]["test"]["log_likelihood"]["mean"] for summary in summaries]
    found = [brackets.read_bracket(path, wanted[0], value) for path, value in zip(options.brackets, at_k, strict=False)]
    plotting.save_figure(draw(summaries, found), options.output)


def rows(summary, bracket=None):
    """(name, value, error) of what a model's row shows, in nats."""
    test, several = summary["splits"]["test"], len(summary["seeds"]) > 1
    found = [
        (name, test[name]["mean"], test[name]["sd" if several else "standard_error"])
        for name in ("elbo", "log_likelihood")
    ]
    if bracket:
        found.append(("annealed", bracket["log_likelihood"], bracket["gain_error"]))
    return found


def draw(summaries, found=()):
    """The figure of summaries as their files hold them, and of as many brackets of `read_bracket`, or none."""
    from genlab.report import plotting

    labels = {
        "elbo": "ELBO",
        "log_likelihood": f"log-likelihood, K = {summaries[0]['k']}",
        "annealed": "log-likelihood by annealing",
    }
    figure = plotting.new_figure(8.5, 1.6 + 0.55 * len(summaries))
    axes = figure.subplots()
    for place, summary in enumerate(summaries):
        shown = rows(summary, found[place] if found else None)
        axes.plot([shown[0][1], shown[-1][1]], [place, place], color="0.8", linestyle="-", linewidth=1.5, zorder=1)
        for name, value, error in shown:
            colour, marker, face = LOOKS[name]
            axes.errorbar(
                value, place, xerr=error, fmt=marker, markersize=8, capsize=3, color=plotting.COLOURS[colour],
                markerfacecolor=face or plotting.COLOURS[colour], label=labels[name] if place == 0 else None,
            )  # fmt: skip
        name, value, _ = shown[-1]
        colour = plotting.COLOURS[LOOKS[name][0]]
        axes.annotate(plotting.signed(value), (value, place), (8, 7), textcoords="offset points", color=colour)
    axes.set_yticks(range(len(summaries)), [summary["model"] for summary in summaries])
    axes.set_ylim(len(summaries) - 0.5, -0.6)
    axes.margins(x=0.12)
    axes.set_xlabel("nats per test image; higher is better")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.01), borderaxespad=0, ncols=3, frameon=False)
    plotting.describe(figure, "ELBO and log-likelihood of the binary VAEs", summaries[0]["data"]["title"])
    return figure


if __name__ == "__main__":
    cli.run(main, parser())
