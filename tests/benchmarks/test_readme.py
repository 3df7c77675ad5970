"""README's figures are those of the results that are committed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from benchmarks import readme


def test_the_table_is_what_was_measured_last() -> None:
    text = readme.README.read_text(encoding="utf-8")
    assert readme.written(text) == text, "run: gsim bench readme"


def test_other_results_make_another_table(tmp_path: Path) -> None:
    results = Path(shutil.copytree(readme.RESULTS, tmp_path / "results"))
    path = results / "calibrate.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    found["supply"]["recovery"]["supply.lead_time"]["right"] = 7
    found["covid"]["exact"]["distance"]["infection.beta"]["rms_sd"] = 0.456
    path.write_text(json.dumps(found), encoding="utf-8")
    before, after = dict(readme.rows(readme.RESULTS)), dict(readme.rows(results))
    changed = {what for what in before if before[what] != after[what]}
    assert changed == {"the same with the exact likelihood", "supply chain"}
    assert after["supply chain"].startswith("lead time right in 7 of 10")
    assert after["the same with the exact likelihood"].startswith(".46 and ")


def test_it_is_written_between_the_marks_only(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{readme.MARKS[0]}\nold\n{readme.MARKS[1]}\nafter\n", encoding="utf-8")
    readme.bench(seed=0, out=page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{readme.MARKS[0]}\n| what | measured |\n")
    assert text.endswith(f"|\n{readme.MARKS[1]}\nafter\n")
    assert "\nold\n" not in text
