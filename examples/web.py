"""A web server: POST an image file to it, get JSON back.

    MODEL=digits.safetensors gunicorn --chdir examples --preload --workers 4 web
    curl --data-binary @digit.png http://127.0.0.1:8000

With --preload the model is loaded and planned once, before gunicorn forks: the workers share its
memory. Each computes on one thread. Without gunicorn: `python examples/web.py`.
"""

import io
import json
import os
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import make_server

import numpy as np
from PIL import Image

import cnnfast

MOST_BYTES = 1 << 20
SIZE = (28, 28)

model = cnnfast.CompiledModel.load(os.environ["MODEL"])
model(np.zeros((1, *SIZE, 1), np.uint8))  # the first call plans


def classify(body: bytes) -> dict[str, Any]:
    """Return class and scores of an image file."""
    pixels = np.asarray(Image.open(io.BytesIO(body)).convert("L").resize(SIZE))
    scores = model(pixels[None, :, :, None])[0]
    return {"class": int(scores.argmax()), "scores": scores.tolist()}


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The WSGI application."""
    size = int(environ.get("CONTENT_LENGTH") or 0)
    try:
        if not 0 < size <= MOST_BYTES:
            raise ValueError(f"expected an image of at most {MOST_BYTES} bytes, got {size}")
        status, answer = "200 OK", classify(environ["wsgi.input"].read(size))
    except (ValueError, OSError) as error:  # Pillow's and ours: the client's mistake
        status, answer = "400 Bad Request", {"error": str(error)}
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]


if __name__ == "__main__":
    with make_server("127.0.0.1", int(os.environ.get("PORT", "8000")), application) as server:
        server.serve_forever()
