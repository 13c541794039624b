"""A network as one compiled graph; where it does not compile, it runs eagerly."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

from fcs.core.errors import first_line
from fcs.core.memory import is_out_of_memory

BACKEND = "inductor"
# Harmless warnings of the compiler: it looks at .grad of a tensor that is no leaf, and into functions with a cache.
HARMLESS = ("The .grad attribute of a Tensor that is not a leaf", "Dynamo detected a call to a `functools")
SHAPES = 64  # that a network is compiled for before it runs eagerly; torch's own limit is eight
REFUSALS = (TorchDynamoException, FailOnRecompileLimitHit)  # raised while compiling only
log = logging.getLogger("fcs")


class Compiled:
    """A network, compiled as a whole at the first call with each shape.

    Shapes are static: a run has one (its last batch is padded), or two where guidance stops before the last level.
    Parameters keep their names. Where it does not compile, for example without a C++ compiler or for the 65th shape,
    it logs one warning and runs eagerly from then on.

    Args:
        network: ``(x (N, *), t (N,), cond) -> output (N, *)``.
        cuda_graphs: replay it on a GPU as one CUDA graph. An output is then overwritten by the next call.
    """

    def __init__(self, network: nn.Module, cuda_graphs: bool = False) -> None:
        self.network = network
        self.works = True
        self.cuda_graphs = cuda_graphs
        self._said = False
        for message in HARMLESS:
            warnings.filterwarnings("ignore", message=message)
        limits: Any = torch._dynamo.config
        limits.recompile_limit = max(limits.recompile_limit, SHAPES)
        options: dict[str, Any] | None = {"triton.cudagraphs": True} if cuda_graphs else None
        self._graph = torch.compile(network, backend=BACKEND, fullgraph=True, dynamic=False, options=options)

    def _say(self) -> None:
        if not self._said:
            log.warning("compiling the network, which takes minutes unless its kernels were kept from an earlier run")
            self._said = True

    def __call__(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """The network's output."""
        if self.works:
            try:
                if self.cuda_graphs and x.is_cuda:
                    # The last output is no longer needed.
                    torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
                self._say()
                out: Tensor = self._graph(x, t, cond)
                return out
            except REFUSALS as error:
                if is_out_of_memory(error):
                    raise
                self.works = False
                cause = getattr(error, "inner_exception", error)  # a backend's own
                reason = f"{type(cause).__name__}: {first_line(cause)}"
            log.warning("the network does not compile and runs as it is; bytes may differ (%s)", reason)
        eager: Tensor = self.network(x, t, cond)
        return eager
