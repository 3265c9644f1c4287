"""An HTML page as a tree of elements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "img", "link", "br"}
_URL_ATTRIBUTES = {"src", "href", "srcset", "poster", "data", "action", "xlink:href", "background"}


@dataclass
class Element:
    """An element with everything in it; ``text`` is all text inside, in order."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Element] = field(default_factory=list)
    text: str = ""

    @property
    def classes(self) -> set[str]:
        """Names in the class attribute."""
        return set(self.attributes.get("class", "").split())

    def all(self, tag: str = "", of_class: str = "") -> Iterator[Element]:
        """Descendants in document order, by tag and class."""
        for child in self.children:
            if tag in {"", child.tag} and (not of_class or of_class in child.classes):
                yield child
            yield from child.all(tag, of_class)

    def texts(self, tag: str = "", of_class: str = "") -> list[str]:
        """Texts of these descendants, with single spaces."""
        return [" ".join(element.text.split()) for element in self.all(tag, of_class)]


class Page(HTMLParser):
    """A parsed page; raises if an end tag does not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.root = Element("")
        self._open = [self.root]
        self.feed(html)
        assert len(self._open) == 1, "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in _VOID:
            self._open.append(self._open[-1].children[-1])

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    @property
    def shown(self) -> str:
        """All text that a reader sees."""
        body = next(self.root.all("body"))
        return "".join(child.text for child in body.children if child.tag != "script")

    def section(self, name: str) -> Element:
        """The section whose heading has this id."""
        return next(found for found in self.root.all("section") if found.attributes["aria-labelledby"] == name)

    def tables(self) -> dict[str, list[list[str]]]:
        """Texts of the cells of every table, row by row, by the title in its caption."""
        return {
            _title(next(table.all("caption"))): [row.texts("th") + row.texts("td") for row in table.all("tr")]
            for table in self.root.all("table")
        }

    def resources(self) -> list[str]:
        """Everything that a browser would load or follow."""
        found = [v for element in self.root.all() for name, v in element.attributes.items() if name in _URL_ATTRIBUTES]
        css = [element.text for element in self.root.all("style")]
        css += [element.attributes.get("style", "") for element in self.root.all()]
        matches = [match for text in css for match in re.findall(r"url\(([^)]*)\)|@import\s+(\S+)", text)]
        return found + [url for match in matches for url in match if url]


def _title(caption: Element) -> str:
    """Text of a caption without its small print."""
    notes = caption.texts("small")
    return " ".join(caption.text.split()).removesuffix(notes[0] if notes else "").strip()
