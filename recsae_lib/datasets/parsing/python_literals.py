"""Lines that are Python literals (as Amazon's catalogue of 2014 was printed) as JSON; nothing in them is ever run."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence

import pandas as pd
from pyspark.sql import Column
from pyspark.sql import functions as F

LONGEST_LITERAL = 200_000  # characters: a literal takes some 500 times its length in memory while it is parsed
NO_OBJECT = "the line is neither a JSON object nor a Python dict"
TOO_LONG = f"the line is longer than {LONGEST_LITERAL:,} characters"


def as_json(line: Column, fields: Sequence[str]) -> Column:
    """Return each line as STRUCT<json STRING, fault STRING>, one of them null; both are where the line is null.

    Parsed by an Arrow kernel in Python workers. A line that is too long never reaches it.
    """
    wanted = tuple(fields)

    @F.pandas_udf("json STRING, fault STRING")  # type: ignore[attr-defined, call-overload]  # not in its stubs
    def convert(lines: pd.Series) -> pd.DataFrame:
        parsed = [(None, None) if line is None else literal_as_json(line, wanted) for line in lines]
        return pd.DataFrame(parsed, columns=["json", "fault"], dtype=object)

    short = F.length(line) <= LONGEST_LITERAL
    converted: Column = convert(F.when(short, line))
    return F.when(line.isNull() | short, converted).otherwise(
        F.struct(F.lit(None).cast("string").alias("json"), F.lit(TOO_LONG).alias("fault"))
    )


def literal_as_json(line: str, fields: Sequence[str]) -> tuple[str | None, str | None]:
    """Return a JSON object, or a Python dict with the wanted fields as one, and no fault; or no JSON, and the fault.

    ``ast.literal_eval`` knows constants, lists, tuples, sets and dicts and nothing else: a call, a name, an operator
    between two of them is rejected, not run. What is nested more than some 200 deep is rejected by Python's parser.
    """
    try:
        if isinstance(json.loads(line), dict):
            return line, None
    except (ValueError, RecursionError):
        pass  # no JSON: then perhaps a literal
    try:
        parsed = ast.literal_eval(line.strip())
        if isinstance(parsed, dict):
            return json.dumps({field: parsed[field] for field in fields if field in parsed}), None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass  # no literal, too deep, or a value that JSON does not have
    return None, NO_OBJECT
