"""A guest in somebody's process: thread counts, idle time, fork, other OpenMP users."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from rounding import uniform

import cnnfast
from cnnfast import Tensor
from cnnfast.functional import conv2d

PACKAGE = Path(cnnfast.__file__).parents[1]
SETTINGS = ("CNNFAST_NUM_THREADS", "OMP_NUM_THREADS", "CNNFAST_ISA", "CNNFAST_CONV")

# 150 MFLOP: far above the gate that keeps small work on the calling thread.
CONVOLUTION = """
import os, sys, time
import numpy as np
import cnnfast
from cnnfast import Tensor
from cnnfast.functional import conv2d

random = np.random.default_rng(0)
x, w = Tensor(random.random((4, 32, 32, 32))), Tensor(random.random((64, 32, 3, 3)))

def compute():
    return conv2d(x, w, padding=1).numpy().tobytes()
"""


def python(script: str, **environment: str) -> str:
    """What a fresh interpreter prints; at most a minute, or it hangs and the test fails."""
    env = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    env |= environment | {"PYTHONPATH": str(PACKAGE)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=PACKAGE, env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


COUNT = "import cnnfast; print(cnnfast.get_num_threads())"


@pytest.mark.parametrize("environment, threads", [
    ({"CNNFAST_NUM_THREADS": "3"}, 3), ({"OMP_NUM_THREADS": "5"}, 5),
    ({"CNNFAST_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3), ({"OMP_NUM_THREADS": "4,2"}, 4),
    ({"CNNFAST_NUM_THREADS": "100000"}, 256),
], ids=str)  # fmt: skip
def test_the_environment_sets_the_count(environment: dict[str, str], threads: int) -> None:
    assert int(python(COUNT, **environment)) == threads


@pytest.mark.parametrize("nonsense", ["", "many", "0", "-2"])
def test_nonsense_in_the_environment_leaves_the_default(nonsense: str) -> None:
    assert python(COUNT, CNNFAST_NUM_THREADS=nonsense) == python(COUNT)


def test_the_default_follows_the_affinity_mask() -> None:
    assert 1 <= int(python(COUNT)) <= len(os.sched_getaffinity(0))
    pinned = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}}); {COUNT}"
    assert python(pinned) == "1"


def test_set_num_threads() -> None:
    default = cnnfast.get_num_threads()
    cnnfast.set_num_threads(7)
    assert cnnfast.get_num_threads() == 7
    cnnfast.set_num_threads(100_000)
    assert cnnfast.get_num_threads() == 256
    cnnfast.set_num_threads(0)
    assert cnnfast.get_num_threads() == default
    with pytest.raises(ValueError, match=r"0 .* or more, got -1"):
        cnnfast.set_num_threads(-1)


def test_large_work_uses_the_threads_and_small_work_does_not() -> None:
    script = (
        CONVOLUTION
        + """
def count():
    return len(os.listdir("/proc/self/task"))

before = count()
cnnfast.set_num_threads(6)
conv2d(Tensor(np.ones((1, 3, 5, 5))), Tensor(np.ones((4, 3, 3, 3))))
small = count()
compute()
print(small - before, count() - before)
"""
    )
    assert python(script) == "0 5"


def test_all_tasks_run_where_openmp_gives_fewer_threads() -> None:
    script = (
        CONVOLUTION
        + """
cnnfast.set_num_threads(6)
some = compute()
cnnfast.set_num_threads(1)
print(some == compute(), len(os.listdir("/proc/self/task")))
"""
    )
    before = "import os, cnnfast; print(len(os.listdir('/proc/self/task')))"
    threads = int(python(before, OMP_THREAD_LIMIT="2")) + 1
    assert python(script, OMP_THREAD_LIMIT="2") == f"True {threads}"


def test_calls_from_several_threads_do_not_disturb_each_other() -> None:
    cnnfast.set_num_threads(2)
    w = Tensor(uniform(33, 20, 3, 3))
    xs = [Tensor(uniform(2, 20, 24, 25, seed=seed)) for seed in range(4)]
    wanted = [conv2d(x, w, padding=1).numpy() for x in xs]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(10):
            if conv2d(xs[i], w, padding=1).numpy().tobytes() != wanted[i].tobytes():
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_idle_threads_sleep() -> None:
    script = (
        CONVOLUTION
        + """
cnnfast.set_num_threads(2)
compute()
time.sleep(0.1)  # what may spin, may spin this long
start = time.process_time()
time.sleep(1.0)
print(time.process_time() - start)
"""
    )
    assert float(python(script)) < 0.05


def test_a_forked_child_computes_the_same_alone() -> None:
    script = (
        CONVOLUTION
        + """
cnnfast.set_num_threads(3)
wanted = compute()
child = os.fork()
if child == 0:
    os._exit(0 if compute() == wanted and cnnfast.get_num_threads() == 1 else 1)
deadline = time.monotonic() + 20
while (status := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
    time.sleep(0.01)
if status == (0, 0):
    os.kill(child, 9)
assert compute() == wanted and cnnfast.get_num_threads() == 3  # the parent goes on as before
print(status[1] if status[0] else "hangs")
"""
    )
    assert python(script) == "0"


def test_a_fork_while_another_thread_computes() -> None:
    script = (
        CONVOLUTION
        + """
import threading
cnnfast.set_num_threads(2)
wanted, stop = compute(), threading.Event()

def work():
    while not stop.is_set():
        compute()

worker = threading.Thread(target=work)
worker.start()
children = []
for _ in range(8):
    children.append(os.fork())
    if children[-1] == 0:
        os._exit(0 if compute() == wanted else 1)
    time.sleep(0.005)
stop.set()
worker.join()
deadline, codes = time.monotonic() + 20, set()
while children and time.monotonic() < deadline:
    child, status = os.waitpid(-1, os.WNOHANG)
    if child:
        children.remove(child)
        codes.add(status)
    time.sleep(0.001)
for child in children:
    os.kill(child, 9)
print(codes, len(children))
"""
    )
    assert python(script) == "{0} 0"


def test_limits_of_threadpoolctl_are_followed_downwards() -> None:
    pytest.importorskip("threadpoolctl")
    script = (
        CONVOLUTION
        + """
from threadpoolctl import threadpool_limits
wanted, counts = compute(), [cnnfast.get_num_threads()]
for limit in (1, 2, 9):
    with threadpool_limits(limit, user_api="openmp"):
        counts.append(cnnfast.get_num_threads())
        assert compute() == wanted
print(*counts, cnnfast.get_num_threads())
"""
    )
    assert python(script, OMP_NUM_THREADS="4") == "4 1 2 4 4"


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
@pytest.mark.parametrize("first, second", [("torch", "cnnfast"), ("cnnfast", "torch")])
def test_torch_in_the_same_process(first: str, second: str) -> None:
    script = (
        f"import {first}\nimport {second}\nimport torch\n"
        + CONVOLUTION
        + """
torch.set_num_threads(2)
cnnfast.set_num_threads(2)
for _ in range(3):
    theirs = torch.nn.functional.conv2d(
        torch.from_numpy(np.ascontiguousarray(x.numpy())), torch.from_numpy(w.numpy()), padding=1)
    ours = conv2d(x, w, padding=1).numpy()
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4)
child = os.fork()
if child == 0:
    compute()
    os._exit(0)
print(os.waitpid(child, 0)[1], cnnfast.get_num_threads())
"""
    )
    assert python(script) == "0 2"


def test_a_compiled_model_is_a_quiet_guest() -> None:
    """32 threads get one model's bits, a child forked after calls can call, then all is still."""
    script = """
import os, threading, time
import numpy as np
import cnnfast
from cnnfast import models

cnnfast.set_num_threads(2)
images = np.random.default_rng(0).random((32, 3, 32, 32), np.float32)
model = cnnfast.compile(models.resnet18_cifar().eval(), images[:1])
wanted = [model(image[None]).tobytes() for image in images]
wrong = []

def work(i):
    for _ in range(3):
        if model(images[i : i + 1]).tobytes() != wanted[i]:
            wrong.append(i)

workers = [threading.Thread(target=work, args=(i,)) for i in range(32)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
child = os.fork()
if child == 0:
    os._exit(int(model(images[:1]).tobytes() != wanted[0]))
code = os.waitpid(child, 0)[1]
start = time.process_time()
time.sleep(5)
print(wrong, code, time.process_time() - start < 0.02)
"""
    assert python(script) == "[] 0 True"
