"""Sound settings that declare one thing more."""

from __future__ import annotations

from tests.task.sound import toml

FLAG = toml('[state.I]\nkind = "count"\nmax = 50', '[state.I]\nkind = "flag"')
CATEGORY = toml("max = 50", "max = 3").replace('I]\nkind = "count"', 'I]\nkind = "category"')
BEDS = toml("[[rule]]", '[attribute.beds]\nkind = "count"\n[[rule]]')
ORDER = toml("[[rule]]", '[input.order]\nkind = "count"\n[[rule]]')
DERIVED = toml("[[rule]]", '[derived.total]\nvalue = "S + I"\n[[rule]]')
SUMS = toml('["train.csv"]', '["train.csv"]\naggregate.I = "sum:3"')
TWO = toml('["train.csv"]', '["train.csv", "more.csv"]')
LOS = toml("[[rule]]", '[state.los]\nkind = "count"\nshape = [2]\n[[rule]]')
ALL = toml('train = ["train.csv"]', 'table = "train.csv"\n[data.split]\nvalidation_from = 2')
