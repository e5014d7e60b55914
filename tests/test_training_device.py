"""Which device a run uses."""

import pytest
import torch

from moebench.errors import DeviceError
from moebench.runner.outcomes import status_of
from moebench.training.device import choose_device, default_precision, device_name, software_of, use

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


def test_a_gpu_is_made_current_and_fp32_is_fp32_in_convolutions_too(monkeypatch):
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    use(torch.device("cuda", 3), "bf16")
    assert torch.backends.cudnn.allow_tf32
    use(torch.device("cuda"), "fp32")
    assert not torch.backends.cudnn.allow_tf32
    assert current == [3, 0]
    use(torch.device("cpu"), "fp32")
    assert len(current) == 2


def test_provenance_of_a_gpu_names_its_software(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    assert software_of(torch.device("cpu")) == {}
    found = software_of(torch.device("cuda", 0))
    assert set(found) == {"driver", "cuda", "cudnn", "tf32"}
    assert found["cudnn"] == "91002"


@pytest.mark.parametrize(
    "words", ["CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`", "CUDA error: out of memory"]
)
def test_memory_that_a_library_does_not_get_is_memory_too(words):
    assert status_of(RuntimeError(words))[0] == "oom"
