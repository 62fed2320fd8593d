"""Holds JSON against a schema of docs/openapi.yaml. Knows the keywords that document uses; any other one is an error."""
import re

import yaml

NOTES = {"description", "examples", "default", "title"}
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
OF_TYPE = {"required": dict, "properties": dict, "additionalProperties": dict, "items": list, "pattern": str, "minimum": int, "maximum": int}


class Document:
    def __init__(self, path):
        self.root = yaml.safe_load(path.read_text())

    def operations(self, method):
        """(path, operation) of every operation with that method."""
        return [(path, item[method]) for path, item in self.root["paths"].items() if method in item]

    def follow(self, part):
        while "$ref" in part:
            target = self.root
            for word in part["$ref"].removeprefix("#/").split("/"):
                target = target[word]
            part = {**target, **{key: value for key, value in part.items() if key != "$ref"}}
        return part

    def response(self, operation, status):
        """What is documented for that status, or as default."""
        found = operation["responses"].get(str(status), operation["responses"].get("default"))
        return None if found is None else self.follow(found)

    def faults(self, value, schema, where="$"):
        """What is wrong with value, one text a fault; an object's undocumented members count."""
        schema, out = self.follow(schema), []
        for key, rule in schema.items():
            if key in NOTES:
                continue
            check = getattr(self, "check_" + key.removeprefix("$"), None)
            if check is None:
                raise ValueError(f"{where}: schema keyword '{key}' is not known here")
            # As the specification has it: a keyword says something of its own types only.
            if isinstance(value, OF_TYPE.get(key, object)):
                out += check(value, rule, where)
        if isinstance(value, dict) and "additionalProperties" not in schema and self.members(schema):
            out += [f"{where}.{name} is not documented" for name in value if name not in self.members(schema)]
        return out

    def members(self, schema):
        schema = self.follow(schema)
        names = set(schema.get("properties", {}))
        for part in schema.get("allOf", []):
            names |= self.members(part)
        return names

    def check_type(self, value, rule, where):
        if rule == "integer":
            good = isinstance(value, int) and not isinstance(value, bool)
        else:
            good = isinstance(value, TYPES[rule])
        return [] if good else [f"{where} is no {rule}: {value!r}"]

    def check_required(self, value, rule, where):
        return [f"{where}.{name} is missing" for name in rule if name not in value]

    def check_properties(self, value, rule, where):
        return [fault for name, part in rule.items() if name in value for fault in self.faults(value[name], part, f"{where}.{name}")]

    def check_additionalProperties(self, value, rule, where):
        if isinstance(rule, dict):
            return [fault for name, item in value.items() for fault in self.faults(item, rule, f"{where}.{name}")]
        return []

    def check_maxItems(self, value, rule, where):
        return [] if not isinstance(value, list) or len(value) <= rule else [f"{where}: {len(value)} items, at most {rule}"]

    def check_items(self, value, rule, where):
        return [fault for i, item in enumerate(value) for fault in self.faults(item, rule, f"{where}[{i}]")]

    def check_enum(self, value, rule, where):
        return [] if value in rule else [f"{where} is none of {rule}: {value!r}"]

    def check_const(self, value, rule, where):
        return [] if value == rule else [f"{where} is not {rule!r}: {value!r}"]

    def check_pattern(self, value, rule, where):
        return [] if re.search(rule, value) else [f"{where} does not match {rule}: {value!r}"]

    def check_minimum(self, value, rule, where):
        return [] if value >= rule else [f"{where} is below {rule}: {value}"]

    def check_maximum(self, value, rule, where):
        return [] if value <= rule else [f"{where} is above {rule}: {value}"]

    def check_oneOf(self, value, rule, where):
        good = sum(1 for part in rule if not self.faults(value, part, where))
        return [] if good == 1 else [f"{where} matches {good} of {len(rule)}: {value!r}"]

    def check_allOf(self, value, rule, where):
        # Members that another part documents are no fault of this one.
        return [fault for part in rule for fault in self.faults(value, part, where) if not fault.endswith("is not documented")]
