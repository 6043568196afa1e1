"""The networks of cnnfast.models: sizes, shapes, the register, and torch's results by name."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import cnnfast
from cnnfast import models, nn, no_grad

# name, arguments, parameters, input shape, output shape
NETWORKS: list[tuple[str, dict[str, Any], int, tuple[int, ...], tuple[int, ...]]] = [
    ("lenet5", {}, 61_706, (2, 1, 28, 28), (2, 10)),
    ("lenet5", {"num_classes": 3, "in_channels": 2}, 61_261, (1, 2, 28, 28), (1, 3)),
    ("mlp", {}, 235_146, (2, 1, 28, 28), (2, 10)),
    ("mlp", {"hidden": (), "in_features": 48}, 490, (3, 3, 4, 4), (3, 10)),
    ("vgg_small", {}, 815_018, (2, 3, 32, 32), (2, 10)),
    (
        "vgg_small",
        {"in_channels": 1, "widths": [8, 16], "batch_norm": False, "num_classes": 4},
        70_972,
        (1, 1, 28, 20),
        (1, 4),
    ),
    ("resnet18", {}, 11_689_512, (1, 3, 64, 64), (1, 1000)),
    ("resnet18", {"num_classes": 5}, 11_179_077, (1, 3, 37, 41), (1, 5)),
    ("resnet18_cifar", {}, 11_173_962, (1, 3, 32, 32), (1, 10)),
    ("resnet18_cifar", {"in_channels": 1}, 11_172_810, (1, 1, 28, 28), (1, 10)),
]


@pytest.mark.parametrize(("name", "config", "parameters", "inputs", "outputs"), NETWORKS)
def test_parameters_and_shapes(
    name: str,
    config: dict[str, Any],
    parameters: int,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
) -> None:
    constructor = getattr(models, name)
    model = constructor(**config)
    assert sum(param.numel() for param in model.parameters()) == parameters
    if not config:
        assert f"{parameters:,} parameters" in constructor.__doc__
    with no_grad():
        y = model.eval()(cnnfast.Tensor(np.random.rand(*inputs)))
    assert y.shape == outputs
    assert np.isfinite(y.numpy()).all()


def test_every_network_is_tested_here() -> None:
    assert {row[0] for row in NETWORKS if not row[1]} == set(models.names())


@pytest.mark.parametrize(("name", "config"), [row[:2] for row in NETWORKS if row[1]])
def test_the_architecture_rebuilds_the_network(name: str, config: dict[str, Any]) -> None:
    model = getattr(models, name)(**config)
    saved = json.loads(json.dumps(model.architecture))
    assert saved["name"] == name
    again = models.build(saved["name"], **saved["config"])
    assert again.architecture == model.architecture
    assert repr(again) == repr(model)
    assert str(again.load_state_dict(model.state_dict())) == "<All keys matched successfully>"


def test_building_names_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="no model is named 'lenet'; there are lenet5, mlp"):
        models.build("lenet")
    with pytest.raises(ValueError, match="lenet5: got an unexpected keyword argument 'classes'"):
        models.build("lenet5", classes=3)


def test_a_name_is_registered_once() -> None:
    def lenet5() -> nn.Module:
        return nn.Identity()

    with pytest.raises(ValueError, match="'lenet5' is registered already"):
        models.register(lenet5)


# -- the same networks in torch ------------------------------------------------------------------


def torch_lenet(t: Any) -> Any:
    """LeNet-5 as a torch.nn.Module, with the same names."""

    class Net(t.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = t.nn.Conv2d(1, 6, 5, padding=2)
            self.conv2 = t.nn.Conv2d(6, 16, 5)
            self.fc1 = t.nn.Linear(400, 120)
            self.fc2 = t.nn.Linear(120, 84)
            self.fc3 = t.nn.Linear(84, 10)

        def forward(self, x: Any) -> Any:
            for conv in (self.conv1, self.conv2):
                x = t.nn.functional.max_pool2d(t.relu(conv(x)), 2)
            return self.fc3(t.relu(self.fc2(t.relu(self.fc1(x.flatten(1))))))

    return Net()


def torch_mlp(t: Any) -> Any:
    n = t.nn
    layers = [n.Flatten(), n.Linear(784, 256), n.ReLU(), n.Linear(256, 128), n.ReLU()]
    return n.Sequential(*layers, n.Linear(128, 10))


def torch_vgg(t: Any) -> Any:
    n = t.nn
    layers, channels = [], 3
    for width in (32, 64, 128):
        for _ in range(2):
            layers += [n.Conv2d(channels, width, 3, padding=1), n.BatchNorm2d(width), n.ReLU()]
            channels = width
        layers.append(n.MaxPool2d(2))

    class Net(n.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = n.Sequential(*layers)
            self.avgpool = n.AdaptiveAvgPool2d((4, 4))
            self.classifier = n.Sequential(
                n.Linear(2048, 256), n.ReLU(), n.Dropout(0.5), n.Linear(256, 10)
            )

        def forward(self, x: Any) -> Any:
            return self.classifier(self.avgpool(self.features(x)).flatten(1))

    return Net()


def torch_resnet(t: Any, small_images: bool, classes: int) -> Any:
    """torchvision's ResNet-18, written out."""
    n = t.nn

    class BasicBlock(n.Module):
        def __init__(self, inner: int, outer: int, stride: int) -> None:
            super().__init__()
            self.conv1 = n.Conv2d(inner, outer, 3, stride, 1, bias=False)
            self.bn1 = n.BatchNorm2d(outer)
            self.relu = n.ReLU()
            self.conv2 = n.Conv2d(outer, outer, 3, 1, 1, bias=False)
            self.bn2 = n.BatchNorm2d(outer)
            self.downsample = None
            if stride != 1:
                shortcut = n.Conv2d(inner, outer, 1, stride, bias=False)
                self.downsample = n.Sequential(shortcut, n.BatchNorm2d(outer))

        def forward(self, x: Any) -> Any:
            skip = x if self.downsample is None else self.downsample(x)
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            return self.relu(y + skip)

    class Net(n.Module):
        def __init__(self) -> None:
            super().__init__()
            kernel, stride = (3, 1) if small_images else (7, 2)
            self.conv1 = n.Conv2d(3, 64, kernel, stride, kernel // 2, bias=False)
            self.bn1 = n.BatchNorm2d(64)
            self.relu = n.ReLU()
            self.maxpool = n.Identity() if small_images else n.MaxPool2d(3, 2, 1)
            self.layer1 = n.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
            self.layer2 = n.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
            self.layer3 = n.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
            self.layer4 = n.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))
            self.avgpool = n.AdaptiveAvgPool2d((1, 1))
            self.fc = n.Linear(512, classes)

        def forward(self, x: Any) -> Any:
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(self.avgpool(x).flatten(1))

    return Net()


TWINS = {
    "lenet5": (torch_lenet, (4, 1, 28, 28)),
    "mlp": (torch_mlp, (4, 1, 28, 28)),
    "vgg_small": (torch_vgg, (2, 3, 32, 32)),
    "resnet18": (lambda t: torch_resnet(t, False, 1000), (2, 3, 64, 64)),
    "resnet18_cifar": (lambda t: torch_resnet(t, True, 10), (2, 3, 32, 32)),
}


@pytest.mark.parametrize("name", TWINS)
def test_weights_of_torch_give_torchs_logits(name: str) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    make, shape = TWINS[name]
    theirs, ours = make(torch).eval(), getattr(models, name)().eval()
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours).split("\n")[1:] == repr(theirs).split("\n")[1:]
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    with torch.no_grad(), no_grad():
        expected = theirs(torch.from_numpy(x)).numpy()
        actual = ours(cnnfast.Tensor(x)).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * abs(expected).max())


@pytest.mark.parametrize(("name", "tolerance"), [("lenet5", 1e-4), ("resnet18_cifar", 0.1)])
def test_loss_and_gradients_equal_torchs(name: str, tolerance: float) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    make, shape = TWINS[name]
    theirs, ours = make(torch), getattr(models, name)()
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    labels = np.arange(shape[0]) % 3
    expected = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x)), torch.tensor(labels))
    expected.backward()
    loss = nn.CrossEntropyLoss()(ours(cnnfast.Tensor(x)), cnnfast.Tensor(labels))
    loss.backward()
    np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-4)
    # Of a million activations a few lie within rounding of ReLU's kink, and those that fall on
    # its other side move gradients by percents; a wrong connection moves them by more than all.
    for (key, param), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        gradient = other.grad.numpy()
        distance = np.linalg.norm(param.grad.numpy() - gradient)
        assert distance <= tolerance * np.linalg.norm(gradient), key
