"""What schemathesis does not know by itself: a zip as a body, and what no reply may have in it."""

import os

import schemathesis

# Paths of the machine, and stacks of Node.js.
FORBIDDEN = [text for text in os.environ["FUZZ_FORBIDDEN"].split("\n") if text]


@schemathesis.serializer("application/zip")
def zip_body(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@schemathesis.check
def never_500(ctx, response, case):
    assert response.status_code != 500, f"{case.method} {case.path} is an internal error"


@schemathesis.check
def says_nothing_of_the_machine(ctx, response, case):
    text = response.content.decode("utf-8", "replace") + repr(response.headers)
    for forbidden in FORBIDDEN:
        assert forbidden not in text, f"the reply to {case.method} {case.path} has '{forbidden}' in it"
