"""The shape of the package: which part may import which, and how large things are."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import mensagod
from mensagod.commands.reference import FAMILIES

ROOT = Path(mensagod.__file__).parent

FLOORS = (
    ("status",),
    ("errors",),
    ("crypto", "lifecycle", "threads", "values", "wire"),
    ("config", "requests"),
    ("contents", "keycards", "process"),
    ("storage",),
    ("postgres", "sharing"),
    ("organization",),
    ("delivery",),
    ("operations",),
    ("client", "installation", "sessions"),
    ("cli", "commands"),
    ("server",),
)
"""The packages, from the ground up: each imports itself and those below its floor, also for annotations."""

MAX_LINES = 450
MAX_FUNCTION = 50


@cache
def modules() -> list[tuple[str, Path, ast.Module]]:
    """Give every module: its dotted name below mensagod, its file, its tree."""
    return [
        (_name(path), path, ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(ROOT.rglob("*.py"))
    ]


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def package(name: str) -> str:
    """Give the package that a module is in, or the module itself if it is in none."""
    return name.split(".", maxsplit=1)[0]


def floor(name: str) -> int:
    """Give the floor that a module stands on."""
    for number, packages in enumerate(FLOORS):
        if package(name) in packages:
            return number
    raise AssertionError(f"mensagod.{name} is in no package of FLOORS")


def imports(tree: ast.AST) -> Iterator[str]:
    """Give what is imported of mensagod, wherever it stands: in functions, and for annotations only, too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "mensagod":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mensagod."):
            module = str(node.module).removeprefix("mensagod.")
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            names = (alias.name for alias in node.names)
            yield from (name.removeprefix("mensagod.") for name in names if name.startswith("mensagod."))


def graph() -> dict[str, set[str]]:
    """Give for each module those that it imports."""
    trees = {name: tree for name, _, tree in modules()}
    return {
        name: {
            target if target in trees else target.rpartition(".")[0]
            for target in imports(tree)
            if not target.startswith("__")
        }
        for name, tree in trees.items()
    }


class LayerTests(SynchronousTestCase):
    """Imports point one way."""

    def test_floors(self) -> None:
        """No package imports one of its own floor or above."""
        upward = [
            f"{name} imports {target}"
            for name, targets in graph().items()
            for target in targets
            if package(name) != package(target) and floor(target) >= floor(name)
        ]
        self.assertEqual(upward, [])

    def test_no_circles(self) -> None:
        """No module imports itself through others."""
        found = graph()
        try:
            order = list(TopologicalSorter(found).static_order())
        except CycleError as circle:
            self.fail(f"modules import each other: {' -> '.join(circle.args[1])}")
        self.assertLessEqual(set(found), set(order))

    def test_no_circles_of_packages(self) -> None:
        """Nor does a package."""
        packages: dict[str, set[str]] = defaultdict(set)
        for name, targets in graph().items():
            packages[package(name)] |= {package(target) for target in targets} - {package(name)}
        order = list(TopologicalSorter(packages).static_order())
        self.assertIn("server", order)

    def test_deletable(self) -> None:
        """A module of commands is imported by no other part: without it the server starts, too."""
        families = {f"commands.{family}" for family in FAMILIES}
        importing = {name for name, targets in graph().items() if targets & families}
        self.assertEqual(importing, set())

    def test_relative(self) -> None:
        """Nothing is imported relatively, where this test would not see it."""
        relative = [
            name
            for name, _, tree in modules()
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.level
        ]
        self.assertEqual(relative, [])

    def test_sees(self) -> None:
        """The test sees imports of every form."""
        tree = ast.parse(
            "from mensagod.a import b\nfrom mensagod import c\nimport mensagod.d\n"
            "if TYPE_CHECKING:\n    from mensagod.e import f\n"
            "def g():\n    from mensagod.h import i\n"
        )
        self.assertEqual(set(imports(tree)), {"a.b", "c", "d", "e.f", "h.i"})


class HouseTests(SynchronousTestCase):
    """Modules and functions that fit into a head."""

    def test_docstrings(self) -> None:
        """Every module says what it is for."""
        self.assertEqual([name for name, _, tree in modules() if not ast.get_docstring(tree)], [])

    def test_modules(self) -> None:
        """No module is longer than that."""
        long = [name for name, path, _ in modules() if len(path.read_text().splitlines()) > MAX_LINES]
        self.assertEqual(long, [])

    def test_functions(self) -> None:
        """No function is longer than that."""
        long = [
            f"{name}.{node.name}"
            for name, _, tree in modules()
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION
        ]
        self.assertEqual(long, [])
