"""A network as an ONNX model, built from arrays with `onnx.helper`: no tracing, no torch.

`channel`-pruned layers are really smaller. The other schemes are dense convolutions with zeros:
ONNX Runtime has no sparse convolution, so they gain nothing there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sr_core.network import chroma
from sr_core.network.colour import CHANNELS, RGB
from sr_core.network.extract import ExtractedLayer
from sr_core.network.plain import Network, PlainNetwork, plain

OPSET = 17
IR_VERSION = 8
INPUT, OUTPUT = "lr", "sr"


def build(network: Network, *, rgb: bool = False) -> onnx.ModelProto:
    """Return the ONNX model of a network.

    Input `lr`: float32 (N, C, H, W), RGB or luma in 0..1. Output `sr`: float32 (N, C, s H, s W),
    not clipped. N, H and W are dynamic. The candidate and model id travel as metadata.

    Args:
        rgb: RGB in and out, also of a luma network, whose chroma is upscaled beside it.
    """
    net, graph = plain(network), _Graph()
    coloured = rgb and net.colour != "rgb"
    seen = graph.conv(chroma.to_ycbcr(0), INPUT, name="luma") if coloured else INPUT
    phases = _phases(net, graph, seen)
    if coloured:
        luma = graph.shuffled(phases, net.scale)
        colours = graph.conv(chroma.to_ycbcr(1, 2), INPUT, name="chroma_of")
        grown = graph.shuffled(graph.edge_conv(chroma.chroma(net.scale), colours), net.scale)
        graph.conv(chroma.to_rgb(), graph.node("Concat", luma, grown, axis=1), output=OUTPUT)
    else:
        graph.shuffled(phases, net.scale, output=OUTPUT)
    return graph.model(net, RGB if rgb else CHANNELS[net.colour])


def _phases(net: PlainNetwork, graph: _Graph, seen: str) -> str:
    """Add the network from what it sees to what the pixel shuffle takes."""
    stream = seen
    if net.input_mean:
        mean = graph.constant("input_mean", np.float32(net.input_mean))
        stream = graph.node("Sub", seen, mean)
    for layer in net.head:
        stream = graph.conv(layer, stream)
    for cell in net.cells:
        branch = stream
        for layer in cell:
            branch = graph.conv(layer, branch)
        stream = graph.node("Add", stream, branch)
    skip = graph.edge_conv(net.input_skip, seen) if net.input_skip else None
    phases = graph.conv(net.tail, stream)
    return graph.node("Add", phases, skip) if skip else phases


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

    def conv(
        self,
        layer: ExtractedLayer,
        x: str,
        *,
        pad: int | None = None,
        name: str = "",
        output: str = "",
    ) -> str:
        """Add a convolution and its ReLU or PReLU. It keeps the size, unless `pad` is given."""
        kernel, name = layer.weight.shape[-1], name or layer.name
        weight = self.constant(f"{name}.weight", layer.weight)
        bias = self.constant(f"{name}.bias", layer.bias)
        pads = [kernel // 2 if pad is None else pad] * 4
        y = self.node(
            "Conv", x, weight, bias, output=output, kernel_shape=[kernel, kernel], pads=pads
        )
        if layer.slope is not None:
            slope = self.constant(f"{name}.slope", layer.slope[:, None, None])
            return self.node("PRelu", y, slope)
        return self.node("Relu", y) if layer.relu else y

    def edge_conv(self, layer: ExtractedLayer, x: str) -> str:
        """Add a convolution of an edge-padded image."""
        edge = layer.weight.shape[-1] // 2
        if not edge:
            return self.conv(layer, x)
        name = f"{layer.name}.edge_pads"
        pads = self.constant(name, np.array([0, 0, edge, edge] * 2, dtype=np.int64))
        return self.conv(layer, self.node("Pad", x, pads, mode="edge"), pad=0)

    def shuffled(self, phases: str, scale: int, *, output: str = "") -> str:
        """Add a pixel shuffle."""
        return self.node("DepthToSpace", phases, output=output, blocksize=scale, mode="CRD")

    def model(self, network: PlainNetwork, channels: int) -> onnx.ModelProto:
        scale = network.scale
        graph = helper.make_graph(
            self.nodes,
            f"upfront-{network.id}",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", channels, "h", "w"])],
            [
                helper.make_tensor_value_info(
                    OUTPUT, TensorProto.FLOAT, ["n", channels, f"{scale}*h", f"{scale}*w"]
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
