"""From JSON to what a script's main wants, and from what it returns to JSON."""

_FUNCTION = type(lambda: None)
_FINITE = (float("inf"), float("-inf"))
_REQUIRED = object()


# arguments


def parse(text):
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


def call(main, args):
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
