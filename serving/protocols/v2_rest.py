"""The Open Inference Protocol over REST, with the binary tensor data extension."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from serving.config import LimitsConfig
from serving.control import Control
from serving.errors import InvalidRequestError
from serving.off_loop import off_loop
from serving.protocols import numbers, openapi, v2
from serving.protocols.asgi import authorization, received, service_of
from serving.protocols.base64_text import from_base64
from serving.protocols.json_reader import read_json_object
from serving.service import Query

router = APIRouter(prefix="/v2", tags=["Open Inference Protocol V2"])

HEADER_LENGTH = "inference-header-content-length"


@router.get("", **openapi.V2_SERVER)
async def server() -> Response:
    return JSONResponse(
        {"name": v2.SERVER_NAME, "version": server_version(), "extensions": list(v2.EXTENSIONS)}
    )


@router.get("/health/live", **openapi.V2_LIVE)
async def live() -> Response:
    return JSONResponse({"live": True})


@router.get("/health/ready", **openapi.V2_READY)
async def ready(request: Request) -> Response:
    is_ready = service_of(request).ready
    return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)


@router.get("/models", **openapi.V1_MODELS)
async def models(request: Request) -> Response:
    """The models there are, as KServe lists them."""
    return JSONResponse({"models": sorted(service_of(request).repository.models())})


@router.get("/models/{name}", **openapi.V2_METADATA)
async def model(request: Request, name: str) -> Response:
    return await model_version(request, name, "")


@router.get("/models/{name}/versions/{number}", **openapi.V2_METADATA)
async def model_version(request: Request, name: str, number: str) -> Response:
    service = service_of(request)
    with service.use(name, v2.version_number(number)) as loaded:
        return JSONResponse(v2.metadata(loaded, service.repository))


@router.get("/models/{name}/config", **openapi.V2_CONFIG)
async def config(request: Request, name: str) -> Response:
    return await version_config(request, name, "")


@router.get("/models/{name}/versions/{number}/config", **openapi.V2_CONFIG)
async def version_config(request: Request, name: str, number: str) -> Response:
    with service_of(request).use(name, v2.version_number(number)) as loaded:
        return JSONResponse(v2.configuration(loaded))


@router.get("/models/{name}/ready", **openapi.V2_READY)
async def model_ready(request: Request, name: str) -> Response:
    return await version_ready(request, name, "")


@router.get("/models/{name}/versions/{number}/ready", **openapi.V2_READY)
async def version_ready(request: Request, name: str, number: str) -> Response:
    slots = service_of(request).repository.slots(name, v2.version_number(number))
    is_ready = any(s.state == "AVAILABLE" for s in slots)
    return JSONResponse({"name": name, "ready": is_ready}, 200 if is_ready else 503)


@router.post("/models/{name}/infer", **openapi.V2_INFER)
async def infer(request: Request, name: str) -> Response:
    return await version_infer(request, name, "")


@router.post("/models/{name}/versions/{number}/infer", **openapi.V2_INFER)
async def version_infer(request: Request, name: str, number: str) -> Response:
    async with received(request) as data:
        with service_of(request).request(name, v2.version_number(number)) as query:
            length = request.headers.get(HEADER_LENGTH)
            content_type = request.headers.get("content-type", "")
            body, images, requested = await off_loop(
                len(data), _decode, data, length, content_type, query
            )
            identity = body.get("id", "")
            answer = await query.answer(images, identity)
            outputs = v2.outputs_of(answer, query.loaded, requested)
    binary_outputs = {output.name for output in requested if output.is_binary}
    if not requested and _flag(body, "binary_data_output", False):
        binary_outputs = {t.name for t in outputs}
    head: dict[str, Any] = {"model_name": name, "model_version": str(answer.version)}
    if identity:
        head["id"] = identity
    return _response(head, outputs, binary_outputs)


@router.post("/repository/index", **openapi.V2_INDEX)
async def index(request: Request) -> Response:
    """Every version that was seen; with `{"ready": true}` those that answer."""
    body = await _options(request)
    ready = body.get("ready") is True
    return JSONResponse(v2.index(service_of(request).repository, ready))


@router.post("/repository/models/{name}/load", **openapi.V2_LOAD)
async def load(request: Request, name: str) -> Response:
    """Loads a model from the serving folder that was unloaded."""
    control = _control(request)
    parameters = (await _options(request)).get("parameters")
    v2.check_load(parameters if isinstance(parameters, dict) else {})
    await control.load(name)
    return JSONResponse({})


@router.post("/repository/models/{name}/unload", **openapi.V2_LOAD)
async def unload(request: Request, name: str) -> Response:
    """Unloads a model's versions, until they are loaded again or a newer one is pushed."""
    control = _control(request)
    await _options(request)
    await control.unload(name)
    return JSONResponse({})


def _control(request: Request) -> Control:
    """Raises ForbiddenError and UnauthorizedError, before the body is read."""
    control = service_of(request).control
    control.check(authorization(request))
    return control


async def _options(request: Request) -> dict[str, Any]:
    """Reads the body of a request that is not about images; {} without one."""
    async with received(request) as body:
        if not body.strip():
            return {}
        images = service_of(request).limits.images
        return await off_loop(len(body), read_json_object, body, images)


def server_version() -> str:
    try:
        return version("visionline")
    except PackageNotFoundError:
        return "0"


def _is_file(data: bytes, length: str | None, content_type: str) -> bool:
    """Returns whether the body is an image file by itself, Triton's raw binary request."""
    if length is not None:
        return length == "0"
    kind = content_type.partition(";")[0].strip().lower()
    is_binary = kind == "application/octet-stream" or kind.startswith("image/")
    return is_binary and data[:512].lstrip()[:1] != b"{"


def _decode(
    data: bytes, length: str | None, content_type: str, query: Query
) -> tuple[dict[str, Any], Any, list[v2.Wanted]]:
    """Returns the JSON part, the images, and the outputs that are asked for."""
    if _is_file(data, length, content_type):
        return {}, [data], []
    body, binary = _split(data, length, query.limits)
    if not isinstance(body.get("id", ""), str):
        raise InvalidRequestError('"id": expected a string.')
    requested = _outputs(body)
    return body, v2.images_of(_inputs(body, binary, query)), requested


def _split(data: bytes, length: str | None, limits: LimitsConfig) -> tuple[dict[str, Any], bytes]:
    """Splits a request into its JSON part and the binary tensors after it."""
    end = len(data)
    if length is not None:
        if not length.isdecimal() or len(length) > 18 or int(length) > len(data):
            raise InvalidRequestError(
                f"{HEADER_LENGTH}: expected a number up to {len(data)}, got {length!r}."
            )
        end = int(length)
    return read_json_object(data[:end], limits.images), data[end:]


def _inputs(body: dict[str, Any], binary: bytes, query: Query) -> list[v2.Tensor]:
    tensors, at = [], 0
    for entry in _objects(body, "inputs"):
        name, datatype, shape = entry.get("name"), entry.get("datatype"), _shape(entry)
        if not isinstance(name, str) or not isinstance(datatype, str) or shape is None:
            raise InvalidRequestError(
                '"inputs": expected each to have a name, a datatype and a shape.'
            )
        size = _parameter(entry, "binary_data_size")
        if size is None:
            tensors.append(_from_json(name, datatype, shape, entry.get("data"), query))
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(binary) - at:
            raise InvalidRequestError(f"{name}: binary_data_size does not fit the body: {size!r}.")
        if "data" in entry:
            raise InvalidRequestError(f"{name}: expected data or binary_data_size, got both.")
        tensors.append(v2.from_raw(name, datatype, shape, binary[at : at + size]))
        at += size
    if at < len(binary):
        raise InvalidRequestError(
            f"The body has {len(binary) - at:,} bytes more than its binary_data_size say."
        )
    return tensors


def _from_json(
    name: str, datatype: str, shape: tuple[int, ...], data: Any, query: Query
) -> v2.Tensor:
    if not isinstance(data, list | np.ndarray):
        raise InvalidRequestError(f'{name}: expected a list in "data".')
    if datatype == "BYTES":
        query.check_count(len(data))
        values = data.ravel() if isinstance(data, np.ndarray) else numbers.flatten(data)[0]
        # JSON has no bytes; as KServe and MLServer do, base64 stands for them.
        files = [from_base64(_text(value), index) for index, value in enumerate(values)]
        return v2.Tensor(name, datatype, shape, files)
    if datatype != "UINT8":
        return v2.Tensor(name, datatype, shape, None)  # `v2.images_of` says what is expected
    flat, sides = numbers.pixels_of(data)
    if len(sides) > 1 and sides != shape:
        raise InvalidRequestError(
            f"{name}: expected data of the shape {list(shape)}, got {list(sides)}."
        )
    return v2.from_raw(name, datatype, shape, flat)


def _text(value: Any) -> Any:
    """Returns the text in {"b64": …}, which V1 asks for."""
    return value["b64"] if isinstance(value, dict) and set(value) == {"b64"} else value


def _outputs(body: dict[str, Any]) -> list[v2.Wanted]:
    """Returns the outputs that are asked for."""
    entries = _objects(body, "outputs") if "outputs" in body else []
    if not all(isinstance(entry.get("name"), str) for entry in entries):
        raise InvalidRequestError('"outputs": expected each to have a name.')
    binary = _flag(body, "binary_data_output", False)
    return [
        v2.wanted(
            entry["name"],
            _parameter(entry, "classification"),
            _flag(entry, "binary_data", binary),
        )
        for entry in entries
    ]


def _flag(entry: dict[str, Any], key: str, default: bool) -> bool:
    value = _parameter(entry, key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidRequestError(f'"{key}": expected true or false, got {value!r}.')
    return value


def _objects(body: dict[str, Any], key: str) -> list[dict[str, Any]]:
    objects = body.get(key)
    if not isinstance(objects, list) or not all(isinstance(o, dict) for o in objects):
        raise InvalidRequestError(f'"{key}": expected a list of objects.')
    return objects


def _parameter(entry: dict[str, Any], key: str) -> Any:
    parameters = entry.get("parameters")
    return parameters.get(key) if isinstance(parameters, dict) else None


def _shape(entry: dict[str, Any]) -> tuple[int, ...] | None:
    shape = entry.get("shape")
    if not isinstance(shape, list):
        return None
    whole = all(isinstance(d, int) and not isinstance(d, bool) and 0 <= d < 2**31 for d in shape)
    return tuple(shape) if whole else None


def _response(head: dict[str, Any], outputs: list[v2.Tensor], binary: set[str]) -> Response:
    described, parts = [], []
    for tensor in outputs:
        entry = v2.described(tensor.name, tensor.datatype, tensor.shape)
        if tensor.name in binary:
            parts.append(tensor.packed())
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        elif tensor.datatype == "BYTES":
            entry["data"] = [v.decode() for v in tensor.values]
        else:
            entry["data"] = tensor.values.ravel().tolist()
        described.append(entry)
    text = json.dumps({**head, "outputs": described}).encode()
    if not parts:
        return Response(text, media_type="application/json")
    return Response(
        b"".join([text, *parts]),
        media_type="application/octet-stream",
        headers={HEADER_LENGTH: str(len(text))},
    )
