"""Reads Prometheus's text format, version 0.0.4, strictly."""

import math
import re

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
_TYPES = {"counter", "gauge", "histogram", "summary", "untyped"}


class Metrics:
    """Families by name (`types`, `helps`) and samples by (name, sorted labels)."""

    def __init__(self, text):
        self.types, self.helps, self.samples = {}, {}, {}
        assert text.endswith("\n"), "the last line has no end"
        for line in text.splitlines():
            if line.startswith("# HELP "):
                name, _, words = line[len("# HELP "):].partition(" ")
                assert name not in self.helps, f"a second HELP of {name}"
                self.helps[name] = words
            elif line.startswith("# TYPE "):
                name, kind = line[len("# TYPE "):].split(" ")
                assert name not in self.types, f"a second TYPE of {name}"
                assert kind in _TYPES, line
                self.types[name] = kind
            elif line and not line.startswith("#"):
                self._add(line)

    def _add(self, line):
        match = _SAMPLE.fullmatch(line)
        assert match, f"no sample: {line}"
        name, text, value = match.groups()
        labels, at = {}, 0
        while text and at < len(text):
            label = _LABEL.match(text, at)
            assert label, f"no labels: {line}"
            labels[label[1]] = label[2]
            at = label.end()
        key = (name, tuple(sorted(labels.items())))
        assert key not in self.samples, f"twice: {line}"
        assert self.family(name) in self.types, f"no TYPE: {line}"
        self.samples[key] = float(value)

    def family(self, sample):
        """The family that a sample belongs to: a histogram's has suffixes."""
        base = re.sub(r"_(bucket|sum|count)$", "", sample)
        return base if self.types.get(base) == "histogram" else sample

    def value(self, name, **labels):
        return self.samples[(name, tuple(sorted(labels.items())))]

    def sum(self, name, **labels):
        """Over all samples that have these labels."""
        return sum(value for (sample, has), value in self.samples.items()
                   if sample == name and set(labels.items()) <= set(has))

    def counters(self):
        """Every sample that must never fall."""
        return {key: value for key, value in self.samples.items()
                if self.types[self.family(key[0])] in ("counter", "histogram")}

    def histograms(self):
        """{(family, labels without le): [(bound, cumulative count)...]} in the text's order."""
        found = {}
        for (name, labels), value in self.samples.items():
            family = self.family(name)
            if self.types[family] != "histogram" or not name.endswith("_bucket"):
                continue
            bounds = dict(labels)
            bound = math.inf if bounds["le"] == "+Inf" else float(bounds["le"])
            rest = tuple(item for item in labels if item[0] != "le")
            found.setdefault((family, rest), []).append((bound, value))
        return found
