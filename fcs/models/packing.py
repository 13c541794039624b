"""How a pipeline packs its decoder's latents for the network, learnt from what its own end does to probes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

# An index is sent in digits of this base, so that its rounding is far below one half in the decoder's type.
BASE = {torch.float32: 1024, torch.float64: 1024, torch.float16: 64, torch.bfloat16: 16}


class Packing(nn.Module):
    """A rearrangement of entries, and shift and scale of each: ``decoder[v] = scale[v] packed[source[v]] + shift[v]``.

    The model's own space is in between: arranged as the decoder's latents, in the packed ones' units. There masks and
    pictures are, and noise is white.

    Args:
        source: ``(D,)`` of each of the decoder's entries, its place among the packed ones.
        scale, shift: ``(C, h, w)``.
        packed_shape: of one sample as the network's loop holds it.
        decoded_shape: of one sample as the decoder takes it, ``(C, h, w)`` or ``(C, 1, h, w)``.
    """

    source: Tensor
    back: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(
        self, source: Tensor, scale: Tensor, shift: Tensor, packed_shape: Sequence[int], decoded_shape: Sequence[int]
    ) -> None:
        super().__init__()
        self.register_buffer("source", source, persistent=False)
        self.register_buffer("back", source.argsort(), persistent=False)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)
        self.packed_shape = tuple(packed_shape)
        self.decoded_shape = tuple(decoded_shape)
        self.moves = not torch.equal(source, torch.arange(len(source)))

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, h, w)`` of the model's space."""
        return self.decoded_shape[0], self.decoded_shape[-2], self.decoded_shape[-1]

    def pack(self, x: Tensor) -> Tensor:
        """``(N, C, h, w)`` to what the pipeline's loop holds."""
        flat = x.flatten(1)
        return (flat[:, self.back] if self.moves else flat).view(len(x), *self.packed_shape)

    def unpack(self, packed: Tensor) -> Tensor:
        """What the pipeline's loop holds to ``(N, C, h, w)``."""
        flat = packed.reshape(len(packed), -1)
        return (flat[:, self.source] if self.moves else flat).view(len(packed), *self.shape)

    def to_decoder(self, x: Tensor) -> Tensor:
        """``(N, C, h, w)`` to the decoder's latents."""
        return (x * self.scale + self.shift).view(len(x), *self.decoded_shape)

    def from_decoder(self, latents: Tensor) -> Tensor:
        """The encoder's latents to ``(N, C, h, w)``."""
        return (latents.reshape(len(latents), *self.shape) - self.shift) / self.scale


def learn(tail: Callable[[Tensor], Tensor], packed: Tensor) -> Packing:
    """The packing of a pipeline.

    Args:
        tail: what its end hands to the decoder for given latents ``(1, ...)``.
        packed: latents as its loop holds them, ``(1, ...)``; for shape, type and device.

    Raises:
        ValueError: the decoder's latents are no rearrangement of the packed ones.
    """
    place = torch.arange(packed[0].numel(), device=packed.device)

    def sent(values: Tensor) -> Tensor:
        return tail(values.to(packed.dtype).view(packed.shape)).double()

    handed = tail(torch.zeros_like(packed))
    base = min(BASE.get(handed.dtype, 16), BASE.get(packed.dtype, 16))
    shift = handed.double()
    if shift.numel() != packed.numel() or len(shift) != 1 or not _flat(shift):
        raise ValueError(f"latents {tuple(packed.shape)} become {tuple(shift.shape)} for the decoder")
    scale = sent(torch.ones_like(packed)) - shift
    source, unit = torch.zeros(shift.numel(), dtype=torch.long), 1
    while unit < len(place):
        digits = (sent((place // unit % base).double() / base) - shift) / scale * base
        source += unit * digits.flatten().round().long().cpu()
        unit *= base
    if not torch.equal(source.sort().values, place.cpu()):
        raise ValueError("the decoder's latents are no rearrangement of the network's")
    spatial = (shift.shape[1], *shift.shape[-2:])
    scale, shift = scale.float().cpu(), shift.float().cpu()
    return Packing(source, scale.view(spatial), shift.view(spatial), packed.shape[1:], shift.shape[1:])


def _flat(latents: Tensor) -> bool:
    """Whether latents are of one picture: ``(1, C, h, w)`` or one frame ``(1, C, 1, h, w)``."""
    return latents.ndim == 4 or (latents.ndim == 5 and latents.shape[2] == 1)
