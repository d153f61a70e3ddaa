"""The same work in LitServe: base64 JPEG in JSON, decoded, batched, ONNX Runtime."""

from __future__ import annotations

import base64
import sys
from io import BytesIO

import litserve
import numpy as np
import onnxruntime
from PIL import Image

PORT, PATH, SIZE, MAX_BATCH, DELAY, THREADS = sys.argv[1:]


class Classify(litserve.LitAPI):
    def setup(self, device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(THREADS)
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            PATH, options, providers=["CPUExecutionProvider"]
        )

    def decode_request(self, request):
        image = Image.open(BytesIO(base64.b64decode(request["image"]))).convert("RGB")
        side = int(SIZE)
        if image.size != (side, side):
            image = image.resize((side, side), Image.Resampling.BILINEAR)
        return np.asarray(image)

    def batch(self, inputs):
        return np.stack(inputs)

    def predict(self, images):
        return self.session.run(["scores"], {"images": images})[0]

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"scores": output.tolist()}


if __name__ == "__main__":
    api = Classify(max_batch_size=int(MAX_BATCH), batch_timeout=float(DELAY) / 1000)
    server = litserve.LitServer(api, accelerator="cpu", fast_queue=True)
    server.run(
        host="127.0.0.1", port=int(PORT), log_level="warning", generate_client_file=False,
        access_log=False,
    )  # fmt: skip
