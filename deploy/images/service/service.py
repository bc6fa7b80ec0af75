"""Stands in for one service of a stack. What it does is set by its environment:

SERVICE_NAME   the name it reports
SERVICE_PORT   where it answers: / its status, /healthz
SERVICE_ALSO   a second port that accepts connections, for a service that has two
PEERS          host:port,host:port: connected to again and again, and reported as reachable or not
WATCH          a directory whose files are watched: changes are printed and counted
"""

import os
import socket
import threading
import time
from pathlib import Path

import status_page

ROUND_SECONDS = 5
CONNECT_SECONDS = 2
# A directory larger than this is reported as "at least": the stand-in stays small.
WATCHED_FILES = 10_000

name = os.environ["SERVICE_NAME"]
port = int(os.environ["SERVICE_PORT"])
peers = [peer for peer in os.environ.get("PEERS", "").split(",") if peer]
watched = os.environ.get("WATCH")
started = time.monotonic()
reachable = {}
files = {"changes": 0, "count": 0}


def status():
    return {
        "service": name,
        "host": socket.gethostname(),
        "up_seconds": round(time.monotonic() - started),
        "environment": sorted(os.environ),
        "peers": reachable,
        "files": files if watched else None,
    }


def ask(peer):
    host, _, number = peer.rpartition(":")
    try:
        socket.create_connection((host, int(number)), CONNECT_SECONDS).close()
        return True
    except OSError:
        return False


def ask_peers():
    for peer in peers:
        answer = ask(peer)
        if reachable.get(peer) != answer:
            print(f"{peer} is {'reachable' if answer else 'not reachable'}")
        reachable[peer] = answer


def look(directory):
    """Name and time of change of every file below the directory."""
    seen = {}
    for path in Path(directory).rglob("*"):
        if len(seen) == WATCHED_FILES:
            break
        try:
            if path.is_file():
                seen[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue
    return seen


def report_changes(before, after):
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            kind = "new" if path not in before else "gone" if path not in after else "changed"
            print(f"{kind}: {path}")
            files["changes"] += 1
    files["count"] = len(after)


def accept_also(number):
    """Accepts and closes connections on a second port."""
    with socket.create_server(("", number)) as server:
        while True:
            server.accept()[0].close()


def main():
    status_page.stop_on_signals()
    status_page.serve(port, status, lambda: True)
    if os.environ.get("SERVICE_ALSO"):
        number = int(os.environ["SERVICE_ALSO"])
        threading.Thread(target=accept_also, args=(number,), daemon=True).start()
    print(f"{name} answers on port {port}")
    seen = look(watched) if watched else {}
    while True:
        ask_peers()
        if watched:
            now = look(watched)
            report_changes(seen, now)
            seen = now
        time.sleep(ROUND_SECONDS)


if __name__ == "__main__":
    main()
