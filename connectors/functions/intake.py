"""The function of sink-file.yaml."""

import json
from pathlib import Path

from liberator import PermanentError


def load(events, context):
    """An event for each file, with what is in it. A file that is no JSON will not be one the next time, either."""
    loaded = []
    for event in events:
        try:
            content = json.loads(Path(event.value["path"]).read_text())
        except ValueError as error:
            raise PermanentError(f"{event.key} is no JSON: {error}") from error
        except FileNotFoundError:
            context.log.info("%s is gone already", event.key)
            continue
        loaded.append({"file": event.key, "content": content})
    return loaded
