"""What the core is told of shifts and mirrors. Imported only where images are augmented."""

from ctypes import Structure, c_int32, c_uint64, c_void_p


class Moves(Structure):
    """See `harness_moves`."""

    _fields_ = [
        ("key", c_uint64),
        ("row", c_void_p),
        *[(name, c_int32) for name in ("channels", "height", "width", "max_dx", "max_dy", "flips")],
    ]
