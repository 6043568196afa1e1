"""RapidOCR, a text reader of three ONNX networks, on a scanned page, against ONNX Runtime.

The networks come with `rapidocr-onnxruntime`, the page with scikit-image. The first needs Python
below 3.13 and is installed as `.ci/run` shows: what it declares would bring a second OpenCV.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cnnfast.onnx

rapidocr = pytest.importorskip("rapidocr_onnxruntime", reason="needs RapidOCR: see .ci/run")
samples = pytest.importorskip("skimage.data", reason="needs scikit-image: see .ci/run")

Engine = Callable[[np.ndarray], list[np.ndarray]]

NETWORKS = {
    "detector": "ch_PP-OCRv4_det_infer",
    "classifier": "ch_ppocr_mobile_v2.0_cls_infer",
    "recogniser": "ch_PP-OCRv4_rec_infer",
}
PLACES = {
    "detector": ("text_det", "infer"),
    "classifier": ("text_cls", "infer"),
    "recogniser": ("text_rec", "session"),
}
"""Where a RapidOCR keeps what runs each network."""


def ours(name: str) -> Engine:
    """Return a network loaded by cnnfast, called as RapidOCR calls its sessions."""
    model = cnnfast.onnx.load(Path(rapidocr.__file__).parent / "models" / f"{NETWORKS[name]}.onnx")
    (given,) = model.input_names
    return lambda x: model.run({given: x})


def replaced(reader: rapidocr.RapidOCR, name: str, wrap: Callable[[Engine], Engine]) -> None:
    """Put another engine in the place of a network's."""
    stage, attribute = PLACES[name]
    part = getattr(reader, stage)
    setattr(part, attribute, wrap(getattr(part, attribute)))


@pytest.fixture(scope="module")
def page() -> np.ndarray:
    """The page, 191 x 384 pixels with five lines, as uint8 HWC."""
    return np.repeat(samples.page()[:, :, None], 3, axis=2)


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs(name: str, page: np.ndarray) -> None:
    calls: list[tuple[np.ndarray, np.ndarray]] = []

    def recorded(engine: Engine) -> Engine:
        def run(x: np.ndarray) -> list[np.ndarray]:
            results = engine(x)
            calls.append((x.copy(), results[0].copy()))
            return results

        return run

    reader = rapidocr.RapidOCR()
    replaced(reader, name, recorded)
    reader(page)
    assert calls
    engine = ours(name)
    for x, expected in calls:
        (y,) = engine(x)
        assert y.shape == expected.shape and y.dtype == expected.dtype
        assert np.abs(y - expected).max() <= 1e-3
        assert np.ptp(expected) > 0.1  # an output that says something


def test_text(page: np.ndarray) -> None:
    expected, _ = rapidocr.RapidOCR()(page)
    reader = rapidocr.RapidOCR()
    for name in NETWORKS:
        replaced(reader, name, lambda _, name=name: ours(name))
    lines, _ = reader(page)
    assert [text for _, text, _ in lines] == [text for _, text, _ in expected]
    assert "markers of the coins" in lines[1][1]
    for (box, _, score), (true_box, _, true_score) in zip(lines, expected, strict=True):
        np.testing.assert_allclose(box, true_box, atol=1)
        assert abs(score - true_score) <= 1e-3
