"""A classifier without a deep-learning framework: ONNX Runtime makes feature maps, cpool pools them, NumPy decides.

The network is built here, with random weights, so that nothing has to be downloaded: what it says of the
images means nothing, but it must say the same whichever way the feature maps lie.
"""

from __future__ import annotations

import itertools
import sys

import numpy as np

import cpool

try:
    import onnx
    import onnxruntime
    from onnx import helper
except ImportError as error:
    sys.exit(f"This example needs onnx and onnxruntime ({error}): pip install onnx onnxruntime")

CHANNELS = (3, 16, 32, 64)  # of the image and after each convolution
SIZE = (2, 3)  # what each feature map is pooled to
CLASSES = 10


def network(random: np.random.Generator, channels_last: bool) -> onnx.ModelProto:
    """Three convolutions with stride 2; the feature maps come out as (N, C, H, W) or as (N, H, W, C)."""
    nodes, weights, last = [], [], "images"
    for i, (before, after) in enumerate(itertools.pairwise(CHANNELS)):
        kernel = random.standard_normal((after, before, 3, 3), dtype=np.float32) * np.sqrt(2 / (9 * before))
        weights.append(onnx.numpy_helper.from_array(kernel.astype(np.float32), f"kernel{i}"))
        nodes.append(helper.make_node("Conv", [last, f"kernel{i}"], [f"conv{i}"], strides=[2, 2], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"conv{i}"], [f"relu{i}"]))
        last = f"relu{i}"
    order = [0, 2, 3, 1] if channels_last else [0, 1, 2, 3]
    nodes.append(helper.make_node("Transpose", [last], ["features"], perm=order))
    images = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["N", CHANNELS[0], "H", "W"])
    features = helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "features", [images], [features], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def features(images: np.ndarray, channels_last: bool) -> np.ndarray:
    """What the network makes of the images; its weights are always the same."""
    model = network(np.random.default_rng(0), channels_last)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    made: np.ndarray = session.run(None, {"images": images})[0]
    return made


def by_numpy(x: np.ndarray) -> np.ndarray:
    """The averages of (N, C, H, W), part by part."""
    (height, width), (m, n) = x.shape[2:], SIZE
    pooled = np.empty((*x.shape[:2], m, n))
    for i, j in np.ndindex(m, n):
        part = x[:, :, i * height // m : -(-(i + 1) * height // m), j * width // n : -(-(j + 1) * width // n)]
        pooled[:, :, i, j] = part.mean(axis=(2, 3), dtype=np.float64)
    return pooled


def main() -> int:
    """Classify a few images both ways; 1 if the two disagree."""
    random = np.random.default_rng(1)
    images = random.random((4, CHANNELS[0], 149, 203), dtype=np.float32)
    weights = random.standard_normal((CLASSES, CHANNELS[-1], *SIZE), dtype=np.float32)

    # channels first: the weights in the order of (C, H, W)
    first = features(images, channels_last=False)
    pool = cpool.nn.AdaptiveAvgPool2d(SIZE)
    scores = pool(first).reshape(len(images), -1) @ weights.reshape(CLASSES, -1).T
    assert np.allclose(pool(first), by_numpy(first), rtol=1e-6)

    # channels last: the same weights in the order of (H, W, C)
    last = features(images, channels_last=True)
    pool_last = cpool.nn.AdaptiveAvgPool2d(SIZE, data_format="channels_last")
    weights_last = weights.transpose(0, 2, 3, 1)
    scores_last = pool_last(last).reshape(len(images), -1) @ weights_last.reshape(CLASSES, -1).T

    kind = cpool.explain(cpool.adaptive_avg_pool2d, first, SIZE).kind
    print(f"images          {images.shape}")
    print(f"channels first  {first.shape} -> {pool(first).shape}  by {pool}")
    print(f"channels last   {last.shape} -> {pool_last(last).shape}  by {pool_last}")
    print(f"windows         {kind}\n")
    print("image  class  score  the same with channels last")
    for i, (one, two) in enumerate(zip(scores, scores_last, strict=True)):
        print(f"{i:5}  {one.argmax():5}  {one.max():5.2f}  class {two.argmax()}, score {two.max():.2f}")

    agree = np.allclose(scores, scores_last, rtol=1e-4, atol=1e-4) and (scores.argmax(1) == scores_last.argmax(1)).all()
    print("\nBoth layouts agree." if agree else "\nThe layouts DISAGREE.")
    return int(not agree)


if __name__ == "__main__":
    sys.exit(main())
