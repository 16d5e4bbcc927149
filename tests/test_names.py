"""One name, one meaning: no public name is defined in two modules, except those of interfaces and those listed here."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("bgknown", "benchmark", "pretrain")
INTERFACES = {
    "FACTS": "what is published about a corpus or task: one per module, read from the module",
    "SETTINGS": "the settings of a task: one per module, read from the module",
    "NEEDS": "other data that a task can use: read from the module",
    "ABOUT": "what a kind of figure shows: one per module, read from the module",
    "list_drawings": "the drawings of a kind of figure: one per module, called on the module",
    "index": "lists the files of a corpus or task: one per module, called on the module",
    "prepare": "reads a task: called on the module",
    "Options": "the options of a kind of encoder: one per module, read from the module",
    "load": "loads an encoder of a kind: called on the module",
    "weights_of": "the weights of an encoder of a kind: called on the module",
    "COLUMNS": "the columns of the table that a module reads or writes",
    "DESCRIPTION": "the file in which a folder is described, read and written by one module each",
    "FORMAT": "the number or name of the format that a module reads and writes",
    "NAME": "what a module calls what it makes",
    "TABLE": "the file of the table that a module reads",
    "render": "renders a soundscape: one per engine",
    "build": "builds a set: called on the module of the set",
    "verify": "checks a set: called on the module of the set",
    "log": "the logger of a module",
    "main": "the command line of a package",
}
"""Names that modules of one kind share, with the reason."""
COMMAND_LINES = {"cli.py", "data_cli.py", "results_cli.py"}
"""Files whose functions are commands: a command has the name of the function that it calls."""
TO_DO = {
    *(
        "BATCH",
        "BLOCK",
        "BLOCK_ROWS",
        "FADE_FRAMES",
        "FADE_S",
        "FILE",
        "INTERVAL_S",
        "Item",
    ),
    *("KINDS", "ROWS", "Result", "SHORTEST_EVENT_FRAMES", "SIGNALS", "VERSION"),
}
"""Names that still mean two things; new ones are not added here but given another name."""


def public_names(tree):
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def test_no_public_name_is_defined_in_two_modules():
    homes = defaultdict(set)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name not in COMMAND_LINES:
                for name in public_names(ast.parse(path.read_text())):
                    homes[name].add(path.relative_to(ROOT).as_posix())
    twice = {name: sorted(files) for name, files in homes.items() if len(files) > 1 and not name.startswith("_")}
    assert {name: files for name, files in twice.items() if name not in {*INTERFACES, *TO_DO}} == {}
