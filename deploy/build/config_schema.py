"""Print the JSON schema of the configuration file, for editors and for `make check`."""

import json

from libs.settings.schema import Settings


def main() -> None:
    """Write to standard output."""
    schema = Settings.model_json_schema()
    print(json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema, indent=2))


if __name__ == "__main__":
    main()
