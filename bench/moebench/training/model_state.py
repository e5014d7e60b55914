"""All that training may change of a model, as named tensors, and the bytes that keep it: of checkpoints and of results.

Beside parameters and buffers, those that a state_dict leaves out included, these are the extra state of modules and
their plain attributes: tensors, arrays, generators, numbers, strings, and lists, tuples, dicts and deques of them. What
else a module holds, such as an object of a class of its own, is left as building makes it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Generator, Tensor, nn

BESIDE = "beside"
"""The tensor of bytes that holds, as JSON, what is neither parameter nor buffer; begins the names of its tensors."""

OF_MODULES = frozenset(vars(nn.Module()))
"""Attributes that every module has."""

PLAIN = (type(None), bool, int, float, str)
DEEPEST = 8
HEADER = 100_000_000
"""Bytes of the header of a file in safetensors' format, at most."""

NO_SUCH = object()


class UnkeptError(ValueError):
    """State that cannot be written."""


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy on the CPU, contiguous; :class:`UnkeptError` where extra state cannot be written."""
    held: dict[str, Tensor] = {**in_place(model)}
    beside: dict[str, Any] = {"plain": {}, "extra": {}}
    for place, module in model.named_modules():
        for name, value in vars(module).items():
            if name not in OF_MODULES:
                try:
                    beside["plain"][_below(place, name)] = _told(value, f"{BESIDE}/{_below(place, name)}", held)
                except UnkeptError:
                    continue
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            told = _told(module.get_extra_state(), f"{BESIDE}/extra/{place}", held)
            beside["extra"][place] = told
    found = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in held.items()}
    return found | {BESIDE: torch.frombuffer(bytearray(json.dumps(beside).encode()), dtype=torch.uint8)}


def put_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """The inverse of :func:`state_of`, into a model built alike; ValueError, and nothing changed, where it is not."""
    check_state(model, state)
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    modules, held = dict(model.named_modules()), in_place(model)
    with torch.no_grad():
        for name, tensor in state.items():
            if name in held and held[name].shape == tensor.shape:
                held[name].copy_(tensor)
            elif not name.startswith(BESIDE):
                place, _, leaf = name.rpartition(".")
                modules[place]._buffers[leaf] = tensor.to(device)
    beside = _beside(state)
    for name, told in beside["plain"].items():
        place, _, leaf = name.rpartition(".")
        _put_plain(modules[place], leaf, told, state, device)
    for place, told in beside["extra"].items():
        modules[place].set_extra_state(_meant(told, state))


def check_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """ValueError where a state is not that of a model built alike."""
    held, modules = in_place(model), dict(model.named_modules())
    slots = {_below(place, name) for place, module in modules.items() for name in module._buffers}
    for name, tensor in held.items():
        given = state.get(name)
        if given is None or given.dtype != tensor.dtype or (given.shape != tensor.shape and name not in slots):
            raise ValueError(f"'{name}' is missing or of another shape")
    for name in state:
        if name not in held and name not in slots and not name.startswith(BESIDE):
            raise ValueError(f"'{name}' is not part of it")
    beside = _beside(state)
    for place in (*(name.rpartition(".")[0] for name in beside["plain"]), *beside["extra"]):
        if place not in modules:
            raise ValueError(f"'{place}' is not part of it")


def in_place(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers themselves, those that a state_dict leaves out included, under the names that it gives."""
    held: Iterator[tuple[str, Tensor]] = model.named_parameters(remove_duplicate=False)
    return {**dict(held), **dict(model.named_buffers(remove_duplicate=False))}


def to_bytes(tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> bytes:
    """Tensors and words about them in safetensors' format, reading which executes nothing."""
    words = {name: bytes(tensor.tolist()).decode() for name, tensor in tensors.items() if _is_words(name)}
    rest = {name: tensor.contiguous() for name, tensor in tensors.items() if not _is_words(name)}
    return bytes(save(rest, metadata={**words, **(about or {})}))


def from_bytes(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The inverse of :func:`to_bytes`; ValueError for anything else."""
    try:
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        about = dict(header.get("__metadata__") or {})
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ValueError("it is not in safetensors' format") from error
    for name in filter(_is_words, tuple(about)):
        tensors[name] = torch.frombuffer(bytearray(about.pop(name).encode()), dtype=torch.uint8)
    return tensors, about


def size_given(file: BinaryIO, before: int = 0) -> int:
    """The bytes that a file of :func:`to_bytes`, after others ``before`` it, has by its header; -1 without one."""
    file.seek(before)
    length = int.from_bytes(file.read(8), "little")
    try:
        header = json.loads(file.read(length) if length <= HEADER else b"")
        ends = [int(about["data_offsets"][1]) for name, about in header.items() if name != "__metadata__"]
    except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
        return -1
    return before + 8 + length + max(ends, default=0)


def _is_words(name: str) -> bool:
    return name.rpartition("/")[2] == BESIDE


def _below(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _beside(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What is beside parameters and buffers; nothing in files of earlier versions."""
    if BESIDE not in state:
        return {"plain": {}, "extra": {}}
    found: dict[str, Any] = json.loads(bytes(state[BESIDE].tolist()))
    return found


def _told(value: Any, name: str, held: dict[str, Tensor], depth: int = 0) -> Any:
    """A value as JSON; its tensors go to ``held``, under names that begin with ``name``."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, Tensor | np.ndarray | np.generic | Generator):
        return _told_tensor(value, name, held)
    if type(value) is bytes:
        return {"bytes": value.hex()}
    if depth < DEEPEST:
        if type(value) in (list, tuple, deque):
            items = [_told(each, f"{name}.{index}", held, depth + 1) for index, each in enumerate(value)]
            return {type(value).__name__: items, "longest": getattr(value, "maxlen", None)}
        if type(value) is dict:
            pairs = (
                _told([*value], f"{name}.k", held, depth + 1),
                _told([*value.values()], f"{name}.v", held, depth + 1),
            )
            return {"dict": pairs}
    raise UnkeptError(f"it has state of type {type(value).__name__} in '{name.removeprefix(BESIDE + '/')}'")


def _told_tensor(value: Any, name: str, held: dict[str, Tensor]) -> dict[str, str]:
    if isinstance(value, Generator):
        held[name] = value.get_state()
        return {"generator": name}
    if isinstance(value, Tensor):
        held[name] = value
        return {"tensor": name}
    try:
        held[name] = torch.from_numpy(np.array(value))
    except TypeError:
        raise UnkeptError(f"it has an array of {value.dtype} in '{name.removeprefix(BESIDE + '/')}'") from None
    return {"array" if isinstance(value, np.ndarray) else "scalar": name}


def _meant(told: Any, state: Mapping[str, Tensor]) -> Any:
    """The value that was told."""
    if not isinstance(told, dict):
        return told
    (kind, given), *_ = told.items()
    match kind:
        case "bytes":
            return bytes.fromhex(given)
        case "tensor":
            return state[given].clone()
        case "array":
            return state[given].numpy().copy()
        case "scalar":
            return state[given].numpy()[()]
        case "generator":
            generator = Generator()
            generator.set_state(state[given])
            return generator
        case "dict":
            return dict(zip(*(_meant(each, state) for each in given), strict=True))
    items = [_meant(each, state) for each in given]
    return {"list": list, "tuple": tuple}[kind](items) if kind != "deque" else deque(items, told["longest"])


def _put_plain(module: nn.Module, name: str, told: Any, state: Mapping[str, Tensor], device: torch.device) -> None:
    """An attribute, in place where it is a tensor or a generator that is there already."""
    now = vars(module).get(name, NO_SUCH)
    if isinstance(now, Generator) and "generator" in told:
        now.set_state(state[told["generator"]])
        return
    value = _meant(told, state)
    if isinstance(value, Tensor):
        if isinstance(now, Tensor) and (now.shape, now.dtype) == (value.shape, value.dtype):
            now.detach().copy_(value)
            return
        value = value.to(now.device if isinstance(now, Tensor) else device)
    if type(value) not in PLAIN or type(now) is not type(value) or now != value:
        vars(module)[name] = value
