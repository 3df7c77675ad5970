"""Whole simulator files that break out of the template's names, or trick the tracer.

These go through the real tracer, with the guard off: only the names of the template are there, but
Python's own ways lead from any of them to all the rest.
"""

from __future__ import annotations

from tests.simulator.hostile.case import Case

_FILE = """
PARAMS = {}
@TOP@

def m(state, inputs, params, key):
@BODY@
    return {"a": state["S"]}

def couple(state, inputs, outputs, params, key):
    return {"S": outputs["a"], "I": state["I"], "R": state["R"]}

SUBMODULES = (m,)
"""


#: Gives a file all of Python: what is a hole in the template is found in a moment.
_ALL = "__builtins__.update(binomial.__globals__['__builtins__'])\n"


def _file(top: str = "", body: str = "", start: str = _ALL) -> str:
    lines = body.strip("\n").split("\n") if body else ["pass"]
    text = _FILE.replace("@TOP@", start + top.strip("\n"))
    return text.replace("@BODY@", "\n".join(f"    {line}" for line in lines))


#: Ways from a name of the template to the builtins of Python.
_WAYS = {
    "subclasses of the first class": (
        "[k for k in ().__class__.__base__.__subclasses__() if k.__name__ == '_wrap_close'][0]"
        ".__init__.__globals__['__builtins__']"
    ),
    "globals of a function of jnp": "jnp.where.__globals__['__builtins__']",
    "modules that jax imported": "jnp.where.__globals__['np'].__dict__['__builtins__']",
    "the globals of a draw": "binomial.__globals__['__builtins__']",
    "a prior's own code": "Uniform.__globals__['__builtins__']",
    "the frame of a generator": "climb([x for x in look()][0]).f_builtins",
    "the globals of a loop": "lax.scan.__globals__['__builtins__']",
    "the modules that are loaded": "jnp.linalg.__dict__['__builtins__']",
    "methods that are bound": (
        "[].append.__self__.__class__.__base__.__subclasses__()[-1].__init__"
        ".__globals__['__builtins__']"
    ),
    "a helper under another name": "helper.__globals__['__builtins__']",
    "the loader of a module": "{'open': lambda path: jnp.__loader__.get_data(path)}",
    "a class that holds a module": "State.__init__.__globals__.get('__builtins__') or "
    "State.to_json.__globals__['__builtins__']",
}
_WAYS_TOP = {
    "the frame of a generator": (
        "def climb(f):\n    return climb(f.f_back) if f.f_back else f\n\n"
        "def look():\n    running = []\n\n    def watch():\n"
        "        yield running[0].gi_frame.f_back\n\n    running.append(watch())\n"
        "    return running[0]"
    ),
    "a helper under another name": "helper = place",
}


def _way(name: str, way: str) -> Case:
    body = f"found = {way}\nfound = found if isinstance(found, dict) else found.__dict__\n"
    body += "raise ValueError(found['open']('@CANARY@'))"
    return Case(f"file: {name}", _file(_WAYS_TOP.get(name, ""), body, ""), _REFUSED)


_REFUSED = (
    "trace", "trace-error", "unknown-name", "unknown-key", "bad-return", "syntax", "recursion",
    "traced-condition", "traced-integer", "traced-value", "traced-array", "leaked-value",
)  # fmt: skip
_ANY = (*_REFUSED, "unknown-operation", "bad-output", "bad-state", "bad-prior", "bad-draw",
        "key-as-number", "crash", "time-limit", "memory-limit", "output-limit", "document",
        "not-available", "bad-shape", "no-submodules", "bad-parameters", "bad-submodules",
        "missing", "too-large")  # fmt: skip

_HOLES = {
    # Python's less known corners.
    "a decorator that opens files": _file(
        "def steal(f):\n    return f.__globals__['__builtins__']['open']('@CANARY@').read()\n\n"
        "@steal\ndef g():\n    return 1"
    ),
    "a metaclass": _file(
        "Type = ().__class__.__class__\n"
        "class Meta(Type):\n    def __prepare__(name, bases):\n"
        "        return binomial.__globals__['__builtins__']['open']('@CANARY@')\n"
        "class A(metaclass=Meta):\n    pass"
    ),
    "a group of exceptions": _file(
        body="try:\n    raise ValueError('x')\nexcept* ValueError as group:\n"
        "    trace = group.exceptions[0].__traceback__.tb_frame.f_back\n"
        "    raise ValueError(trace.f_builtins['open']('@CANARY@').read())"
    ),
    "the frame of an exception": _file(
        body="try:\n    1 / 0\nexcept ValueError:\n    pass\n"
        "finally:\n    jnp.where.__globals__['__builtins__']['open']('@CANARY@')"
    ),
    "a text that formats internals": _file(
        body="raise ValueError('{0.__globals__[__builtins__][open]}'.format(jnp.where) + "
        "jnp.where.__globals__['__builtins__']['open']('@CANARY@').read())"
    ),
    "letters that look alike": _file(
        body="\uff42uiltins = jnp.where.__globals__['__builtins__']\n"
        "raise ValueError(builtins['open']('@CANARY@').read())"
    ),
    "a generator that never ends, thrown into": _file(
        body="def g():\n    while True:\n        try:\n            yield 1\n"
        "        except ValueError:\n            pass\nx = g()\nfor i in x:\n    pass"
    ),
    "a walrus in a comprehension": _file(
        body="x = [y := jnp.where.__globals__, y['__builtins__']['open']('@CANARY@').read()]\n"
        "raise ValueError(x[1])"
    ),
    "a lambda with defaults that act": _file(
        body="f = lambda x=jnp.where.__globals__['__builtins__']['open']('@FOLDER@/x', 'w'): x\nf()"
    ),
    "a class that answers for a dict": _file(
        body="class D(dict):\n    def __getitem__(self, k):\n        return 1\n"
        "    def keys(self):\n        return iter(int, 1)\n"
        "return D(a=state['S'])"
    ),
    "a text that is not what it says": _file(
        body="class Name(str):\n    def __eq__(self, o):\n        return True\n"
        "    def __hash__(self):\n        return 0\nreturn {Name('a'): state['S'], Name('b'): 1}"
    ),
    "a shape that changes when looked at": _file(
        body="class Shape(tuple):\n    def __iter__(self):\n"
        "        return iter((10**9,))\nreturn {'a': jnp.zeros(Shape(()))}"
    ),
    "an index that never answers": _file(
        body="class N(int):\n    def __index__(self):\n        while True:\n            pass\n"
        "return {'a': jnp.arange(N(3))}"
    ),
    "a result that reduces itself": _file(
        body="class R:\n    def __reduce__(self):\n        return (print, ('x',))\n"
        "    def __jax_array__(self):\n"
        "        raise ValueError(open('@CANARY@').read())\n"
        "return {'a': R()}"
    ),
    "a last word when it is collected": _file(
        "class Late:\n    def __del__(self):\n"
        "        binomial.__globals__['__builtins__']['open']('@FOLDER@/x', 'w')\nlate = Late()"
    ),
    # The tracer and jax.
    "a callback on the host": _file(
        body="jax = jnp.where.__globals__['__builtins__']['__import__']('jax')\n"
        "return {'a': jax.pure_callback(lambda x: x, state['S'], state['S'])}"
    ),
    "an ordered callback": _file(
        body="b = jnp.where.__globals__['__builtins__']\n"
        "io = b['__import__']('jax.experimental', fromlist=['io_callback']).io_callback\n"
        "return {'a': io(lambda x: x, state['S'], state['S'], ordered=True)}"
    ),
    "a look inside while it runs": _file(
        body="jax = jnp.where.__globals__['__builtins__']['__import__']('jax')\n"
        "jax.debug.print('{x}', x=state['S'])"
    ),
    "a foreign function": _file(
        body="jax = jnp.where.__globals__['__builtins__']['__import__']('jax')\n"
        "call = jax.ffi.ffi_call('lapack_sgetrf_ffi', jax.ShapeDtypeStruct((), 'int32'))\n"
        "return {'a': call(state['S'])}"
    ),
    "a primitive of its own": _file(
        body="core = jnp.where.__globals__['__builtins__']['__import__']('jax.extend.core', "
        "fromlist=['Primitive'])\np = core.Primitive('system')\n"
        "p.def_abstract_eval(lambda x: x)\nreturn {'a': p.bind(state['S'])}"
    ),
    "a loop until it likes": _file(
        body="return {'a': lax.while_loop(lambda x: x >= 0, lambda x: x, state['S'])}"
    ),
    "a loop as long as a state": _file(
        body="return {'a': lax.fori_loop(0, state['S'], lambda i, x: x + 1, 0)}"
    ),
    "loops in loops in loops": _file(
        body="def turn(x, _):\n    return x + 1, None\n"
        "def many(f):\n    return lambda x, _: (lax.scan(f, x, None, length=100000)[0], None)\n"
        "return {'a': lax.scan(many(many(many(turn))), state['S'], None, length=100000)[0]}"
    ),
    "a long way to write": _file(
        body="x = state['S']\nfor i in range(6000):\n    x = x * 3 + state['I']\nreturn {'a': x}",
        start="",
    ),
    "an array as large as the machine": _file(
        body="return {'a': jnp.sum(jnp.ones((100000, 100000))).astype(jnp.int32)}",
        start="",
    ),
    "a constant as large as the limit": _file(
        "BIG = jnp.arange(90000)", "return {'a': jnp.sum(BIG * state['S'])}", ""
    ),
    "a thousand constants": _file(
        body="x = state['S']\nfor i in range(400):\n    x = x + jnp.sum(jnp.arange(20) * i * x)\n"
        "return {'a': x}",
        start="",
    ),
    "an endless loop at import": _file("x = [1]\nfor i in x:\n    x.append(i)"),
    "an endless loop while it is traced": _file(body="x = [1]\nfor i in x:\n    x.append(i)"),
    "an endless list of submodules": _file() + "\nSUBMODULES = iter(int, 1)\n",
    "submodules without end": _file() + "\nclass S:\n    def __iter__(self):\n        return self\n"
    "    def __next__(self):\n        return m\nSUBMODULES = S()\n",
    "parameters that change when read": "P = dict\n"
    + _file(
        "class Shifty(P):\n    def items(self):\n        return [('m', {'p': Uniform(0.0, 1.0, "
        "guess=0.5)})] * 100000\nPARAMS = Shifty()"
    ),
    "a prior changed behind its back": _file(
        "u = Uniform(0.0, 1.0, guess=0.5)\nu.arguments['low'] = '__import__'\n"
        "PARAMS = {'m': {'p': u}}"
    ),
    "words that play with the terminal": '"""\\x1b]0;owned\\x07\\u202e"""\n' + _file(),
    "functions that call one another": _file(
        "def f(x):\n    return g(x)\n\ndef g(x):\n    return f(x)", "return {'a': f(state['S'])}"
    ),
    "addition is subtraction": _file(
        body="lax.add_p.__class__.bind = lambda *a, **k: a[1]\nlax.add = lax.sub\n"
        "jnp.add = jnp.subtract"
    ),
    "draws that are not its own": _file(
        body="binomial.__globals__['LAWS'].clear()\nreturn {'a': binomial(key, state['S'], 0.5)}"
    ),
    "the tracer replaced": _file(
        "modules = binomial.__globals__['__builtins__']['__import__']('sys').modules\n"
        "modules['gsim_jax.simulator._trace']._trace_functions = lambda *a: {'m': {}}"
    ),
    "the lowering told to agree": _file(
        "modules = binomial.__globals__['__builtins__']['__import__']('sys').modules\n"
        "low = modules['gsim_jax.simulator._lower']\n"
        "low.Lowering._operation = lambda self, name, p, ins, outs, line: "
        "modules['gsim_jax.simulator._blocks'].Node(name, ins, outs, {})",
        "return {'a': lax.while_loop(lambda x: x >= 0, lambda x: x, state['S'])}",
    ),
    "other results on another day": _file(
        "time = binomial.__globals__['__builtins__']['__import__']('time')",
        "return {'a': state['S'] + int(time.time_ns() % 1000)}",
    ),
    "other results in another process": _file(
        body="object = ().__class__.__base__\nreturn {'a': state['S'] + object().__hash__() % 1000}"
    ),
}

CASES = (
    *(_way(name, way) for name, way in _WAYS.items()),
    *(Case(f"file: {name}", source, _ANY, judged="bounded") for name, source in _HOLES.items()),
)
