"""Networks of other forms than ours run in the engine as in ONNX Runtime; ours are unchanged."""

from __future__ import annotations

import hashlib
from itertools import product

import numpy as np
import pytest

from sr_core.engine.library import Library
from sr_core.engine.pack import pack
from sr_core.engine.session import Session
from sr_core.network.candidate import SCALES
from sr_core.network.plain import PlainNetwork, plain
from sr_core.rivals.arch import ARCHITECTURES
from sr_core.rivals.weights import assemble
from tests.engine.networks import TOLERANCE, Reference, images, network
from tests.engine.test_matrix import BLOCKS, pruned
from tests.rivals.stored import random_tensors

SIZES = ((1, 1), (1, 7), (5, 1), (2, 3), (7, 15), (4, 65), (13, 17), (6, 131))
THREADS = (1, 2, 3)
DIGEST = "969859aa70c4e08e1f625717d47aa0b44feed56ae579ce9713d27bd843f5fbdd"


def rival(name: str, scale: int, *, published: bool = False) -> PlainNetwork:
    arch = ARCHITECTURES[name]
    tensors = random_tensors(arch, scale, published=published)
    return assemble(arch, scale, tensors, published=published)


@pytest.mark.parametrize(("name", "scale"), list(product(ARCHITECTURES, SCALES)))
@pytest.mark.parametrize("published", [False, True])
def test_equals_onnx_runtime(library: Library, name: str, scale: int, published: bool) -> None:
    net = rival(name, scale, published=published)
    reference = Reference(net)
    sessions = [Session(net, library, threads=threads) for threads in THREADS]
    for height, width in SIZES:
        lr = images(height, width, channels=sessions[0].channels)
        expected = reference.run(lr)
        first, *others = [session.run(lr) for session in sessions]
        assert expected.std() > 0.02 or lr.size < 8  # or the comparison would be of nothing
        assert np.abs(first - expected).max() <= TOLERANCE, (height, width)
        assert all(np.array_equal(first, other) for other in others)


def test_zeros_of_a_deconvolution_are_left_out() -> None:
    tail = rival("fsrcnn", 4).tail
    assert tail.mask.sum() == 9 * 9 * 56 * 3 < tail.weight.size
    assert not tail.weight[~tail.mask].any()
    steps = pack(rival("fsrcnn", 4)).plan.steps
    assert not any(op.kind == "read_edge" for step in steps for op in step.ops)  # no input skip


def test_a_relu_before_the_stream_costs_an_identity() -> None:
    """The kernel adds before a ReLU; without one, nothing is put in."""

    def convs(net: PlainNetwork) -> int:
        return sum(op.kind == "conv" for step in pack(net).plan.steps for op in step.ops)

    net = rival("sesr-m5", 2)
    assert convs(net) == len(net.layers) + 1
    ours = plain(network(pruned(("wide",), "block", 2, 16)))
    assert convs(ours) == len(ours.layers)


def test_our_networks_pack_to_the_bytes_they_always_had() -> None:
    """Digest taken when version 2 came, whose results were those of version 1 bit for bit."""
    digest = hashlib.sha256()
    for blocks, scale, scheme in product(BLOCKS, SCALES, ("dense", "block", "unstructured")):
        digest.update(pack(network(pruned(blocks, scheme, scale, 16))).blob)
    assert digest.hexdigest() == DIGEST
