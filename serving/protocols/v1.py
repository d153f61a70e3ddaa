"""REST as TensorFlow Serving has it; KServe's V1 protocol is a part of it.

    GET  /v1/models                                        their names
    GET  /v1/models/NAME[/versions/V|/labels/L]            status
    GET  /v1/models/NAME[/versions/V|/labels/L]/metadata   signatures
    POST /v1/models/NAME[/versions/V|/labels/L]:predict    rows or columns

A predict request that names no signature gets the one its input is meant for:
serialised tf.Examples (`examples`), image files in base64, or pixels (`images`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from serving.errors import InvalidRequestError
from serving.models.loaded import LoadedVersion
from serving.off_loop import off_loop
from serving.protocols import numbers, openapi, signatures
from serving.protocols.asgi import received, service_of
from serving.protocols.base64_text import from_base64
from serving.protocols.json_reader import read_json_object
from serving.service import Query

router = APIRouter(prefix="/v1/models", tags=["TensorFlow Serving, KServe V1"])

_EXAMPLE = b"\n"
"""What a serialised tf.Example begins with, the tag of its features, and no image file does."""
_SHORTEST_IMAGE = 40
"""Characters in base64; a shorter text may be a name of a file."""


@router.get("", **openapi.V1_MODELS)
async def names(request: Request) -> Response:
    """The models there are, as KServe lists them."""
    return JSONResponse({"models": sorted(service_of(request).repository.models())})


async def _status(request: Request, name: str, version: int | None, label: str | None) -> Response:
    slots = service_of(request).repository.slots(name, version, label)
    return JSONResponse(
        {
            "name": name,
            "ready": any(s.state == "AVAILABLE" for s in slots),
            "model_version_status": [
                {
                    "version": str(slot.version),
                    "state": slot.state,
                    "status": {
                        "error_code": "UNKNOWN" if slot.error else "OK",
                        "error_message": slot.error or slot.unloaded,
                    },
                }
                for slot in slots
            ],
        }
    )


async def _metadata(
    request: Request, name: str, version: int | None, label: str | None
) -> Response:
    with service_of(request).use(name, version, label) as loaded:
        spec = {"name": name, "signature_name": "", "version": str(loaded.version)}
        definitions = {k: _signature(s) for k, s in signatures.signatures(loaded).items()}
        class_names = list(loaded.card.class_names)
    metadata = {"signature_def": {"signature_def": definitions}, "class_names": class_names}
    return JSONResponse({"model_spec": spec, "metadata": metadata})


def _signature(signature: signatures.Signature) -> dict[str, Any]:
    return {
        "inputs": {signature.input.name: _tensor(signature.input)},
        "outputs": {t.name: _tensor(t) for t in signature.outputs},
        "method_name": "tensorflow/serving/predict",
    }


def _tensor(tensor: signatures.Tensor) -> dict[str, Any]:
    return {
        "dtype": tensor.dtype,
        "tensor_shape": {
            "dim": [{"size": str(d), "name": ""} for d in tensor.shape],
            "unknown_rank": False,
        },
        "name": tensor.name,
    }


async def _predict(request: Request, name: str, version: int | None, label: str | None) -> Response:
    async with received(request) as body:
        with service_of(request).request(name, version, label) as query:
            rows, signature, images = await off_loop(len(body), _decode, body, query)
            answer = await query.answer(images)
    outputs = {k: _plain(v) for k, v in signatures.outputs(signature, answer).items()}
    if rows:
        return JSONResponse({"predictions": _by_row(outputs)})
    only = next(iter(outputs.values())) if len(outputs) == 1 else outputs
    return JSONResponse({"outputs": only})


def _add_routes(
    method: str,
    action: str,
    name: str,
    answer: Callable[[Request, str, int | None, str | None], Awaitable[Response]],
    options: dict[str, Any],
) -> None:
    """Adds the routes of a model, of one of its versions, and of one of its labels."""

    async def of_model(request: Request, name: str) -> Response:
        return await answer(request, name, None, None)

    async def of_version(request: Request, name: str, version: int) -> Response:
        return await answer(request, name, version, None)

    async def of_label(request: Request, name: str, label: str) -> Response:
        return await answer(request, name, None, label)

    for place, of, prefix in (
        ("", of_model, ""),
        ("/versions/{version}", of_version, "version_"),
        ("/labels/{label}", of_label, "label_"),
    ):
        path = f"/{{name}}{place}{action}"
        router.add_api_route(path, of, methods=[method], name=prefix + name, **options)


_add_routes("GET", "", "status", _status, openapi.V1_STATUS)
_add_routes("GET", "/metadata", "metadata", _metadata, openapi.V1_METADATA)
_add_routes("POST", ":predict", "predict", _predict, openapi.V1_PREDICT)


def _decode(data: bytes, query: Query) -> tuple[bool, signatures.Signature, Any]:
    """Returns whether it is by rows, the signature, and the images."""
    body = read_json_object(data, query.limits.images)
    rows = "instances" in body
    if rows == ("inputs" in body):
        raise InvalidRequestError('Expected either "instances" (rows) or "inputs" (columns).')
    values, key = _rows(body["instances"]) if rows else _columns(body["inputs"])
    query.check_count(len(values))
    return rows, *_images(query.loaded, body.get("signature_name"), key, values)


def _rows(rows: Any) -> tuple[Any, str | None]:
    """Returns each row's value, and the input's name where the rows say it."""
    if isinstance(rows, np.ndarray):
        return rows, None
    if not isinstance(rows, list):
        raise _no_list("instances", rows)
    named = [isinstance(row, dict) and set(row) != {"b64"} for row in rows]
    if not any(named):
        return rows, None
    keys = {tuple(row) if n else () for row, n in zip(rows, named, strict=True)}
    if len(keys) != 1 or len(next(iter(keys))) != 1:
        raise InvalidRequestError(
            '"instances": expected each row to have the same one input, such as '
            '{"images": {"b64": …}}.'
        )
    (key,) = next(iter(keys))
    return [row[key] for row in rows], key


def _columns(values: Any) -> tuple[Any, str | None]:
    key = None
    if isinstance(values, dict) and set(values) != {"b64"}:
        if len(values) != 1:
            raise InvalidRequestError('"inputs": expected one input, such as {"images": […]}.')
        ((key, values),) = values.items()
    if not isinstance(values, list | np.ndarray) or not len(values):
        raise _no_list(key or "inputs", values)
    return values, key


def _no_list(key: str, value: Any) -> InvalidRequestError:
    """Says what should stand in place of an image alone, or of nothing."""
    remedy = ""
    if isinstance(value, str):
        remedy = f', such as [{{"b64": "{value[:12]}…"}}]: base64 in an object, in a list'
    elif isinstance(value, dict):
        remedy = ", also for one image: [{…}]"
    return InvalidRequestError(f'"{key}": expected a list with at least one image{remedy}.')


def _images(
    loaded: LoadedVersion, name: Any, key: str | None, values: Any
) -> tuple[signatures.Signature, Any]:
    """Finds the signature that is named, or that the values are meant for; and the images."""
    if name is not None and not isinstance(name, str):
        raise InvalidRequestError('"signature_name": expected a string.')
    files: list[bytes] = []
    if not name:
        name = signatures.TENSOR
        if isinstance(values[0], dict | str):
            files = _files(values)
            examples = key == "examples" or files[0].startswith(_EXAMPLE)
            name = signatures.EXAMPLES if examples else signatures.BYTES
    signature = signatures.find_signature(loaded, name)
    # KServe's clients name the input as they like, where there is only one.
    if key is not None and key != signature.input.name and not key.startswith("image"):
        raise InvalidRequestError(
            f"{signature.name} has the input {signature.input.name!r}, got {key!r}."
        )
    if name == signatures.TENSOR:
        return signature, numbers.pixels(values, loaded.image_shape)
    files = files or _files(values)
    return signature, signatures.images_of_examples(files) if name == signatures.EXAMPLES else files


def _files(values: Any) -> list[bytes]:
    files = []
    for index, value in enumerate(values):
        if not isinstance(value, dict) or set(value) != {"b64"}:
            raise InvalidRequestError(
                f'Image {index}: expected {{"b64": "…"}} with binary data, got {_shown(value)}.'
            )
        files.append(from_base64(value["b64"], index))
    return files


def _shown(value: Any) -> str:
    if not isinstance(value, str):
        return f"a {type(value).__name__}"
    if len(value) < _SHORTEST_IMAGE:
        return f"the text {value!r}"
    return f'a text alone; if it is base64, write {{"b64": "{value[:12]}…"}}'


def _plain(values: np.ndarray[Any, Any]) -> list[Any]:
    if values.dtype == object:
        return [[v.decode() for v in row] for row in values]
    return cast("list[Any]", values.tolist())


def _by_row(outputs: dict[str, list[Any]]) -> list[Any]:
    """Arranges as TensorFlow Serving does: the values alone where there is one output."""
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    rows = zip(*outputs.values(), strict=True)
    return [dict(zip(outputs, row, strict=True)) for row in rows]
