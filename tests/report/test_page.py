"""The page: complete, self-contained, safe, the same every time."""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from gsim_jax.report import read_run, render, write_report
from gsim_jax.report.page import reproduce_command
from gsim_jax.report.plots import band_figure, rounds_figure
from tests.report.synthetic import SOURCE, write_run

VOID = {"meta", "br", "img", "link", "hr", "input"}


class Balanced(HTMLParser):
    """Collects text, tags and ids; fails on a tag that is closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parse(html: str) -> Balanced:
    parser = Balanced()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture
def page(tmp_path):
    return render(read_run(write_run(tmp_path / "run", trajectories=9)))


def test_the_page_carries_what_the_record_holds(page):
    found = parse(page)
    text = " ".join("".join(found.text).split())
    assert text.count("Stages <b>&</b> beds") >= 2  # markup in a title is text, not markup
    assert "Adequate: data like these" in text
    assert "in-sample" in text
    assert "0.412 ± 0.021" in text
    assert "Uniform(0, 2)" in text
    assert "how fast <one> empties" in text
    assert "holds: nobody appears" in text
    assert "6 of 9 trajectories" in text
    assert "expected a name of the template, got 'numpy'" in text
    assert "gsim run 'envs/two stages' --seed 3 --proposer library" in text
    for number in range(5):
        assert f"two stages, variant {number}" in text
    assert "".join(SOURCE.split()) in "".join(text.split())


def test_the_page_needs_nothing_else(page):
    found = parse(page)
    assert not {"script", "link", "img", "iframe"} & set(found.tags)
    assert not re.search(r"url\((?!#)|@import|src=", page)
    hrefs = re.findall(r'href="([^"]*)"', page)
    assert all(href.startswith("#") for href in hrefs)


def test_ids_are_unique_within_a_page(page):
    ids = [name for name in parse(page).ids if re.search(r"[0-9a-f]{8}", name)]
    assert len(ids) == len(set(ids))


def test_the_same_record_gives_the_same_bytes(tmp_path):
    run = write_run(tmp_path / "run")
    first = write_report(run).read_bytes()
    assert write_report(run, tmp_path / "elsewhere" / "page.html").read_bytes() == first


def test_an_inadequate_winner_is_shown_with_what_is_wrong(tmp_path):
    run = write_run(tmp_path / "run")
    events = (run / "events.jsonl").read_text().replace('"best": 3', '"best": 0')
    (run / "events.jsonl").write_text(events)
    html = render(read_run(run))
    text = " ".join("".join(parse(html).text).split())
    assert "Not adequate" in text
    assert "broken 7 of 1200 times: A never grows" in text
    assert "the peak comes two days early" in text
    assert html.count('<td class="n off">') == 4


def test_a_run_cut_short_has_a_page_too(tmp_path):
    html = write_report(write_run(tmp_path / "run", finished=False)).read_text()
    text = " ".join("".join(parse(html).text).split())
    assert "No candidate was ranked yet." in text
    assert "gsim run --resume" in text
    assert "two stages, variant 1" in text


def test_figures_are_valid_svg_in_the_colours_of_the_page(tmp_path):
    record = read_run(write_run(tmp_path / "run", trajectories=4))
    assert record.winner is not None
    figures = [band_figure(v, bands) for v, bands in record.winner.bands.items()]
    figures.append(rounds_figure(record.candidates, record.best))
    for figure in figures:
        root = ET.fromstring(figure)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.get("viewBox")
        assert "var(--accent)" in figure
        assert "font-family" not in figure
        # Whatever is painted follows the page; fixed colours would vanish in the dark.
        assert set(re.findall(r"#[0-9a-f]{6}\b(?=[;\"])", figure)) <= {"#000000", "#ffffff"}
    drawn = ET.fromstring(figures[0]).iter("{http://www.w3.org/2000/svg}text")
    assert {"site 0", "site 3"} <= {"".join(node.itertext()) for node in drawn}


def test_one_candidate_makes_no_rounds_figure(tmp_path):
    record = read_run(write_run(tmp_path / "run"))
    assert rounds_figure(record.candidates[:1], 0) == ""


def test_the_command_names_every_setting_that_shaped_the_run():
    run = {
        "task": {"path": "my tasks/flu", "name": "flu"},
        "seed": 7,
        "proposer": "library",
        "settings": {"limits": {"rounds": 2, "seconds": None}, "objective": {"rounds": 9}},
    }
    words = shlex.split(reproduce_command(run))
    assert words == [
        *["gsim", "run", "my tasks/flu", "--seed", "7"],
        *["--proposer", "library", "--rounds", "2"],
    ]
