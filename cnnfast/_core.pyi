"""Types of the binding; `_core.pyx` documents each function."""

from collections.abc import Callable
from types import TracebackType
from typing import Any

import numpy as np

UNARY_KINDS: tuple[str, ...]
BINARY_KINDS: tuple[str, ...]
TERNARY_KINDS: tuple[str, ...]
UNARY_BY_RESULT: tuple[str, ...]
CONV2D_ALGORITHMS: tuple[str, ...]
CONV2D_DIRECTIONS: tuple[str, ...]

class Taps:
    inputs: int
    outputs: int
    uniform: int

    def __init__(
        self, inputs: int, first: np.ndarray, at: np.ndarray, weight: np.ndarray
    ) -> None: ...

class Recording:
    destination: np.ndarray | None
    renewals: list[Callable[[], None]]
    repeated: bool
    def __init__(
        self, unknown: type[np.ndarray] | None = None, repeated: bool = False
    ) -> None: ...
    def __len__(self) -> int: ...
    def __enter__(self) -> Recording: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    @property
    def names(self) -> list[str]: ...
    @property
    def calls(
        self,
    ) -> list[tuple[int, str, bytes, tuple[np.ndarray | None, ...], tuple[int, ...], int]]: ...
    def add_unknown(self, x: np.ndarray) -> None: ...
    def is_unknown(self, x: np.ndarray) -> bool: ...
    def truncate(self, count: int) -> None: ...
    def replay(self) -> None: ...

Ends = tuple[tuple[tuple[int, ...], str], ...]

class Workspace:
    def clear(self) -> None: ...

class Plan:
    def __init__(
        self,
        calls: list[tuple[int, bytes, tuple[int, ...], tuple[int, ...]]],
        arena: int,
        inputs: Ends,
        outputs: Ends,
        constants: Any,
        workspace: Workspace,
        threads: int = 0,
        parts: int = 1,
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def arena(self) -> int: ...
    @property
    def parts(self) -> int: ...
    def work(self) -> list[tuple[float, str]]: ...
    def run(self, arrays: tuple[Any, ...]) -> list[np.ndarray] | None: ...
    def profile(
        self, arrays: tuple[Any, ...]
    ) -> tuple[list[np.ndarray] | None, np.ndarray]: ...

TYPE_NUMBERS: dict[str, int]

def plan_version() -> int: ...
def check_saved(data: bytes) -> None: ...
def cpu_info() -> dict[str, Any]: ...
def isa() -> str: ...
def set_isa(name: str) -> None: ...
def get_num_threads() -> int: ...
def set_num_threads(threads: int) -> None: ...
def memory_trim(keep: int = 0) -> int: ...
def empty(shape: Any, dtype: str = "float32") -> np.ndarray: ...
def empty_image(n: int, c: int, h: int, w: int) -> np.ndarray: ...
def empty_like(x: np.ndarray) -> np.ndarray: ...
def is_image(x: np.ndarray | None) -> bool: ...
def is_recording() -> bool: ...
def repeated_recording() -> Recording | None: ...
def unary(kind: str, y: np.ndarray, x: np.ndarray, alpha: float = 0, beta: float = 0) -> None: ...
def unary_backward(
    kind: str,
    dx: np.ndarray,
    dy: np.ndarray,
    saved: np.ndarray,
    alpha: float = 0,
    beta: float = 0,
) -> None: ...
def binary(
    kind: str,
    y: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    alpha: float = 0,
    beta: float = 0,
) -> None: ...
def ternary(
    kind: str,
    y: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray,
    alpha: float = 0,
    beta: float = 0,
) -> None: ...
def fill(y: np.ndarray, value: float) -> None: ...
def copy(y: np.ndarray, x: np.ndarray) -> None: ...
def reduce(kind: str, y: np.ndarray, x: np.ndarray) -> None: ...
def argmax(y: np.ndarray, x: np.ndarray, axis: int) -> None: ...
def argmin(y: np.ndarray, x: np.ndarray, axis: int) -> None: ...
def gemm(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> None: ...
def conv2d_choose(
    y: np.ndarray | None,
    x: np.ndarray | None,
    weight: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    direction: str,
) -> str: ...
def conv2d_algorithms(
    weight: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> tuple[str, ...]: ...
def conv2d_packed_size(
    weight: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    backward: bool,
    algorithm: str = "direct",
) -> int: ...
def conv2d_pack(
    packed: np.ndarray,
    weight: np.ndarray,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    backward: bool,
    algorithm: str = "direct",
) -> None: ...
def conv2d_forward(
    y: np.ndarray | None,
    x: np.ndarray | None,
    packed: np.ndarray,
    bias: np.ndarray | None,
    weight: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    algorithm: str = "direct",
    residual: np.ndarray | None = None,
    activation: str = "identity",
    alpha: float = 0,
    beta: float = 0,
    sums: np.ndarray | None = None,
) -> None: ...
def conv2d_scaled_forward(
    y: np.ndarray | None,
    x: np.ndarray | None,
    scale: np.ndarray | None,
    shift: np.ndarray | None,
    low: float,
    high: float,
    packed: np.ndarray,
    bias: np.ndarray | None,
    weight: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    residual: np.ndarray | None = None,
    activation: str = "identity",
    alpha: float = 0,
    beta: float = 0,
) -> None: ...
def conv2d_backward_input(
    dx: np.ndarray | None,
    dy: np.ndarray | None,
    packed: np.ndarray,
    bias: np.ndarray | None,
    weight: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    algorithm: str = "direct",
) -> None: ...
def conv2d_backward_weight(
    dw: np.ndarray,
    x: np.ndarray | None,
    dy: np.ndarray | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    algorithm: str = "direct",
) -> None: ...
def depthwise_forward(
    y: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    residual: np.ndarray | None = None,
    activation: str = "identity",
    alpha: float = 0,
    beta: float = 0,
    sums: np.ndarray | None = None,
) -> None: ...
def depthwise_backward_input(
    dx: np.ndarray,
    dy: np.ndarray,
    weight: np.ndarray,
    stride: Any,
    padding: Any,
    dilation: Any,
) -> None: ...
def depthwise_backward_weight(
    dw: np.ndarray,
    x: np.ndarray,
    dy: np.ndarray,
    stride: Any,
    padding: Any,
    dilation: Any,
) -> None: ...
def separable_gains(
    y: np.ndarray, x: np.ndarray, expand: tuple[Any, ...] | None, depthwise: tuple[Any, ...],
    project: tuple[Any, ...] | None, stride: Any, padding: Any, dilation: Any,
) -> bool: ...
def separable_forward(
    y: np.ndarray, x: np.ndarray, expand: tuple[Any, ...] | None, depthwise: tuple[Any, ...],
    project: tuple[Any, ...] | None, stride: Any, padding: Any, dilation: Any,
    residual: np.ndarray | None = None,
) -> None: ...
def max_pool2d_forward(
    y: np.ndarray,
    index: np.ndarray | None,
    x: np.ndarray,
    rows: Taps,
    cols: Taps,
) -> None: ...
def max_pool2d_backward(
    dx: np.ndarray,
    dy: np.ndarray,
    index: np.ndarray | None,
    rows: Taps,
    cols: Taps,
) -> None: ...
def norm_forward(
    y: np.ndarray,
    mean: np.ndarray,
    invstd: np.ndarray,
    running_mean: np.ndarray | None,
    running_var: np.ndarray | None,
    x: np.ndarray,
    weight: np.ndarray | None,
    bias: np.ndarray | None,
    per_sample: bool,
    groups: int,
    momentum: float,
    eps: float,
    sums: np.ndarray | None = None,
) -> None: ...
def norm_backward(
    dx: np.ndarray | None,
    dweight: np.ndarray | None,
    dbias: np.ndarray | None,
    dy: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    invstd: np.ndarray,
    weight: np.ndarray | None,
    per_sample: bool,
    groups: int,
) -> None: ...
def norm_evaluate(
    y: np.ndarray,
    x: np.ndarray,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    weight: np.ndarray | None,
    bias: np.ndarray | None,
    eps: float,
) -> None: ...
def norm_evaluate_backward(
    dx: np.ndarray | None,
    dweight: np.ndarray | None,
    dbias: np.ndarray | None,
    dy: np.ndarray,
    x: np.ndarray,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    weight: np.ndarray | None,
    eps: float,
) -> None: ...
def layer_norm_forward(
    y: np.ndarray,
    mean: np.ndarray,
    invstd: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray | None,
    bias: np.ndarray | None,
    eps: float,
) -> None: ...
def layer_norm_backward(
    dx: np.ndarray | None,
    dweight: np.ndarray | None,
    dbias: np.ndarray | None,
    dy: np.ndarray,
    x: np.ndarray,
    mean: np.ndarray,
    invstd: np.ndarray,
    weight: np.ndarray | None,
) -> None: ...
def local_norm_forward(
    y: np.ndarray,
    x: np.ndarray,
    size: int,
    alpha: float,
    beta: float,
    k: float,
) -> None: ...
def local_norm_backward(
    dx: np.ndarray,
    dy: np.ndarray,
    x: np.ndarray,
    size: int,
    alpha: float,
    beta: float,
    k: float,
) -> None: ...
def softmax_forward(y: np.ndarray, x: np.ndarray, log: bool) -> None: ...
def softmax_backward(dx: np.ndarray, dy: np.ndarray, y: np.ndarray, log: bool) -> None: ...
def cross_entropy_forward(
    loss: np.ndarray,
    stats: np.ndarray,
    weight_sum: np.ndarray,
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> None: ...
def cross_entropy_backward(
    dx: np.ndarray,
    dy: np.ndarray,
    x: np.ndarray,
    stats: np.ndarray,
    weight_sum: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> None: ...
def nll_forward(
    loss: np.ndarray,
    weight_sum: np.ndarray,
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    ignore_index: int,
    reduction: str,
) -> None: ...
def nll_backward(
    dx: np.ndarray,
    dy: np.ndarray,
    weight_sum: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray | None,
    ignore_index: int,
    reduction: str,
) -> None: ...
def dropout(y: np.ndarray, x: np.ndarray, seed: np.ndarray, p: float) -> None: ...
def resample(y: np.ndarray, x: np.ndarray, rows: Taps, cols: Taps) -> None: ...
def take(y: np.ndarray, x: np.ndarray, index: np.ndarray) -> None: ...
def add_at(dx: np.ndarray, dy: np.ndarray, index: np.ndarray) -> None: ...
def sgd_update(
    param: np.ndarray,
    momentum_buffer: np.ndarray | None,
    begun: np.ndarray | None,
    grad: np.ndarray,
    settings: np.ndarray,
    nesterov: bool,
) -> None: ...
def adam_update(
    param: np.ndarray,
    exp_avg: np.ndarray,
    exp_avg_sq: np.ndarray,
    max_exp_avg_sq: np.ndarray | None,
    step: np.ndarray,
    grad: np.ndarray,
    settings: np.ndarray,
    decoupled: bool,
) -> None: ...
def rmsprop_update(
    param: np.ndarray,
    square_avg: np.ndarray,
    momentum_buffer: np.ndarray | None,
    grad_avg: np.ndarray | None,
    step: np.ndarray,
    grad: np.ndarray,
    settings: np.ndarray,
) -> None: ...
def counter_add(y: np.ndarray, x: np.ndarray, by: int) -> None: ...
