"""A YAML file as a tree of texts that remembers where everything was written.

Scalars stay the text that they were: the schema says what each means. So `version: 1.10` is not 1.1, `name: no` is not
false, a hash of digits is not a number, and an amount of money never passes through a float.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from libs.settings.mistakes import Mistake, Path, Place

# None is an empty value, `null` or `~`.
Value = dict[str, "Value"] | list["Value"] | str | None

# Aliases may repeat what an anchor holds, and may hold themselves: these bound what a small file can become.
DEEPEST_LEVEL = 32
MOST_NODES = 100_000

_YAML = "tag:yaml.org,2002:"
_PLAIN_KINDS = ("str", "int", "float", "bool", "null", "timestamp", "merge", "value", "map", "seq")
_PLAIN_TAGS = {_YAML + kind for kind in _PLAIN_KINDS}


class UnreadableError(Exception):
    """The text is not YAML, or not YAML that is read here; with the place where reading stopped."""

    def __init__(self, problem: str, place: Place) -> None:
        super().__init__(problem)
        self.place = place


@dataclass(frozen=True, slots=True)
class Tree:
    """The file's content, its places, and the mistakes that are about YAML alone."""

    root: Value
    places: Mapping[Path, Place]
    key_places: Mapping[Path, Place]
    mistakes: tuple[Mistake, ...]

    def place(self, path: Path, *, of_key: bool = False) -> Place:
        """Where the path is written; what is not written has the place of the nearest thing around it."""
        if of_key and path in self.key_places:
            return self.key_places[path]
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path, Place(1, 1))

    def at(self, path: Path) -> Value:
        """What is written at the path; None where nothing is."""
        here = self.root
        for part in path:
            match here, part:
                case dict(), str():
                    here = here.get(part)
                case list(), int() if part < len(here):
                    here = here[part]
                case _:
                    return None
        return here

    def select(self, pattern: str) -> Iterator[tuple[Path, Value]]:
        """Every path like `models.*.name` that is written, with its value; `*` is any field or index."""
        yield from _select(self.root, tuple(pattern.split(".")), ())

    def texts(self, pattern: str) -> Iterator[tuple[Path, str]]:
        """The same, texts alone."""
        return ((path, value) for path, value in self.select(pattern) if isinstance(value, str))


def parse(text: str) -> Tree:
    """Reads one YAML document; raises UnreadableError at the first thing that stops it."""
    reader = _Reader()
    node = _composed(text)
    root = None if node is None else reader.value(node, ())
    return Tree(root, reader.places, reader.key_places, tuple(reader.mistakes))


def _composed(text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UnreadableError(f"not YAML: {error.problem or error.context}", _place(mark)) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise UnreadableError("not YAML: a control character or other character that YAML forbids", place) from None
    except RecursionError:
        raise UnreadableError(f"nested deeper than {DEEPEST_LEVEL} levels", Place(1, 1)) from None
    except ValueError:  # PyYAML's own: an escape beyond Unicode, a version of a thousand digits
        raise UnreadableError("not YAML: an escape or a directive with an impossible number", Place(1, 1)) from None


@dataclass(slots=True)
class _Reader:
    places: dict[Path, Place] = field(default_factory=dict)
    key_places: dict[Path, Place] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    nodes: int = 0

    def value(self, node: yaml.Node, path: Path) -> Value:
        place = _place(node.start_mark)
        self.nodes += 1
        if len(path) > DEEPEST_LEVEL or self.nodes > MOST_NODES:
            limits = f"nested deeper than {DEEPEST_LEVEL} levels or more than {MOST_NODES} values"
            raise UnreadableError(f"{limits}: does an alias hold itself?", place)
        self.places[path] = place
        if node.tag not in _PLAIN_TAGS:
            self.mistakes.append(Mistake(path, f"the tag {node.tag} is not read here; write the value without it"))
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._text(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> Value:
        mapping: dict[str, Value] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.mistakes.append(Mistake(path, "the name of a field is a list or a mapping; give a plain name"))
                continue
            name = self._text(key_node, path) or "null"
            here = (*path, name)
            if name in mapping:
                first = self.key_places[here].line
                self.mistakes.append(Mistake(here, f"is there twice, first at line {first}; keep one", at_key=True))
            self.key_places[here] = _place(key_node.start_mark)
            mapping[name] = self.value(value_node, here)
        return mapping

    def _text(self, node: yaml.Node, path: Path) -> str | None:
        if node.tag == _YAML + "null":
            return None
        text: str = node.value
        if any("\ud800" <= character <= "\udfff" for character in text):
            self.mistakes.append(Mistake(path, "half of a surrogate pair is no character; write the character itself"))
            return text.encode(errors="replace").decode()
        return text


def _place(mark: yaml.Mark | None) -> Place:
    return Place(1, 1) if mark is None else Place(mark.line + 1, mark.column + 1)


def _select(here: Value, pattern: tuple[str, ...], path: Path) -> Iterator[tuple[Path, Value]]:
    if not pattern:
        if here is not None:
            yield path, here
        return
    wanted, *rest = pattern
    children: Iterable[tuple[str | int, Value]] = ()
    if isinstance(here, dict):
        children = here.items()
    elif isinstance(here, list):
        children = enumerate(here)
    for part, child in children:
        if wanted in ("*", str(part)):
            yield from _select(child, tuple(rest), (*path, part))
