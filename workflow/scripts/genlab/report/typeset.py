"""How numbers and tables are written: as text, in Markdown, in LaTeX. Nothing here imports torch."""

import math
from dataclasses import dataclass

MINUS, PLUS_MINUS = "\N{MINUS SIGN}", "\N{PLUS-MINUS SIGN}"
UNKNOWN = "\N{EN DASH}"
RAISED = str.maketrans("0123456789-", "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b")


@dataclass
class Table:
    """A table to print: `name` of its files, `caption`, `header` and rows of cells.

    A cell is text, or (text, number to sort by); a second line of text is said smaller.
    """

    name: str
    caption: str
    header: list
    rows: list

    def texts(self):
        """The rows as text alone, each cell on one line."""
        return [
            [(cell[0] if isinstance(cell, tuple) else cell).replace("\n", " ") for cell in row] for row in self.rows
        ]


def number(value, digits=4):
    """An integer as it is, another number with so many significant digits; in powers of ten if tiny or huge."""
    if isinstance(value, int):
        return f"{value:,}".replace("-", MINUS)
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size < -4 or size >= 6:
        mantissa, power = f"{value:.{max(0, digits - 1)}e}".split("e")
        return f"{mantissa} \N{MULTIPLICATION SIGN} 10".replace("-", MINUS) + str(int(power)).translate(RAISED)
    return f"{value:,.{max(0, digits - 1 - size)}f}".replace("-", MINUS)


def limit(value):
    """A number of the configuration, as short as it is."""
    return f"{value:g}".replace("-", MINUS)


def plus_minus(mean, spread):
    """Mean +- spread, both to the second significant digit of the spread; without one the mean alone."""
    if not spread or not math.isfinite(spread):
        return number(mean)
    places = max(0, 1 - math.floor(math.log10(spread)))
    if places > 6:
        return f"{number(mean)} {PLUS_MINUS} {number(spread, 2)}"
    return f"{mean:,.{places}f} {PLUS_MINUS} {spread:,.{places}f}".replace("-", MINUS)


def share(value):
    """A share as a percentage."""
    return UNKNOWN if value is None else f"{100 * value:.1f}%"


def cell(value, digits=4):
    """A number as a cell."""
    return number(value, digits), value


def spread_cell(numbers, seeds):
    """Mean +- standard deviation over seeds as a cell; +- standard error over images of one seed where there is one."""
    spread = numbers["sd"] if seeds > 1 else numbers.get("standard_error")
    return plus_minus(numbers["mean"], spread), numbers["mean"]


def over(seeds, images=True):
    """What stands behind the +- of `spread_cell`, for a caption."""
    if len(seeds) > 1:
        return f"mean {PLUS_MINUS} standard deviation over {len(seeds)} seeds"
    return f"one seed, {PLUS_MINUS} standard error over images" if images else "one seed"


def markdown(table):
    """The table in Markdown, its caption above."""
    from tabulate import tabulate

    header, *rows = [[text.replace("|", "\\|") for text in row] for row in [table.header, *table.texts()]]
    body = tabulate(rows, header, "pipe", disable_numparse=True)
    return f"{table.caption}\n\n{body}\n"


LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        MINUS: "$-$",
        PLUS_MINUS: r"$\pm$",
        "\N{MULTIPLICATION SIGN}": r"$\times$",
        **{raised: f"$^{plain}$" for plain, raised in zip("0123456789-", map(chr, RAISED.values()), strict=True)},
        "\N{INFINITY}": r"$_\infty$",
        "\N{GREEK SMALL LETTER THETA}": r"$\theta$",
        "\N{SUBSCRIPT ONE}": "$_1$",
        "\N{LESS-THAN OR EQUAL TO}": r"$\le$",
        "\N{GREATER-THAN OR EQUAL TO}": r"$\ge$",
        "\N{DOWNWARDS ARROW}": r"$\downarrow$",
        "\N{UPWARDS ARROW}": r"$\uparrow$",
        "\N{EN DASH}": "--",
        "é": r"\'e",
    }
)


def latex(table):
    """The table in LaTeX, for \\input; needs the package booktabs and nothing else."""

    def escape(text):
        return text.replace("k\u0302", "KHAT").translate(LATEX).replace("KHAT", r"$\hat k$")

    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escape(table.caption)}}}"]
    lines += [rf"\begin{{tabular}}{{{'l' * len(table.header)}}}", r"\toprule"]
    rows = [" & ".join(map(escape, row)) + r" \\" for row in [table.header, *table.texts()]]
    lines += [rows[0], r"\midrule", *rows[1:], r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def meaning(correlations, about):
    """The attribute that a latent's correlations (A,) name, and how strongly, as in "slant +0.41"; "" within chance."""
    strongest = max(range(len(correlations)), key=lambda index: abs(correlations[index]))
    value = float(correlations[strongest])
    return f"{about['attributes'][strongest]} {value:+.2f}".replace("-", MINUS) if abs(value) > about["chance"] else ""
