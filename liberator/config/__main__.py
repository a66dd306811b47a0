"""``python -m liberator.config``: print the JSON Schema of a connector file."""

import json
import sys

from liberator.config.editor_schema import connector_schema

json.dump(connector_schema(), sys.stdout, indent=2, ensure_ascii=False)
sys.stdout.write("\n")
