"""Draw the rules of the workflow in layers, from data on the left to figures on the right.

Reads the graph of rules that `snakemake --rulegraph dot` prints. An arrow is left out if a longer path leads
through other rules. The rules that --omit names, which gather everything, are left out too.

example:
  snakemake all --forceall --rulegraph dot | python workflow/scripts/plot_workflow.py --graph - --omit all \\
      --output workflow.png
"""

import itertools
import re
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from genlab import InputError, cli

# {kind of a rule: (label, colour, first words of its name)}.
KINDS = {
    "data": ("data", "sky", ("render", "fetch", "prepare", "import")),
    "models": ("training", "orange", ("train",)),
    "plots": ("pictures and words", "purple", ("plot", "write", "export")),
    "numbers": ("numbers and samples", "green", ()),
}
SWEEPS = 12
REMEDY = "give what snakemake --rulegraph dot prints"


def parser():
    result = cli.parser(__doc__)
    result.add_argument("--graph", required=True, metavar="DOT", help="graph of rules; - reads standard input")
    result.add_argument("--omit", nargs="*", default=[], metavar="RULE", help="rules to leave out")
    result.add_argument("--output", type=Path, required=True, metavar="PNG", help="figure to write, with a PDF beside")
    return result


def main(options):
    from genlab.report import plotting

    plotting.check_output(options.output)
    text = sys.stdin.read() if options.graph == "-" else Path(options.graph).read_text("utf-8", "replace")
    needs = read_graph(text, options.graph, options.omit)
    plotting.save_figure(draw(*arrange(needs)), options.output)


def read_graph(text, source, omit=()):
    """{rule: set of rules that it needs} from a graph in the dot language, without `omit` and shortcuts."""
    names = dict(re.findall(r'^\s*(\d+)\[label = "([^"\\]+)', text, re.MULTILINE))
    arrows = re.findall(r"^\s*(\d+) -> (\d+)", text, re.MULTILINE)
    if not names or not {number for arrow in arrows for number in arrow} <= set(names):
        raise InputError(f"{source}: no graph of rules; {REMEDY}")
    needs = {name: set() for name in names.values() if name not in omit}
    if not needs:
        raise InputError(f"{source}: --omit leaves no rule of {', '.join(sorted(names.values()))}; name fewer")
    for start, end in arrows:
        start, end = names[start], names[end]
        if start != end and {start, end} <= set(needs):
            needs[end].add(start)
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        raise InputError(f"{source}: a circle of rules: {', '.join(error.args[1])}; {REMEDY}") from None

    def behind(name):
        found = set(needs[name])
        for other in needs[name]:
            found |= behind(other)
        return found

    shortcuts = {name: set().union(*(behind(other) for other in needs[name])) for name in needs}
    return {name: needs[name] - shortcuts[name] for name in needs}


def arrange(needs):
    """Places {node: (layer, height)} and paths [[node, ...]] of a graph {node: set of nodes it needs} without cycles.

    A node's layer is its longest path from a start. An arrow over several layers has a bend in each. The order within
    a layer follows the mean place of the neighbours, in sweeps to and fro (Sugiyama et al. 1981).
    """
    layers = {}

    def layer(name):
        if name not in layers:
            layers[name] = 1 + max(map(layer, needs[name]), default=-1)
        return layers[name]

    for name in needs:
        layer(name)
    paths = []
    for end in needs:
        for start in sorted(needs[end]):
            bends = [(start, end, at) for at in range(layers[start] + 1, layers[end])]
            layers.update({bend: bend[2] for bend in bends})
            paths.append([start, *bends, end])
    columns = [[node for node in layers if layers[node] == at] for at in range(1 + max(layers.values()))]
    neighbours = {node: ([], []) for node in layers}
    for path in paths:
        for left, right in itertools.pairwise(path):
            neighbours[left][1].append(right)
            neighbours[right][0].append(left)
    height = {node: row for column in columns for row, node in enumerate(column)}
    for sweep in range(SWEEPS):
        side = sweep % 2
        for column in columns if side == 0 else columns[::-1]:
            means = {
                node: sum(map(height.get, near)) / len(near) if (near := neighbours[node][side]) else height[node]
                for node in column
            }
            column.sort(key=means.get)
            spread(column, means, height)
    return {node: (layers[node], height[node]) for node in layers}, paths


def spread(column, wanted, height):
    """Heights for the nodes of a column, in order and near those wanted: 1 apart, 0.5 beside a bend."""
    top = None
    for node in column:
        gap = 1.0 if isinstance(node, str) else 0.5
        height[node] = wanted[node] if top is None else max(wanted[node], top + gap)
        top = height[node]
    shift = sum(height[node] - wanted[node] for node in column) / len(column)
    for node in column:
        height[node] -= shift


def kind_of(rule):
    """The kind of a rule, by its first word."""
    return next((kind for kind, (_, _, words) in KINDS.items() if rule.split("_")[0] in words), "numbers")


def shade(kind):
    """The light colour of a kind's boxes."""
    from genlab.report import plotting
    from matplotlib.colors import to_rgb

    return tuple(1 - 0.4 * (1 - part) for part in to_rgb(plotting.COLOURS[KINDS[kind][1]]))


def broken(name):
    """A long name on two lines of nearly equal length."""
    words = name.split("_")
    breaks = [("_".join(words[:at]) + "_", "_".join(words[at:])) for at in range(1, len(words))]
    return name if len(name) < 15 or not breaks else "\n".join(min(breaks, key=lambda lines: max(map(len, lines))))


def draw(places, paths):
    """The figure of `arrange`."""
    from genlab.report import plotting
    from matplotlib.patches import Patch, PathPatch
    from matplotlib.path import Path as Curve

    width = 1 + max(layer for layer, _ in places.values())
    heights = [height for _, height in places.values()]
    figure = plotting.new_figure(1.42 * width, 0.8 + 0.52 * (max(heights) - min(heights) + 1))
    axes = figure.subplots()
    half = 0.42  # of a box, in layers
    for path in paths:
        points, codes = [(places[path[0]][0] + half, places[path[0]][1])], [Curve.MOVETO]
        for left, right in itertools.pairwise(path):
            (x0, y0), (x1, y1) = places[left], places[right]
            x0, x1 = x0 + half, x1 - half  # a bend is as wide as a box, so that arrows turn only between layers
            points += [(x0, y0), ((x0 + x1) / 2, y0), ((x0 + x1) / 2, y1), (x1, y1)]
            codes += [Curve.LINETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4]
        axes.add_patch(PathPatch(Curve(points, codes), facecolor="none", edgecolor="0.45", linewidth=0.9, zorder=1))
        axes.plot(*points[-1], marker=">", markersize=4, color="0.3", zorder=2)
    for node, (x, y) in places.items():
        if isinstance(node, str):
            axes.barh(y, 2 * half, 0.74, left=x - half, color=shade(kind_of(node)), edgecolor="black", zorder=3)
            axes.text(x, y, broken(node), ha="center", va="center", size=8.5, linespacing=1.05, zorder=4)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(max(heights) + 0.6, min(heights) - 0.6)
    axes.set_axis_off()
    used = {kind_of(node) for node in places if isinstance(node, str)}
    patches = [
        Patch(facecolor=shade(kind), edgecolor="black", label=label)
        for kind, (label, _, _) in KINDS.items()
        if kind in used
    ]
    axes.legend(handles=patches, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4, frameon=False)
    return figure


if __name__ == "__main__":
    cli.run(main, parser())
