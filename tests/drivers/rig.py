"""A rig for tests: answers as `sdl.drivers.command.config` asks, with the faults of a plan.

    rig.py LOG SEED MODE

MODE: `ids` repeats the id of each request, `plain` leaves it out. Every request goes to LOG, one JSON object a line,
with the fault that was played on it; faults are drawn with SEED and the number of the request.
"""

import json
import os
import random
import sys
import threading
import time
from pathlib import Path

FAULTS = (
    "none",
    "garbage",
    "hang",
    "death",
    "late",
    "twice",
    "wrong applied",
    "partial",
    "error",
    "nan",
    "no json object",
)


def response(settings):
    return {"R": 3 * settings["a"] + settings["b"], "Q": settings["a"] - 2 * settings["b"]}


def main(log, seed, mode):
    lock = threading.Lock()

    def write(answer):
        with lock:
            print(answer if isinstance(answer, str) else json.dumps(answer), flush=True)

    count = len(Path(log).read_text().splitlines()) if os.path.exists(log) else 0
    for line in sys.stdin:
        ask, count = json.loads(line), count + 1
        rng = random.Random(f"{seed} {count}")
        off = "off" in ask
        settings = ask["off"] if off else ask["measure"]
        fault = rng.choice(FAULTS) if rng.random() < 0.6 else "none"
        with open(log, "a") as file:
            file.write(json.dumps({"ask": ask, "fault": fault, "at": time.time()}) + "\n")
        head = {"id": ask["id"]} if mode == "ids" else {}
        answer = {**head, "applied": settings} | ({} if off else {"readings": response(settings)})
        if fault == "garbage":
            write(rng.choice(["ready.", '{"readings": ', "\x00\xff", "[1, 2", "NaN"]))
        elif fault == "hang":
            time.sleep(60)
        elif fault == "death":
            print("ValueError: water everywhere", file=sys.stderr)
            os._exit(rng.choice([0, 1, 7]))
        elif fault == "late":
            time.sleep(1.0)
            write(answer)
        elif fault == "twice":
            write(answer)
            threading.Timer(rng.choice([0.0, 0.01, 0.1]), write, [answer]).start()
        elif fault == "wrong applied":
            wrong = {name: value + 1 for name, value in settings.items()}
            write({**answer, "applied": wrong} | ({} if off else {"readings": response(wrong)}))
        elif fault == "partial":
            write({**answer, "readings": {"R": 1.0}} if not off else {**head, "applied": {"a": 0}})
        elif fault == "error":
            write({**head, "error": "no water", "retryable": rng.random() < 0.5})
        elif fault == "nan":
            write(json.dumps({**answer, "readings": {"R": 1.0, "Q": float("nan")}}) if not off else {**head})
        elif fault == "no json object":
            write("[1, 2]")
        else:
            write(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
