"""Small ICC profiles: a gamma, with the primaries of Adobe RGB or none (grey)."""

from __future__ import annotations

import struct

ADOBE = {"rXYZ": (0.60974, 0.31111, 0.01947), "gXYZ": (0.20528, 0.62567, 0.06087), "bXYZ": (0.14919, 0.06322, 0.74457)}
D50 = (0.9642, 1.0, 0.8249)


def profile(gamma: float, grey: bool = False) -> bytes:
    """A version 2 display profile."""
    curve = struct.pack(">4sIIH", b"curv", 0, 1, round(gamma * 256)) + b"\0\0"
    text = b"a test\0"
    described = struct.pack(">4sII", b"desc", 0, len(text)) + text + struct.pack(">IIHB", 0, 0, 0, 0) + bytes(67)
    tags = {"desc": described, "wtpt": _xyz(D50), "cprt": struct.pack(">4sI", b"text", 0) + b"none\0"}
    if grey:
        tags["kTRC"] = curve
    else:
        tags |= {name: _xyz(value) for name, value in ADOBE.items()}
        tags |= {name: curve for name in ("rTRC", "gTRC", "bTRC")}
    table, body, place = b"", b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += struct.pack(">4sII", name.encode(), place + len(body), len(data))
        body += data
    kind = b"GRAY" if grey else b"RGB "
    head = struct.pack(">I4sI4s4s4s", place + len(body), b"lcms", 0x02100000, b"mntr", kind, b"XYZ ") + bytes(12)
    head += b"acsp" + bytes(28) + _fixed(D50)
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + body


def _xyz(values: tuple[float, float, float]) -> bytes:
    return struct.pack(">4sI", b"XYZ ", 0) + _fixed(values)


def _fixed(values: tuple[float, float, float]) -> bytes:
    return struct.pack(">3i", *(round(value * 65536) for value in values))
