"""Prints the folders of the package, their layers, the imports between them and every import cycle.

    python tools/rooms.py [CHECKOUT]

A part is a folder or module directly inside `sdl/`. Imports inside functions count; those under TYPE_CHECKING do not.
grimp comes with import-linter.
"""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent).resolve()
sys.path.insert(0, str(ROOT))
GRAPH = grimp.build_graph("sdl", exclude_type_checking_imports=True, cache_dir=None)
MODULES = {module: GRAPH.find_modules_directly_imported_by(module) for module in GRAPH.modules}


def layers(imports: dict[str, set[str]]) -> tuple[list[list[str]], list[list[str]]]:
    """Nodes by layer, lowest first, and the cycles; an import that closes a cycle is removed before sorting."""
    imports, cycles = {node: set(below) - {node} for node, below in imports.items()}, []
    while True:
        try:
            order = list(TopologicalSorter(imports).static_order())
            break
        except CycleError as error:
            cycles.append(error.args[1][::-1])
            imports[error.args[1][1]].discard(error.args[1][0])
    depth: dict[str, int] = {}
    for node in order:
        depth[node] = 1 + max((depth[below] for below in imports[node]), default=0)
    return [sorted(node for node in order if depth[node] == n) for n in range(1, max(depth.values()) + 1)], cycles


def describe(part: str) -> str:
    """Number of files and lines, and the first line of the docstring."""
    folder = ROOT / "sdl" / part
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    texts = [file.read_text(encoding="utf-8") for file in files]
    doc = (ast.get_docstring(ast.parse(texts[0])) or "").partition("\n")[0]
    return (
        f"{len(files):3} {'files' if len(files) > 1 else 'file '} {sum(t.count(chr(10)) for t in texts):6} lines  {doc}"
    )


parts: dict[str, set[str]] = {module.split(".")[1]: set() for module in MODULES if module != "sdl"}
for module, imported in MODULES.items():
    if module != "sdl":
        parts[module.split(".")[1]] |= {other.split(".")[1] for other in imported if other != "sdl"} - {
            module.split(".")[1]
        }
by_layer, cycles = layers(parts)
_, module_cycles = layers(MODULES)
for number, layer in reversed(list(enumerate(by_layer, start=1))):
    for part in layer:
        print(f"{number:2}  {part:12} {describe(part)}")
print(f"{len(parts)} parts, {len(by_layer)} layers, {sum(map(len, parts.values()))} imports between parts")
for kind, found in (("parts", cycles), ("modules", module_cycles)):
    print(f"{len(found)} cycles between {kind}", *(" -> ".join(cycle) for cycle in found), sep="\n  ")
