"""CamVid in miniature: its three layouts, names, palettes and colours, with drawn frames."""

import numpy as np
from PIL import Image

from tests.data.miniatures.ingested import blocks

FRAMES = {
    "train": ("0001TP_006690", "0001TP_008520", "0006R0_f00930", "0016E5_00390", "0016E5_07920", "0016E5_08190"),
    "val": ("0016E5_07959", "0016E5_08159"),
    "test": ("0001TP_008550", "0001TP_010380", "Seq05VD_f00000"),
}
# The 32 lines of label_colors.txt, as (red, green, blue, label, class of the 11); -1 for Void.
LABELS = (
    (64, 128, 64, "Animal", 9), (192, 0, 128, "Archway", 1), (0, 128, 192, "Bicyclist", 10), (0, 128, 64, "Bridge", 1),
    (128, 0, 0, "Building", 1), (64, 0, 128, "Car", 8), (64, 0, 192, "CartLuggagePram", 9), (192, 128, 64, "Child", 9),
    (192, 192, 128, "Column_Pole", 2), (64, 64, 128, "Fence", 7), (128, 0, 192, "LaneMkgsDriv", 3),
    (192, 0, 64, "LaneMkgsNonDriv", 3), (128, 128, 64, "Misc_Text", 6), (192, 0, 192, "MotorcycleScooter", 10),
    (128, 64, 64, "OtherMoving", 8), (64, 192, 128, "ParkingBlock", 4), (64, 64, 0, "Pedestrian", 9),
    (128, 64, 128, "Road", 3), (128, 128, 192, "RoadShoulder", 4), (0, 0, 192, "Sidewalk", 4),
    (192, 128, 128, "SignSymbol", 6), (128, 128, 128, "Sky", 0), (64, 128, 192, "SUVPickupTruck", 8),
    (0, 0, 64, "TrafficCone", 2), (0, 64, 64, "TrafficLight", 6), (192, 64, 128, "Train", 8), (128, 128, 0, "Tree", 5),
    (192, 128, 192, "Truck_Bus", 8), (64, 0, 64, "Tunnel", 1), (192, 192, 0, "VegetationMisc", 5),
    (0, 0, 0, "Void", -1), (64, 192, 0, "Wall", 1),
)  # fmt: skip


def draw_segnet(raw, *, folders=False):
    """Write the layout segnet, or folders with some JPEG images; class ids by split and frame."""
    random = np.random.default_rng(2)
    drawn = {}
    for split, frames in FRAMES.items():
        drawn[split] = {}
        for number, frame in enumerate(sorted(frames)):
            ids = blocks(random, tuple(range(12)), rows=6, columns=8, side=6).astype(np.uint8)
            photo = Image.fromarray(random.integers(0, 256, (*ids.shape, 3), dtype=np.uint8))
            image = raw / split / ("images" if folders else "") / f"{frame}.{'jpg' if folders and number else 'png'}"
            label = raw / (f"{split}/labels" if folders else f"{split}annot") / f"{frame}.png"
            for path, picture in ((image, photo), (label, Image.fromarray(ids))):
                path.parent.mkdir(parents=True, exist_ok=True)
                picture.save(path)
            drawn[split][frame] = np.where(ids == 11, 255, ids)
    return drawn


def draw_original(raw):
    """Write the layout original; per split and frame class ids of the 11 and of the 31."""
    random = np.random.default_rng(3)
    (raw / "701_StillsRaw_full").mkdir(parents=True)
    (raw / "LabeledApproved_full").mkdir()
    lines = [f"{red} {green} {blue}\t{'' if red else chr(9)}{label}" for red, green, blue, label, _ in LABELS]
    (raw / "label_colors.txt").write_text("\n".join(lines) + "\n\n")
    named = [label for *_, label, _ in LABELS if label != "Void"]
    drawn = {11: {}, 32: {}}
    for split, frames in FRAMES.items():
        drawn[11][split], drawn[32][split] = {}, {}
        for frame in sorted(frames):
            places = blocks(random, tuple(range(32)), rows=8, columns=8, side=5)
            colours = np.array([label[:3] for label in LABELS], np.uint8)[places]
            Image.fromarray(colours).save(raw / "LabeledApproved_full" / f"{frame}_L.png")
            photo = random.integers(0, 256, colours.shape, dtype=np.uint8)
            Image.fromarray(photo).save(raw / "701_StillsRaw_full" / f"{frame}.png")
            drawn[11][split][frame] = np.array([label[4] for label in LABELS])[places] % 256
            wanted = [named.index(label) if label in named else 255 for *_, label, _ in LABELS]
            drawn[32][split][frame] = np.array(wanted)[places]
    return drawn
