"""Seeded fuzzing of every parser: mutated files in, and out comes a result or one clear line, nothing else.

    python -m tests.fuzz --cases 10000            every parser
    python -m tests.fuzz --only recipe --case 77  one case again, with its traceback

Case ``k`` of a parser depends on the seed, the parser's name and ``k`` alone. A case runs in a worker process under a
time limit and a limit of memory, and every file that is opened, listed, made, renamed, removed or looked for outside
the case's folder is counted. ``tests/fuzz/test_parsers.py`` runs a few cases of each parser in CI.

A parser is a ``Target`` (``tests.fuzz.runner``), listed in ``tests.fuzz.targets``; further ones are added there.
"""
