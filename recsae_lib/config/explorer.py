"""Settings of the page that an audit leaves behind."""

from __future__ import annotations

from pydantic import Field

from recsae_lib.config.section import Section


class ExplorerSettings(Section):
    show_users: bool = Field(
        False,
        description="Whether the page names the users of its judged cases and samples. Who has the page then has ids.",
    )
