"""Programs that send a crafted document, as if the tracer had written it.

The sandbox hands the bytes on as they are; the parent's reader has to refuse them, soon.
"""

from __future__ import annotations

from tests.simulator.hostile.case import Case

_PRELUDE = """
import json, os, struct
def leaf(dtype="int32", shape=()):
    return {"dtype": dtype, "shape": list(shape)}
def number(value, dtype="int32", shape=()):
    return {"value": value, **leaf(dtype, shape)}
def reads(root):
    return [{"path": [root, name], **leaf()} for name in ("S", "I", "R")]
def function(inputs=(), operations=(), outputs=None):
    return {"inputs": list(inputs), "operations": list(operations), "outputs": outputs or {}}
def op(name, ins, outs, **parameters):
    return {"op": name, "in": list(ins), "out": list(outs), **parameters}
def scan(length, body, ins=(0,), outs=None, carry=1, consts=0):
    outs = [leaf()] if outs is None else outs
    return op("scan", ins, outs, length=length, reverse=False, carry=carry, consts=consts,
              body=body)
def body(operations=(), outputs=(0,)):
    return {"inputs": [leaf()], "operations": list(operations), "outputs": list(outputs)}
def document(operations=(), **changes):
    keep = {"S": 0, "I": 1, "R": 2}
    functions = {
        "m": function(reads("state"), operations, {"a": 0}),
        "couple": function(reads("state"), (), keep),
        "initial": function(reads("observed"), (), keep),
    }
    found = {"format": "gsim-program", "version": 1, "doc": "", "parameters": {}, "latent": {},
             "submodules": ["m"], "functions": functions}
    return {**found, **changes}
def send(content):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    data = memoryview(b"D" + struct.pack(">I", len(data)) + data)
    while data:
        data = data[os.write(4, data):]
    os._exit(0)
"""

_CONTENTS = {
    # Bytes that are no JSON, or only nearly.
    "nothing": "b''",
    "a pickle": "__import__('pickle').dumps(os.system)",
    "an archive": "b'PK\\x03\\x04' + bytes(500)",
    "a compiler artifact": "b'ML\\xefR' + bytes(range(256)) * 50",
    "bytes that are no text": "json.dumps(document()).encode()[:-1] + b'\\xff\\xfe}'",
    "text of two bytes a letter": "json.dumps(document()).encode('utf-16')",
    "two documents": "json.dumps(document()).encode() * 2",
    "something behind the end": "json.dumps(document()).encode() + b';import os'",
    "a list": "[document()]",
    "a megabyte of blanks": "b' ' * ((1 << 20) - 2) + b'{}'",
    "a text without end": "b'{\"doc\": \"' + b'\\\\\\\\' * 500_000",
    "a comment": "b'/* */' + json.dumps(document()).encode()",
    "deep lists": "b'[' * 200_000",
    "deep objects": "b'{\"a\":' * 100_000",
    "deep and closed": "b'[' * 300 + b']' * 300",
    "a key that stands twice": "json.dumps(document()).encode()[:-1] + b',\"version\":2}'",
    "a key that stands twice, inside": (
        "json.dumps(document()).replace('\"carry\"', '\"x\"').replace('\"S\": 0', "
        '\'"S": 0, "S": 1\').encode()'
    ),
    "NaN": "document(doc=float('nan'))",
    "infinity": "document(version=float('inf'))",
    "an integer of five thousand digits": (
        "json.dumps(document()).replace('1,', '1' * 5000 + ',', 1).encode()"
    ),
    "a float of five thousand digits": "json.dumps(document(version=0.5))"
    ".replace('0.5', '0.' + '1' * 5000).encode()",
    "an exponent out of this world": "json.dumps(document(version=0.5))"
    ".replace('0.5', '1e999999999').encode()",
    # The outer form.
    "another format": "document(format='gsim-pickle')",
    "another version": "document(version=10**9)",
    "true for one": "document(version=True)",
    "a key too many": "document(code='import os')",
    "a terminal in the words": "document(doc=chr(27) + ']0;owned' + chr(7) + chr(0x202E))",
    "half a letter in the words": "document(doc=chr(0xD800))",
    "words without end": "document(doc='x' * 100_000)",
    "an internal as a submodule": "document(submodules=['__init__'])",
    "a submodule that is a path": "document(submodules=['../../etc/passwd'])",
    "a submodule in letters that look alike": "document(submodules=[chr(0xFF4D)])",
    "a thousand submodules": "document(submodules=['m%d' % i for i in range(1000)])",
    "a hundred thousand latent states": (
        "document(latent={'L%d' % i: {'kind': 'real', 'shape': [], 'min': None, 'max': None} "
        "for i in range(10_000)})"
    ),
    "a latent state as large as the machine": (
        "document(latent={'L': {'kind': 'real', 'shape': [100_000] * 8, 'min': None, 'max': None}})"
    ),
    "a prior without end": (
        "document(parameters={'m': {'p': {'prior': 'Choice', 'arguments': "
        "{'values': list(range(100_000))}, 'guess': 1, 'shape': [], 'unit': '', 'doc': ''}}})"
    ),
    "a prior with infinite arguments": (
        "document(parameters={'m': {'p': {'prior': 'Uniform', 'arguments': {'low': 0.0, 'high': "
        "1e308}, 'guess': 1, 'shape': [], 'unit': '', 'doc': ''}}})"
    ),
    "a parameter array without end": (
        "document(parameters={'m': {'p': {'prior': 'Uniform', 'arguments': {'low': 0.0, 'high': "
        "1.0}, 'guess': 0.5, 'shape': [100_000, 100_000], 'unit': '', 'doc': ''}}})"
    ),
    # Operations that are none.
    "a loop without a length": "document([op('while', [0], [leaf()], cond=[], body=[])])",
    "a call into the host": "document([op('pure_callback', [0], [leaf()], callback='os.system')])",
    "a call into a library": "document([op('custom_call', [0], [leaf()], target='system')])",
    "a dotted name": "document([op('os.system', [0], [leaf()])])",
    "an operation that is a list": "document([{**op('add', [0, 1], [leaf()]), 'op': ['add']}])",
    "an attribute of the table": "document([op('__class__', [0], [leaf()])])",
    "operands from the future": "document([op('add', [0, 3], [leaf()])])",
    "an operand before the first": "document([op('add', [0, -1], [leaf()])])",
    "an operand in a circle": "document([op('neg', [3], [leaf()]), op('neg', [4], [leaf()])])",
    "an operand that is true": "document([op('add', [True, False], [leaf()])])",
    "a result that is something else": "document([op('add', [0, 1], [leaf('float32')])])",
    "a result of another shape": "document([op('add', [0, 1], [leaf(shape=[7])])])",
    "a result of an unknown kind": "document([op('add', [0, 1], [leaf('float64')])])",
    "results without end": "document([op('add', [0, 1], [leaf()] * 10_000)])",
    "a shape as large as the machine": (
        "document([op('broadcast', [0], [leaf(shape=[100_000, 100_000])], "
        "shape=[100_000, 100_000], axes=[])])"
    ),
    "a shape below nothing": (
        "document([op('broadcast', [0], [leaf(shape=[-1])], shape=[-1], axes=[])])"
    ),
    "arrays that are cheap one by one": (
        "document([op('broadcast', [0], [leaf(shape=[100_000])], shape=[100_000], axes=[])] * 200)"
    ),
    "a product without end": (
        "document([op('broadcast', [0], [leaf(shape=[300, 300])], shape=[300, 300], axes=[]),"
        " op('dot', [3, 3], [leaf(shape=[300, 300])], contract=[[1], [0]], batch=[[], []],"
        " precision='default', result=None)])"
    ),
    "a sum that is spread over the machine": (
        "document([op('pad', [number([1] * 4, shape=[4]), number(0)], [leaf(shape=[100_000])],"
        " config=[[0, 99_996, 10**9]])])"
    ),
    "a slice outside": (
        "document([op('slice', [number([1] * 4, shape=[4])], [leaf(shape=[4])], start=[0],"
        " limit=[10_000], strides=[1])])"
    ),
    "strides of nothing": (
        "document([op('slice', [number([1] * 4, shape=[4])], [leaf(shape=[4])], start=[0],"
        " limit=[4], strides=[0])])"
    ),
    "a number that does not fit": "document([op('add', [0, number(2**40)], [leaf()])])",
    "a constant that lies about its length": (
        "document([op('add', [0, number([1, 2, 3], shape=[100_000])], [leaf()])])"
    ),
    "a constant without end": (
        "document([op('reduce_sum', [number([1] * 200_000, shape=[200_000])], [leaf()], axes=[0])])"
    ),
    "fifty thousand operations": (
        "json.dumps(document()).replace('\"operations\": []', '\"operations\": [' + ','.join("
        '[\'{"op":"neg","in":[0],"out":[{"dtype":"int32","shape":[]}]}\'] * 15_000)'
        " + ']', 1).encode()"
    ),
    "a knot that compilers choke on": (
        "document([op('mul' if i % 2 else 'add', [i + 1, i], [leaf()]) for i in range(1, 4000)])"
    ),
    "sorting all day": (
        "document([op('broadcast', [0], [leaf(shape=[50_000])], shape=[50_000], axes=[])]"
        " + [op('sort', [3], [leaf(shape=[50_000])], axis=0, stable=True, keys=1)] * 50)"
    ),
    # Loops.
    "a loop without end": "document([scan(2**62, body())])",
    "a loop that runs backwards": "document([scan(-5, body())])",
    "a loop of half a turn": "document([scan(0.5, body())])",
    "loops whose product is astronomical": (
        "document([scan(100_000, body([scan(100_000, body([scan(100_000, body())]))]))])"
    ),
    "a loop of empty turns": "document([scan(100_000, body([scan(100_000, body())]))])",
    "loops inside loops": (
        "(lambda nest: document([nest(12)]))("
        "(lambda f: lambda n: f(f, n))(lambda f, n: scan(1, body([f(f, n - 1)] if n else []))))"
    ),
    "a loop that changes what it carries": (
        "document([scan(3, body([op('convert', [0], [leaf('float32')], dtype='float32')], [1]))])"
    ),
    "a loop that stacks the machine": (
        "document([scan(100_000, body([op('broadcast', [0], [leaf(shape=[100_000])],"
        " shape=[100_000], axes=[])], [0, 1]), outs=[leaf(), leaf(shape=[100_000, 100_000])])])"
    ),
    "a loop that lies about its carry": "document([scan(3, body(), carry=5)])",
    "a loop with constants below nothing": "document([scan(3, body(), consts=-1)])",
    "a loop that draws astronomically": (
        "document([scan(100_000, body([op('draw', [number(1.0, 'float32')],"
        " [leaf()], law='poisson', site=0, shape=[])]))])"
    ),
    # Draws.
    "a law that is none": (
        "document([op('draw', [number(1.0, 'float32')], [leaf()], law='eval', site=0, shape=[])])"
    ),
    "a draw as large as the machine": (
        "document([op('draw', [number(1.0, 'float32')], [leaf(shape=[100_000] * 2)],"
        " law='poisson', site=0, shape=[100_000] * 2)])"
    ),
    "the same draw twice": (
        "document([op('draw', [number(1.0, 'float32')], [leaf()], law='poisson', site=0,"
        " shape=[])] * 2)"
    ),
    "a thousand draws": (
        "document([op('draw', [number(1.0, 'float32')], [leaf()], law='poisson', site=i,"
        " shape=[]) for i in range(1000)])"
    ),
    "a draw without categories": (
        "document([op('draw', [number([], 'float32', [0])], [leaf()], law='categorical', site=0,"
        " shape=[])])"
    ),
    # Functions and what they read.
    "parameters of somebody else": (
        "document(functions={**document()['functions'], 'm': function([{'path': ['params', 'm',"
        " 'p'], **leaf()}], (), {'a': 0})})"
    ),
    "a path to everything": (
        "document(functions={**document()['functions'], 'm': function([{'path': [], **leaf()}],"
        " (), {'a': 0})})"
    ),
    "a path that is an object": (
        "document(functions={**document()['functions'], 'm': function([{'path': {'state': 'S'},"
        " **leaf()}], (), {'a': 0})})"
    ),
    "an output called like an internal": (
        "document(functions={**document()['functions'], 'm': function(reads('state'), (),"
        " {'__class__ x': 0})})"
    ),
    "no next state": "document(functions={**document()['functions'], 'couple': function()})",
    "a function too many": "document(functions={**document()['functions'], 'eval': function()})",
    "a draw in what is implied": (
        "document(functions={**document()['functions'], 'implied': function((), [op('draw',"
        " [number(1.0, 'float32')], [leaf()], law='poisson', site=0, shape=[])], {'a': 0})})"
    ),
}

CASES = tuple(
    Case(f"document: {name}", f"{_PRELUDE}\nsend({content})\n", ("document",), judged="refused")
    for name, content in _CONTENTS.items()
)
#: The frame of them all sends a document that is sound, or the refusals would prove nothing.
SOUND = f"{_PRELUDE}\nsend(document([op('add', [0, 1], [leaf()]), scan(5, body())]))\n"
