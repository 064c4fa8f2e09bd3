"""Dramatiq on Redis: one task and one POST for each message, in processes of some threads."""

import json
import os
import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from requests import Session
from requests.adapters import HTTPAdapter

PROCESSES, THREADS = 2, 16
broker = RedisBroker(url=os.environ.get("BENCHMARK_REDIS", "redis://127.0.0.1:1/0"))
dramatiq.set_broker(broker)
session = Session()
session.mount("http://", HTTPAdapter(pool_maxsize=THREADS))


@dramatiq.actor
def post(url: str, headers: dict[str, str], body: str) -> None:
    session.post(url, headers=headers, data=body.encode()).raise_for_status()


def main(redis: str, count: str) -> None:
    """Enqueue all, then become the worker."""
    os.environ["BENCHMARK_REDIS"] = redis
    told = json.loads(os.environ["BENCHMARK_REQUEST"])
    own = RedisBroker(url=redis)
    own.declare_actor(post)
    for _ in range(int(count)):
        own.enqueue(post.message(told["url"], told["headers"], told["body"]))
    pool = ["--processes", str(PROCESSES), "--threads", str(THREADS)]
    os.execv(sys.executable, [sys.executable, "-m", "dramatiq", "benchmarks.peer_dramatiq", *pool])


if __name__ == "__main__":
    main(*sys.argv[1:])
