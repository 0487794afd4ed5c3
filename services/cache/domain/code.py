"""Is a text, or a part of it, written for machines?

There a letter's case, a space or a sign decides, of which an encoder sees little: MiniLM's vectors of "True" and "true"
are one. So are paths, addresses and identifiers.
"""

from __future__ import annotations

import re

_SIGNS = re.compile(
    r"""
    `                                       # Markdown's code
  | [{}\\<>]                                # blocks, escapes, tags, redirections
  | ;[ \t]*$                                # a statement's end
  | [^\W\d]\((?!e?s\))[^\s)]*\)                  # f(), f(x); not "item(s)"
  | \w\[\w*\] | \[\[                        # a[0]
  | [=!]= | [-+*/:|&]= | => | -> | :: | && | \|\| | \$[A-Za-z_]
  | \w\s=\s\S                               # x = 1
  | \w_\w                                   # snake_case
  | \b[a-z]+(?:[A-Z][a-z]+){2,}\b           # getUserName; not iPhone
  | (?:^|\s)--?[a-z][\w-]*                  # --flag
  | \w:// | \w@\w+\.\w | \bwww\.            # addresses
  | (?:^|\s)(?:~|\.{1,2})?/\w | [A-Za-z]:/  # paths
  | \b\w+\.(?:py|js|ts|sh|c|h|cpp|rs|go|rb|java|json|ya?ml|toml|sql|html|css|csv|txt|md|exe|dll|so)\b
  | \b[0-9a-f]{8,}\b | \b0x[0-9a-f]+\b      # hashes
  | ^[ \t]*(?:def|class|function|const|let|var|public|private|return|if|for|while|else|try)\b.*[({:][ \t]*$
  | ^[ \t]*(?:from\s\S+\simport\s|\#include\b|\#!)
  | (?i:\bselect\b(?:(?!select\b).){1,99}\bfrom\b(?:(?!select\b).){1,99}\b(?:where|limit|join|order\sby|group\sby)\b)
    """,
    re.VERBOSE | re.MULTILINE,
)
# Pasted data: lines that are set in, or that have a key.
_DATA_LINE = re.compile(r"^(?:[ \t]{2,}\S|[\w -]{1,40}:\s\S|[^,\n]*,[^,\n]*,[^,\n]*,)", re.MULTILINE)
_FEWEST_LINES = 2


def looks_like_code(text: str) -> bool:
    """Rather once too often: what is taken for code is answered all the same, only not from what is like it."""
    return bool(_SIGNS.search(text)) or len(_DATA_LINE.findall(text)) >= _FEWEST_LINES
