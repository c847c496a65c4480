"""Compiles the data plane with mypyc where mypy and a C compiler are at hand; without them it runs as it stands.

The sources stay plain, typed Python: compiling changes what a request costs, never what it does.
`UNDERSTUDY_COMPILE=0` leaves it out; `=1` makes a missing compiler an error.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import setup

COMPILED = (
    "config/routes.py",
    "config/snapshot.py",
    "filters/arms.py",
    "filters/bucketing.py",
    "filters/claims.py",
    "filters/cookies.py",
    "filters/keying.py",
    "filters/keytally.py",
    "filters/messages.py",
    "filters/predicates.py",
    "filters/rules.py",
    "filters/subjects.py",
    "proxy/allowance.py",
    "proxy/balance.py",
    "proxy/bodies.py",
    "proxy/breaker.py",
    "proxy/chain.py",
    "proxy/comparison/sums.py",
    "proxy/dispatch.py",
    "proxy/ending.py",
    "proxy/exchange.py",
    "proxy/http1/answering.py",
    "proxy/http1/body.py",
    "proxy/http1/downstream.py",
    "proxy/http1/fields.py",
    "proxy/http1/gone.py",
    "proxy/http1/grammar.py",
    "proxy/http1/head.py",
    "proxy/http1/link.py",
    "proxy/http1/upstream.py",
    "proxy/http1/write.py",
    "proxy/lane.py",
    "proxy/mirrored.py",
    "proxy/opening.py",
    "proxy/outgoing.py",
    "proxy/pipeline.py",
    "proxy/plane.py",
    "proxy/pool.py",
    "proxy/rescue.py",
    "proxy/shadow.py",
    "proxy/telemetry/account.py",
    "proxy/telemetry/attributes.py",
    "proxy/telemetry/count.py",
    "proxy/telemetry/lines.py",
    "proxy/telemetry/otlp.py",
    "proxy/telemetry/pairs.py",
    "proxy/telemetry/record_sheet.py",
    "proxy/telemetry/sketch.py",
    "proxy/telemetry/spans.py",
    "proxy/telemetry/teller.py",
    "proxy/telemetry/telling.py",
    "proxy/telemetry/told.py",
    "proxy/telemetry/tokens.py",
    "proxy/timers.py",
    "proxy/trace.py",
)
NAMES = Path(".typecheck/understudy")  # gives the three folders the names that they are imported by


def link_names() -> None:
    """The folder of three symlinks through which mypy and mypyc see the packages."""
    NAMES.mkdir(parents=True, exist_ok=True)
    for folder in ("filters", "config", "proxy"):
        link = NAMES / folder
        if not link.is_symlink():
            link.symlink_to(Path("../..") / folder, target_is_directory=True)


def compiled_extensions() -> list:
    """The extensions, or none where they cannot or shall not be built."""
    wanted = os.environ.get("UNDERSTUDY_COMPILE", "auto")
    if wanted == "0":
        return []
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    header = Path(sysconfig.get_path("include"), "Python.h")
    try:
        from mypyc.build import mypycify  # noqa: PLC0415
    except ImportError:
        mypycify = None
    if mypycify is None or shutil.which(compiler) is None or not header.exists():
        if wanted == "1":
            sys.exit("UNDERSTUDY_COMPILE=1 needs mypy, a C compiler and Python's headers")
        return []
    link_names()
    sources = [str(NAMES / module) for module in COMPILED]
    return mypycify(["--config-file=pyproject.toml", *sources], group_name="understudy.filters.compiled", opt_level="3")


setup(ext_modules=compiled_extensions())
