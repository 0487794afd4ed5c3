"""The schema as JSON schema, for editors that complete and check the file while it is written."""

from __future__ import annotations

import json

from libs.settings.schema import Settings


def json_schema() -> str:
    """The text of deploy/tokenway.schema.json. Values may also be written as text, since the reader takes them so."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tokenway",
        **Settings.model_json_schema(),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
