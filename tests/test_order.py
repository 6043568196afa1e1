"""The order of a recorded step's calls: updates run as soon as nothing needs what they change."""

from __future__ import annotations

import numpy as np

from cnnfast import _core
from cnnfast.compiler.order import early_updates


def test_updates_move_up_to_what_they_depend_on() -> None:
    p, q, gp, gq, x = (np.ones(4, np.float32) for _ in range(5))
    settings = np.array([0.5, 0.0, 0.0, 0.0])
    with _core.Recording() as recording:
        _core.unary("neg", gp, x)  # 0
        _core.binary("mul", gq, q, x)  # 1
        _core.binary("add", gq, gq, p)  # 2: the last to read p, and to write the gradient of q
        _core.unary("relu", x, x)  # 3
        _core.sgd_update(p, None, None, gp, settings, False)  # 4
        _core.sgd_update(q, None, None, gq, settings, False)  # 5
        _core.unary("neg", x, p)  # 6
        _core.sgd_update(p, None, None, gq, settings, False)  # 7: reads nothing new, follows 6
    assert early_updates(recording, list(range(8))) == [0, 1, 2, 4, 5, 3, 6, 7]
    assert early_updates(recording, [0, 3, 4]) == [0, 4, 3]
