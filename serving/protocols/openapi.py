"""The messages of the HTTP protocols, for the OpenAPI document.

They describe; what a request may hold is checked where it is decoded.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def _object(optional: str = "", /, **properties: Schema) -> Schema:
    """Describes an object of these properties; the named ones, spaces between, are optional."""
    required = [name for name in properties if name not in optional.split()]
    return {"type": "object", "properties": properties, "required": required}


def _list(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_NUMBER: Schema = {"type": "number"}
_FILE: Schema = {"type": "string", "format": "binary"}
_SHAPE = _list({"type": "integer", "minimum": 0}, maxItems=4)
_SIZES = _list({"type": "integer", "minimum": -1})
_ERROR = _object(error=_TEXT)
_PARAMETERS: Schema = {"type": "object"}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _route(
    answer: Schema, request: Schema | None = None, *samples: str, required: bool = True
) -> dict[str, Any]:
    """Makes the options of a route: what it takes, what it answers, and how it refuses.

    Args:
      answer, request: schemas by content type.
      samples: lines for a shell that ask it.
      required: whether there has to be a body.
    """
    responses: dict[int | str, Schema] = {
        200: {"description": "The answer.", "content": answer},
        "4XX": {"description": "Refused; the error says why.", "content": _json(_ERROR)},
        "503": {"description": "Not ready to answer; try again.", "content": _json(_ERROR)},
        "504": {"description": "The deadline passed.", "content": _json(_ERROR)},
    }
    extra: Schema = {"requestBody": {"content": request, "required": required}} if request else {}
    if samples:
        extra["x-codeSamples"] = [{"lang": "sh", "source": line} for line in samples]
    return {"responses": responses, "openapi_extra": extra}


def _answers(**properties: Schema) -> dict[str, Any]:
    """Makes the options of a route that takes nothing and answers an object."""
    return _route(_json(_object(**properties)))


def _probe(content: Schema) -> dict[str, Any]:
    """Makes the options of a route that answers the same way whether it is yes or no."""
    return {
        "responses": {
            200: {"description": "Yes.", "content": content},
            "4XX": {"description": "Refused; the error says why.", "content": _json(_ERROR)},
            "503": {"description": "No.", "content": content},
        }
    }


PROBE = _probe({"text/plain": {"schema": _TEXT}})
_BINARY: Schema = {"application/octet-stream": {"schema": _FILE}}

# --- TensorFlow Serving, KServe V1

_B64 = _object(b64={"type": "string", "format": "byte"})
_PIXELS = _list(_list(_list({"type": "integer", "minimum": 0, "maximum": 255})))
_VALUE: Schema = {
    "description": 'An image file or a serialised tf.Example as {"b64": …}, or pixels [H, W, 3].',
    "anyOf": [
        _B64,
        _PIXELS,
        {"type": "object", "additionalProperties": {"anyOf": [_B64, _PIXELS]}},
    ],
}
_SIGNATURE: Schema = {
    "type": "string",
    "enum": ["serving_default", "serving_bytes", "serving_tensor"],
}
_VALUES = _list(_VALUE, minItems=1)
_COLUMNS: Schema = {
    "anyOf": [_VALUES, {"type": "object", "additionalProperties": _VALUES, "maxProperties": 1}]
}
V1_PREDICT = _route(
    _json({"oneOf": [_object(predictions=_list({})), _object(outputs={})]}),
    _json(
        {
            "oneOf": [
                _object("signature_name", signature_name=_SIGNATURE, instances=_VALUES),
                _object("signature_name", signature_name=_SIGNATURE, inputs=_COLUMNS),
            ]
        }
    ),
    """printf '{"instances": [{"b64": "%s"}]}' "$(base64 -w0 photo.jpg)" |"""
    " curl --data-binary @- SERVER/v1/models/NAME:predict",
)
V1_MODELS = _answers(models=_list(_TEXT))
_SLOT = _object(
    version=_TEXT,
    state={"enum": ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]},
    status=_object(error_code=_TEXT, error_message=_TEXT),
)
V1_STATUS = _answers(name=_TEXT, ready=_FLAG, model_version_status=_list(_SLOT))
V1_METADATA = _answers(
    model_spec=_object(name=_TEXT, version=_TEXT),
    metadata=_object(signature_def={"type": "object"}, class_names=_list(_TEXT)),
)

# --- Open Inference Protocol V2


def _tensor(name: Schema, *datatypes: str) -> Schema:
    return _object(
        "parameters data",
        name=name,
        datatype={"enum": list(datatypes)},
        shape=_SHAPE,
        parameters=_PARAMETERS,
        data=_list({}),
    )


V2_INFER = _route(
    {
        **_json(
            _object(
                "id",
                model_name=_TEXT,
                model_version=_TEXT,
                id=_TEXT,
                outputs=_list(_tensor(_TEXT, "FP32", "BYTES")),
            )
        ),
        **_BINARY,
    },
    {
        **_json(
            _object(
                "id parameters outputs",
                id=_TEXT,
                parameters=_PARAMETERS,
                inputs=_list(
                    _tensor({"enum": ["images"]}, "BYTES", "UINT8"), minItems=1, maxItems=1
                ),
                outputs=_list(_object("parameters", name=_TEXT, parameters=_PARAMETERS)),
            )
        ),
        **_BINARY,
    },
    "curl -H 'Inference-Header-Content-Length: 0' --data-binary @photo.jpg"
    " SERVER/v2/models/NAME/infer",
    """printf '{"inputs": [{"name": "images", "datatype": "BYTES", "shape": [1], """
    """"data": ["%s"]}]}' "$(base64 -w0 photo.jpg)" |"""
    " curl --data-binary @- SERVER/v2/models/NAME/infer",
)
V2_SERVER = _answers(name=_TEXT, version=_TEXT, extensions=_list(_TEXT))
V2_LIVE = _answers(live=_FLAG)
V2_READY = _probe(_json(_object("name", name=_TEXT, ready=_FLAG)))
_TENSORS = _list(_object(name=_TEXT, datatype=_TEXT, shape=_SIZES))
V2_METADATA = _answers(
    name=_TEXT,
    versions=_list(_TEXT),
    platform=_TEXT,
    inputs=_TENSORS,
    outputs=_TENSORS,
    parameters=_object(class_names=_list(_TEXT)),
)
_CONFIG_TENSORS = _list(_object(name=_TEXT, data_type=_TEXT, dims=_SIZES))
V2_CONFIG = _answers(
    name=_TEXT,
    platform=_TEXT,
    max_batch_size={"type": "integer"},
    input=_CONFIG_TENSORS,
    output=_CONFIG_TENSORS,
    parameters=_object(class_names=_object(string_value=_TEXT)),
)
_ENTRY = _object(
    name=_TEXT,
    version=_TEXT,
    state={"enum": ["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]},
    reason=_TEXT,
)
V2_INDEX = _route(_json(_list(_ENTRY)), _json(_object("ready", ready=_FLAG)), required=False)
_LOAD = _object("parameters", parameters=_PARAMETERS)
V2_LOAD = _route(_json(_PARAMETERS), _json(_LOAD), required=False)

# --- Image files

FILE_PREDICT = _route(
    _json(
        _object(
            model=_TEXT,
            version={"type": "integer"},
            engine=_TEXT,
            classes=_list(_object(label=_TEXT, score=_NUMBER)),
            milliseconds=_NUMBER,
        )
    ),
    {**_BINARY, "multipart/form-data": {"schema": _object(file=_FILE)}},
    "curl --data-binary @photo.jpg 'SERVER/predict?model=NAME'",
)
