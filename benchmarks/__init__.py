"""Benchmarks, one a file: ``gsim bench NAME`` runs ``benchmarks/NAME.py``.

A benchmark defines ``bench(*, seed, out) -> fields``, prints its own table and writes its JSON to
``out`` where that is given. One with options of its own takes ``arguments`` too, the words that
follow its name on the command line. Files that begin with _ are helpers.
"""
