"""A worker process of Beam in an image of ours: `visionline-beam-worker`.

It stands in for Beam's own `boot`, a Go program that only Beam's images hold, and takes
the same options: the contract between runners and workers,
https://s.apache.org/beam-fn-api-container-contract.  Unlike `boot` it installs nothing,
since the image holds the code, and it imports TFX before anything else, whatever the
options say.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from components import tfx_private

_HARMLESS = {"submission_environment_dependencies.txt"}
"""What runners hand over besides packages to install."""
_SECONDS = 60.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Works until the runner lets go."""
    parser = argparse.ArgumentParser(prog="visionline-beam-worker")
    parser.add_argument("--id", required=True, help="the worker's name, given by the runner")
    parser.add_argument("--provision_endpoint", required=True, help="HOST:PORT that tells the job")
    for name in ("control", "logging", "artifact"):
        parser.add_argument(f"--{name}_endpoint", help="HOST:PORT, instead of what is told there")
    parser.add_argument("--semi_persist_dir", default="/tmp")
    args, _ = parser.parse_known_args(arguments)
    tfx_private.install_pipeline()
    import tfx  # noqa: F401  mends TFDV, so it comes first
    from apache_beam.runners.worker import sdk_worker_main

    info = _provision(args.provision_endpoint, args.id)
    ignored = to_install(info)
    if ignored:
        logging.warning("Not installed, the image holds all code: %s", ", ".join(ignored))
    os.environ |= environment(info, vars(args))
    sdk_worker_main.main([])


def _provision(endpoint: str, worker_id: str) -> Any:
    """Asks the runner what it tells this worker: a ProvisionInfo."""
    import grpc
    from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc

    with grpc.insecure_channel(endpoint) as channel:
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        metadata = (("worker_id", worker_id),)
        return stub.GetProvisionInfo(
            request, metadata=metadata, timeout=_SECONDS, wait_for_ready=True
        ).info


def to_install(info: Any) -> list[str]:
    """Names the packages that a job was sent with."""
    from apache_beam.portability.api import beam_runner_api_pb2

    payload = beam_runner_api_pb2.ArtifactStagingToRolePayload
    names = {payload.FromString(d.role_payload).staged_name for d in info.dependencies}
    return sorted(names - _HARMLESS)


def environment(info: Any, options: Mapping[str, str | None]) -> dict[str, str]:
    """Makes the variables that Beam's worker reads.

    Args:
      info: a ProvisionInfo.
      options: of the command line; an endpoint given there comes first.
    """
    from apache_beam.portability.api import endpoints_pb2
    from google.protobuf import json_format, text_format

    variables = {
        "WORKER_ID": str(options["id"]),
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "SEMI_PERSISTENT_DIRECTORY": str(options["semi_persist_dir"]),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    endpoints = {
        "CONTROL": options["control_endpoint"] or info.control_endpoint.url,
        "LOGGING": options["logging_endpoint"] or info.logging_endpoint.url,
        "STATUS": info.status_endpoint.url,
    }
    for name, url in endpoints.items():
        if url:
            place = endpoints_pb2.ApiServiceDescriptor(url=url)
            variables[f"{name}_API_SERVICE_DESCRIPTOR"] = text_format.MessageToString(place)
    return variables


if __name__ == "__main__":
    main()
