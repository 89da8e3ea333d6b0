"""Hadoop's local file system as the tests use it: it starts no process to set what a file allows.

Without its native library, which no Python package brings, Hadoop runs `chmod` for each file and folder that it makes:
some twenty processes for each write to a table of Iceberg.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pyspark
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway

from recsae_lib.platform.spark.java import find_java_home

NAME = "LocalFiles"
SOURCE = f"""
import java.nio.file.Files;
import java.nio.file.attribute.PosixFilePermissions;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.fs.permission.FsPermission;

public class {NAME} extends LocalFileSystem {{
    public {NAME}() {{
        super(new Raw());
    }}

    public static class Raw extends RawLocalFileSystem {{
        public void setPermission(Path path, FsPermission allowed) throws java.io.IOException {{
            String letters = allowed.getUserAction().SYMBOL + allowed.getGroupAction().SYMBOL
                + allowed.getOtherAction().SYMBOL;
            Files.setPosixFilePermissions(pathToFile(path).toPath(), PosixFilePermissions.fromString(letters));
        }}
    }}
}}
"""
DIGEST = hashlib.sha256(SOURCE.encode()).hexdigest()[:8]


def make_jar(jar: Path) -> None:
    """Compile it with what Spark compiles its queries with: a Java that runs Spark need not have a compiler."""
    jars = Path(pyspark.__file__).parent / "jars"
    (py4j,) = jars.glob("py4j-*.jar")
    java = str(find_java_home() / "bin" / "java")
    port = launch_gateway(jarpath=str(py4j), classpath=str(jars / "*"), java_path=java, die_on_exit=True)
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port))
    jvm: Any = gateway.jvm
    compiler = jvm.org.codehaus.janino.SimpleCompiler()
    compiler.cook(SOURCE)
    compiled = dict(compiler.getBytecodes())
    gateway.shutdown()
    beside = jar.with_suffix(".part")
    with zipfile.ZipFile(beside, "w") as archive:
        for name, code in compiled.items():
            archive.writestr(f"{name}.class", bytes(code))
    beside.replace(jar)
