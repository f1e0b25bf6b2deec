"""Usage: the code with which a person uses an export, format by format; it stands in the card and is run by a test."""

from __future__ import annotations

DECODE = '''
def pixels(file):
    """Decode as in training: large JPEG files at a half, a quarter or an eighth, turned as EXIF says, in RGB."""
    image = Image.open(file)
    if min(image.size) >= {twice}:
        share = {least} / min(image.size)
        image.draft(None, (int(image.width * share), int(image.height * share)))
    return np.array(ImageOps.exif_transpose(image).convert("RGB"))
'''

ONNX = (
    """
import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])

"""
    + DECODE
    + """

(probabilities,) = session.run(["probabilities"], {{"images": pixels("image.jpg")[None]}})
best = probabilities[0].argmax()
print(classes[best], probabilities[0, best])
"""
)

TORCH_EXPORT = (
    """
import json

import numpy as np
import torch
from PIL import Image, ImageOps

inside = {{"classes.json": ""}}
model = torch.export.load("model.pt2", extra_files=inside).module()
classes = json.loads(inside["classes.json"])

"""
    + DECODE
    + """

images = torch.from_numpy(pixels("image.jpg"))[None]
with torch.inference_mode():
    probabilities = model(images)
best = int(probabilities[0].argmax())
print(classes[best], float(probabilities[0, best]))
"""
)

TIMM = """
import json
from pathlib import Path

import timm
import torch
from PIL import Image, ImageOps

folder = Path(".")  # where config.json and model.safetensors lie; or "hf-hub:OWNER/NAME" in the place of local-dir
config = json.loads((folder / "config.json").read_text())
model = timm.create_model(f"local-dir:{{folder}}", pretrained=True).eval()
prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)

image = ImageOps.exif_transpose(Image.open("image.jpg")).convert("RGB")
with torch.inference_mode():
    logits = model(prepare(image)[None])
probabilities = (logits / config["temperature"]).softmax(1)
best = int(probabilities[0].argmax())
print(config["label_names"][best], float(probabilities[0, best]))
"""

SAFETENSORS = """
from dataclasses import asdict
from pathlib import Path

import torch

from tlx.data.decode import decode
from tlx.data.transforms import Prepare
from tlx.network import model_folder

model = model_folder.load(Path("."))  # where network.json and weights.safetensors lie
prepare = Prepare(**asdict(model.preprocessing))

image = prepare(decode(Path("image.jpg"), prepare.least))
with torch.inference_mode():
    probabilities = (model.network(image[None]) / model.temperature).softmax(1)
best = int(probabilities[0].argmax())
print(model.classes[best], float(probabilities[0, best]))
"""

CODE = {"onnx": ONNX, "torch_export": TORCH_EXPORT, "timm": TIMM, "safetensors": SAFETENSORS}
INSTALL = {
    "onnx": "pip install onnxruntime numpy pillow",
    "torch_export": "pip install torch numpy pillow",
    "timm": "pip install timm",
    "safetensors": "pip install tlx",
}


def usage(format: str, least: int) -> str:
    """Return the code; ``least`` is how many pixels a file's short side must have when it is decoded."""
    return CODE[format].format(least=least, twice=2 * least).strip()
