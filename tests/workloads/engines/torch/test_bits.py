"""Packing: every one-hot vector, any length, any content, against NumPy's packbits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

from workloads.engines.torch import bits  # noqa: E402
from workloads.engines.torch.scratch import Scratch  # noqa: E402

LENGTHS = [1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 130]


@pytest.mark.parametrize("length", LENGTHS)
def test_every_one_hot_vector_has_its_own_bit(length: int) -> None:
    for hot in range(length):
        flags = torch.zeros(length, dtype=torch.bool)
        flags[hot] = True
        expected = [0] * bits.packed_bytes(length)
        expected[hot // 8] = 1 << (hot % 8)
        assert bits.pack(flags).tolist() == expected


@pytest.mark.parametrize("length", LENGTHS)
def test_every_one_hot_vector_comes_back(length: int) -> None:
    for hot in range(length):
        packed = torch.zeros(bits.packed_bytes(length), dtype=torch.uint8)
        packed[hot // 8] = 1 << (hot % 8)
        signs = bits.unpack(packed, length)
        assert signs[hot] == 1 and int((signs == -1).sum()) == length - 1


@pytest.mark.parametrize("length", [n for n in LENGTHS if n % 8])
def test_bits_after_the_last_element_are_zero(length: int) -> None:
    packed = bits.pack(torch.ones(length, dtype=torch.bool))
    assert int(packed[-1]) == (1 << length % 8) - 1


@given(st.lists(st.booleans(), min_size=1, max_size=300))
def test_packing_is_numpys_little_endian_packbits(flags: list[bool]) -> None:
    packed = bits.pack(torch.tensor(flags))
    assert packed.tolist() == np.packbits(np.array(flags), bitorder="little").tolist()


@given(st.lists(st.booleans(), min_size=1, max_size=300), st.sampled_from([torch.int8, torch.float32]))
def test_unpacking_undoes_packing(flags: list[bool], dtype: torch.dtype) -> None:
    packed = bits.pack(torch.tensor(flags))
    assert bits.unpack(packed, len(flags), dtype, low=0).tolist() == [float(flag) for flag in flags]
    assert bits.unpack(packed, len(flags), dtype).tolist() == [1.0 if flag else -1.0 for flag in flags]


def test_an_unaligned_run_of_flags_packs_alike() -> None:
    flags = torch.rand(203, generator=torch.Generator().manual_seed(1)) < 0.5
    shifted = torch.cat([torch.zeros(3, dtype=torch.bool), flags])[3:]
    out = torch.empty(bits.packed_bytes(203), dtype=torch.uint8)
    bits.pack_flags_(shifted, out, Scratch(torch.device("cpu")))
    assert out.tolist() == np.packbits(flags.numpy(), bitorder="little").tolist()


def test_a_column_of_packed_rows_unpacks_in_row_order() -> None:
    flags = torch.rand(6, 24, generator=torch.Generator().manual_seed(2)) < 0.5
    columns = bits.pack(flags).view(6, 3)[:, 1:3]
    out = torch.empty(6, 16)
    bits.unpack_into(columns, out, Scratch(torch.device("cpu")), low=0)
    assert torch.equal(out.bool(), flags[:, 8:24])
