"""The configuration: one schema validates it, fills in its defaults, and gives the stages their options.

`workflow/schemas/config.schema.yaml` (JSON Schema, 2020-12) describes every key once. The
workflow calls `complete(config)`. A stage that trains calls `add_options` and `settings`, so
its --help and its defaults are the schema's.
"""

import argparse
import contextlib
import copy
import difflib
import math
import os
import re
import sys
from pathlib import Path

from . import InputError, consistency

NOT_OF_TRAINING = ("kind", "noise")  # settings of a model that its training does not depend on
SCHEMA = Path(__file__).parents[2] / "schemas" / "config.schema.yaml"


def load_schema():
    """The schema, as a dict."""
    import yaml

    try:
        text = SCHEMA.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{SCHEMA}: no such file; the configuration is read from a clone of the project") from None
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def complete(config):
    """A copy of `config` with every default filled in. Raises an `InputError` that lists all faults.

    A table's entry (say, a model) that is null is removed. So a file can remove an entry of an earlier file.
    """
    from jsonschema import Draft202012Validator

    schema = load_schema()
    config, faults = _named(_renamed(copy.deepcopy(config)))
    if faults:
        raise InputError("configuration: " + "\n  ".join(faults))
    config = _fill(config, schema, schema["$defs"])
    faults = _unknown_keys(config, schema, schema["$defs"])
    for error in sorted(Draft202012Validator(schema).iter_errors(config), key=lambda error: list(map(str, error.path))):
        if error.validator not in ("additionalProperties", "unevaluatedProperties"):
            where = ".".join(map(str, error.path)) or "configuration"
            hint = error.schema.get("description", "")
            faults.append(f"{where}: {_said(error)}" + (f" ({hint})" if hint else ""))
    faults = faults or consistency.contradictions(config)
    if faults:
        raise InputError("configuration: " + "\n  ".join(faults))
    return config | {
        folder: os.path.normpath(os.path.expanduser(config[folder])) for folder in ("results", "resources")
    }


def _said(error):
    """A fault that the schema found, in words of YAML."""
    if error.validator == "type" and error.validator_value == "string":
        return f"{error.instance} is read as {_kind(error.instance)}; quote it"
    words = {"array": "a list, as in [1, 2]", "object": "a section of keys"}
    if error.validator == "type" and str(error.validator_value) in words:  # it may be a list of types
        return f"{error.instance!r} is not {words[error.validator_value]}"
    return error.message


def _kind(value):
    """What YAML has read a word as."""
    names = {bool: "true or false", int: "a number", float: "a number", type(None): "nothing"}
    return names.get(type(value), f"a {type(value).__name__}")


def _named(value, path=""):
    """`value` with keys that are numbers as their text, and a line for each key that YAML reads as something else."""
    if not isinstance(value, dict):
        return value, []
    named, faults = {}, []
    for key, entry in value.items():
        if isinstance(key, (str, int, float)) and not isinstance(key, bool):
            named[str(key)], found = _named(entry, f"{path}{key}.")
            faults += found
        else:
            faults.append(f"{path}{key}: a key that is read as {_kind(key)}; quote the name")
    return named, faults


def _renamed(config):
    """`config` with the keys of today: `data.images` was `data.svhn` once. A file may have both; the old name wins."""
    data = config.get("data")
    if isinstance(data, dict) and isinstance(data.get("svhn"), dict):
        data["images"] = _laid_over(data.get("images") or {}, data.pop("svhn"))
    return config


def _laid_over(below, above):
    """Two nested dicts as one; where both have a value, that of `above`."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return below | {key: _laid_over(below.get(key), value) for key, value in above.items()}


def read(path):
    """The completed configuration from a YAML or JSON file, or from standard input if `path` is "-"."""
    import yaml

    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        config = yaml.safe_load(text)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())}); give a configuration") from None
    if not isinstance(config, dict):
        raise InputError(f"{path}: holds {type(config).__name__}; expected the keys of a configuration")
    return complete(config)


def _resolve(schema, definitions, value=None):
    """`schema` with its $ref followed. If it has alternatives by `kind`, the one that `value` names."""
    for branch in schema.get("allOf", ()):
        if isinstance(value, dict) and branch["if"]["properties"]["kind"]["const"] == value.get("kind"):
            schema = branch["then"]
    while "$ref" in schema:
        schema = definitions[schema["$ref"].rsplit("/", 1)[-1]] | {k: v for k, v in schema.items() if k != "$ref"}
    return schema


def _children(value, schema, definitions):
    """Yield (key, schema) for the entries of a dict; the schema is None for an unknown key."""
    properties, table = schema.get("properties", {}), schema.get("additionalProperties")
    for key in value:
        if key in properties:
            yield key, _resolve(properties[key], definitions, value[key])
        else:
            yield key, _resolve(table, definitions, value[key]) if isinstance(table, dict) else None


def _typed(value, schema):
    """Text converted to the number, truth value, list entry or null that the schema wants, where possible.

    Snakemake passes nested --config values as text, and YAML reads 1e-3 as text.
    """
    if schema.get("type") in ("integer", "number"):
        for kind in (int, float) if isinstance(value, str) else ():
            with contextlib.suppress(ValueError):
                value = kind(value)
                break
        if isinstance(value, float):
            if not math.isfinite(value):
                return str(value)  # text, so that the schema refuses it
            return int(value) if schema["type"] == "integer" and value.is_integer() else value
    if schema.get("type") == "boolean" and isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower(), value)
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [_typed(item, schema["items"]) for item in value]
    return None if value == "null" and schema.get("type") != "string" else value


def _fill(value, schema, definitions):
    """`value` with defaults filled in, numbers converted from text, and null entries of tables removed."""
    schema = _resolve(schema, definitions, value)
    if not isinstance(value, dict) or schema.get("type") != "object":
        return _typed(value, schema)
    for key, child in schema.get("properties", {}).items():
        child = _resolve(child, definitions)
        default = copy.deepcopy(child.get("default"))
        nothing = value.get(key) is None and child.get("type") == "object"  # a section whose keys are all comments
        if (key not in value or nothing) and "default" in child:
            value[key] = default
        elif isinstance(default, dict) and isinstance(value.get(key), dict):
            entries = isinstance(child.get("additionalProperties"), dict)  # as in a table of models
            value[key] = value[key] if entries else default | value[key]
    if isinstance(schema.get("additionalProperties"), dict):
        value = {key: entry for key, entry in value.items() if entry not in (None, "null", "None")}
    return {
        key: _fill(value[key], child, definitions) if child else value[key]
        for key, child in _children(value, schema, definitions)
    }


def _unknown_keys(value, schema, definitions, path=""):
    """A line for each unknown key, with the known key most like it."""
    schema = _resolve(schema, definitions, value)
    if not isinstance(value, dict) or schema.get("type") != "object":
        return []
    faults = []
    for key, child in _children(value, schema, definitions):
        if child is None:
            known = list(schema.get("properties", {}))
            near = difflib.get_close_matches(str(key), known, 1, 0.5)
            remedy = f"did you mean {near[0]}?" if near else f"known keys here: {', '.join(known)}"
            faults.append(f"{path}{key}: unknown key; {remedy}")
        else:
            faults += _unknown_keys(value[key], child, definitions, f"{path}{key}.")
    return faults


def add_options(parser, definition):
    """Add to `parser` an option for each property of a schema's definition: its help, type, range and default."""
    group = parser.add_argument_group(f"settings ({definition})")
    for name, schema in _settings(definition).items():
        option, default = "--" + name.replace("_", "-"), schema["default"]
        group.add_argument(
            option,
            type=_option_type(schema),
            choices=schema.get("enum"),
            default=default,
            help=f"{schema['description'].rstrip('.')} (default: {default})".replace("%", "%%"),
        )


def _option_type(schema):
    """An argparse type of a setting."""
    if schema["type"] in ("integer", "number"):
        return _number({"integer": int, "number": float}[schema["type"]], schema)

    def text(value):
        if not re.search(schema.get("pattern", ""), value):
            raise argparse.ArgumentTypeError(f"{value!r} is unknown; {schema['description']}")
        return value

    return text


def _number(kind, schema):
    """An argparse type: a finite number in the range that the schema gives."""
    bounds = {
        "minimum": ("{} or more", lambda value, bound: value >= bound),
        "exclusiveMinimum": ("more than {}", lambda value, bound: value > bound),
        "maximum": ("{} or less", lambda value, bound: value <= bound),
        "exclusiveMaximum": ("less than {}", lambda value, bound: value < bound),
    }

    def parse(text):
        value = kind(text)
        if not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"{text} is not a finite number")
        for key, (words, holds) in bounds.items():
            if key in schema and not holds(value, schema[key]):
                raise argparse.ArgumentTypeError(f"{text} is out of range; give {words.format(schema[key])}")
        return value

    parse.__name__ = kind.__name__  # argparse names the type in its own messages
    return parse


def settings(options, definition):
    """The settings of a definition, as a dict, from parsed options."""
    return {name: getattr(options, name) for name in _settings(definition)}


def defaults(definition):
    """The defaults of the settings of a definition, as a dict."""
    return {name: schema["default"] for name, schema in _settings(definition).items()}


def _settings(definition):
    """{name: schema} of the properties of a definition that are settings of a training."""
    definitions = load_schema()["$defs"]
    properties = definitions[definition]["properties"].items()
    return {name: _resolve(schema, definitions) for name, schema in properties if name not in NOT_OF_TRAINING}
