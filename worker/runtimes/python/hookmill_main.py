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

_FUNCTION = type(lambda: None)
_FINITE = (float("inf"), float("-inf"))
_REQUIRED = object()
_OURS = {function.__code__.co_filename for function in (State.__init__, lambda: None)}


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
        head = _parse(head.decode())
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
        return _call(self._module.main, _parse(args.decode()))


# arguments


def _parse(text):
    try:
        from _json import make_scanner

        return make_scanner(_Decoding)(text.strip(" \t\r\n"), 0)[0]
    except (ImportError, AttributeError):
        import json

        return json.loads(text)


class _Decoding:
    strict = True
    object_hook = None
    object_pairs_hook = None
    array_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def _call(main, args):
    positional, named = _bind(_parameters(main), args)
    result = main(*positional, **named)
    if hasattr(type(result), "__await__"):
        result = _run_async(_awaited(result))
    if hasattr(type(result), "__aiter__"):
        result = _run_async(_collected(result))
    return result


def _run_async(coroutine):
    import asyncio

    return asyncio.run(coroutine)


async def _awaited(result):
    return await result


async def _collected(result):
    return [item async for item in result]


def _parameters(main):
    """(kind, name, default, annotation) of each; kinds are inspect's numbers."""
    if type(main) is not _FUNCTION or hasattr(main, "__wrapped__"):
        return _inspected(main)
    code = main.__code__
    count, before_names = code.co_argcount, code.co_posonlyargcount
    names = code.co_varnames
    annotations = main.__annotations__
    defaults = main.__defaults__ or ()
    parameters = []
    for at, name in enumerate(names[:count]):
        default = defaults[at - count + len(defaults)] if at >= count - len(defaults) else _REQUIRED
        parameters.append((0 if at < before_names else 1, name, default, annotations.get(name)))
    for name in names[count : count + code.co_kwonlyargcount]:
        default = (main.__kwdefaults__ or {}).get(name, _REQUIRED)
        parameters.append((3, name, default, annotations.get(name)))
    if code.co_flags & 0x08:
        parameters.append((4, None, _REQUIRED, None))
    return parameters


def _inspected(main):
    import inspect

    try:
        signature = inspect.signature(main)
    except (ValueError, TypeError):
        if not callable(main):
            raise TypeError("`main` is not a function") from None
        return [(4, None, _REQUIRED, None)]
    return [
        (int(p.kind), p.name, _REQUIRED if p.default is p.empty else p.default, p.annotation)
        for p in signature.parameters.values()
    ]


def _bind(parameters, args):
    """Positional and named arguments. What is missing is left to Python's own TypeError."""
    positional, named, complete = [], {}, True
    declared = {name for kind, name, _, _ in parameters if kind in (0, 1, 3)}
    for kind, name, default, annotation in parameters:
        if kind == 4:
            named.update((key, value) for key, value in args.items() if key not in declared)
        elif kind == 2 or name not in args and kind != 0:
            continue
        elif kind != 0:
            named[name] = _convert(name, args[name], annotation)
        elif complete and (name in args or default is not _REQUIRED):
            positional.append(_convert(name, args[name], annotation) if name in args else default)
        else:
            complete = False
    return positional, named


def _convert(name, value, annotation):
    if annotation is None or type(value) is not str:
        return value
    wanted = _type_names(annotation)
    if "str" in wanted:
        return value
    try:
        if "bytes" in wanted:
            from binascii import a2b_base64

            return a2b_base64(value)
        for kind in ("datetime", "date"):
            if kind in wanted or "datetime." + kind in wanted:
                import datetime

                return getattr(datetime, kind).fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"argument `{name}`: {error}") from None
    return value


def _type_names(annotation):
    if isinstance(annotation, str):
        text = annotation.strip()
        if text.endswith("]") and text.split("[")[0] in ("Optional", "typing.Optional", "Union", "typing.Union"):
            text = text[text.index("[") + 1 : -1].replace(",", "|")
        return {part.strip() for part in text.split("|")}
    if annotation in (bytes, str):
        return {annotation.__name__}
    if isinstance(annotation, type) and annotation.__module__ == "datetime":
        return {annotation.__name__}
    if type(annotation).__name__ in ("Union", "UnionType", "_UnionGenericAlias"):
        return {name for part in annotation.__args__ for name in _type_names(part)}
    return ()


# results


def encode(value):
    """UTF-8 JSON. The C encoder takes plain values; anything it refuses is made plain first."""
    try:
        text = _dump(value)
    except (TypeError, ValueError):
        text = _dump(_plain(value, set()))
    try:
        return text.encode()
    except UnicodeEncodeError:
        # surrogates: pairs become their character, lone ones U+FFFD
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def _dump(value):
    try:
        from _json import encode_basestring, make_encoder

        return "".join(make_encoder({}, _default, encode_basestring, None, ":", ",", False, False, False)(value, 0))
    except ImportError:
        import json

        return json.dumps(value, default=_default, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _default(value):
    """A value that JSON does not know, as one that it does, or nearly."""
    kind = type(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        from binascii import b2a_base64

        return b2a_base64(value, newline=False).decode()
    if isinstance(value, (set, frozenset)) or hasattr(kind, "__next__"):
        return list(value)
    if hasattr(kind, "__members__") and hasattr(value, "_value_"):
        return value._value_
    if hasattr(kind, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in kind.__dataclass_fields__}
    if kind.__module__ == "datetime" and hasattr(value, "isoformat"):
        return value.isoformat()
    return _foreign(value, kind)


def _foreign(value, kind):
    package = kind.__module__.partition(".")[0]
    if kind.__name__ == "DataFrame":
        return value.to_dicts() if package == "polars" else value.to_dict(orient="records")
    if package == "numpy":
        return value.tolist()
    if callable(getattr(kind, "model_dump", None)):
        return value.model_dump()
    if hasattr(kind, "keys") and hasattr(kind, "__getitem__"):
        return {key: value[key] for key in value.keys()}
    return str(value)


def _plain(value, above):
    """A copy of plain types only: NaN and the infinities as null, every key a string."""
    if isinstance(value, float):
        return None if value != value or value in _FINITE else float(value)
    if value is None or isinstance(value, (str, int)):
        return value
    if id(value) in above:
        raise ValueError("the result refers to itself: it cannot be written as JSON")
    above.add(id(value))
    if isinstance(value, dict):
        plain = {_key(key): _plain(item, above) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        plain = [_plain(item, above) for item in value]
    else:
        plain = _plain(_default(value), above)
    above.discard(id(value))
    return plain


def _key(key):
    key = _plain(key, set()) if not isinstance(key, (tuple, list)) else str(key)
    if isinstance(key, str):
        return str(key)
    return _dump(key) if key is None or isinstance(key, (int, float)) else str(key)


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
