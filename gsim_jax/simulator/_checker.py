"""Walks the syntax tree of a simulator file and collects what the template does not allow."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gsim_jax.simulator import _allowed, _loops, _syntax
from gsim_jax.task.problems import Problem, near

_MOST_TEXT, _MOST_DOCSTRING = 2000, 8000
_MOST_ARGUMENTS = 40
_MOST_POWER, _MOST_SHIFT = 64, 63


@dataclass
class _Scope:
    """Names bound in a function, lambda or comprehension; `given` are its arguments."""

    bound: set[str]
    given: set[str] = field(default_factory=set)
    statements: bool = False


class Checker:
    """One pass over one file."""

    def __init__(self, tree: ast.Module, filename: str) -> None:
        """Prepares the pass; `run` makes it."""
        self._tree, self._filename = tree, filename
        self._problems: list[Problem] = []
        self._scopes = [_Scope(_syntax.bound_in(tree.body))]
        self._known = _allowed.names()

    def run(self) -> list[Problem]:
        """The offences, in the order in which they were found."""
        body = self._tree.body
        if body and _syntax.is_text(body[0]):
            self._docstring(body[0])
            body = body[1:]
        functions: set[str] = set()
        for statement in body:
            if isinstance(statement, ast.FunctionDef):
                if statement.name in functions:
                    words = f"function {statement.name!r} is defined twice: rename one"
                    self._offend(statement, "function", words)
                functions.add(statement.name)
                self._function(statement)
            elif isinstance(statement, ast.Assign):
                self._statement(statement)
            elif type(statement) in _allowed.REFUSED:
                self._refuse(statement)
            elif isinstance(statement, ast.Import | ast.ImportFrom):
                self._import(statement)
            else:
                words = "only assignments and functions stand at the top of the file: "
                self._offend(statement, "statement", words + "move this into a function")
        for name, node in _loops.recursive(self._tree):
            words = f"{name!r} calls itself, directly or through others: use lax.scan or a `for` "
            self._offend(node, "recursion", words + "over a literal range")
        return self._problems

    def _offend(self, node: ast.AST, code: str, words: str) -> None:
        line, column = getattr(node, "lineno", None), getattr(node, "col_offset", 0) + 1
        problem = Problem(code, words, file=self._filename, line=line, column=str(column))
        self._problems.append(problem)

    def _refuse(self, node: ast.AST) -> None:
        what, instead = _allowed.REFUSED[type(node)]
        self._offend(node, "statement", f"{what} is not allowed: {instead}")

    # ---- statements

    def _statements(self, body: Iterable[ast.stmt]) -> None:
        for statement in body:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef():
                self._function(node)
            case ast.Assign():
                self._expression(node.value)
                for target in node.targets:
                    self._target(target)
            case ast.AugAssign():
                self._target(node.target)
                if isinstance(node.target, ast.Subscript):
                    self._expression(node.target.slice)
                self._expression(node.value)
            case ast.Return():
                self._expressions([node.value])
            case ast.If():
                self._expression(node.test)
                self._statements([*node.body, *node.orelse])
            case ast.For():
                self._for(node)
            case ast.Expr():
                self._line(node)
            case ast.Import() | ast.ImportFrom():
                self._import(node)
            case ast.Pass() | ast.Break() | ast.Continue():
                pass
            case _ if type(node) in _allowed.REFUSED:
                self._refuse(node)
            case _:
                words = f"{type(node).__name__} is not allowed: use assignments, if, for and return"
                self._offend(node, "statement", words)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        self._offend(node, "statement", "import: remove it: jnp and lax are there already")

    def _line(self, node: ast.Expr) -> None:
        value = node.value
        if _syntax.is_text(node):
            self._docstring(node)
        elif isinstance(value, ast.Constant) and value.value is Ellipsis:
            self._offend(node, "statement", "`...` does nothing: write the function, or remove it")
        elif isinstance(value, ast.Call) or type(value) in _allowed.REFUSED:
            self._expression(value)
        else:
            words = "this line does nothing: assign it to a name, or remove it"
            self._offend(node, "statement", words)

    def _for(self, node: ast.For) -> None:
        self._iterable(node.iter)
        self._target(node.target)
        grown = _loops.grown_inside(node, _allowed.CHANGING)
        if grown is not None:
            words = f"the loop runs over {grown!r} and makes it longer: use another list inside"
            self._offend(node, "loop", words)
        self._statements([*node.body, *node.orelse])

    def _iterable(self, node: ast.expr) -> None:
        self._expression(node)
        count = _loops.turns(node)
        if not _loops.fixed(node, {name for scope in self._scopes for name in scope.given}):
            words = "a loop needs a length known before the program runs: use range(...) with a "
            self._offend(node, "loop", words + "literal, a module constant or x.shape[0]")
        elif count is not None and count > _loops.MOST_TURNS:
            words = f"a Python loop of {count} turns, at most {_loops.MOST_TURNS} are traced: "
            self._offend(node, "loop", words + "use lax.fori_loop or lax.scan")

    def _target(self, node: ast.expr) -> None:
        match node:
            case ast.Name():
                self._bind(node, node.id)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                for element in elements:
                    self._target(element)
            case ast.Subscript(value=ast.Name(id=name)):
                self._expression(node.slice)
                self._own(node, name, f"{name}[...] = ...")
            case _:
                words = "assign to a name or to an entry of a dict made here; for arrays write "
                self._offend(node, "statement", words + "x = x.at[i].set(value)")

    def _bind(self, node: ast.AST, name: str) -> None:
        if name in _allowed.RESERVED:
            self._offend(node, "name", f"{name!r} has a meaning already: choose another name")
        elif name.startswith("__"):
            words = f"{name!r}: names that start with two underscores are not allowed: rename it"
            self._offend(node, "name", words)

    def _own(self, node: ast.AST, name: str, what: str) -> None:
        """Only what the function itself made may be changed in place."""
        functions = [scope for scope in self._scopes if scope.statements]
        if functions and name in functions[-1].bound - functions[-1].given:
            return
        words = f"{what} would change what others see too: make a copy first, new = dict({name})"
        self._offend(node, "statement", words)

    def _docstring(self, node: ast.stmt) -> None:
        text = node.value.value if isinstance(node, ast.Expr) else ""  # type: ignore[attr-defined]
        if len(str(text)) > _MOST_DOCSTRING:
            words = f"expected at most {_MOST_DOCSTRING} characters of text: make it shorter"
            self._offend(node, "literal", words)

    # ---- functions

    def _function(self, node: ast.FunctionDef) -> None:
        self._bind(node, node.name)
        for decorator in node.decorator_list:
            self._offend(decorator, "function", "decorators are not allowed: remove it")
        for annotated in (node, *node.args.args):
            note = getattr(annotated, "returns", None) or getattr(annotated, "annotation", None)
            if note is not None:
                words = "annotations are not allowed: remove it, `def f(a, b=1):`"
                self._offend(note, "function", words)
        if getattr(node, "type_params", None):
            self._offend(node, "function", "type parameters are not allowed: remove them")
        given = self._arguments(node.args)
        self._scopes.append(_Scope(given | _syntax.bound_in(node.body), given, True))
        self._statements(node.body)
        self._scopes.pop()

    def _arguments(self, arguments: ast.arguments) -> set[str]:
        for extra in (*arguments.posonlyargs, *arguments.kwonlyargs):
            words = "write plain arguments, `def f(a, b=1):`, without * or / between them"
            self._offend(extra, "function", words)
        for extra in (arguments.vararg, arguments.kwarg):
            if extra is not None:
                words = f"*{extra.arg} is not allowed: name each argument, `def f(a, b=1):`"
                self._offend(extra, "function", words)
        if len(arguments.args) > _MOST_ARGUMENTS:
            words = f"more than {_MOST_ARGUMENTS} arguments: pass a dict"
            self._offend(arguments.args[0], "function", words)
        for default in (*arguments.defaults, *(d for d in arguments.kw_defaults if d)):
            if not _syntax.is_literal(default):
                words = "a default must be a literal number or text: set it inside the function"
                self._offend(default, "function", words)
        names = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
        for each in arguments.args:
            self._bind(each, each.arg)
        return names | {a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None}

    # ---- expressions

    def _expressions(self, nodes: Iterable[ast.expr | None]) -> None:
        for node in nodes:
            if node is not None:
                self._expression(node)

    def _expression(self, node: ast.expr) -> None:
        if type(node) in _allowed.REFUSED:
            self._refuse(node)
            return
        handler = _HANDLERS.get(type(node))
        if handler is None:
            words = f"{type(node).__name__} is not allowed here: use arithmetic and function calls"
            self._offend(node, "statement", words)
            return
        handler(self, node)

    def _children(self, node: ast.expr) -> None:
        self._expressions(n for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr))

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bytes | complex):
            self._offend(node, "literal", "only numbers, text, True, False and None are literals")
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
            self._offend(node, "literal", "the number is beyond 2**63: use a float, 1e20")
        elif isinstance(value, float) and value in (float("inf"), float("-inf")):
            self._offend(node, "literal", "the number overflows: use jnp.inf or a smaller one")
        elif isinstance(value, str):
            if len(value) > _MOST_TEXT:
                words = f"expected at most {_MOST_TEXT} characters of text, got {len(value)}"
                self._offend(node, "literal", f"{words}: make it shorter")
            if value.startswith("__") and value.endswith("__") and len(value) > 4:
                words = f"{value!r} names an internal of Python: use another word"
                self._offend(node, "name", words)

    def _name(self, node: ast.Name) -> None:
        name = node.id
        if any(name in scope.bound for scope in self._scopes):
            if name.startswith("__"):
                self._bind(node, name)
            return
        if name in self._known:
            return
        if name in _allowed.INSTEAD:
            self._offend(node, "name", f"{name!r} is not there: {_allowed.INSTEAD[name]}")
        elif name.startswith("__"):
            self._offend(node, "name", f"{name!r} is an internal of Python: remove it")
        else:
            own = {n for scope in self._scopes for n in scope.bound}
            words = f"{name!r} is not defined: {near(name, self._known | own)}"
            self._offend(node, "name", words)

    def _attribute(self, node: ast.Attribute) -> None:
        self._any_attribute(node, called=False)

    def _any_attribute(self, node: ast.Attribute, *, called: bool) -> None:
        name, owner = node.attr, node.value
        module = owner.id if isinstance(owner, ast.Name) and owner.id in ("jnp", "lax") else None
        table = {"jnp": _allowed.JNP, "lax": _allowed.LAX}.get(module or "")
        if table is not None:
            if name not in table:
                words = f"{module}.{name} is not allowed: {_hint(name, table)}"
                self._offend(node, "attribute", words)
            return
        before = len(self._problems)
        self._expression(owner)
        if len(self._problems) > before:
            return  # of jnp.linalg.inv, the first part says it all
        after_at = isinstance(owner, ast.Subscript) and _syntax.is_at(owner.value)
        allowed = _allowed.METHODS if called else _allowed.PLAIN_ATTRIBUTES
        allowed = _allowed.AT_METHODS if called and after_at else allowed
        if name in allowed:
            return
        if not called and name in _allowed.METHODS:
            self._offend(node, "attribute", f".{name} is a method: call it, .{name}()")
        else:
            self._offend(node, "attribute", f".{name} is not allowed: {_hint(name, allowed)}")

    def _call(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Attribute):
            self._any_attribute(function, called=True)
            self._changing(function)
        elif isinstance(function, ast.Name):
            self._name(function)
            self._text_as_number(function.id, node)
            if any(isinstance(a, ast.Name) and a.id == function.id for a in node.args):
                words = f"{function.id!r} is given to itself, which would be recursion: use a loop"
                self._offend(node, "recursion", words)
        else:
            words = "call functions by their names: assign this to a name first"
            self._offend(node, "call", words)
            self._expression(function)
        self._expressions(node.args)
        for keyword in node.keywords:
            if keyword.arg is not None and keyword.arg.startswith("__"):
                self._offend(
                    keyword, "name", f"{keyword.arg!r} is an internal of Python: remove it"
                )
            self._expression(keyword.value)
        self._lengths(node)

    def _text_as_number(self, name: str, node: ast.Call) -> None:
        texts = (n for n in node.args if isinstance(n, ast.Constant) and isinstance(n.value, str))
        if name in ("float", "int") and any(texts):
            words = "write the number itself; jnp.inf and jnp.nan are there too"
            self._offend(node, "literal", words)

    def _changing(self, function: ast.Attribute) -> None:
        if function.attr not in _allowed.CHANGING or not isinstance(function.value, ast.Name):
            return
        if function.value.id not in ("jnp", "lax"):
            self._own(function, function.value.id, f"{function.value.id}.{function.attr}(...)")

    def _lengths(self, node: ast.Call) -> None:
        """Lengths of loops that are arguments: range, lax.fori_loop, lax.scan."""
        given = {name for scope in self._scopes for name in scope.given}
        for each in _loops.lengths(node):
            if not _loops.fixed(each, given):
                words = "a loop's length must be known before the program runs: use a literal, a "
                self._offend(each, "loop", words + "module constant or x.shape[0]")

    def _binary(self, node: ast.BinOp) -> None:
        left, right = node.left, node.right
        self._expressions([left, right])
        text = any(isinstance(n, ast.Constant) and isinstance(n.value, str) for n in (left, right))
        if text and not isinstance(node.op, ast.Add):
            words = "text can only be joined with +: formatting and repeating are not available"
            self._offend(node, "literal", words)
        limit = {ast.Pow: _MOST_POWER, ast.LShift: _MOST_SHIFT}.get(type(node.op))
        literal = _syntax.is_arithmetic(left) and _syntax.is_arithmetic(right)
        if limit is not None and literal and _syntax.exceeds(right, limit):
            self._offend(node, "literal", f"an exponent above {limit}: write the number as 1e20")

    def _lambda(self, node: ast.Lambda) -> None:
        given = self._arguments(node.args)
        self._scopes.append(_Scope(given, given))
        self._expression(node.body)
        self._scopes.pop()

    def _comprehension(self, node: ast.expr) -> None:
        generators: list[ast.comprehension] = node.generators  # type: ignore[attr-defined]
        scope = _Scope(set())
        self._scopes.append(scope)
        for generator in generators:
            if generator.is_async:
                self._offend(node, "statement", "async is not allowed: use a plain `for`")
            self._iterable(generator.iter)
            scope.bound |= {n.id for n in ast.walk(generator.target) if isinstance(n, ast.Name)}
            self._target(generator.target)
            self._expressions(generator.ifs)
        parts = (getattr(node, part, None) for part in ("key", "value", "elt"))
        self._expressions(parts)
        self._scopes.pop()


_HANDLERS: dict[type[ast.expr], Callable[[Checker, ast.expr], None]] = {
    **dict.fromkeys(
        (ast.BoolOp, ast.UnaryOp, ast.IfExp, ast.Dict, ast.Set, ast.Compare, ast.List, ast.Tuple),
        Checker._children,
    ),
    **dict.fromkeys((ast.Subscript, ast.Slice, ast.Starred), Checker._children),
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp), Checker._comprehension),
    ast.GeneratorExp: Checker._comprehension,
    ast.Constant: Checker._constant,  # type: ignore[dict-item]
    ast.Name: Checker._name,  # type: ignore[dict-item]
    ast.Attribute: Checker._attribute,  # type: ignore[dict-item]
    ast.Call: Checker._call,  # type: ignore[dict-item]
    ast.BinOp: Checker._binary,  # type: ignore[dict-item]
    ast.Lambda: Checker._lambda,  # type: ignore[dict-item]
}


def _hint(name: str, table: Iterable[str]) -> str:
    return _allowed.INSTEAD_OF_ATTRIBUTE.get(name) or near(name, table)
