"""The drawing of the rules: layers, order, shortcuts, and what is refused."""

import itertools

import pytest
from genlab import InputError
from plot_workflow import arrange, broken, kind_of, read_graph
from stage import run_stage, run_without_torch

# b and c need a, d needs both and, by a shortcut, a; e stands alone; all needs everything.
DOT = """digraph snakemake_dag {
    graph[bgcolor=white, margin=0];
    0[label = "all", color = "0.42 0.6 0.85", style="rounded"];
    1[label = "plot_d", color = "0.25 0.6 0.85", style="rounded"];
    2[label = "train_b", color = "0.07 0.6 0.85", style="rounded"];
    3[label = "score_c", color = "0.29 0.6 0.85", style="rounded"];
    4[label = "render_a", color = "0.06 0.6 0.85", style="rounded"];
    5[label = "estimate_e", color = "0.06 0.6 0.85", style="rounded"];
    1 -> 0
    5 -> 0
    4 -> 0
    2 -> 1
    3 -> 1
    4 -> 1
    4 -> 2
    2 -> 3
}
"""
NEEDS = {"plot_d": {"score_c"}, "train_b": {"render_a"}, "score_c": {"train_b"}, "render_a": set(), "estimate_e": set()}


def test_shortcuts_and_omitted_rules_are_left_out():
    assert read_graph(DOT, "dot", ["all"]) == NEEDS
    assert read_graph(DOT, "dot")["all"] == {"plot_d", "estimate_e"}


@pytest.mark.parametrize("text", ["", "no graph", 'digraph {\n 0[label = "a"];\n 0 -> 7\n}'])
def test_what_is_no_graph_is_refused(text):
    with pytest.raises(InputError, match="snakemake --rulegraph dot"):
        read_graph(text, "dot")


def test_a_circle_of_rules_is_named():
    text = 'digraph {\n 0[label = "a"];\n 1[label = "b"];\n 0 -> 1\n 1 -> 0\n}'
    with pytest.raises(InputError, match=r"dot: a circle of rules: (a, b, a|b, a, b); give what snakemake"):
        read_graph(text, "dot")


def test_omitting_every_rule_is_refused():
    with pytest.raises(InputError, match="leaves no rule"):
        read_graph('digraph {\n 0[label = "a"];\n}', "dot", ["a"])


def test_arrows_lead_one_layer_to_the_right_and_nothing_overlaps():
    needs = {**NEEDS, "plot_f": {"score_c", "estimate_e"}, "plot_g": {"render_a", "estimate_e"}}
    places, paths = arrange(needs)
    assert {(path[0], path[-1]) for path in paths} == {(start, end) for end in needs for start in needs[end]}
    for path in paths:
        assert [places[node][0] for node in path] == list(range(places[path[0]][0], places[path[-1]][0] + 1))
        assert all(isinstance(node, tuple) for node in path[1:-1])
    for (one, (x0, y0)), (other, (x1, y1)) in itertools.combinations(places.items(), 2):
        if x0 == x1:
            apart = 1.0 if isinstance(one, str) and isinstance(other, str) else 0.5
            assert abs(y0 - y1) >= apart - 1e-9, (one, other)


def test_neighbours_stand_in_one_order_without_crossings():
    """Two ladders given crosswise are drawn without a crossing."""
    needs = {"a": set(), "b": set(), "x": {"b"}, "y": {"a"}}
    places, _ = arrange(needs)
    assert (places["a"][1] - places["b"][1]) * (places["y"][1] - places["x"][1]) > 0


def test_names_are_broken_at_their_middle_and_kinds_known_by_their_first_word():
    assert broken("plot_fid") == "plot_fid" and broken("prepare_binarized_mnist") == "prepare_\nbinarized_mnist"
    kinds = [kind_of(name) for name in ("fetch", "train_gan", "plot_fid", "write_report", "score_fid")]
    assert kinds == ["data", "models", "plots", "plots", "numbers"]


def test_it_draws_from_a_file_without_torch(tmp_path):
    (tmp_path / "graph.dot").write_text(DOT)
    run_without_torch({"plot_workflow": ("--graph", tmp_path / "graph.dot", "--output", tmp_path / "workflow.png")})
    assert (tmp_path / "workflow.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "workflow.pdf").read_bytes().startswith(b"%PDF")


def test_bad_input_ends_with_2_and_one_line(tmp_path):
    process = run_stage("plot_workflow", "--graph", "-", "--output", tmp_path / "a.png", input="nothing")
    assert process.returncode == 2 and process.stderr.count("\n") == 1 and not list(tmp_path.iterdir())
