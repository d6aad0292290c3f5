# ruff: noqa: RUF001  (signs that a reader sees are meant)
"""Numbers and tables as text, Markdown and LaTeX."""

import math
import shutil
import subprocess

import pytest
from genlab.report import typeset
from genlab.report.typeset import MINUS, Table


@pytest.mark.parametrize(
    "value, digits, text",
    [
        (0, 4, "0"),
        (12, 4, "12"),
        (-1234567, 4, f"{MINUS}1,234,567"),
        (0.0, 4, "0"),
        (3.14159, 3, "3.14"),
        (-91.3049, 4, f"{MINUS}91.30"),
        (1452.4, 3, "1,452"),
        (0.00012345, 4, "0.0001234"),
        (1.234e-7, 3, "1.23 × 10⁻⁷"),
        (-3e9, 2, f"{MINUS}3.0 × 10⁹"),
        (math.nan, 4, "–"),
        (None, 4, "–"),
    ],
)
def test_number(value, digits, text):
    assert typeset.number(value, digits) == text


@pytest.mark.parametrize(
    "mean, spread, text",
    [
        (-91.3049, 0.1712, f"{MINUS}91.30 ± 0.17"),
        (1452.4, 338.2, "1,452 ± 338"),
        (0.5, 0.012, "0.500 ± 0.012"),
        (7.5, None, "7.500"),
        (7.5, 0.0, "7.500"),
    ],
)
def test_plus_minus_ends_both_where_the_spread_does(mean, spread, text):
    assert typeset.plus_minus(mean, spread) == text


def test_limits_are_as_short_as_in_the_configuration():
    assert [typeset.limit(value) for value in (-96, 0.005, 1.5)] == [f"{MINUS}96", "0.005", "1.5"]


TABLE = Table(
    "odd",
    "Caption with 100% of R&D_x, \N{PLUS-MINUS SIGN} and Fréchet.",
    ["a|b", "W\N{SUBSCRIPT ONE}", "k\u0302 \N{DOWNWARDS ARROW}"],
    [["x_1", (f"{MINUS}1.5\n[{MINUS}2, 1]", -1.5), ("3 × 10⁻⁷", 3e-7)], ["~^\\{}$#", "–", ("1", 1)]],
)


def test_markdown_has_a_row_a_line_and_escapes_bars():
    lines = typeset.markdown(TABLE).splitlines()
    assert lines[0] == TABLE.caption and len(lines) == 2 + 2 + 2
    cells = [cell.strip() for cell in lines[4].strip("|").split(" | ")]
    assert cells == ["x_1", f"{MINUS}1.5 [{MINUS}2, 1]", "3 × 10⁻⁷"]
    assert [cell.strip() for cell in lines[2].strip("|").split(" | ")] == ["a\\|b", "W₁", "k\u0302 ↓"]


def test_latex_escapes_what_latex_reads_otherwise():
    text = typeset.latex(TABLE)
    assert r"\caption{Caption with 100\% of R\&D\_x, $\pm$ and Fr\'echet.}" in text
    assert r"a|b & W$_1$ & $\hat k$ $\downarrow$ \\" in text
    assert r"x\_1 & $-$1.5 [$-$2, 1] & 3 $\times$ 10$^-$$^7$ \\" in text
    assert r"\textasciitilde{}\textasciicircum{}\textbackslash{}\{\}\$\# & -- & 1 \\" in text
    assert text.isascii()


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
def test_latex_is_set_by_latex(tmp_path):
    page = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + typeset.latex(TABLE) + r"\end{document}"
    (tmp_path / "page.tex").write_text(page)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout


@pytest.mark.parametrize(
    "correlations, said",
    [([0.1, -0.25], f"slant {MINUS}0.25"), ([0.3, 0.1], "contrast +0.30"), ([0.1, 0.1], "")],
)
def test_a_latent_s_meaning_is_its_strongest_correlation_if_beyond_chance(correlations, said):
    assert typeset.meaning(correlations, {"attributes": ["contrast", "slant"], "chance": 0.1}) == said
