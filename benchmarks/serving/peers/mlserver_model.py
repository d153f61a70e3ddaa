"""The same work in MLServer: JPEGs as BYTES, decoded, batched by it, ONNX Runtime."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse
from PIL import Image


class Classify(MLModel):
    async def load(self):
        extra = self.settings.parameters.extra
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = extra["threads"]
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.side = extra["size"]
        self.session = onnxruntime.InferenceSession(
            extra["onnx"], options, providers=["CPUExecutionProvider"]
        )
        return True

    async def predict(self, payload):
        images = np.stack([self.decode(data) for data in payload.inputs[0].data])
        (scores,) = self.session.run(["scores"], {"images": images})
        return InferenceResponse(
            model_name=self.name,
            outputs=[NumpyCodec.encode_output("scores", scores)],
        )

    def decode(self, data):
        # REST brings base64, gRPC bytes.
        raw = base64.b64decode(data) if isinstance(data, str) else data
        image = Image.open(BytesIO(raw)).convert("RGB")
        if image.size != (self.side, self.side):
            image = image.resize((self.side, self.side), Image.Resampling.BILINEAR)
        return np.asarray(image)
