"""What journals and reviewers read: citations that exist in the bibliography, open items that are marked."""

from __future__ import annotations

import re

import yaml
from conftest import ROOT

PAPER = (ROOT / "paper" / "paper.md").read_text(encoding="utf-8")
BIBLIOGRAPHY = (ROOT / "paper" / "paper.bib").read_text(encoding="utf-8")
ENTRY = re.compile(r"^@\w+\{(\w+),\n(.*?)^\}", re.MULTILINE | re.DOTALL)


def test_every_citation_is_in_the_bibliography_and_every_entry_is_cited() -> None:
    _, _, body = PAPER.split("---\n", 2)
    cited = set(re.findall(r"@([a-z]+\d{4}[a-z]*)", body))
    assert cited == {key for key, _ in ENTRY.findall(BIBLIOGRAPHY)}


def test_an_entry_has_a_doi_or_an_address_a_venue_in_full_and_a_year() -> None:
    for key, text in ENTRY.findall(BIBLIOGRAPHY):
        assert re.search(r"doi = \{10\.\d{4,5}/\S+\}|url = \{https://\S+\}", text), key
        venue = re.search(r"(?:journal|booktitle) = \{(.*?)\},", text)
        assert venue, key
        assert "." not in venue[1], f"{key}: an abbreviated venue"
        assert re.search(r"year = \{20\d\d\}", text), key


def test_the_paper_has_the_sections_that_joss_asks_for_and_its_length() -> None:
    _, head, body = PAPER.split("---\n", 2)
    sections = ["Summary", "Statement of need", "State of the field", "Software design", "Research impact statement"]
    sections += ["AI usage disclosure", "Acknowledgements", "References"]
    assert re.findall(r"^# (.*)$", body, re.MULTILINE) == sections
    assert {"title", "tags", "authors", "affiliations", "date", "bibliography"} == set(yaml.safe_load(head))
    prose = [line for line in re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL).splitlines() if not line.startswith("|")]
    assert 750 <= len(" ".join(prose).split()) <= 1750


def test_what_people_must_complete_is_marked_and_nothing_is_invented_for_them() -> None:
    assert PAPER.count("TO BE COMPLETED BY PEOPLE") >= 5
    for part in ("Research impact statement", "AI usage disclosure", "Acknowledgements"):
        assert PAPER.split(f"# {part}\n")[1].lstrip().startswith("TO BE COMPLETED BY PEOPLE"), part
