"""The shape of the package: which part may import which, and how large things are."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import mensagod

ROOT = Path(mensagod.__file__).parent

LAYERS = (
    ("wire.status",),
    ("errors",),
    ("lifecycle", "threads.fair_queue", "threads.interfaces"),
    ("crypto", "process.accounts", "process.durability", "process.eager_imports", "server.admission"),
    ("server.tls", "threads.pool", "wire"),
    ("values",),
    ("config",),
    ("process", "server.listeners"),
    ("keycards",),
    ("storage",),
    ("postgres",),
    ("organization.keyring", "sharing"),
    ("organization.keycard",),
    ("client", "delivery", "organization.dns_records", "organization.key_file", "operations"),
    ("installation",),
    ("organization",),
    ("sessions.live",),
    ("commands.interfaces", "sessions"),
    ("server.parts",),
    ("commands", "server.transfers"),
    ("server.protocol",),
    ("server.factory",),
    ("server.descending", "server.preparing", "server.reloading"),
    ("server.service",),
    ("server.assembly",),
    ("server.tap",),
    ("cli",),
)
"""From the bottom to the top: a part may import itself and what stands in a line above its own."""

FOR_TYPES = {
    ("commands.interfaces", "sessions"),
    ("server.protocol", "server.factory"),
    ("storage", "storage"),
    ("sessions", "server.parts"),
    ("sessions.live", "sessions"),
}
"""What looks upward for annotations only, because the two belong together."""

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


def place(name: str) -> tuple[str, int]:
    """Give the part that a module belongs to, and its layer."""
    fitting = [
        (part, number)
        for number, layer in enumerate(LAYERS)
        for part in layer
        if name == part or name.startswith(f"{part}.")
    ]
    if not fitting:
        raise AssertionError(f"mensagod.{name} has no place in LAYERS")
    return max(fitting, key=lambda found: len(found[0]))


def imports(tree: ast.AST, for_types: bool = False) -> Iterator[tuple[str, bool]]:
    """Give what is imported of mensagod, and whether only for annotations."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for child in node.body:
                yield from imports(ast.Module([child], []), True)
        elif isinstance(node, ast.ImportFrom) and node.module == "mensagod":
            yield from ((alias.name, for_types) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mensagod."):
            module = str(node.module).removeprefix("mensagod.")
            yield from ((f"{module}.{alias.name}", for_types) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (
                (alias.name.removeprefix("mensagod."), for_types)
                for alias in node.names
                if alias.name.startswith("mensagod.")
            )
        else:
            yield from imports(node, for_types)


class LayerTests(SynchronousTestCase):
    """Imports point one way."""

    def test_imports(self) -> None:
        """No part imports one above it, nor one beside it, but for annotations where it must."""
        upward = []
        for name, _, tree in modules():
            targets = list(imports(tree))
            if not targets:
                continue
            part, layer = place(name)
            for target, for_types in targets:
                if target.startswith("__"):
                    continue
                other, other_layer = place(target)
                known = part == other or other_layer < layer or (for_types and (part, other) in FOR_TYPES)
                if not known:
                    upward.append(f"{name} imports {target}")
        self.assertEqual(upward, [])

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
        self.assertEqual(
            list(imports(tree)), [("a.b", False), ("c", False), ("d", False), ("e.f", True), ("h.i", False)]
        )


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
