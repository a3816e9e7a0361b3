"""What each of two processes runs of which the first does something long by itself."""

import signal
import time

from util.processes import group

SECONDS = 12.0  # longer than anybody is waited for who shows no life

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: None)  # which whoever trains would note
    with group.joined("cpu", seconds=60):
        group.wait_for_all()
        print(f"process {group.rank()} begins", flush=True)
        if group.rank() == 0:
            time.sleep(SECONDS)
        group.wait_for_all()
        print(f"process {group.rank()} goes on", flush=True)
