"""What went wrong, as init is told."""

class Failed(Exception):
    """A failure that is not the handler's own exception."""

    def __init__(self, kind, message):
        self.kind = kind
        self.message = message


def cut(text, limit):
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def describe(error):
    """The fields of `failed` for an exception, in Python's own form and without frames of the bootstrap."""
    if isinstance(error, Failed):
        return {"kind": error.kind, "message": cut(error.message, 16384)}
    kind = "memory" if isinstance(error, MemoryError) else "error"
    try:
        message = str(error)
    except Exception:
        message = "(the exception cannot be shown as text)"
    try:
        import traceback

        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename.startswith(OWN):
            trace = trace.tb_next
        lines = [cut(line.rstrip("\n"), 2048) for line in traceback.format_exception(type(error), error, trace)]
    except Exception:
        lines = []
    if len(lines) > 64:
        lines = lines[:32] + ["  ..."] + lines[-31:]
    return {
        "kind": kind,
        "errorType": cut(type(error).__name__, 256),
        "message": cut(message, 16384),
        "trace": lines,
    }


# The folder of the bootstrap, with which the names of its files begin.
OWN = describe.__code__.co_filename.partition("_worker_front/")[0]
