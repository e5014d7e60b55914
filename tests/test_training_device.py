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


@pytest.mark.parametrize("asked", ["gpu", "cuda:x", "cuda:-1", "", "cuda 0"])
def test_a_word_that_is_no_device_is_refused_by_name(asked):
    with pytest.raises(DeviceError, match=f"'{asked}' is not a device; use cpu, cuda or cuda:N"):
        choose_device(asked)


def test_a_kind_of_device_that_moebench_does_not_use_is_refused():
    with pytest.raises(DeviceError, match="'meta' is not supported"):
        choose_device("meta")


def test_a_card_that_is_not_there_is_refused_with_how_many_there_are():
    count = torch.cuda.device_count()
    with pytest.raises(DeviceError, match=f"no device 'cuda:99': this machine has {count or 'no'} CUDA device"):
        choose_device("cuda:99")


def test_precision_follows_the_kind_of_device():
    assert default_precision("cpu") == "fp32"
    assert default_precision("cuda") == "bf16"
