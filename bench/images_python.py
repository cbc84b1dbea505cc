"""Times Python `datasets` with Pillow on a folder of images: 100 rows, each decoded and saved as JPEG. Import time is left out.

Usage: images_python.py DATASET_FOLDER OUTPUT_FOLDER      (needs datasets and Pillow)
Prints one JSON line: wall and CPU seconds, peak RSS of the process in MB.
"""

import json
import os
import resource
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
import datasets  # noqa: E402
import PIL.Image  # noqa: E402, F401
import PIL.JpegImagePlugin  # noqa: E402, F401
import PIL.PngImagePlugin  # noqa: E402, F401

datasets.disable_progress_bars()
wall, cpu = time.perf_counter(), time.process_time()
split = datasets.load_dataset(sys.argv[1], split="train", streaming=True)
for index, row in enumerate(split.take(100)):
    row["image"].save(os.path.join(sys.argv[2], f"{index}.jpg"), "JPEG")
print(
    json.dumps(
        {
            "wall_s": round(time.perf_counter() - wall, 3),
            "cpu_s": round(time.process_time() - cpu, 3),
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "rows": index + 1,
        }
    )
)
sys.stdout.flush()
os._exit(0)
