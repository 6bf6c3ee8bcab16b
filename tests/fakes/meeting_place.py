"""Starts a program in several processes that meet, as torchrun does for those who have time to import torch for it.

    python -P meeting_place.py COUNT PROGRAM ARGUMENT...

The first that fails ends the others, which would wait for it.
"""

import os
import socket
import subprocess
import sys


def main():
    count, program = int(sys.argv[1]), sys.argv[2:]
    with socket.create_server(("127.0.0.1", 0)) as free:
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    processes = {}
    for rank in range(count):
        ranked = meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
        process = subprocess.Popen([sys.executable, "-P", *program], env=os.environ | ranked)
        processes[process.pid] = process
    for _ in range(count):
        pid, status = os.wait()
        if status != 0:
            for other in processes.values():
                if other.pid != pid:
                    other.kill()
            sys.exit(1)


if __name__ == "__main__":
    main()
