"""The pages for operators have the same content in English and Chinese, and every relative link in a document works."""

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest

from tests.support.documents import KEY_AND_DEFAULT
from tests.support.serving import ROOT

DOCS = ROOT / "docs"
PAGES = ("settings", "access", "alarms", "notifications", "dashboard", "operating", "protocol", "faults")
"""The pages that exist in both languages: docs/NAME.md and docs/zh/NAME.md."""
DOCUMENTS = (
    "README.md",
    "README.zh.md",
    "CONTRIBUTING.md",
    "deploy/README.md",
    *(str(path.relative_to(ROOT)) for path in sorted(DOCS.rglob("*.md"))),
)
COMMENTS = dict.fromkeys(("", "sh", "yaml", "python"), r"(?:^|(?<=\s))#\s.*$") | {
    "js": r"(?:^|(?<=\s))//.*$",
    "sql": r"(?:^|(?<=\s))--\s.*$",
}
"""For each language of code blocks, a pattern that matches the comments in a code block."""

_BLOCK = re.compile(r"^(?P<indent> *)```(\w*)\n(.*?)^(?P=indent)``` *$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) +(.+?) *$", re.MULTILINE)
_SPAN = re.compile(r"(?<!`)(?P<ticks>`+)(?!`)((?:(?!\n\n).)+?)(?<!`)(?P=ticks)(?!`)", re.DOTALL)
_FIRST_CELL = re.compile(r"^ *\| *(.*?) *\|", re.MULTILINE)
_LINK = re.compile(r"\]\(([^()\s]+)\)")


class Link(NamedTuple):
    """A relative link: the file to which it leads, and the anchor in this file."""

    path: Path
    anchor: str


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def both(page: str) -> tuple[Path, Path]:
    """Return the English file and the Chinese file of a page."""
    return DOCS / f"{page}.md", DOCS / "zh" / f"{page}.md"


def prose(path: Path) -> str:
    """Return the text of a document without its code blocks."""
    return _BLOCK.sub("", read(path))


def headings(path: Path) -> list[tuple[str, str]]:
    """Return the level, as `#` characters, and the title of each heading."""
    return [(level, title) for level, title in _HEADING.findall(prose(path))]


def spans(text: str) -> list[str]:
    """Return the content of each inline code span. A line break in a span counts as a space."""
    return [" ".join(content.split()) for _, content in _SPAN.findall(text)]


def code_blocks(path: Path) -> list[tuple[str, str]]:
    """Return the language and the code of each code block. Comments and the space before them are removed."""
    blocks = []
    for _, language, code in _BLOCK.findall(read(path)):
        comment = COMMENTS.get(language)
        bare = re.sub(comment, "", code, flags=re.MULTILINE) if comment else code
        blocks.append((language, re.sub(r"[ \t]+$", "", bare, flags=re.MULTILINE)))
    return blocks


def links(path: Path) -> list[Link]:
    """Return the relative links in a document."""
    targets = [urlsplit(target) for target in _LINK.findall(_SPAN.sub("", prose(path)))]
    return [
        Link((path.parent / unquote(target.path)).resolve() if target.path else path, unquote(target.fragment))
        for target in targets
        if not target.scheme
    ]


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub creates for the headings of a document."""
    slugs: set[str] = set()
    for _, title in headings(path):
        text = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        number = 0
        while (anchor := f"{slug}-{number}" if number else slug) in slugs:
            number += 1
        slugs.add(anchor)
    return slugs


def english(path: Path) -> Path:
    """Return the English file of a page. Return any other path unchanged."""
    return DOCS / path.name if path.parent == DOCS / "zh" else path


@pytest.mark.parametrize("page", PAGES)
def test_both_languages_have_the_same_heading_levels(page: str) -> None:
    in_english, in_chinese = ([level for level, _ in headings(path)] for path in both(page))
    assert in_chinese == in_english


@pytest.mark.parametrize("page", PAGES)
def test_both_languages_have_the_same_code_in_headings(page: str) -> None:
    in_english, in_chinese = ([spans(title) for _, title in headings(path)] for path in both(page))
    assert in_chinese == in_english


@pytest.mark.parametrize("page", PAGES)
def test_both_languages_name_the_same_keys_events_and_commands(page: str) -> None:
    in_english, in_chinese = (set(spans(prose(path))) for path in both(page))
    assert in_chinese == in_english


@pytest.mark.parametrize("page", PAGES)
def test_both_languages_have_the_same_table_rows(page: str) -> None:
    in_english, in_chinese = ([spans(cell) for cell in _FIRST_CELL.findall(prose(path))] for path in both(page))
    assert in_chinese == in_english


@pytest.mark.parametrize("page", PAGES)
def test_both_languages_have_the_same_code_blocks(page: str) -> None:
    in_english, in_chinese = (code_blocks(path) for path in both(page))
    assert in_chinese == in_english


@pytest.mark.parametrize("page", PAGES)
def test_both_languages_link_to_the_same_files(page: str) -> None:
    in_english, in_chinese = ({english(link.path) for link in links(path)} for path in both(page))
    assert in_chinese == in_english


@pytest.mark.parametrize("page", PAGES)
def test_the_first_link_leads_to_the_other_language(page: str) -> None:
    in_english, in_chinese = both(page)
    assert links(in_english)[0] == Link(in_chinese, "")
    assert links(in_chinese)[0] == Link(in_english, "")


@pytest.mark.parametrize("page", PAGES)
def test_each_page_links_to_pages_in_its_language(page: str) -> None:
    in_english, in_chinese = both(page)
    english_pages, chinese_pages = zip(*map(both, PAGES), strict=True)
    assert {link.path for link in links(in_english)[1:]}.isdisjoint(chinese_pages)
    assert {link.path for link in links(in_chinese)[1:]}.isdisjoint(english_pages)


def test_both_settings_pages_have_the_same_defaults() -> None:
    in_english, in_chinese = (KEY_AND_DEFAULT.findall(read(path)) for path in both("settings"))
    assert in_english
    assert [(key, "none" if default == "无" else default) for key, default in in_chinese] == in_english


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_relative_link_leads_to_a_file(document: str) -> None:
    missing = [link.path for link in links(ROOT / document) if not link.path.exists()]
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_anchor_of_a_link_is_a_heading(document: str) -> None:
    to_anchors = [link for link in links(ROOT / document) if link.anchor and link.path.exists()]
    missing = [link for link in to_anchors if link.anchor not in anchors(link.path)]
    assert missing == []
