"""Stores random vectors in PostgreSQL with pgvector and searches the nearest, again and again.

Every answer is compared with the distances computed here, so "healthy" means that the search is right.
Reads libpq's environment (PGHOST, PGUSER, PGPASSWORD, PGDATABASE). GET / on port 8000 shows the last search.
"""

import math
import random
import time

import psycopg2

import status_page

PORT = 8000
DIMENSIONS = 16
# Enough for a search to mean something, few enough to compare with all of them each time.
KEPT_VECTORS = 500
PAUSE_SECONDS = 2
# The database may restart under us; it is asked again at this pace.
RETRY_SECONDS = 1
# Two round trips late: the health check should notice a database that hangs.
STALE_SECONDS = 15
# pgvector keeps four-byte floats, so the same distance computed here differs in the seventh digit.
TOLERANCE = 1e-4

state = {"stored": 0, "searches": 0, "nearest": None, "distance": None, "error": "not connected yet"}
last_answer = None


def connect():
    connection = psycopg2.connect(connect_timeout=5, application_name="vector-demo")
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS memories ("
            "id bigserial PRIMARY KEY, stored_at timestamptz NOT NULL DEFAULT now(), "
            f"embedding vector({DIMENSIONS}) NOT NULL)"
        )
    return connection


def written(vector):
    return "[" + ",".join(f"{x:.6f}" for x in vector) + "]"


def read(text):
    return [float(x) for x in text.strip("[]").split(",")]


def store_and_search(cursor):
    """One round: store a vector, search the nearest to another one, check the answer."""
    cursor.execute("INSERT INTO memories (embedding) VALUES (%s)", (written(random_vector()),))
    cursor.execute(
        "DELETE FROM memories WHERE id <= (SELECT max(id) FROM memories) - %s", (KEPT_VECTORS,)
    )
    wanted = random_vector()
    cursor.execute(
        "SELECT id, embedding <-> %s AS distance FROM memories ORDER BY distance LIMIT 1",
        (written(wanted),),
    )
    nearest, distance = cursor.fetchone()
    cursor.execute("SELECT embedding::text FROM memories")
    distances = [math.dist(wanted, read(row[0])) for row in cursor.fetchall()]
    if abs(min(distances) - distance) > TOLERANCE:
        raise RuntimeError(f"wrong answer: {distance}, but the nearest is at {min(distances)}")
    return len(distances), nearest, distance


def random_vector():
    return [round(random.uniform(-1, 1), 6) for _ in range(DIMENSIONS)]


def work(connection):
    global last_answer
    with connection.cursor() as cursor:
        while True:
            stored, nearest, distance = store_and_search(cursor)
            last_answer = time.monotonic()
            state.update(
                stored=stored, searches=state["searches"] + 1, nearest=nearest,
                distance=round(distance, 4), error=None,
            )
            print(f"{stored} vectors stored, nearest is {nearest} at {distance:.4f}")
            time.sleep(PAUSE_SECONDS)


def healthy():
    return last_answer is not None and time.monotonic() - last_answer < STALE_SECONDS


def main():
    status_page.stop_on_signals()
    status_page.serve(PORT, lambda: state, healthy)
    while True:
        try:
            work(connect())
        except psycopg2.Error as error:
            state["error"] = str(error).strip().splitlines()[0]
            print(f"database: {state['error']}")
            time.sleep(RETRY_SECONDS)


if __name__ == "__main__":
    main()
