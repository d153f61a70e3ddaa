"""Options of the Beam pipelines inside the components: completed, and checked by Beam.

`complete` is the one place where visionline adds to what a user gave; every runner takes
its result from the DAG.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
from collections.abc import Sequence
from typing import Any

from common.config.ranges import at_least
from common.errors import ConfigError, nearest
from common.process.cpus import available_cpus

BEAM_PLUGIN = "--beam_plugin=tfx"
"""Worker processes must import tfx before TFDV, which it mends."""
NO_PRISM = "--allow_unsafe_triggers"
"""Beam's direct runner first downloads and tries Prism, an engine of its own, unless
triggers are unsafe.  Batch pipelines have no triggers, so nothing else depends on it."""
STAND_IN = "--sdk_container_image=this-machine"
"""Without a word of where TFX is, TFX packs itself up for each component, seconds every
time.  The runners that get this do not look at the image."""
_PACKAGING = (
    *("sdk_container_image", "worker_harness_container_image"),
    *("extra_package", "extra_packages", "setup_file", "requirements_file"),
)
_DIRECT = ("", "directrunner", "switchingdirectrunner")
_HERE = (*_DIRECT, "bundlebaseddirectrunner", "fnapirunner", "prismrunner")
_DATAFLOW = "dataflowrunner"
_ENVIRONMENTS = ("DOCKER", "EXTERNAL", "LOOPBACK", "PROCESS")
_MOST_ALIKE = 0.8


def complete(args: Sequence[str]) -> list[str]:
    """Returns what every Beam component is handed.  Imports nothing."""
    runner = _runner(args)
    completed = [BEAM_PLUGIN, *args]
    if runner in _DIRECT:
        completed.append(NO_PRISM)
    if runner != _DATAFLOW and not any(_value(args, name) for name in _PACKAGING):
        completed.append(STAND_IN)
    return completed


def counted(args: Sequence[str]) -> list[str]:
    """Completes options for the machine that runs them: 0 workers are one per CPU that may be used.

    Beam would start one per CPU of the machine.
    """
    if _runner(args) not in _DIRECT or _value(args, "direct_num_workers") != "0":
        return list(args)
    return [*args, f"--direct_num_workers={available_cpus()}"]


def workers_elsewhere(args: Sequence[str]) -> bool:
    """Returns whether functions run where this process's own files need not be."""
    return _runner(args) not in _HERE and _environment(args) != "LOOPBACK"


def check(args: Sequence[str]) -> None:
    """Holds options against Beam's own parser; takes the seconds that Beam's import takes.

    Raises:
      ConfigError: Beam would not take them, or its workers would lack visionline's code.
    """
    if not args:
        return
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator

    completed = complete(args)
    options = PipelineOptions(completed)
    unknown, names = _parse(options, completed)
    portable = _runner(args) in ("portablerunner", "flinkrunner", "sparkrunner")
    for arg in unknown:
        name = arg.partition("=")[0]
        # Job servers have options of their own, which only they know.
        if not (portable and name.startswith("--") and not _alike(name, names)):
            raise ConfigError(_unknown(arg, names))
    runner = _made(args)
    problems = _problems(options, PipelineOptionsValidator(options, runner))
    if problems:
        raise ConfigError("run.beam_args: Beam does not take them:\n  " + "\n  ".join(problems))
    _check_workers(args)


def _problems(options: Any, validator: Any) -> list[str]:
    """Returns what Beam's validator says, without asking Google for anything."""
    from apache_beam.options.pipeline_options import GoogleCloudOptions, TestOptions

    if validator.is_service_runner():
        cloud = options.view_as(GoogleCloudOptions)
        bad = [validator.validate_gcs_path(cloud, f"{n}_location") for n in ("temp", "staging")]
        if all(bad):
            # With neither, Beam would make a bucket here and now.
            return [*bad[0], *bad[1], *validator.validate_cloud_options(cloud)]
        # Otherwise it asks for the policy of the bucket.
        options.view_as(TestOptions).dry_run = True
    problems: list[str] = validator.validate()
    return problems


def _parse(options: Any, args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the arguments that no option of Beam takes, and the options there are."""
    unknown: list[str] = []
    names: list[str] = []

    def look(parser: Any) -> None:
        names.extend(parser._option_string_actions)
        unknown.extend(parser.parse_known_args(args)[1])

    complaints = io.StringIO()
    with contextlib.redirect_stderr(complaints):
        try:
            # Unknown ones are retained so that it does not warn of them as well.
            options.get_all_options(retain_unknown_options=True, add_extra_args_fn=look)
        except SystemExit:
            reason = complaints.getvalue().strip().rpartition("error: ")[2]
            raise ConfigError(f"run.beam_args: Beam says: {reason}.") from None
    return unknown, names


def _unknown(arg: str, names: Sequence[str]) -> str:
    if not arg.startswith("--"):
        return f"run.beam_args: expected options such as --direct_num_workers=2, got {arg!r}."
    name, _, value = arg.partition(" ")
    if value and name in names:
        return f"run.beam_args: expected {name}={value}, got {arg!r}."
    name = arg.partition("=")[0]
    alike = _alike(name, names)
    return f"run.beam_args: Beam has no option {name!r}." + (nearest(name, alike) if alike else "")


def _alike(name: str, names: Sequence[str]) -> list[str]:
    import difflib

    return difflib.get_close_matches(name, names, n=1, cutoff=_MOST_ALIKE)


def _made(args: Sequence[str]) -> Any:
    from apache_beam.options.pipeline_options import StandardOptions
    from apache_beam.runners.runner import create_runner

    name = _value(args, "runner") or StandardOptions.DEFAULT_RUNNER
    try:
        return create_runner(name)
    except ValueError:
        runners = StandardOptions.KNOWN_RUNNER_NAMES
        raise ConfigError(
            f"run.beam_args: Beam has no runner {name!r}.{nearest(name, runners)}"
        ) from None
    except (ImportError, AttributeError, TypeError) as e:
        raise ConfigError(f"run.beam_args: the runner {name!r} cannot be made: {e}") from None


def _check_workers(args: Sequence[str]) -> None:
    runner, environment = _runner(args), _environment(args)
    if runner == "portablerunner" and not _value(args, "job_endpoint"):
        raise ConfigError(
            "run.beam_args: where is the job server? --job_endpoint=HOST:PORT, see docs/beam.md."
        )
    if workers := _value(args, "direct_num_workers"):
        at_least(0).check(int(workers), "run.beam_args: --direct_num_workers")
    configured = _value(args, "environment_config")
    if environment.startswith("beam:env:"):
        return
    if environment not in _ENVIRONMENTS:
        raise ConfigError(
            f"run.beam_args: --environment_type: expected {', '.join(_ENVIRONMENTS)}, "
            f"got {environment!r}."
        )
    if environment == "PROCESS" and configured:
        try:
            command = json.loads(configured)["command"]
        except (json.JSONDecodeError, KeyError, TypeError):
            command = None
        if not command:
            raise ConfigError(
                "run.beam_args: --environment_config: expected JSON such as "
                f'{{"command": "visionline-beam-worker"}}, got {configured!r}.'
            )
    if runner in _HERE or environment != "DOCKER":
        return
    if runner == _DATAFLOW:
        image, option = _value(args, "sdk_container_image"), "--sdk_container_image"
    else:
        chosen = _value(args, "environment_option") or _value(args, "environment_options")
        image, option = configured or chosen, "--environment_config"
    if not image and not any(_value(args, name) for name in _PACKAGING[2:]):
        raise ConfigError(
            f"run.beam_args: which image do the workers run? {option}=IMAGE; Beam's own holds "
            "nothing of visionline. See docs/beam.md."
        )


def _runner(args: Sequence[str]) -> str:
    """Returns the runner as Beam looks names up: in any case, with "Runner"; "" for none."""
    name = (_value(args, "runner") or "").rpartition(".")[2].lower()
    return name if not name or name.endswith("runner") else f"{name}runner"


def _environment(args: Sequence[str]) -> str:
    """Returns the kind of worker: what was asked for, or what the runner takes by itself."""
    asked = _value(args, "environment_type")
    if asked:
        return asked if asked.startswith("beam:env:") else asked.upper()
    runner = _runner(args)
    flink = _value(args, "flink_master") or "[auto]"
    spark = _value(args, "spark_master_url") or "local[4]"
    alone = (runner == "flinkrunner" and flink in ("[auto]", "[local]")) or (
        runner == "sparkrunner" and (spark == "local" or spark.startswith("local["))
    )
    return "LOOPBACK" if alone else "DOCKER"


def _value(args: Sequence[str], name: str) -> str | None:
    """Returns the last value of `--name=VALUE` or `--name VALUE`."""
    last = None
    for arg, after in itertools.zip_longest(args, args[1:], fillvalue=""):
        option, equals, value = arg.partition("=")
        if option == f"--{name}":
            last = value if equals else after
    return last
