"""Fetching 1,000 small files from an S3 server on this machine (moto), one at a time and 16.

The server waits a moment before each answer, as one across a network does: python -m
benchmarks.remote_fetch --latency 20
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--latency", type=float, default=0, help="milliseconds before each answer")
    asked = parser.parse_args()

    import boto3
    from moto.moto_server import threaded_moto_server as server

    application = server.DomainDispatcherApplication(server.create_backend_app)

    def slowly(environ: WSGIEnvironment, respond: StartResponse) -> object:
        time.sleep(asked.latency / 1000)
        return application(environ, respond)

    server.DomainDispatcherApplication = lambda _: slowly
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    wait, asked.latency = asked.latency, 0
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    for number in range(asked.files):
        client.put_object(Bucket="bucket", Key=f"f/{number:05d}.jpg", Body=os.urandom(4096))
    asked.latency = wait

    from graft.data.remote_fetch import fetched
    from graft.data.remote_store import Store

    seconds = {}
    for parallel in (1, 16):
        with tempfile.TemporaryDirectory() as folder:
            store = Store("s3://bucket/f")
            files = store.listed()
            began = time.perf_counter()
            for _ in fetched(store, files, Path(folder), parallel=parallel):
                pass
            seconds[parallel] = time.perf_counter() - began
            print(f"{parallel:2} at a time: {seconds[parallel]:6.1f} s for {len(files):,} files")
    print(f"ratio {seconds[1] / seconds[16]:.1f}")
    running.stop()


if __name__ == "__main__":
    main()
