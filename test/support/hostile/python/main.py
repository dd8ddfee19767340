"""Tries what a function must not be able to do, and tells what came of each attempt.

`{"try": [names]}` answers `{name: outcome}`: `done`, the name of an errno, or what the attempt has found. `{"do": name}` does
one of the loud things of loud.py and link.py. Otherwise the event is the answer.
"""

import os

import channel
import files
import link
import loud
import memory
import neighbours
import privileges
import processes
from outcome import outcome

ATTEMPTS = {}
for module in (privileges, files, channel, memory, neighbours, processes):
    ATTEMPTS.update(module.ATTEMPTS)
DEEDS = {**loud.DEEDS, **link.DEEDS}

if "EARLY" in os.environ:
    link.early(os.environ["EARLY"])


def lambda_handler(event, context):
    if "try" in event:
        return {name: outcome(lambda: ATTEMPTS[name](event)) for name in event["try"]}
    if "do" in event:
        return DEEDS[event["do"]](event, context.aws_request_id)
    return event
