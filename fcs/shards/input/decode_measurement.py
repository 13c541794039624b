"""Decodes measurements: NumPy's files of floats, read without numpy.load, which believes what a header claims."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from torch import Tensor

from fcs.shards.input.decode_image import BadRecordError

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_FLOATS = (2, 4, 8)  # bytes


def decode_measurement(data: bytes, shape: tuple[int, ...]) -> Tensor:
    """A record's measurement as float32.

    Args:
        data: a ``.npy`` file.
        shape: that it must have; an axis of length 1 may come first, as of a batch of one.

    Raises:
        BadRecordError: it is no such file, or holds another shape or type, or NaN or infinity.
    """
    found, fortran, kind, start = _header(data)
    if kind.kind != "f" or kind.itemsize not in _FLOATS:
        raise BadRecordError("bad_measurement", f"{kind}, expected float16, float32 or float64")
    if found not in (shape, (1, *shape)):
        raise BadRecordError("bad_measurement", f"shape {found}, expected {shape}")
    count = math.prod(shape)
    if len(data) - start != count * kind.itemsize:
        raise BadRecordError("bad_measurement", f"{len(data) - start} bytes of numbers, expected {count} {kind}")
    numbers = np.frombuffer(data, kind, count, start).reshape(shape, order="F" if fortran else "C")
    with np.errstate(over="ignore"):  # what is too large for float32 is named below
        value = np.ascontiguousarray(numbers, np.float32)
    if not np.isfinite(value).all():
        raise BadRecordError("bad_measurement", "NaN, infinity or more than float32 holds")
    return torch.from_numpy(value.copy())


def measurement_shape(data: bytes) -> tuple[int, ...]:
    """The shape that a ``.npy`` file says it has.

    Raises:
        BadRecordError: it is no such file.
    """
    return _header(data)[0]


def _header(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether in Fortran's order, type, and where the numbers begin."""
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"version {version[0]}.{version[1]} of the format")
        shape, fortran, kind = _HEADERS[version](file)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise BadRecordError("bad_measurement", f"no .npy file of numbers ({error})") from error
    return tuple(int(side) for side in shape), fortran, kind, file.tell()
