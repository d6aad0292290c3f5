"""Imports within genlab, read from the syntax trees: they point down, and never in a circle."""

import ast
import sys
from graphlib import TopologicalSorter

import pytest
from stage import SCRIPTS

GENLAB = SCRIPTS / "genlab"

# What the modules of a folder may import besides their own; "" is the root. Neither report nor measures needs torch.
BELOW = {
    "": set(),
    "measures": {""},
    "data": {""},
    "training": {"", "measures", "data"},
    "models": {"", "measures", "data", "training"},
    "report": {"", "measures", "data"},
}

# Who talks to a person; besides these only the stages do.
TALKING = {"genlab.training.experiment", "genlab.training.watch", "genlab.training.checkpoint", "genlab.data.transfer"}


def module_name(file):
    """`genlab.data.svhn` of .../genlab/data/svhn.py; a package's __init__ has the package's name."""
    return ".".join(file.relative_to(SCRIPTS).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(file): file for file in sorted(GENLAB.rglob("*.py"))}


def imports(module):
    """{imported module: whether at the import of `module`, and not first in a function} of a module of genlab."""
    tree = ast.parse(MODULES[module].read_text())
    package = module.split(".") if MODULES[module].name == "__init__.py" else module.split(".")[:-1]
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES or base not in MODULES else base for name in names]
        else:
            continue
        for name in names:
            found[name] = found.get(name, False) or node in tree.body
    return found


def within(module):
    """The modules of genlab that a module imports, wherever in it."""
    return {name for name in imports(module) if name in MODULES}


def folder(module):
    """ "data" of `genlab.data.svhn` and `genlab.data`, "" of `genlab.files` and `genlab`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in BELOW else ""


def test_every_folder_has_its_place():
    assert {file.parent.name for file in GENLAB.glob("*/*.py")} == {name for name in BELOW if name}
    assert len(MODULES) > 25 and "genlab.files" in within("genlab.data.images")


@pytest.mark.parametrize("module", MODULES)
def test_arrows_point_down(module):
    up = {name for name in within(module) if folder(name) not in BELOW[folder(module)] | {folder(module)}}
    assert not up, f"{module} imports {up}, which stands above it or beside it"


def test_there_is_no_circle():
    list(TopologicalSorter({module: within(module) for module in MODULES}).static_order())


def test_only_what_talks_to_a_person_imports_cli():
    assert {module for module in MODULES if "genlab.cli" in within(module)} == TALKING


@pytest.mark.parametrize("module", [module for module in MODULES if folder(module) in ("report", "measures")])
def test_reports_and_measures_need_no_torch(module):
    def of_torch(names):
        return {name for name in names if {"torch", "torchvision"} & set(name.split("."))}

    assert not of_torch(imports(module))
    reached, queue = set(), [module]
    while queue:
        name = queue.pop()
        if name not in reached:
            reached.add(name)
            queue += within(name)
            assert not of_torch(each for each, at_once in imports(name).items() if at_once), f"by way of {name}"


@pytest.mark.parametrize("module", [module for module in MODULES if folder(module) == "measures"])
def test_measures_need_numpy_and_scipy_alone(module):
    roots = {name.split(".")[0] for name in imports(module)}
    assert roots - sys.stdlib_module_names <= {"genlab", "numpy", "scipy"}
