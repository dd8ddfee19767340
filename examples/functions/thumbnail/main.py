"""Makes a thumbnail of an image: base64 in, base64 out."""

import base64
import binascii
import io
import json

from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 24_000_000  # of the input; unpacked it takes up to four bytes a pixel
INPUT_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
OUTPUT_FORMATS = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP"}


def lambda_handler(event, context):
    if not isinstance(event, dict) or not isinstance(event.get("image"), str):
        return bad_request("'image' has to be a base64 string")
    width, height = event.get("width", 128), event.get("height", 128)
    for name, value in (("width", width), ("height", height)):
        if type(value) is not int or not 1 <= value <= 1024:
            return bad_request(f"'{name}' has to be a whole number from 1 to 1024")
    wanted = event.get("format", "png")
    if not isinstance(wanted, str) or wanted.lower() not in OUTPUT_FORMATS:
        return bad_request(f"'format' has to be one of {', '.join(OUTPUT_FORMATS)}")

    try:
        data = base64.b64decode(event["image"], validate=True)
    except (binascii.Error, ValueError):
        return bad_request("'image' is not valid base64")
    try:
        source = Image.open(io.BytesIO(data), formats=INPUT_FORMATS)
        if source.width * source.height > MAX_PIXELS:
            return bad_request(f"the image has more than {MAX_PIXELS} pixels")
        source.load()
    except UnidentifiedImageError:
        return bad_request(f"'image' is none of {', '.join(INPUT_FORMATS)}")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return bad_request(f"'image' cannot be read: {error}")

    return {"statusCode": 200, "body": json.dumps(thumbnail(source, width, height, wanted.lower()))}


def thumbnail(source, width, height, wanted):
    before = source.format
    image = ImageOps.exif_transpose(source)
    image.thumbnail((width, height))
    image = image.convert("RGB" if wanted == "jpeg" else "RGBA")
    out = io.BytesIO()
    image.save(out, OUTPUT_FORMATS[wanted])
    return {
        "image": base64.b64encode(out.getvalue()).decode("ascii"),
        "format": wanted,
        "width": image.width,
        "height": image.height,
        "source": {"format": before.lower() if before else None, "width": source.width, "height": source.height},
    }


def bad_request(message):
    return {"statusCode": 400, "body": json.dumps({"error": message})}
