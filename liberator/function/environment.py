"""The environment of a child process: what programs need to run at all, and what the configuration gives; nothing else, as
the connector's own has the secrets of its YAML in it.

Enters: an environment. Leaves: the part of it that children get. Called by whoever wires functions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

_KEPT = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR", "TMP", "TEMP", "TZ"),
        *("LANG", "LANGUAGE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *(
            "PYTHONPATH",
            "PYTHONHASHSEED",
            "PYTHONUNBUFFERED",
            "PYTHONWARNINGS",
            "PYTHONDONTWRITEBYTECODE",
            "PYTHONUTF8",
        ),
    }
)


def clean_environment(given: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a child gets of an environment. given: default `os.environ`."""
    environment = os.environ if given is None else given
    return {name: value for name, value in environment.items() if name in _KEPT or name.startswith("LC_")}
