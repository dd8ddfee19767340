"""Finds and loads the handler."""

import os
import sys
import time

from _worker_front.failures import Failed


# What json brings with it. These are Python's own to every function, whether its sandbox has waited (bootstrap.py) or not,
# as on AWS Lambda: a bundle may have a file of such a name, which is not meant.
BROUGHT_BY_JSON = {"json", "re", "enum", "types", "functools", "operator", "collections", "keyword", "copyreg", "reprlib"}


def has_name_of(names, folder):
    try:
        return any(entry.partition(".")[0] in names for entry in os.listdir(folder))
    except FileNotFoundError:
        return False


def load(settings):
    """Makes the sandbox ready for the function's code and gives its handler."""
    folder = os.environ.pop("WORKER_FRONT_FUNCTION_DIR", "/function")
    os.environ.update(settings["env"])
    if "TZ" in settings["env"]:
        time.tzset()
    code, installed = f"{folder}/code", f"{folder}/python"
    os.chdir(code)
    if has_name_of(BROUGHT_BY_JSON, code) or has_name_of(BROUGHT_BY_JSON, installed):
        import json  # noqa: F401
    own = [code, installed] if settings["dependencies"] == "first" else [installed, code]
    # The first entry is the bootstrap's folder: the function must not be able to import it by accident.
    sys.path[:1] = own
    name = settings["handler"] or "main.lambda_handler"
    module_name, _, function_name = name.replace("/", ".").rpartition(".")
    if not module_name or not function_name:
        raise Failed("error", f"the handler '{name}' has not the form 'module.function'")
    module = import_module(module_name, code)
    handler = getattr(module, function_name, None)
    if not callable(handler):
        raise Failed("error", f"the module '{module_name}' has no function '{function_name}'")
    return handler


def import_module(name, code):
    top = name.partition(".")[0]
    # The handler itself is always the bundle's, also where installed packages come first.
    if sys.path[0] != code and top not in sys.modules:
        from importlib.machinery import PathFinder
        from importlib.util import module_from_spec

        spec = PathFinder.find_spec(top, [code])
        if spec is not None and spec.loader is not None:
            module = module_from_spec(spec)
            sys.modules[top] = module
            spec.loader.exec_module(module)
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        # Only when it is the handler's module itself that is missing; a missing import inside it keeps its trace.
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise
        raise Failed("error", f"the handler's module '{name}' was not found in the function's code") from None
    return sys.modules[name]
