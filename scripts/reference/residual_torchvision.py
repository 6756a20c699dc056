"""Lets torchvision be imported where its compiled operators cannot be loaded.

PyPI's torchvision for Linux is compiled against PyTorch with CUDA. Beside PyTorch for the CPU its operators are left out, and
the import fails, since it describes two of them. Networks and transforms use none. `npm run setup:reference` installs this as a
hook: the two are declared, without an implementation, before torchvision is first imported.
"""

import importlib.abc
import sys


class DeclareOperators(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "torchvision":
            return None
        sys.meta_path.remove(self)
        import torch

        for operator in ["nms", "qnms"]:
            arguments = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{operator}", arguments)
        return None


sys.meta_path.insert(0, DeclareOperators())
