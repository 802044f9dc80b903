"""torchvision, which downloads and knows Fashion-MNIST, imported in the one place that knows its ways."""

import sys
from types import ModuleType

import torch


def import_torchvision() -> ModuleType:
    """Import torchvision, also where it was built for CUDA and torch for the CPU.

    There torchvision's compiled operators do not load, and the import ends at the two schemas that it expects of them.
    Declared without an implementation they let it through; data sets and transforms need neither.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for loaded in [m for m in sys.modules if m.partition(".")[0] == "torchvision"]:
            del sys.modules[loaded]
        torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    return torchvision
