"""The sessions of a sink connector: which failure ends it, and which one is waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

from liberator.build.dispatching import Until
from liberator.build.sink import SinkConnector
from liberator.config import SinkConfig
from liberator.config.values import FOLDER
from liberator.errors import FunctionError
from liberator.locallog import LocalLog


def test_once_ends_when_a_function_could_not_be_made_ready_in_all_its_attempts(
    tmp_path: Path, unique: str
) -> None:
    LocalLog(tmp_path / "log").create_topic("orders", 1)
    module = f"never_ready_{unique}"
    (tmp_path / f"{module}.py").write_text(
        "from pathlib import Path\n"
        "def init():\n"
        "    with open(Path(__file__).parent / 'tries', 'a') as file: file.write('x')\n"
        "    raise OSError('no database')\n"
        "def load(events, context): pass\n"
    )
    config = SinkConfig.model_validate(
        {
            "connector": "sink",
            "name": "load",
            "stream": {"url": f"local:{tmp_path / 'log'}", "topics": ["orders"]},
            "function": {"python": f"{module}:load", "in_process": True},
            "policy": {"retry": {"attempts": 2}},
        },
        context={FOLDER: tmp_path},
    )
    with pytest.raises(FunctionError) as caught:
        SinkConnector(config, Until(once=True)).serve()
    assert caught.value.code == "function.init"
    assert (tmp_path / "tries").read_text() == "xx"
