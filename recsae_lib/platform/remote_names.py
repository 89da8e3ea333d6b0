"""The one door for text from other machines that becomes a path, the name of a file, or a part of an address.

MLflow's tags and addresses, what a language model's server calls its files and batches, keys of S3, members of
archives: whoever can write there must not be able to say where this machine reads and writes. Only what is listed here
passes; text that looks like it, in other alphabets or with control characters, does not. Nothing here does anything
but look.
"""

from __future__ import annotations

import math
import re
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from recsae_lib.errors import InputError

SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
HEXADECIMAL = re.compile(r"[0-9a-f]{32}", re.ASCII)
FILE_NAME = re.compile(r"[A-Za-z0-9._,()+@=~' -]{1,255}", re.ASCII)
SERVER_ID = re.compile(r"[A-Za-z0-9_.:=+@~-]{1,512}", re.ASCII)
NUMBER = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?", re.ASCII)
LONGEST_PATH, LONGEST_ADDRESS, SHOWN = 1024, 2048, 80
# Where MLflow may say that artifacts lie. Not http and ftp: a tag would have this machine call any server.
ARTIFACT_SCHEMES = {
    *("", "file", "models", "runs", "mlflow-artifacts", "s3", "gs", "wasbs", "abfss", "dbfs", "hdfs", "viewfs", "r2"),
}


def sha256_digest(text: str, what: str) -> str:
    """A SHA-256 in 64 lower-case hexadecimal digits, which may name a folder.

    Parameters
    ----------
    what : the text comes from, for the message; of all functions here.

    Raises
    ------
    InputError : it is anything else; of all functions here.
    """
    return _matching(SHA256, text, what, "no SHA-256 (64 of 0-9 and a-f)")


def hexadecimal_name(text: str, what: str) -> str:
    """A name that the suite makes up: 32 lower-case hexadecimal digits."""
    return _matching(HEXADECIMAL, text, what, "no name of 32 hexadecimal digits")


def file_name(text: str, what: str) -> str:
    """Name of one file: ASCII letters, digits and some signs; no folder, nor a way up."""
    if not is_file_name(text):
        raise _refused(text, what, "no name of a file")
    return text


def is_file_name(text: str) -> bool:
    """Whether `file_name` takes it."""
    return FILE_NAME.fullmatch(text) is not None and text not in (".", "..")


def relative_path(text: str, what: str) -> PurePosixPath:
    """Path that stays in the folder that it is put into: names of files, with slashes between them."""
    if len(text) > LONGEST_PATH:
        raise _refused(text, what, "too long for a path")
    return PurePosixPath(*(file_name(part, what) for part in text.split("/")))


def server_id(text: str, what: str) -> str:
    """What a server calls a file or a batch: one part of an address, without a slash, query or escape in it."""
    if not text.strip("."):
        raise _refused(text, what, "no id")
    return _matching(SERVER_ID, text, what, "no id")


def positive_number(text: str, what: str) -> int:
    """A whole number from 1, as digits."""
    return int(_matching(NUMBER, text, what, "no whole number from 1"))


def finite_number(text: str, what: str) -> float:
    """A finite number, as digits with a point and an exponent where it has them."""
    number = float(_matching(DECIMAL, text, what, "no finite number"))
    if not math.isfinite(number):
        raise _refused(text, what, "no finite number")
    return number


def artifact_address(text: str, tracking_uri: str, what: str) -> str:
    """Where MLflow may fetch artifacts: in a storage, or at the server that was asked.

    Parameters
    ----------
    tracking_uri : of the server; artifacts of no other server are fetched, which would be sent the login too.
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        raise _refused(text, what, "no address") from None
    if len(text) > LONGEST_ADDRESS or not (text.isascii() and text.isprintable()) or parts.query or parts.fragment:
        raise _refused(text, what, "no address of artifacts")
    if parts.scheme not in ARTIFACT_SCHEMES or ("@" in parts.netloc and parts.scheme not in ("wasbs", "abfss")):
        raise _refused(text, what, "no address of a storage")
    if ".." in re.split(r"[/\\]", unquote(unquote(parts.path))) or "\0" in unquote(text):
        raise _refused(text, what, "an address that leads out of its folder")
    if parts.scheme == "mlflow-artifacts" and parts.netloc not in ("", urlsplit(tracking_uri).netloc):
        raise _refused(text, what, f"at another server than {tracking_uri}")
    return text


def _matching(allowed: re.Pattern[str], text: str, what: str, fault: str) -> str:
    if not isinstance(text, str) or allowed.fullmatch(text) is None:
        raise _refused(text, what, fault)
    return text


def _refused(text: object, what: str, fault: str) -> InputError:
    shown = ascii(text)  # whatever is in it
    if len(shown) > SHOWN:
        shown = f"{shown[:SHOWN]}…"
    return InputError(f"{what} is {shown}: {fault}", "It is not used. Look who may write there, and correct it")
