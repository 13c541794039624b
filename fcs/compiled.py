"""A network as one compiled graph, and as it is where it does not compile."""

from __future__ import annotations

import logging
import warnings

import torch
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException

from fcs.errors import first_line
from fcs.memory import is_out_of_memory

BACKEND = "inductor"
# Warnings of the compiler's own doings: it looks at .grad of an x that has a history, and into functions with a cache.
SAID_IN_PASSING = ("The .grad attribute of a Tensor that is not a leaf", "Dynamo detected a call to a `functools")
log = logging.getLogger("fcs")


class Compiled:
    """A network, compiled as a whole at the first call with each shape.

    Shapes are static: a run has one of them (its last batch is padded), two where guidance stops on the way. Its
    parameters stay its own, under their own names. Where it does not compile, for want of a C++ compiler for
    instance, one warning says so and it runs as it is from there on.

    Args:
        network: ``(x (N, *), t (N,), cond) -> output (N, *)``.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.works = True
        for message in SAID_IN_PASSING:
            warnings.filterwarnings("ignore", message=message)
        self._graph = torch.compile(network, backend=BACKEND, fullgraph=True, dynamic=False)

    def __call__(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """The network's output."""
        if self.works:
            try:
                out: Tensor = self._graph(x, t, cond)
                return out
            except TorchDynamoException as error:  # raised while compiling only
                if is_out_of_memory(error):
                    raise
                self.works = False
                cause = getattr(error, "inner_exception", error)  # a backend's own
                reason = f"{type(cause).__name__}: {first_line(cause)}"
            log.warning("the network does not compile and runs as it is; bytes may differ (%s)", reason)
        eager: Tensor = self.network(x, t, cond)
        return eager
