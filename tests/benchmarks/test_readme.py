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
    (begin, end), (later, last) = readme.MARKS, readme.PAPER_MARKS
    old = f"before\n{begin}\nold\n{end}\nbetween\n{later}\nold\n{last}\nafter\n"
    page.write_text(old, encoding="utf-8")
    readme.bench(seed=0, out=page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{begin}\n| what | measured |\n")
    assert f"|\n{end}\nbetween\n{later}\n| | covid19 | supply_chain | hospital_beds |\n" in text
    assert text.endswith(f"|\n{last}\nafter\n")
    assert "\nold\n" not in text


def test_ratios_of_the_papers_table_are_those_of_its_results() -> None:
    found = json.loads((readme.RESULTS / "table2.json").read_text(encoding="utf-8"))
    (line,) = [x for x in readme.paper(readme.RESULTS) if x.startswith("| language model, ES |")]
    for row in found["rows"]:
        if row["method"] == "chat":
            assert f"| {row['metrics']['1']['ratio']['mean']:.3g} ± " in line
