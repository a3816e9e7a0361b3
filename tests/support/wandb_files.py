"""Print as JSON what an offline run of wandb has in its file: python -m ... FOLDER."""

import json
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def records(content: bytes) -> Iterator[bytes]:
    """Yield records of LevelDB's log format: blocks of 32 KiB, records split between them."""
    place, data = 7, b""
    while place + 7 <= len(content):
        rest = 32768 - place % 32768
        if rest < 7:
            place += rest
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        data += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield data
            data = b""


def logged(folder: Path) -> dict[str, Any]:
    """Return the name, the project, the options and all that was logged below a folder."""
    from wandb.proto import wandb_internal_pb2

    messages: Any = wandb_internal_pb2  # its names are made when it is imported
    found: dict[str, Any] = {"history": [], "config": {}}
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    deadline = time.monotonic() + 30
    while not list(records(file.read_bytes())) and time.monotonic() < deadline:
        time.sleep(0.1)  # on a busy machine wandb's own process is not done yet
    for data in records(file.read_bytes()):
        record = messages.Record.FromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["name"], found["project"] = record.run.display_name, record.run.project
            for item in record.run.config.update:
                found["config"][item.key] = json.loads(item.value_json)
        elif kind == "history":
            row = {
                "/".join(item.nested_key) or item.key: json.loads(item.value_json)
                for item in record.history.item
            }
            found["history"].append(row)
    return found


if __name__ == "__main__":
    json.dump(logged(Path(sys.argv[1])), sys.stdout)
