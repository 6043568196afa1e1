"""Normalisation layers: statistics, affine parameters and settings around `functional.*_norm`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from .. import functional as F
from ..replay import refuse_replay
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter
from .placement import check_placement

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "LayerNorm",
    "LocalResponseNorm",
]


class _Affine(Module):
    """Owns the scale and shift that follow a normalisation."""

    def _make_parameters(self, shape: int | tuple[int, ...], weight: bool, bias: bool) -> None:
        for name, wanted in (("weight", weight), ("bias", bias)):
            value = Parameter(np.empty(shape, np.float32)) if wanted else None
            self.register_parameter(name, value)

    def reset_parameters(self) -> None:
        """Set the scale to 1 and the shift to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class _RunningNorm(_Affine):
    """Owns the running statistics of batch and instance normalisation."""

    # torch's files before version 1.0 have no such buffer.
    _optional_state = ("num_batches_tracked",)
    dims: tuple[int, int]  # the numbers of axes that an input may have

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        device: Any,
        dtype: Any,
        bias: bool,
    ) -> None:
        super().__init__()
        check_placement(device, dtype)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self._make_parameters(num_features, affine, affine and bias)
        buffers: dict[str, Any] = dict.fromkeys(("running_mean", "running_var"))
        buffers["num_batches_tracked"] = None
        if track_running_stats:
            buffers["running_mean"] = Tensor.wrap(np.zeros(num_features, np.float32))
            buffers["running_var"] = Tensor.wrap(np.ones(num_features, np.float32))
            buffers["num_batches_tracked"] = Tensor.wrap(np.zeros((), np.int64))
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the variance to 1 and the count to 0."""
        if self.track_running_stats:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Reset the statistics, the scale to 1 and the shift to 0."""
        self.reset_running_stats()
        super().reset_parameters()

    def _check_dims(self, input: Tensor) -> None:
        if input.ndim not in self.dims:
            wanted = " or ".join(f"{dims}D" for dims in dict.fromkeys(self.dims))
            raise ValueError(f"expected {wanted} input (got {input.ndim}D input)")

    def extra_repr(self) -> str:
        """Return all settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_RunningNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def forward(self, input: Tensor) -> Tensor:
        """Normalise by the batch's statistics in training, else by the running ones."""
        self._check_dims(input)
        update = self.training and self.track_running_stats
        momentum = 0.0 if self.momentum is None else self.momentum
        if update:
            batches = self.num_batches_tracked
            _core.counter_add(batches.array, batches.array, 1)
            batches.bump_version()
            if self.momentum is None:  # a cumulative average over all batches
                refuse_replay("the cumulative average of a batch normalisation")
                momentum = 1.0 / int(batches.array)
        use_batch = self.training or self.running_mean is None
        use_running = update or not self.training
        return F.batch_norm(
            input,
            self.running_mean if use_running else None,
            self.running_var if use_running else None,
            self.weight,
            self.bias,
            use_batch,
            momentum,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L), for each channel.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        Added to the variance.
    momentum : float or None
        Share of the batch in the running statistics; None averages over all batches.
    affine : bool
        Whether a learned scale and shift follow.
    track_running_stats : bool
        Whether to keep statistics for evaluation; without them the batch's own serve always.
    bias : bool
        Whether `affine` has the shift.

    Notes
    -----
    Source: Ioffe and Szegedy, Batch Normalization, ICML 2015. As in torch the running variance is
    the unbiased one, and the batch is normalised by the biased one.

    Examples
    --------
    >>> from cnnfast import nn
    >>> list(nn.BatchNorm1d(3).state_dict())
    ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']
    """

    dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W), for each channel; parameters as in BatchNorm1d.

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.BatchNorm2d(64, momentum=0.01).momentum
    0.01
    """

    dims = (4, 4)


class _InstanceNorm(_RunningNorm):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def forward(self, input: Tensor) -> Tensor:
        """Normalise by each image's own statistics, or in evaluation by the running ones."""
        self._check_dims(input)
        unbatched = input.ndim == self.dims[0]
        batch = input.unsqueeze(0) if unbatched else input
        if self.affine and batch.shape[1] != self.num_features:
            raise ValueError(f"expected {self.num_features} channels, got {batch.shape[1]}")
        output = F.instance_norm(
            batch,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return output.squeeze(0) if unbatched else output


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of (N, C, L) or (C, L), for each sample and channel.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        Added to the variance.
    momentum : float or None
        Share of the batch in the running statistics.
    affine : bool
        Whether a learned scale and shift follow.
    track_running_stats : bool
        Whether to keep statistics and use them in evaluation.
    bias : bool
        Whether `affine` has the shift.

    Notes
    -----
    Source: Ulyanov et al., Instance Normalization, 2016 (arXiv:1607.08022).

    Examples
    --------
    >>> from cnnfast import nn
    >>> len(nn.InstanceNorm1d(8).state_dict())
    0
    """

    dims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of (N, C, H, W) or (C, H, W); parameters as in InstanceNorm1d.

    Examples
    --------
    >>> from cnnfast import nn
    >>> list(nn.InstanceNorm2d(8, affine=True).state_dict())
    ['weight', 'bias']
    """

    dims = (3, 4)


class GroupNorm(_Affine):
    """Normalises (N, C, ...) over groups of channels of each sample.

    Parameters
    ----------
    num_groups, num_channels : int
        The first divides the second.
    eps : float
        Added to the variance.
    affine : bool
        Whether a learned scale and shift for each channel follow.
    bias : bool
        Whether `affine` has the shift.

    Notes
    -----
    Source: Wu and He, Group Normalization, ECCV 2018.

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.GroupNorm(3, 6).weight.shape
    (6,)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_placement(device, dtype)
        if num_groups <= 0 or num_channels % num_groups:
            raise ValueError(
                f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._make_parameters(num_channels, affine, affine and bias)
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, ...)."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return all settings."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LayerNorm(_Affine):
    """Normalises over the last axes.

    Parameters
    ----------
    normalized_shape : int or sequence of ints
        Sizes of the axes normalised over.
    eps : float
        Added to the variance.
    elementwise_affine : bool
        Whether a learned scale and shift of that shape follow.
    bias : bool
        Whether there is the shift.

    Notes
    -----
    Source: Ba, Kiros and Hinton, Layer Normalization, 2016 (arXiv:1607.06450).

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.LayerNorm([4, 5], bias=False)
    LayerNorm((4, 5), eps=1e-05, elementwise_affine=True, bias=False)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_placement(device, dtype)
        if isinstance(normalized_shape, (int, np.integer)):
            normalized_shape = (normalized_shape,)
        self.normalized_shape = tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._make_parameters(
            self.normalized_shape, elementwise_affine, elementwise_affine and bias
        )
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (..., *normalized_shape)."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return all settings."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """Divides each value by ``(k + alpha/size * sum of squares over size channels)**beta``.

    Source: Krizhevsky et al., ImageNet Classification, NIPS 2012, with torch's `alpha/size`.

    Examples
    --------
    >>> from cnnfast import nn
    >>> nn.LocalResponseNorm(5)
    LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1.0)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, ...)."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Return all settings."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
