"""A network as an ONNX model, built from arrays with `onnx.helper`: no tracing, no torch.

`channel`-pruned layers are really smaller. The other schemes are dense convolutions with zeros:
ONNX Runtime has no sparse convolution, so they gain nothing there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sr_core.network.extract import ExtractedLayer
from sr_core.network.plain import Network, PlainNetwork, plain

OPSET = 17
IR_VERSION = 8
INPUT, OUTPUT = "lr", "sr"


def build(network: Network) -> onnx.ModelProto:
    """Return the ONNX model of a network.

    Input `lr`: float32 (N, 3, H, W), RGB in 0..1. Output `sr`: float32 (N, 3, s H, s W), not
    clipped. N, H and W are dynamic. The candidate and model id travel as metadata.
    """
    net, graph, stream = plain(network), _Graph(), INPUT
    if net.input_mean:
        mean = graph.constant("input_mean", np.float32(net.input_mean))
        stream = graph.node("Sub", INPUT, mean)
    for layer in net.head:
        stream = graph.conv(layer, stream)
    for cell in net.cells:
        branch = stream
        for layer in cell:
            branch = graph.conv(layer, branch)
        stream = graph.node("Add", stream, branch)
    skip = graph.input_skip(net.input_skip) if net.input_skip else None
    phases = graph.conv(net.tail, stream)
    if skip:
        phases = graph.node("Add", phases, skip)
    graph.node("DepthToSpace", phases, output=OUTPUT, blocksize=net.scale, mode="CRD")
    return graph.model(net)


class _Graph:
    """An ONNX graph while nodes and initializers are added, under unique names."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.generic | np.ndarray) -> str:
        array = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"t{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, inputs, [output], name=f"{op}_{output}", **attributes)
        )
        return output

    def conv(self, layer: ExtractedLayer, x: str, *, pad: int | None = None) -> str:
        """Add a convolution and the layer's ReLU. It keeps the size, unless `pad` is given."""
        kernel = layer.weight.shape[-1]
        weight = self.constant(f"{layer.name}.weight", layer.weight)
        bias = self.constant(f"{layer.name}.bias", layer.bias)
        pads = [kernel // 2 if pad is None else pad] * 4
        y = self.node("Conv", x, weight, bias, kernel_shape=[kernel, kernel], pads=pads)
        return self.node("Relu", y) if layer.relu else y

    def input_skip(self, layer: ExtractedLayer) -> str:
        """Add a convolution of the edge-padded image."""
        edge = layer.weight.shape[-1] // 2
        if not edge:
            return self.conv(layer, INPUT)
        pads = self.constant("edge_pads", np.array([0, 0, edge, edge] * 2, dtype=np.int64))
        return self.conv(layer, self.node("Pad", INPUT, pads, mode="edge"), pad=0)

    def model(self, network: PlainNetwork) -> onnx.ModelProto:
        scale = network.scale
        graph = helper.make_graph(
            self.nodes,
            f"upfront-{network.id}",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", 3, "h", "w"])],
            [
                helper.make_tensor_value_info(
                    OUTPUT, TensorProto.FLOAT, ["n", 3, f"{scale}*h", f"{scale}*w"]
                )
            ],
            self.initializers,
        )
        model = helper.make_model(
            graph,
            producer_name="upfront",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        helper.set_model_props(model, {"model_id": network.id, "scale": str(scale)})
        return model
