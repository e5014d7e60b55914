"""Which device a run uses."""

import pytest
import torch

from moebench.errors import DeviceError
from moebench.training.device import choose_device, default_precision, device_name

HAS_CUDA = torch.cuda.is_available()


@pytest.mark.parametrize("asked", [None, "auto"])
def test_cuda_is_chosen_where_there_is_one(asked):
    assert choose_device(asked).type == ("cuda" if HAS_CUDA else "cpu")


def test_the_cpu_is_always_there():
    assert choose_device("cpu") == torch.device("cpu")
    assert device_name(torch.device("cpu")).startswith("cpu (")


@pytest.mark.parametrize("asked", ["gpu", "cuda:x", "cuda:-1", "", "cuda 0", "meta"])
def test_a_word_that_is_no_device_or_of_another_kind_is_refused_by_name(asked):
    with pytest.raises(DeviceError, match=f"'{asked}' is not supported; use cpu, cuda or cuda:N") as caught:
        choose_device(asked)
    assert caught.value.code == "unknown-device"


def test_a_card_that_is_not_there_is_refused_with_how_many_there_are():
    with pytest.raises(DeviceError) as caught:
        choose_device("cuda:99")
    assert (caught.value.code, caught.value.facts["count"]) == ("no-such-device", torch.cuda.device_count())


def test_precision_follows_the_kind_of_device():
    assert default_precision("cpu") == "fp32"
    assert default_precision("cuda") == "bf16"
