"""A skipped test is a test that nobody ran: it is counted, and at the gate it is a failure."""

from __future__ import annotations

import os

import pytest

FAIL = os.environ.get("VISIONLINE_NO_SKIPS") == "1"
"""As `.ci/run` has it."""
ALLOWED = (
    # What a container may forbid, and no package brings.
    "no control group can be made here",
    "no control group for CPUs can be made here",
    "network namespaces are not allowed here",
    "the demo ran where network namespaces are not allowed",
    "needs a bind mount",
    "the folders above cannot be entered by another user",
    "one CPU is what there is",
    # Sources without Git, such as an archive of a release.
    "no checkout",
)
"""How the reasons begin that hold at the gate too."""


def reason(report: pytest.TestReport) -> str:
    """Says why a test was skipped."""
    told = report.longrepr
    text = told[2] if isinstance(told, tuple) else str(told)
    return text.removeprefix("Skipped: ")


def judge(report: pytest.TestReport) -> pytest.TestReport:
    """Turns a skip that is not allowed into a failure, at the gate."""
    if FAIL and report.skipped and not reason(report).startswith(ALLOWED):
        report.longrepr = f"skipped, where nothing may be: {reason(report)}"
        report.outcome = "failed"
    return report


def last_line(config: pytest.Config) -> str | None:
    """Counts the skips of a session and says why, in one line; None: there were none."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter else []
    if not reports or hasattr(config, "workerinput"):
        return None
    names: dict[str, list[str]] = {}
    for report in reports:
        names.setdefault(reason(report), []).append(report.nodeid.rpartition("/")[2])
    parts = (
        f"{tests[0]}{f' and {len(tests) - 1} more' if tests[1:] else ''}: {why}"
        for why, tests in names.items()
    )
    return f"{len(reports)} skipped: {'; '.join(parts)}"
