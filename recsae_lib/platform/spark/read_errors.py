"""What Spark and Hadoop say of files that cannot be read, put for people: cause, file, remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from recsae_lib.errors import InputError

# (pattern in the text of the error, cause, remedy); {0} and {1} are the groups of the pattern, {source} what was read.
_FAULTS: Sequence[tuple[str, str, str]] = (
    (r"\[PATH_NOT_FOUND\][^\n]*", "There is no file or folder {source}", "Check the path in the settings"),
    (r"\[UNABLE_TO_INFER_SCHEMA\][^\n]*", "{source} holds no Parquet file", "Check the path in the settings"),
    (
        r"URISyntaxException: Relative path in absolute URI: \.?([^\n]*?)(?:\.crc)?(?=\n|$)",
        "{source} holds {0}, and Hadoop reads no file with a colon in its name",
        "Rename the file",
    ),
    (r"(\S+) is not a Parquet file[^\n]*", "{0} is not a Parquet file, or was cut off", "Replace it, or leave it out"),
    (r"Could not read footer for file: (\S+?)\.?(?=\s|$)", "{0} is not a Parquet file", "Replace it, or leave it out"),
    (r"Could not read footer: ", "{source} is, or holds, a damaged Parquet file", "Replace it, or leave it out"),
    (
        r"Illegal Parquet type: ([^\n]*?)\.?(?=\n|$)",
        "{source} has a column of the Parquet type {0}, which Spark does not read",
        "Write it as another type",
    ),
    (
        r"native (\w+) library not available|Class \S*?(Lzo|Lz4|Snappy|Zst)\w*Codec not found",
        "{source} is compressed in a form that this Spark does not read",
        "Unpack it, or compress it by gzip or zstd",
    ),
    (
        r"not a gzip file|incorrect header check|invalid (?:block type|stored block lengths|distance)|"
        r"bad block header|Input is corrupted|Invalid magic prefix",
        "A compressed file of {source} is damaged, or its name ends as if it were compressed",
        "Replace it, or rename it",
    ),
    (
        r"Unexpected end of input stream|unexpected end of file|premature EOF|Not enough input bytes",
        "A compressed file of {source} is cut off",
        "Fetch it again",
    ),
    (
        r'No FileSystem for scheme "?([\w+.-]+)|Class \S*?(S3AFileSystem|GoogleHadoopFileSystem|Abfs\w*) not found',
        "Spark has no file system for {source}",
        "Name its package in the Spark properties (spark.jars.packages), or copy the files to one that Spark reads",
    ),
    (
        r"(?:java\.io\.FileNotFoundException|AccessControlException|AccessDeniedException)[^\n]*",
        "{match}",
        "Check the path and its permissions",
    ),
)


def explained(failure: BaseException, source: str | None = None) -> InputError | None:
    """Return what a person can mend about files that Spark could not read; None where that is not what happened.

    Parameters
    ----------
    source : the file, folder or table that was read, where it is known.
    """
    text = str(failure)
    for pattern, cause, remedy in _FAULTS:
        if match := re.search(pattern, text):
            named = source or _file_in(text) or "The source"
            found = [group for group in match.groups() if group] or [""]
            return InputError(cause.format(*found, source=named, match=match.group(0).strip()), remedy)
    return None


@contextmanager
def reading(source: str) -> Iterator[None]:
    """Raise InputError for what goes wrong in the body where it is the fault of the files that are read."""
    try:
        yield
    except InputError:
        raise
    except Exception as failure:
        if (error := explained(failure, source)) is not None:
            raise error from failure
        raise


def _file_in(text: str) -> str | None:
    found = re.search(r"(?:while reading file|Path does not exist:) (\S+?)\.?(?=\s|$)", text)
    return found[1] if found else None
