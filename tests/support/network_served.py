"""Serves a folder and asks it by each protocol; to be run by `network_watch`.

python network_served.py SERVING_FOLDER LOG IMAGE
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import grpc
import httpx
from serving_server import serve

FOLDER, LOG, IMAGE = map(Path, sys.argv[1:])

encoded = base64.b64encode(IMAGE.read_bytes()).decode()
for engine in ("onnx", "tensorflow"):
    with serve(FOLDER, LOG, "--engine", engine) as server:
        for model in sorted(f.name for f in FOLDER.iterdir() if f.is_dir()):
            body = {"instances": [{"b64": encoded}]}
            httpx.post(f"{server.url}/v1/models/{model}:predict", json=body).raise_for_status()
        with grpc.insecure_channel(server.grpc) as channel:
            grpc.channel_ready_future(channel).result(60)
