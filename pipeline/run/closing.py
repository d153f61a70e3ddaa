"""The last words of a run: what came of it, and what to do next."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from common.errors import Exit
from pipeline.run.session import Finished
from pipeline.terminal import sayer


def print_outcome(finished: Finished, console: Console) -> int:
    """Prints how a run ended; returns the exit code."""
    say = sayer(console)
    if finished.state == "interrupted":
        say(
            "Stopped. Finished components are kept: run the same command again to carry on; "
            "the component that was stopped starts anew."
        )
        if finished.training:
            say(finished.training)
        return finished.exit_code
    if finished.state == "failed":
        say(f"Failed. {finished.error}", "red")
        if finished.training and finished.training not in finished.error:
            say(finished.training)
        say(f"Everything that was printed is in {finished.log}.")
        return Exit.FAILED
    say(_images(finished.summary))
    return print_verdict(finished.summary, console)


def print_verdict(summary: dict[str, Any], console: Console) -> int:
    """Prints how a model was judged and where it went; returns the exit code."""
    say = sayer(console)
    say(_verdict(summary))
    for note in summary["notes"]:
        say(f"Note: {note}", "yellow")
    if served := _served(summary["infra_validation"]):
        say(served)
    if not summary["blessed"]:
        for reason in summary["why_not"]:
            say(f"  {reason}", "red")
        say("Not blessed, so not pushed.", "red")
        return Exit.NOT_BLESSED
    if summary["withdrawn_by"]:
        say(
            f"Not pushed: {summary['name']} was rolled back from this very model, by version "
            f"{summary['withdrawn_by']}. To serve it again: visionline rollback "
            f"{summary['name']} --to VERSION; a model that is trained anew is pushed.",
            "yellow",
        )
        return 0
    if summary["where"] is None:
        say("Blessed, and yet not pushed: the Pusher's log may say why.", "red")
        return Exit.FAILED
    if when := summary.get("already_pushed"):
        say(
            f"Nothing new to push: this model is {summary['name']} version {summary['version']} "
            f"already, pushed at {when} to {summary['where']}",
            "green",
        )
        return 0
    say(f"Pushed {summary['name']} version {summary['version']} to {summary['where']}", "green")
    return 0


def _images(summary: dict[str, Any]) -> str:
    splits = ", ".join(f"{count} {name}" for name, count in summary["images"].items())
    quarantined = summary["quarantined"]
    left_out = f"; {quarantined} could not be used: {summary['quarantine']}" if quarantined else ""
    return f"Images: {splits}{left_out}"


def _verdict(summary: dict[str, Any]) -> str:
    interval = summary["accuracy_interval"]
    within = f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
    return (
        f"Accuracy {summary['accuracy']:.4f}{within} on {summary['examples']} images"
        f"; {_against(summary)}. Figures: {summary['evaluation']}"
    )


def _against(summary: dict[str, Any]) -> str:
    baseline, accuracy = summary["baseline"], summary["baseline_accuracy"]
    if baseline["state"] == "served":
        return f"{baseline['version']}, pushed before, has {accuracy:.4f}"
    words = {
        "first": "no other model was pushed before",
        "off": "not compared with what is served, as asked for (--no-baseline)",
        "unusable": f"not compared with {baseline['version']}",
    }
    return words[baseline["state"]]


def _served(infra: dict[str, Any] | None) -> str:
    """Returns what the server made of the model, or that it was not asked."""
    if infra is not None and not infra["tried"]:
        return f"In the server: skipped: {infra['why_not']}."
    if infra is None or not infra["blessed"]:
        return ""
    times = ", ".join(
        f"{protocol} {times['p50_ms']:.1f} ms (p99 {times['p99_ms']:.1f})"
        for protocol, times in sorted(infra["latency"].items())
    )
    return (
        f"The server loads it in {infra['loading_seconds']:.1f} s ({infra['engine']}) and answers "
        f"{infra['examples']} images as the model itself does; asked for one image after the "
        f"other on the machine that tried it: {times}."
    )
