"""Parent side: bytes from a child to checked JSON. Every byte is taken to be hostile.

A document is JSON and nothing else: no pickles, no serialized compiler artifacts, whose parsers can
be crashed. This module checks its outer form; `code` reads the operations.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from gsim_jax.simulator import priors
from gsim_jax.simulator.template import KINDS, OPTIONAL, OTHER_GROUPS, REQUIRED, RESERVED, is_name
from gsim_jax.simulator.vocabulary import Shaped, fields
from gsim_jax.task.problems import Problem, SimulatorError

FORMAT, VERSION = "gsim-program", 1
_MOST_NESTING = 40
_MOST_DOC = 4000
_MOST_SUBMODULES, _MOST_LATENT, _MOST_COORDINATES = 64, 256, 4096
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_NO_BRACKETS = re.compile(rb"[^\[\]{}]+")
# Count as blanks and end lines on some terminals.
_SEPARATORS = "\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029"
_TOP = ("doc", "format", "functions", "latent", "parameters", "submodules", "version")


@dataclass(frozen=True)
class Document:
    """The outer form of a document, checked.

    Attributes:
        doc: what the simulator is, in words.
        parameters: priors by group and name, sorted; plain JSON.
        latent: latent states by name, sorted; plain JSON.
        submodules: names in order.
        functions: JSON of the functions, still to be read.
    """

    doc: str
    parameters: dict[str, dict[str, dict[str, Any]]]
    latent: dict[str, dict[str, Any]]
    submodules: tuple[str, ...]
    functions: dict[str, Any]

    @property
    def shapes(self) -> dict[str, dict[str, Shaped]]:
        """Dtypes and shapes of the parameters."""
        return {
            group: {
                name: Shaped(
                    priors.value_dtype(entry["prior"], entry["arguments"]), tuple(entry["shape"])
                )
                for name, entry in members.items()
            }
            for group, members in self.parameters.items()
        }


def refuse(code: str, where: str, text: str) -> NoReturn:
    """Refuses a document.

    Args:
        code: a short, stable word.
        where: place in the document, e.g. `functions.infection.operations[3]`.
        text: expected and got.
    """
    raise SimulatorError(Problem(code, f"{where}: {text}" if where else text, file="program.json"))


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, dict | list) else type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."


def to_bytes(document: Mapping[str, Any]) -> bytes:
    """The canonical form of a document: keys sorted, no spaces, ASCII.

    Raises:
        SimulatorError: something in it is not JSON.
    """
    try:
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        refuse("not-json", "", f"expected plain JSON values; got {str(error)[:200]}")
    return text.encode()


def parse(raw: bytes, limit: int) -> dict[str, Any]:
    """JSON from bytes, with sizes, nesting, duplicate keys and numbers checked.

    Args:
        raw: the document.
        limit: greatest length in bytes.

    Raises:
        SimulatorError: anything but one JSON object within the limits.
    """
    if not isinstance(raw, bytes) or len(raw) > limit:
        refuse("too-large", "", f"expected at most {limit} bytes of JSON; got {len(raw)}")
    _check_nesting(raw)
    try:
        parsed = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
    except UnicodeDecodeError:
        refuse("not-json", "", "expected UTF-8 text")
    except (ValueError, RecursionError) as error:
        refuse("not-json", "", f"expected JSON; got {str(error)[:200]}")
    if type(parsed) is not dict:
        refuse("not-json", "", f"expected one JSON object; got {_short(parsed)}")
    return parsed


def _check_nesting(raw: bytes) -> None:
    depth = 0
    for bracket in _NO_BRACKETS.sub(b"", _STRINGS.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        if depth > _MOST_NESTING:
            refuse("too-deep", "", f"expected at most {_MOST_NESTING} brackets inside one another")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text) if len(text) <= 40 else math.inf
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is out of range")
    return value


def _integer(text: str) -> int:
    if len(text) > 20:
        raise ValueError(f"the number {text[:20]}... is out of range")
    return int(text)


def exactly(value: Any, keys: tuple[str, ...], where: str) -> dict[str, Any]:
    """An object with exactly these keys.

    Raises:
        SimulatorError: another type, a missing key or an unknown one.
    """
    if type(value) is not dict or set(value) != set(keys):
        got = sorted(value)[:12] if type(value) is dict else _short(value)
        refuse("bad-document", where, f"expected the keys {', '.join(keys)}; got {got}")
    return value


def read(raw: bytes, limit: int) -> Document:
    """The outer form of a document.

    Raises:
        SimulatorError: the form is not that of a program.
    """
    top = exactly(parse(raw, limit), _TOP, "document")
    if top["format"] != FORMAT or type(top["version"]) is not int or top["version"] != VERSION:
        text = f"expected format {FORMAT!r}, version {VERSION}; got {_short(top['format'])}, "
        refuse("bad-version", "document", text + _short(top["version"]))
    _text(top["doc"], _MOST_DOC, "doc")
    submodules = _read_submodules(top["submodules"])
    latent = _read_latent(top["latent"])
    parameters = _read_parameters(top["parameters"], submodules)
    functions = top["functions"]
    allowed = {*submodules, *REQUIRED, *OPTIONAL}
    needed = {*submodules, *REQUIRED, "initial"}
    if type(functions) is not dict or not needed <= set(functions) <= allowed:
        text = f"expected functions {', '.join(sorted(needed))}"
        refuse("bad-document", "functions", f"{text}; got {_short(functions)}")
    return Document(top["doc"], parameters, latent, submodules, functions)


def _text(value: Any, most: int, where: str) -> None:
    if type(value) is not str or len(value) > most:
        refuse("bad-document", where, f"expected a text of at most {most} characters")
    # Words end up on terminals and pages, where control and bidirectional characters play tricks.
    hidden = next((c for c in value if not (c.isprintable() or c in "\n\r\t" or c.isspace())), "")
    if hidden or any(c in value for c in _SEPARATORS):
        found = hidden or next(c for c in value if c in _SEPARATORS)
        refuse("bad-document", where, f"character U+{ord(found):04X} does not print: remove it")


def _name(value: Any, where: str) -> str:
    if not is_name(value):
        refuse("bad-document", where, f"expected a name; got {_short(value)}")
    return value


def _read_submodules(listed: Any) -> tuple[str, ...]:
    if type(listed) is not list or not 1 <= len(listed) <= _MOST_SUBMODULES:
        refuse("bad-document", "submodules", f"expected 1 to {_MOST_SUBMODULES} names")
    names = tuple(_name(name, "submodules") for name in listed)
    if len(set(names)) != len(names) or {*names} & set(RESERVED):
        refuse("bad-document", "submodules", "expected different names, none of them reserved")
    return names


def _read_latent(latent: Any) -> dict[str, dict[str, Any]]:
    if type(latent) is not dict or len(latent) > _MOST_LATENT:
        refuse("bad-document", "latent", f"expected an object of at most {_MOST_LATENT} states")
    for name, entry in latent.items():
        where = f"latent.{_name(name, 'latent')}"
        exactly(entry, ("kind", "shape", "min", "max"), where)
        if type(entry["kind"]) is not str or entry["kind"] not in KINDS:
            refuse("bad-document", where, f"expected a kind out of {', '.join(KINDS)}")
        check_field(fields.shape, entry["shape"], f"{where}.shape")
        for bound in ("min", "max"):
            if entry[bound] is not None and type(entry[bound]) not in (int, float):
                refuse("bad-document", f"{where}.{bound}", "expected a number or null")
    return dict(sorted(latent.items()))


def _read_parameters(groups: Any, submodules: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    allowed = {*submodules, *OTHER_GROUPS}
    if type(groups) is not dict or not set(groups) <= allowed:
        text = f"expected groups out of {', '.join(sorted(allowed))}; got {_short(groups)}"
        refuse("bad-document", "parameters", text)
    coordinates = 0
    for group, members in groups.items():
        if type(members) is not dict:
            refuse("bad-document", f"parameters.{group}", "expected an object")
        for name, entry in members.items():
            _name(name, f"parameters.{group}")
            _check_parameter(entry, f"parameters.{group}.{name}")
            coordinates += math.prod(entry["shape"])
    if coordinates > _MOST_COORDINATES:
        refuse("too-large", "parameters", f"expected at most {_MOST_COORDINATES} numbers in all")
    return {group: dict(sorted(members.items())) for group, members in sorted(groups.items())}


def _check_parameter(entry: Any, where: str) -> None:
    exactly(entry, ("prior", "arguments", "guess", "shape", "unit", "doc"), where)
    if type(entry["prior"]) is not str or type(entry["arguments"]) is not dict:
        refuse("bad-document", where, "expected a prior by name and an object of arguments")
    check_field(fields.shape, entry["shape"], f"{where}.shape")
    _text(entry["unit"], priors.MOST_UNIT, f"{where}.unit")
    _text(entry["doc"], priors.MOST_DOC, f"{where}.doc")
    try:
        priors.check_arguments(entry["prior"], entry["arguments"])
        shape = priors.check_shape(entry["shape"])
        priors.check_guess(entry["prior"], entry["arguments"], entry["guess"], shape)
    except priors.PriorError as error:
        refuse("bad-prior", where, str(error))


def check_field(field: fields.Field, value: Any, where: str) -> Any:
    """A parameter through its field.

    Raises:
        SimulatorError: the field refuses it.
    """
    try:
        return field(value)
    except fields.FieldError as error:
        refuse("bad-document", where, str(error))
