"""What all commands of one call share: how loud it is and in which form."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Session:
    """log_level: debug, info, warning or error. log_format: text or json."""

    log_level: str = "info"
    log_format: str = "text"

    def start_logging(self) -> None:
        """From now on logs go to standard error, without secrets. For commands that do more than read their files."""
        from liberator.config.secrets import redact
        from liberator.observe.logs import configure

        configure(self.log_level, self.log_format, redact)
