"""Module and the containers: registration, walking, state, hooks, modes, printing."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cnnfast import Tensor, nn


def numbers(*shape: int) -> np.ndarray:
    return np.arange(float(np.prod(shape)), dtype=np.float32).reshape(shape)


class Branch(nn.Module):
    """A parameter, a saved and an unsaved buffer, a child, and a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(numbers(2))
        self.register_parameter("shift", None)
        self.register_buffer("mean", Tensor(numbers(3)))
        self.register_buffer("cache", Tensor(numbers(1)), persistent=False)
        self.child = nn.Linear(2, 1)
        self.depth = 3

    def forward(self, x: Any, add: int = 0) -> Any:
        return x * 2 + add


def tree() -> nn.Sequential:
    return nn.Sequential(OrderedDict(left=Branch(), right=nn.Sequential(nn.ReLU(), Branch())))


# -- registration --------------------------------------------------------------------------------


def test_attributes_register_by_what_they_are() -> None:
    branch = Branch()
    assert [name for name, _ in branch.named_parameters()] == [
        "scale",
        "child.weight",
        "child.bias",
    ]
    assert [name for name, _ in branch.named_buffers()] == ["mean", "cache"]
    assert [name for name, _ in branch.named_children()] == ["child"]
    assert branch.shift is None
    assert {"scale", "mean", "child", "depth", "forward"} <= set(dir(branch))


def test_names_with_dots_and_prefixes() -> None:
    net = tree()
    assert [name for name, _ in net.named_modules()] == [
        "", "left", "left.child", "right", "right.0", "right.1", "right.1.child",
    ]  # fmt: skip
    assert [name for name, _ in net.named_parameters("net")][:1] == ["net.left.scale"]
    assert [name for name, _ in net.named_parameters(recurse=False)] == []
    assert [type(child).__name__ for child in net.children()] == ["Branch", "Sequential"]


def test_an_attribute_changes_its_kind() -> None:
    module = nn.Module()
    module.x = 1
    module.x = nn.Parameter(numbers(1))
    assert len(list(module.parameters())) == 1
    module.x = None
    assert module.x is None
    module.y = nn.ReLU()
    module.y = nn.Parameter(numbers(1))
    assert not list(module.children())
    del module.y
    assert not hasattr(module, "y")


def test_a_buffer_is_replaced_by_assignment() -> None:
    branch = Branch()
    branch.mean = Tensor(numbers(3) + 1)
    branch.cache = None
    assert branch.state_dict()["mean"].numpy()[0] == 1
    assert "cache" not in branch.state_dict()


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda m: setattr(m, "scale", 3), TypeError, "cannot assign 'int' as parameter 'scale'"),
        (lambda m: setattr(m, "child", 3), TypeError, "cannot assign 'int' as child module"),
        (lambda m: setattr(m, "mean", 3), TypeError, "'int' object to buffer 'mean'"),
        (lambda m: m.register_parameter("p", Tensor([1.0])), TypeError, "nn.Parameter or None"),
        (lambda m: m.register_buffer("a.b", None), KeyError, "empty or contain"),
        (lambda m: m.register_buffer("", None), KeyError, "empty or contain"),
        (lambda m: m.register_buffer("depth", None), KeyError, "already exists"),
        (lambda m: m.register_buffer(3, None), TypeError, "should be a string"),
        (lambda m: m.add_module("x", 3), TypeError, "int is not a Module subclass"),
        (lambda m: m.nothing, AttributeError, "'Branch' object has no attribute 'nothing'"),
        (lambda m: m.get_submodule("child.x"), AttributeError, "Linear has no submodule `x`"),
        (lambda m: m.get_parameter("mean"), AttributeError, "Branch has no parameter `mean`"),
        (lambda m: m.get_buffer("child.mean"), AttributeError, "Linear has no buffer `mean`"),
        (lambda m: m.train(1), ValueError, "boolean, got 1"),
    ],
)
def test_misuse_is_named(act: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        act(Branch())


def test_assignment_before_init_is_named() -> None:
    class Early(nn.Module):
        def __init__(self, value: Any) -> None:
            self.value = value

    for value in (nn.Parameter(numbers(1)), nn.ReLU()):
        with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
            Early(value)


def test_a_module_without_forward_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"Module \[Bare\] is missing"):
        type("Bare", (nn.Module,), {})()(1)


# -- walking -------------------------------------------------------------------------------------


def test_what_is_shared_is_walked_once_and_saved_under_both_names() -> None:
    shared = nn.Linear(2, 2)
    net = nn.ModuleList([shared, nn.Linear(2, 2), shared])
    net[1].weight = shared.weight
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert len(list(net.named_parameters(remove_duplicate=False))) == 6
    assert [name for name, _ in net.named_children()] == ["0", "1"]
    assert len(net.state_dict()) == 6


def test_lookup_by_dotted_name() -> None:
    net = tree()
    assert net.get_submodule("") is net
    assert net.get_submodule("right.1.child") is net.right[1].child
    assert net.get_parameter("right.1.scale") is net.right[1].scale
    assert net.get_buffer("left.mean") is net.left.mean


def test_apply_goes_to_the_children_first() -> None:
    seen: list[str] = []
    net = tree()
    assert net.apply(lambda module: seen.append(type(module).__name__)) is net
    assert seen[:2] == ["Linear", "Branch"]
    assert seen[-1] == "Sequential"


# -- modes ---------------------------------------------------------------------------------------


def test_training_mode_reaches_all_and_may_be_overridden() -> None:
    class Frozen(Branch):
        def train(self, mode: bool = True) -> Frozen:
            return super().train(False)

    net = nn.Sequential(Branch(), Frozen())
    assert net.training
    net.train()
    assert [module.training for module in net.modules()] == [True, True, True, False, False]
    assert not any(module.training for module in net.eval().modules())


def test_freezing_and_forgetting_gradients() -> None:
    branch = Branch().requires_grad_(False)
    assert not any(param.requires_grad for param in branch.parameters())
    branch.requires_grad_()
    for param in branch.parameters():
        param.grad = Tensor(np.ones(param.shape))
    branch.zero_grad(set_to_none=False)
    assert branch.scale.grad.numpy().tolist() == [0, 0]
    branch.zero_grad()
    assert branch.scale.grad is None


def test_to_takes_the_cpu_and_float32_only() -> None:
    branch = Branch()
    for there in (("cpu",), (np.float32,), ("cpu", np.float32), (branch.scale,), ()):
        assert branch.to(*there) is branch
    assert branch.cpu() is branch.float() is branch.to(device="cpu", memory_format="any")
    for elsewhere, message in ((("cuda:0",), "CPU only"), ((np.float64,), "float32 only")):
        with pytest.raises(ValueError, match=message):
            branch.to(*elsewhere)


def test_to_takes_torchs_own_devices_and_types() -> None:
    torch = pytest.importorskip("torch")
    branch = Branch()
    assert branch.to(torch.device("cpu"), torch.float32) is branch.to(torch.float32)
    with pytest.raises(ValueError, match="CPU only"):
        branch.to(torch.device("meta"))
    with pytest.raises(ValueError, match="float32 only"):
        branch.to(torch.float16)


# -- state ---------------------------------------------------------------------------------------


def test_state_shares_memory_and_keeps_torchs_order() -> None:
    branch = Branch()
    state = branch.state_dict(prefix="b.")
    assert list(state) == ["b.scale", "b.mean", "b.child.weight", "b.child.bias"]
    assert not state["b.scale"].requires_grad
    state["b.scale"].copy_(7)
    assert branch.scale.detach().numpy().tolist() == [7, 7]
    assert branch.state_dict(keep_vars=True)["scale"] is branch.scale


@pytest.mark.parametrize("kind", ["Tensor", "Parameter", "float64", "list", "torch", "torch param"])
def test_state_loads_from_any_array(kind: str) -> None:
    branch, other = Branch(), Branch()
    values = {key: value.numpy() + 1 for key, value in other.state_dict().items()}
    torch = pytest.importorskip("torch") if "torch" in kind else None
    convert = {
        "Tensor": Tensor,
        "Parameter": nn.Parameter,
        "float64": lambda v: v.astype(np.float64),
        "list": lambda v: v.tolist(),
        "torch": lambda v: torch.from_numpy(v),
        "torch param": lambda v: torch.nn.Parameter(torch.from_numpy(v)),
    }[kind]
    scale, version = branch.scale, branch.scale.version_counter[0]
    result = branch.load_state_dict({key: convert(value) for key, value in values.items()})
    assert repr(result) == "<All keys matched successfully>"
    assert branch.scale is scale
    assert scale.requires_grad
    assert scale.version_counter[0] > version
    for key, value in branch.state_dict().items():
        assert np.array_equal(value.numpy(), values[key])


def test_all_that_does_not_fit_is_listed_and_nothing_changes() -> None:
    branch = Branch()
    before = {key: value.numpy().copy() for key, value in branch.state_dict().items()}
    state = {**before, "scale": numbers(2) + 5, "mean": numbers(4), "extra": numbers(1)}
    state["child.bias"] = np.array(["x"])
    del state["child.weight"]
    with pytest.raises(RuntimeError) as caught:
        branch.load_state_dict(state)
    text = str(caught.value)
    assert text.startswith("Error(s) in loading state_dict for Branch:")
    for part in (
        'Missing key(s) in state_dict: "child.weight"',
        'Unexpected key(s) in state_dict: "extra"',
        "mean: size mismatch: the file has (4,), the model (3,)",
        "child.bias: expected numbers",
    ):
        assert part in text
    for key, value in branch.state_dict().items():
        assert np.array_equal(value.numpy(), before[key])
    with pytest.raises(TypeError, match="dict-like, got list"):
        branch.load_state_dict([1])


def test_loading_not_strictly_returns_the_keys() -> None:
    result = Branch().load_state_dict({"mean": numbers(3), "extra": 1}, strict=False)
    assert result.missing_keys == ["scale", "child.weight", "child.bias"]
    assert result.unexpected_keys == ["extra"]
    assert "extra" in repr(result)


def test_files_without_the_batch_count_load() -> None:
    norm = nn.Sequential(nn.BatchNorm2d(2))
    state = {key: value for key, value in norm.state_dict().items() if "tracked" not in key}
    assert not norm.load_state_dict(state).missing_keys


# -- hooks ---------------------------------------------------------------------------------------


def test_hooks_see_and_replace_arguments_and_output() -> None:
    branch = Branch()
    first = branch.register_forward_pre_hook(lambda module, args: args[0] + 1)
    second = branch.register_forward_pre_hook(
        lambda module, args, kwargs: ((args[0] * 10,), {"add": 5}), with_kwargs=True
    )
    assert branch(1) == 2 * 20 + 5
    third = branch.register_forward_hook(lambda module, args, output: (args, output))
    assert branch(1) == ((20,), 45)
    fourth = branch.register_forward_hook(
        lambda module, args, kwargs, output: (kwargs, output), prepend=True, with_kwargs=True
    )
    assert branch(1) == ((20,), ({"add": 5}, 45))
    for handle in (first, second, third, fourth, fourth):
        handle.remove()
    assert branch(1, add=1) == 3


def test_hooks_that_return_nothing_only_watch() -> None:
    branch, seen = Branch(), []
    with branch.register_forward_hook(lambda module, args, output: seen.append(output)):
        assert branch(4) == 8
    branch(5)
    assert seen == [8]


# -- containers ----------------------------------------------------------------------------------


def test_sequential_is_a_list() -> None:
    layers = [nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.Identity()]
    net = nn.Sequential(*layers)
    assert list(net) == layers
    assert (net[-1], len(net)) == (layers[3], 4)
    assert list(net[1:3]) == layers[1:3]
    assert list(net[1:3]._modules) == ["1", "2"]
    net[0] = nn.Mish()
    del net[1:3]
    net.insert(1, layers[1]).append(layers[2]).extend([layers[0]])
    names = [type(module).__name__ for module in net]
    assert names == ["Mish", "Tanh", "Identity", "Sigmoid", "ReLU"]
    assert list(net._modules) == ["0", "1", "2", "3", "4"]
    assert net.pop(-1) is layers[0]
    assert len(net + net[:1]) == 5
    net += [nn.ReLU()]
    assert len(net) == 5
    with pytest.raises(IndexError, match="index 5 is out of range for 5 modules"):
        net[5]
    with pytest.raises(IndexError, match="out of range"):
        net.insert(9, nn.ReLU())


def test_sequential_keeps_given_names() -> None:
    net = nn.Sequential(OrderedDict(a=nn.ReLU(), b=nn.Tanh()))
    assert list(net[1:]._modules) == ["b"]
    assert isinstance(net.b, nn.Tanh)


def test_module_list_and_dict() -> None:
    linears = nn.ModuleList(nn.Linear(1, 1) for _ in range(2)) + nn.Sequential(nn.ReLU())
    assert [name for name, _ in linears.named_parameters()][::2] == ["0.weight", "1.weight"]
    assert isinstance(linears[:1], nn.ModuleList)
    heads = nn.ModuleDict({"a": nn.ReLU()})
    heads["b"] = nn.Linear(1, 1)
    heads.update([("c", nn.Tanh())])
    assert (list(heads), len(heads), "b" in heads) == (["a", "b", "c"], 3, True)
    assert list(heads.keys()) == [key for key, _ in heads.items()]
    assert isinstance(heads.pop("c"), nn.Tanh)
    del heads["a"]
    assert [type(module).__name__ for module in heads.values()] == ["Linear"]
    heads.clear()
    assert not len(heads)


def test_parameter_list() -> None:
    params = nn.ParameterList([nn.Parameter(numbers(2)), numbers(3)])
    params.append(Tensor(numbers(1)))
    params += [numbers(4)]
    params[1] = numbers(5)
    assert [param.shape for param in params] == [(2,), (5,), (1,), (4,)]
    assert list(params.state_dict()) == ["0", "1", "2", "3"]
    assert [param.shape for param in params[-2:]] == [(1,), (4,)]
    assert "(1): Parameter containing: [float32 of size 5]" in repr(params)
    with pytest.raises(IndexError, match="out of range"):
        params[4]
    with pytest.raises(TypeError, match="got one Tensor"):
        params.extend(Tensor(numbers(2)))


REPRS = [
    lambda n: n.Sequential(),
    lambda n: n.Sequential(n.Conv2d(1, 2, 3), n.Sequential(n.ReLU(), n.Dropout())),
    lambda n: n.ModuleList([n.Linear(1, 2)] * 3 + [n.ReLU()] + [n.Sequential(n.Tanh())] * 2),
    lambda n: n.ModuleList(),
    lambda n: n.ModuleDict({"a": n.ReLU(), "b": n.ModuleList([n.Identity()])}),
]


@pytest.mark.parametrize("make", REPRS)
def test_printing_is_torchs(make: Any) -> None:
    torch = pytest.importorskip("torch")
    assert repr(make(nn)) == repr(make(torch.nn))


def test_printing_of_several_lines() -> None:
    class Talkative(Branch):
        def extra_repr(self) -> str:
            return "one\ntwo"

    assert repr(Talkative()) == (
        "Talkative(\n  one\n  two\n  (child): Linear(in_features=2, out_features=1, bias=True)\n)"
    )


# -- parameters ----------------------------------------------------------------------------------


def test_a_parameter_shares_what_it_can_and_is_dense() -> None:
    tensor = Tensor(numbers(2, 3))
    param = nn.Parameter(tensor)
    assert np.shares_memory(param.array, tensor.array)
    assert param.requires_grad
    assert param.is_leaf
    param.data.copy_(3)
    assert tensor.numpy().tolist() == [[3, 3, 3]] * 2
    assert nn.Parameter(numbers(2, 3).T).array.flags.c_contiguous
    assert nn.Parameter(numbers(2).astype(np.float64)).dtype == np.float32
    assert not nn.Parameter(numbers(2), requires_grad=False).requires_grad
    assert nn.Parameter(np.float32(3)).shape == ()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_keep_values_and_sharing_and_leave_gradients(duplicate: Callable[..., Any]) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, bias=False))
    net[1].weight = net[0].weight
    net[0].bias.requires_grad = False
    net[0].weight.grad = Tensor(numbers(2, 2))
    net[0].weight.note = "kept"
    other = duplicate(net)
    assert repr(other) == repr(net)
    assert other[1].weight is other[0].weight
    assert other[0].weight.note == "kept"
    assert other[0].weight.grad is None
    assert [p.requires_grad for p in other.parameters()] == [True, False]
    before = net[0].weight.detach().numpy().copy()
    assert np.array_equal(other[0].weight.detach().numpy(), before)
    other[0].weight.data.copy_(0)
    assert np.array_equal(net[0].weight.detach().numpy(), before)
