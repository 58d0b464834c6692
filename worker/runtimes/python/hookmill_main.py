"""Runs a Hookmill script's main, for one job or for one after the other.

Started as `hookmill_main.serve([package folder, ...])` in the job's folder, with a socket to the worker as descriptor
0 and the log as 1 and 2. A frame, both ways: two lengths of four bytes (little-endian), a JSON object, a body.
The worker sends `run` (job, env, cwd, load, mode; the arguments are the body), and before the first of mode `fork`
a `load`; we say `ready`, and of each job `ended` (the result, or the error, is the body) and then `rest`: what could
not be put back.

Everything a script may not need (json, inspect, traceback, asyncio) is imported only when it does: an interpreter
that imports them takes three times as long to start.
"""

import posix
import sys

from hookmill_state import State
from hookmill_values import call, encode, parse

_OURS = {function.__code__.co_filename for function in (State.__init__, encode, lambda: None)}


def serve(packages):
    state = State()
    channel = Channel(state)
    _prepare(packages)
    channel.send(b'{"kind":"ready"}')
    script = Script()
    while (frame := channel.receive()) is not None:
        head, body = frame
        word = state.pipe() if head["kind"] == "load" else None
        ok = _job(channel, state, script, head, body)
        if head["mode"] == "fresh" or not script.is_loaded():
            sys.exit(0 if ok else 1)
        if word is not None:
            return _fork_ahead(channel, state, script, *word)
        channel.rest(state.restore())


def _job(channel, state, script, head, body):
    """One job, or what comes before the first; whether it went well."""
    process = posix.getpid()
    state.enter(head)
    try:
        if not script.is_loaded():
            script.load(head["load"])
            state.loaded()
        if head["kind"] == "load":
            return True
        payload, ok = encode(state.apart(script.call, body)), True
    except SystemExit:
        raise
    except BaseException as error:
        if posix.getpid() != process:
            raise
        ok, payload = False, encode(_describe(error))
    if posix.getpid() != process:
        # a fork that came back from main: the result is its parent's to give
        _flush()
        posix._exit(0)
    state.leave()
    _flush()
    channel.ended(ok, payload, state.peak_kib())
    return ok


def _fork_ahead(channel, state, script, done, say_done):
    """A zygote: each job gets a child that was forked before it came, and goes with it."""
    child = posix.fork()
    while child != 0:
        _, status = posix.waitpid(child, 0)
        if not state.has_come(done):
            # the worker asks for our end: it is that of the job
            state.end_as(status)
        child = posix.fork()
        if child != 0:
            channel.rest(state.left_elsewhere())
    frame = channel.receive()
    if frame is not None:
        _job(channel, state, script, *frame)
        posix.write(say_done, b"!")
    # without a word the zygote ends, too
    posix._exit(0)


class Channel:
    """The socket to the worker, out of the way of whoever closes low descriptors."""

    def __init__(self, state):
        self._descriptor = state.keep(0)
        null = posix.open("/dev/null", posix.O_RDWR)
        posix.dup2(null, 0)
        posix.close(null)
        self._job = b""

    def receive(self):
        lengths = self._read(8)
        if lengths is None:
            return None
        head = self._read(int.from_bytes(lengths[:4], "little"))
        body = self._read(int.from_bytes(lengths[4:], "little"))
        if head is None or body is None:
            return None
        head = parse(head.decode())
        self._job = encode(head["job"])
        return head, body

    def _read(self, count):
        parts, left = [], count
        while left:
            part = posix.read(self._descriptor, min(left, 1 << 20))
            if not part:
                return None
            parts.append(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def send(self, head, body=b""):
        frame = len(head).to_bytes(4, "little") + len(body).to_bytes(4, "little") + head
        self._write(frame + body if len(body) < 65536 else frame)
        if len(body) >= 65536:
            self._write(body)

    def _write(self, data):
        written = posix.write(self._descriptor, data)
        if written < len(data):
            rest = memoryview(data)[written:]
            while rest:
                rest = rest[posix.write(self._descriptor, rest) :]

    def ended(self, ok, body, peak_kib):
        ok = b"true" if ok else b"false"
        self.send(b'{"kind":"ended","job":%b,"ok":%b,"peak_kib":%d}' % (self._job, ok, peak_kib), body)

    def rest(self, left):
        self.send(b'{"kind":"rest","left":%b}' % encode(left))


def _prepare(packages):
    import builtins

    builtins.exit = builtins.quit = _Exit()
    builtins.help = _help
    sys.path.extend(packages)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    # integers of any size pass through JSON; time is bounded by the job's own limit
    sys.set_int_max_str_digits(0)


class _Exit:
    """What `site` would have put there."""

    def __repr__(self):
        return "Use exit() to end the script"

    def __call__(self, code=None):
        raise SystemExit(code)


def _help(*args):
    import pydoc

    return pydoc.help(*args)


class Script:
    """The module of a script, from its source; `inspect` and tracebacks ask it for that as they ask any loader."""

    def __init__(self):
        self._main = None

    def is_loaded(self):
        return self._main is not None

    def load(self, what):
        name, file, self._source = what["module"], what["file"], what["source"]
        sys.argv = [file]
        module = type(sys)(name)
        module.__file__ = posix.getcwd() + "/" + file
        module.__loader__ = self
        sys.modules[name] = module
        exec(compile(self._source, file, "exec", dont_inherit=True), module.__dict__)
        try:
            self._main = module.main
        except AttributeError:
            raise AttributeError("main function is missing: the script defines no `main`") from None
        self._module = module

    def get_source(self, _name=None):
        return self._source

    def call(self, args):
        if "args.json" in self._source:
            # by the contract it is there; nearly nobody reads it
            with open("args.json", "xb") as file:
                file.write(args)
        # what a job has put in its place is the next one's, as all globals are
        return call(self._module.main, parse(args.decode()))


# errors


def _describe(error):
    import traceback

    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in _OURS:
        trace = trace.tb_next
    try:
        message = str(error)
    except Exception:
        message = "the error has no text: its __str__ failed"
    try:
        stack = "".join(traceback.format_exception(type(error), error, trace))
    except Exception:
        stack = ""
    # the job shows 64 KiB of each
    return {"name": type(error).__name__, "message": message[:100_000], "stack": stack[:100_000]}


def _flush():
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
