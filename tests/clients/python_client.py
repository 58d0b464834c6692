"""Windmill's own Python client, unmodified, against Hookmill: as a program, and as a script.

`main` is given a script by path and by hash that doubles `n`, and one that runs until it is
cancelled; it returns what each call of the client gave.
"""

import json
import sys
import time

import wmill


def main(path: str, hash: str, endless: str) -> dict:
    client = wmill.Windmill()
    queued = wmill.run_script_by_path_async(path, args={"n": 3})
    by_hash_queued = wmill.run_script_by_hash_async(hash, args={"n": 4})
    later = wmill.run_script_by_path_async(path, args={"n": 5}, scheduled_in_secs=1)
    told = {
        "by_path": wmill.run_script_by_path(path, args={"n": 1}),
        "by_hash": wmill.run_script_by_hash(hash, args={"n": 2}),
        "by_path_async": ended(queued),
        "by_hash_async": ended(by_hash_queued),
        "later": [ended(later), wmill.get_result(later)],
        "got": wmill.get_result(queued),
        "job": client.get_job(queued)["script_path"],
        "failure": failure(path),
        "canceled": canceled(endless),
        "whoami": wmill.whoami(),
        "user": client.user["email"],
        "version": client.version,
        "get_version": wmill.get_version(),
    }
    return told


def ended(job: str) -> str:
    return until(job, "COMPLETED")


def until(job: str, wanted: str) -> str:
    deadline = time.monotonic() + 30
    while (status := wmill.get_job_status(job)) != wanted:
        if time.monotonic() > deadline:
            raise TimeoutError(f"job {job} is {status}, not {wanted}")
        time.sleep(0.02)
    return status


def canceled(endless: str) -> list:
    job = wmill.run_script_by_path_async(endless)
    running = until(job, "RUNNING")
    answer = wmill.cancel_job(job, reason="enough")
    status = ended(job)
    return [running, answer == job, status, wmill.get_result(job)["error"]["reason"]]


def failure(path: str) -> str:
    try:
        wmill.run_script_by_path(path, args={"n": "no number"})
    except Exception as error:
        return str(error)
    raise AssertionError("a failed job raised nothing")


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
