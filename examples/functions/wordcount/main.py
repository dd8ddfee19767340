"""Counts the lines, words and characters of a text, and its most frequent words."""

import json
import re
from collections import Counter

WORD = re.compile(r"\w+(?:['’]\w+)*")


def lambda_handler(event, context):
    text = event.get("text") if isinstance(event, dict) else None
    if not isinstance(text, str):
        return bad_request("'text' has to be a string")
    top = whole_number(event.get("top", 10))
    if top is None or not 0 <= top <= 100:
        return bad_request("'top' has to be a whole number from 0 to 100")

    words = [word.casefold() for word in WORD.findall(text)]
    frequent = sorted(Counter(words).items(), key=lambda pair: (-pair[1], pair[0]))[:top]
    counts = {
        "lines": len(text.splitlines()),
        "words": len(words),
        "characters": len(text),
        "distinct": len(set(words)),
        "top": [{"word": word, "count": count} for word, count in frequent],
    }
    return {"statusCode": 200, "body": json.dumps(counts, ensure_ascii=False)}


def whole_number(value):
    """Takes numbers, and digits in a string as they come from query parameters; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    try:
        return int(value)
    except ValueError:
        return None


def bad_request(message):
    return {"statusCode": 400, "body": json.dumps({"error": message})}
