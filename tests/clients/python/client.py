"""redis-py with default settings, writing a ledger of every answer; see ../README.md."""

import argparse
import signal
import time

import redis

BREATH = 0.002


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--password")
    parser.add_argument("--id", required=True)
    parser.add_argument("--ledger", required=True)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    return parser.parse_args()


def main() -> None:
    args = arguments()
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    client = redis.Redis(host=args.host, port=args.port, password=args.password)
    started = last = time.monotonic()
    gap = 0.0
    turn = 0
    with open(args.ledger, "w", buffering=1) as ledger:
        while not stopping and time.monotonic() - started < args.seconds:
            turn += 1
            for operation in ("incr", "append"):
                try:
                    if operation == "incr":
                        line = f"incr {client.incr(f'c:{args.id}')}"
                    else:
                        line = f"append {turn} {client.append(f'log:{args.id}', f'{turn},')}"
                except redis.RedisError as error:
                    line = f"error {operation} {type(error).__name__}: {error}".replace("\n", " ")
                    time.sleep(0.05)
                now = time.monotonic()
                gap, last = max(gap, now - last), now
                ledger.write(line + "\n")
            time.sleep(BREATH)
        ledger.write(f"end {gap * 1000:.1f}\n")


main()
