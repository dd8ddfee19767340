"""JSON of events and results, without the objects around it that the json module makes for each."""

import json

from _worker_front.failures import Failed

try:
    from json.encoder import c_make_encoder, encode_basestring
except ImportError:
    c_make_encoder = None


def refuse_constant(text):
    raise ValueError(f"{text} is not JSON")


scan_header = json.JSONDecoder().scan_once
scan_event = json.JSONDecoder(parse_constant=refuse_constant).scan_once


def read_json(text, scan):
    """One JSON value."""
    try:
        value, end = scan(text, 0)
    except StopIteration:
        end = -1
    # What has space around it, or is wrong, takes the long way: it knows what to say.
    return value if end == len(text) else json.loads(text, parse_constant=refuse_constant)


def parse(body):
    try:
        return read_json(body.decode("utf-8"), scan_event)
    except RecursionError:
        raise Failed("invalid_event", "the event is nested too deeply") from None
    except ValueError as error:
        raise Failed("invalid_event", f"the event is not JSON: {error}") from None


plain_encoder = json.JSONEncoder()


def write(result, limit):
    try:
        if c_make_encoder is None:
            text = json.dumps(result, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        else:
            # The same, without the objects around it.
            encode = c_make_encoder({}, plain_encoder.default, encode_basestring, None, ":", ",", False, False, False)
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
        body = json.dumps(result, allow_nan=False, separators=(",", ":")).encode()
    if len(body) > limit:
        raise Failed("too_large", f"the result has {len(body)} bytes, at most {limit} are allowed")
    return body
