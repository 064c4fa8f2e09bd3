"""Celery on Redis: one task and one POST for each message, with a pool of 100 green threads."""

import json
import os
import sys

from celery import Celery
from requests import Session
from requests.adapters import HTTPAdapter

AT_ONCE = 100
app = Celery("peer", broker=os.environ.get("BENCHMARK_REDIS", ""))
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
)
session = Session()
session.mount("http://", HTTPAdapter(pool_maxsize=AT_ONCE))


@app.task
def post(url: str, headers: dict[str, str], body: str) -> None:
    session.post(url, headers=headers, data=body.encode()).raise_for_status()


def main(redis: str, count: str) -> None:
    """Enqueue all, then become the worker."""
    app.conf.broker_url = os.environ["BENCHMARK_REDIS"] = redis
    told = json.loads(os.environ["BENCHMARK_REQUEST"])
    for _ in range(int(count)):
        post.delay(told["url"], told["headers"], told["body"])
    pool = ["--pool=gevent", f"--concurrency={AT_ONCE}", "--without-gossip", "--without-mingle"]
    os.execv(
        sys.executable,
        [sys.executable, "-m", "celery", "-A", "benchmarks.peer_celery", "worker", *pool],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
