"""Object storage of the S3 protocol on this machine, for the clients that read AWS's variables."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from uuid import uuid4

import fsspec
import pytest
from moto.server import ThreadedMotoServer


@contextmanager
def object_storage(name: str) -> Iterator[str]:
    """Serve an empty bucket of its own, whose name begins with `name`; yields its address, ``s3://…``."""
    bucket = f"{name}-{uuid4().hex[:8]}"
    file_system = fsspec.get_filesystem_class("s3")
    with pytest.MonkeyPatch.context() as environment:
        for variable in [variable for variable in os.environ if variable.startswith("AWS_")]:
            environment.delenv(variable)
        environment.setenv("AWS_ENDPOINT_URL", _endpoint())
        environment.setenv("AWS_ACCESS_KEY_ID", "any")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "any")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        file_system.clear_instance_cache()
        fsspec.filesystem("s3").mkdir(bucket)
        try:
            yield f"s3://{bucket}"
        finally:
            file_system.clear_instance_cache()


@cache
def _endpoint() -> str:
    """Address of the one server of this process.

    Moto keeps its buckets once a process, whatever server they were made through, and MLflow keeps its S3 clients for
    minutes, whatever the variables say by then: a second server would be neither empty nor asked.
    """
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return f"http://{host}:{port}"
