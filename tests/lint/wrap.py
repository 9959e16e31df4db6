#!/usr/bin/env python3
"""Wraps prose in block comments that runs past column 100: wrap.py FILE...

clang-format is told to leave comments alone, since it also "wraps" drawings. Here only paragraphs are
touched: lines that begin right behind " * " and hold no gap of two blanks. An overlong line gives its
last words to the next line of its paragraph, so that short lines before it stay as they were."""
import re
import sys

COLUMNS = 100


def is_prose(text):
    return bool(text) and not text.startswith(" ") and "  " not in text.rstrip()


def wrap_paragraph(first, rest, lines):
    """`lines` without their prefixes; `first` and `rest` are the prefixes."""
    out, carried = [], []
    for i, line in enumerate(lines):
        words = carried + line.split(" ")
        carried = []
        prefix = first if i == 0 else rest
        while len(prefix + " ".join(words)) > COLUMNS and len(words) > 1:
            # " */" goes with the word before it
            n = 2 if words[-1] == "*/" and len(words) > 2 else 1
            carried = words[-n:] + carried
            words = words[:-n]
        out.append(prefix + " ".join(words))
    while carried:
        words = []
        while carried and len(rest + " ".join(words + carried[:1])) <= COLUMNS - 3:
            words.append(carried.pop(0))
        if carried == ["*/"]:
            words.append(carried.pop(0))
        out.append(rest + " ".join(words or [carried.pop(0)]))
    return out


def wrap_comment(lines):
    """The lines of one comment that stands alone."""
    indent = re.match(r"[ \t]*", lines[0]).group()
    first, rest = indent + "/* ", indent + " * "
    out, i = [], 0
    while i < len(lines):
        j, part = i, []
        while j < len(lines):
            prefix = first if j == 0 else rest
            text = lines[j][len(prefix):]
            if not lines[j].startswith(prefix) or not is_prose(text):
                break
            part.append(text)
            j += 1
        if part:
            out += wrap_paragraph(first if i == 0 else rest, rest, part)
            i = j
        else:
            out.append(lines[i])
            i += 1
    return out


def wrap(text):
    lines, out, i = text.split("\n"), [], 0
    while i < len(lines):
        j = i
        if re.match(r"[ \t]*/\* ", lines[i]):
            while j < len(lines) and "*/" not in lines[j]:
                j += 1
        alone = j < len(lines) and lines[j].endswith("*/") and re.match(r"[ \t]*/\* ", lines[i])
        part = lines[i:j + 1]
        out += wrap_comment(part) if alone and max(map(len, part)) > COLUMNS else part
        i = j + 1
    return "\n".join(out)


for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as f:
        before = f.read()
    after = wrap(before)
    if after != before:
        with open(path, "w", encoding="utf-8") as f:
            f.write(after)
