"""Print deploy/tokenway.schema.json, for `make generate` and `make check`."""

import sys

from libs.settings.json_schema import json_schema

if __name__ == "__main__":
    sys.stdout.write(json_schema())
