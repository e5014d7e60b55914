"""A GPU that only keeps time: its queue, events, streams and graphs, for what is written around them."""

import contextlib
import warnings

import torch

CUDA = torch.device("cuda", 0)

SLOW = 5.0
"""How much longer its work takes until its clocks are up."""


class FakeCuda:
    """host and device: seconds at which each is free. work: a call that keeps the host and the device busy.

    Until the device has worked for ``cold`` seconds without a pause of as long, its work takes :data:`SLOW` times as
    long. Inside a graph nothing is done; a replay keeps the device busy with all that the graph has.
    """

    def __init__(self, monkeypatch, cold=0.05):
        self.host = self.device = self.worked = 0.0
        self.cold, self.graph, self.log = cold, None, []
        gpu = self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self):
                self.at = max(gpu.host, gpu.device)

            def elapsed_time(self, other):
                return (other.at - self.at) * 1e3

        class Stream:
            def __init__(self, device=None):
                pass

            def wait_stream(self, other):
                pass

        class CUDAGraph:
            def __init__(self):
                self.seconds = 0.0

            def replay(self):
                gpu.busy(1e-6, self.seconds)

        class Generator:
            """As CUDA's, it cannot be used after a capture that failed, but a copy of its state can."""

            usable = True

            def clone_state(self):
                return Generator()

            def graphsafe_set_state(self, state):
                self.usable = state.usable

        @contextlib.contextmanager
        def capture(graph, stream=None):
            gpu.graph, before, gpu.stream = graph, gpu.stream, stream
            try:
                yield
            except BaseException:
                gpu.generator.usable = False
                raise
            else:
                gpu.stream = before  # older versions of torch leave it there after an error
            finally:
                gpu.graph = None

        self.generator, self.mode, self.stream = Generator(), 0, Stream()
        monkeypatch.setattr(torch.cuda, "default_generators", [self.generator])
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: self.mode)
        monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", self.set_mode)

        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "Stream", Stream)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", CUDAGraph)
        monkeypatch.setattr(torch.cuda, "graph", capture)
        monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: self.stream)
        monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: setattr(self, "stream", stream))
        monkeypatch.setattr(torch.cuda, "synchronize", self.synchronise)

    def synchronise(self, device=None):
        if self.graph is not None:
            raise RuntimeError("operation not permitted when stream is capturing")
        if self.mode == "warn":
            warnings.warn("called a synchronizing CUDA operation", stacklevel=2)
        self.host = max(self.host, self.device)

    def set_mode(self, mode):
        warnings.warn("Synchronization debug mode is a prototype feature", stacklevel=2)
        self.mode = mode

    def busy(self, host_seconds, device_seconds):
        """The host starts work and goes on."""
        if self.graph is not None:
            self.graph.seconds += device_seconds
            return
        self.host += host_seconds
        if self.host - self.device > self.cold:
            self.worked = 0.0  # it has gone to sleep
        if self.worked < self.cold:
            device_seconds *= SLOW
        self.device = max(self.device, self.host) + device_seconds
        self.worked += device_seconds

    def part(self, host_ms, device_ms, waits=False):
        """A part that takes so long on each."""

        def work():
            self.busy(host_ms / 1e3, device_ms / 1e3)
            if waits:
                self.synchronise()

        return work
