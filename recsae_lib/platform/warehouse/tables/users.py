"""Where ids of users stand in the tables: every column of text is listed here, as one that holds them or as one that
does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.platform.warehouse.tables.catalogue import TABLES
from recsae_lib.platform.warehouse.tables.concepts import VERIFICATION_CASES
from recsae_lib.platform.warehouse.tables.data import INTERACTIONS, LEFT_OUT, RECOMMENDATIONS, REJECTS
from recsae_lib.platform.warehouse.tables.declaration import Table
from recsae_lib.platform.warehouse.tables.latents import LATENT_ACTIVATIONS
from recsae_lib.platform.warehouse.tables.tuning import TUNED_RECOMMENDATIONS


@dataclass(frozen=True)
class UserColumn:
    """A column that tells of users by their ids.

    Parameters
    ----------
    name : of the column.
    only : another column and the value that it has in rows about users; None where all rows are.
    as_word : whether the id stands somewhere in a text, between characters that are no letters and no digits.
    """

    name: str
    only: tuple[str, str] | None = None
    as_word: bool = False

    def is_of(self, user: str) -> Column:
        """Whether a row is of a user; never null."""
        column = F.col(self.name)
        found = column.rlike(word(user)) if self.as_word else column == F.lit(user)
        if self.only is not None:
            found = found & (F.col(self.only[0]) == F.lit(self.only[1]))
        return F.coalesce(found, F.lit(False))

    def count_in(self, batch: pa.RecordBatch, user: str) -> int:
        """Number of rows of a user in a batch that has the columns `names`."""
        column = batch.column(self.name)
        found = pc.match_substring_regex(column, word(user)) if self.as_word else pc.equal(column, user)
        if self.only is not None:
            found = pc.and_(found, pc.equal(batch.column(self.only[0]), self.only[1]))
        return int(pc.sum(found, min_count=0).as_py() or 0)

    @property
    def names(self) -> list[str]:
        """The columns that it reads."""
        return [self.name, *(() if self.only is None else self.only[:1])]


def word(user: str) -> str:
    """Regular expression, for Java and RE2, of a text in which the id stands as a word."""
    quoted = "".join(f"\\x{{{ord(character):x}}}" if not character.isalnum() else character for character in user)
    return rf"(^|[^\p{{L}}\p{{N}}]){quoted}($|[^\p{{L}}\p{{N}}])"


_BY_ID = UserColumn("user_id")
USER_COLUMNS: dict[str, UserColumn] = {
    INTERACTIONS.name: _BY_ID,
    RECOMMENDATIONS.name: _BY_ID,
    LATENT_ACTIVATIONS.name: _BY_ID,
    TUNED_RECOMMENDATIONS.name: _BY_ID,
    VERIFICATION_CASES.name: _BY_ID,
    LEFT_OUT.name: UserColumn("id", only=("kind", "user")),
    REJECTS.name: UserColumn("record", as_word=True),  # the raw row, whatever its form
}

_ITEMS = {"item_id", "item_ids", "context_ids", "title", "text", "features", "derived_features"}
_CONCEPTS = {"label", "description", "previous_label", "term", "terms_gained", "terms_lost", "best_feature", "stratum"}
_CONCEPTS |= {"artefact", "feature", "output_feature"}
_KINDS = {"kind", "source", "file", "reason", "status", "change", "similarity_by", "unit_kind", "judge", "interpreter"}
_REQUESTS = {"llm_model", "prompt_version", "request_id", "transport", "batch_id", "state", "answer"}
_FIGURES = {"metric", "raters", "subject", "data_set", "model", "site", "pair", "config_digest", "code_version"}
_TUNINGS = {"tuning", "method", "comparison"}
# Of ratings: people who rate concepts, by the names that they give. They are no users of the recommender.
_RATINGS = {"sample", "stratum", "case_id", "rater", "file_digest"}
WITHOUT_USERS = _ITEMS | _CONCEPTS | _KINDS | _REQUESTS | _FIGURES | _TUNINGS | _RATINGS | {"snapshots"}
ELSEWHERE_WITHOUT = {("rating_rejects", "record")}  # of raters' files


def unclassified(table: Table, columns: T.StructType) -> list[str]:
    """Columns of a table that may hold text of which nobody has said whether it names users.

    Parameters
    ----------
    columns : that the table has: declared ones, and those that people added.
    """
    known = USER_COLUMNS.get(table.name)
    own = set() if known is None else {known.name}
    return [
        field.name
        for field in columns.fields
        if _holds_text(field.dataType)
        and field.name not in own
        and not (field.name in WITHOUT_USERS and field.name in table.schema.names)
        and (table.name, field.name) not in ELSEWHERE_WITHOUT
    ]


def tables_with_users() -> list[tuple[Table, UserColumn]]:
    """The declared tables that hold ids of users, and where."""
    return [(TABLES[name], column) for name, column in USER_COLUMNS.items()]


def _holds_text(data_type: T.DataType) -> bool:
    return re.search(r"string|binary|variant", data_type.simpleString()) is not None
