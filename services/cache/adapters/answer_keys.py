"""How what Redis keeps of answers is called; see redis_answers. And the scripts that go by these names."""

from __future__ import annotations

import json
from collections.abc import Collection
from importlib.resources import files
from urllib.parse import quote, unquote

from services.cache.domain.key import AnswerKey
from services.cache.domain.selection import Everything, OfModel, Selection, WithTag

INDEXES = "tw:cache:indexes"
SIZES, SIZES_SUM = "tw:cache:sizes", "tw:cache:sizes:sum"


def prefix(organisation: str) -> str:
    """How every key of an organisation begins."""
    return f"tw:cache:{{{quoted(organisation)}}}"


def quoted(organisation: str) -> str:
    """So that no name can end the hash tag early or reach into another's keys."""
    return quote(organisation, safe="")


def unquoted(organisation: bytes) -> str:
    """The name again."""
    return unquote(organisation.decode())


def entry_key(organisation: str, digest: bytes) -> str:
    """Of an answer."""
    return f"{prefix(organisation)}:answer:{digest.hex()}"


def drops_key(organisation: str) -> str:
    """Of what was dropped."""
    return f"{prefix(organisation)}:drops"


def index_key(organisation: str, selection: Selection) -> str:
    """Of the answers that belong to a selection."""
    return f"{prefix(organisation)}:{name_of(selection)}"


def names_of(key: AnswerKey, selections: Collection[Selection]) -> str:
    """All names under which an answer may be dropped, as the scripts read them."""
    return json.dumps([own_name(key), *map(name_of, selections)])


def name_of(selection: Selection) -> str:
    """Of what may be dropped."""
    match selection:
        case Everything():
            return "all"
        case OfModel(model, ""):
            return f"model:{model}"
        case OfModel(model, revision):
            # Quoted, so that no colon in a name makes two revisions one.
            return f"revision:{quote(model, safe='')}:{revision}"
        case WithTag(tag):
            return f"tag:{tag}"


def own_name(key: AnswerKey) -> str:
    """Of an answer that may be dropped alone."""
    return f"answer:{key.digest.hex()}"


def lua(*names: str) -> str:
    """The text of a script, from its parts."""
    return "\n".join((files("services.cache.adapters") / "lua" / f"{each}.lua").read_text() for each in names)
