"""The table of layers: figures known from the literature, and what a hook must not disturb."""

import json

import numpy as np
import pytest

import cnnfast
from cnnfast import models, nn, summary


def test_lenet5_by_hand():
    found = summary(models.lenet5(), (1, 28, 28))
    layers = {layer.name: layer for layer in found.layers}
    assert layers["conv1"].output == (1, 6, 28, 28)
    assert layers["conv1"].parameters == 6 * 25 + 6
    assert layers["conv1"].bytes == 4 * 6 * 28 * 28
    counts = [layer.multiply_adds for layer in found.layers if layer.multiply_adds]
    assert counts == [6 * 28 * 28 * 25, 16 * 100 * 150, 400 * 120, 120 * 84, 84 * 10]
    assert found.parameters == found.trainable == 61_706


def test_resnet18_has_the_published_figures():
    found = summary(models.resnet18(), (3, 224, 224))
    assert found.parameters == 11_689_512
    assert found.multiply_adds == 1_814_073_344
    assert found.layers[-1].output == (1, 1000)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Conv2d(4, 6, 3, groups=2), (4, 5, 5), 6 * 9 * 18),
        (nn.ConvTranspose2d(4, 6, 3, stride=2), (4, 5, 5), 4 * 25 * 6 * 9),
        (nn.Linear(5, 7), (3, 5), 3 * 5 * 7),
        (nn.BatchNorm2d(4), (4, 5, 5), 0),
        (nn.ReLU(), (4, 5, 5), 0),
    ],
)
def test_multiply_adds(layer, shape, expected):
    assert summary(nn.Sequential(layer), shape).multiply_adds == expected
    assert summary(layer, shape, batch_size=3).multiply_adds == 3 * expected


def test_shared_layer_has_a_row_a_call_but_its_parameters_once():
    layer = nn.Linear(4, 4)
    layer.bias.requires_grad = False
    found = summary(nn.Sequential(layer, nn.ReLU(), layer), (4,))
    assert [row.parameters for row in found.layers] == [20, 0, 0]
    assert [row.type for row in found.layers] == ["Linear", "ReLU", "Linear"]
    assert (found.parameters, found.trainable) == (20, 16)
    assert "4 of them are not trained" in str(found)


def test_table_and_dictionary_say_the_same():
    found = summary(models.lenet5(), (1, 28, 28), batch_size=2)
    text, table = str(found), json.loads(json.dumps(found.to_dict()))
    assert table["layers"][0]["output"] == [2, 6, 28, 28]
    assert table["multiply_adds"] == sum(layer["multiply_adds"] for layer in table["layers"])
    assert "61,706" in text and "2x6x28x28" in text
    assert len(text.splitlines()) == len(found.layers) + 5
    assert max(map(len, text.splitlines())) <= 100


def test_nothing_is_left_behind():
    model = models.vgg_small(widths=[4])
    model.features[1].eval()
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    summary(model, (3, 8, 8))
    assert model.training
    assert not model.features[1].training
    assert not any(module._forward_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(before[name], value.numpy())
    assert cnnfast.is_grad_enabled()


def test_hooks_go_when_the_model_does_not_take_the_input():
    model = models.lenet5()
    with pytest.raises((ValueError, RuntimeError)):
        summary(model, (2, 28, 28))
    with pytest.raises(ValueError, match="size below 1"):
        summary(model, (1, 0, 28))
    assert not any(module._forward_hooks for module in model.modules())
