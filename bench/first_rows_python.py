"""Times Python `datasets` on a local dataset folder: resolve, stream, take 100 rows. Import time is left out.

Usage: first_rows_python.py DATASET_FOLDER      (needs datasets)
Prints one JSON line: wall and CPU seconds, peak RSS of the process in MB.
"""

import json
import os
import resource
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
import datasets  # noqa: E402

datasets.disable_progress_bars()
wall, cpu = time.perf_counter(), time.process_time()
split = datasets.load_dataset(sys.argv[1], split="train", streaming=True)
features = split.features or split._resolve_features().features
rows = list(split.take(100))
print(
    json.dumps(
        {
            "wall_s": round(time.perf_counter() - wall, 3),
            "cpu_s": round(time.process_time() - cpu, 3),
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "rows": len(rows),
            "columns": len(features),
        }
    )
)
sys.stdout.flush()
# Streaming Parquet leaves threads behind that can abort the interpreter's end; the figures are out by then.
os._exit(0)
