"""JSON by the parts of Python's json module that are written in C.

The module itself takes a megabyte and several milliseconds, for regular expressions above all: it is imported for what
its parts cannot do, by a sandbox that waits for its function, and by functions.
"""

from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

from _worker_front.failures import Failed


class Rules:
    """What the scanner asks for: JSON as it is, and none of Python's additions to it."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int

    @staticmethod
    def parse_constant(text):
        raise ValueError(f"{text} is not JSON")


scan = make_scanner(Rules)


def refuse(value):
    raise TypeError(f"Object of type {value.__class__.__name__} is not JSON serializable")


def read_json(text):
    """One JSON value."""
    try:
        value, end = scan(text, 0)
    except StopIteration:
        end = -1
    # What has space around it, or is wrong, takes the long way: it knows what to say.
    if end == len(text):
        return value
    import json

    return json.loads(text, parse_constant=Rules.parse_constant)


def parse(body):
    try:
        return read_json(body.decode("utf-8"))
    except RecursionError:
        raise Failed("invalid_event", "the event is nested too deeply") from None
    except ValueError as error:
        raise Failed("invalid_event", f"the event is not JSON: {error}") from None


def header_bytes(header):
    return "".join(make_encoder({}, refuse, encode_basestring_ascii, None, ":", ",", False, False, True)(header, 0)).encode()


def write(result, limit):
    try:
        # As json.dumps with ensure_ascii=False, allow_nan=False, separators=(",", ":").
        encode = make_encoder({}, refuse, encode_basestring, None, ":", ",", False, False, False)
        text = "".join(encode(result, 0))
    except MemoryError:
        raise
    except RecursionError:
        raise Failed("invalid_result", "the result cannot be written as JSON: it is nested too deeply") from None
    except Exception as error:
        raise Failed("invalid_result", f"the result cannot be written as JSON: {error}") from None
    try:
        body = text.encode("utf-8")
    except UnicodeEncodeError:
        # Lone surrogates have no UTF-8 form; as escapes they are legal JSON.
        import json

        body = json.dumps(result, allow_nan=False, separators=(",", ":")).encode()
    if len(body) > limit:
        raise Failed("too_large", f"the result has {len(body)} bytes, at most {limit} are allowed")
    return body
