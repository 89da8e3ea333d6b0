"""Classes and static methods of the JVM, asked for by name once.

PySpark names a function such as ``functions.col`` anew for each call of it, and for each name the JVM looks through all
jars on its path, several times: packages are tried one after another.

Gain: a quarter of the time of a job on small data, from a cold start. It matters where a job takes seconds; where it
takes minutes the same look-ups are lost in it. Delete this when PySpark asks once, or names functions without Py4J.
"""

from __future__ import annotations

from typing import Any

from py4j.java_gateway import JavaClass, JavaMember, JavaPackage, JVMView


def remember_names(view: JVMView) -> None:
    """Have a view keep the classes, packages and static methods that it has found, and these theirs.

    (The value of a static field may change, and is asked for each time.)
    """
    view.__class__ = _View


def _kept(owner: Any, name: str, found: Any) -> Any:
    if isinstance(found, JavaClass):
        found.__class__ = _Class
    elif isinstance(found, JavaPackage):
        found.__class__ = _Package
    elif not isinstance(found, JavaMember):
        return found
    owner.__dict__[name] = found
    return found


class _View(JVMView):  # Py4J has no types
    def __getattr__(self, name: str) -> Any:
        return _kept(self, name, super().__getattr__(name))


class _Package(JavaPackage):
    def __getattr__(self, name: str) -> Any:
        return _kept(self, name, super().__getattr__(name))


class _Class(JavaClass):
    def __getattr__(self, name: str) -> Any:
        return _kept(self, name, super().__getattr__(name))
