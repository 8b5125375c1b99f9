"""Writes files and rows durably, as SEND does: ``python -m bench.limits.durable DESCRIPTION DIRECTORY SIZE``.

For each line ``THREADS SECONDS`` on its input that many threads write a file of SIZE bytes, fsync it and its
directory, and commit one row; the answer is how many of these were done a second.
"""

import json
import os
import sys
from threading import Thread
from time import perf_counter
from typing import Any
from uuid import uuid4

import psycopg2
import psycopg2.extras

from bench.processes import tell


def write(directory: int, name: str, content: bytes) -> None:
    """Write a file durably: fsync the file and its directory."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
    os.write(descriptor, content)
    os.fsync(descriptor)
    os.close(descriptor)
    os.fsync(directory)


def work(database: dict[str, Any], path: str, content: bytes, end: float, done: list[int]) -> None:
    """Write files and rows until the time is over."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    connection = psycopg2.connect(**database)
    count = 0
    while perf_counter() < end:
        identity = uuid4()
        write(directory, str(identity), content)
        with connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO bench_limit (id, name) VALUES (%s, %s)", (identity, str(identity)))
        count += 1
    connection.close()
    os.close(directory)
    done.append(count)


def rate(database: dict[str, Any], path: str, content: bytes, threads: int, seconds: float) -> float:
    """Give the number of files and rows written per second."""
    done: list[int] = []
    begin = perf_counter()
    # Each sender has a directory of its own in the product, too.
    paths = [os.path.join(path, str(number)) for number in range(threads)]
    for each in paths:
        os.makedirs(each, exist_ok=True)
    workers = [Thread(target=work, args=(database, each, content, begin + seconds, done)) for each in paths]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) / (perf_counter() - begin)


def prepare(database: dict[str, Any]) -> None:
    """Make the table."""
    connection = psycopg2.connect(**database)
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS bench_limit (id uuid PRIMARY KEY, name text NOT NULL)")
    connection.close()


def _main(database: dict[str, Any], path: str, content: bytes) -> None:
    psycopg2.extras.register_uuid()
    prepare(database)
    tell("ready")
    for line in sys.stdin:
        threads, seconds = line.split()
        tell(rate(database, path, content, int(threads), float(seconds)))


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as told:
        described = json.load(told)
    _main(described["database"], sys.argv[2], os.urandom(int(sys.argv[3])))
