#!/usr/bin/env python3
"""Writes unicode_tables.c: the general category of every code point, Unicode 16.0.

    pip install unicodedata2==16.0.0 && python3 gen_unicode.py > unicode_tables.c

Unicode 16.0 is what HF tokenizers (Oniguruma 6.9.10) and tiktoken (regex 1.11 and later) know, so it is
fixed here and the data is refused if it is any other version. White_Space is not in Python's data: its
25 code points (PropList.txt, unchanged since Unicode 6.3) are all of Zs, Zl, Zp and six controls.
"""
import sys
import unicodedata2 as ud

VERSION = "16.0.0"
BLOCK = 256
# The order of the enum in unicode.h. "Cw" is ours: a control that is white space.
CATEGORIES = ("Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So "
              "Zs Zl Zp Cc Cw Cf Cs Co").split()
SPACE_CONTROLS = {0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x85}


def category(cp):
    return CATEGORIES.index("Cw" if cp in SPACE_CONTROLS else ud.category(chr(cp)))


def rows(values, width=100):
    line = "   "
    for v in values:
        item = f" {v},"
        if len(line) + len(item) > width:
            yield line
            line = "   "
        line += item
    yield line


def main():
    if ud.unidata_version != VERSION:
        sys.exit(f"gen_unicode.py: the data is Unicode {ud.unidata_version}, wanted {VERSION}")
    cats = [category(cp) for cp in range(0x110000)]
    letters = sum(CATEGORIES[c][0] == "L" for c in cats)
    numbers = sum(CATEGORIES[c][0] == "N" for c in cats)
    assert (letters, numbers) == (141028, 1911)
    assert sum(CATEGORIES[c] in ("Zs", "Zl", "Zp", "Cw") for c in cats) == 25
    index, blocks = [], {}
    for at in range(0, 0x110000, BLOCK):
        block = tuple(cats[at:at + BLOCK])
        index.append(blocks.setdefault(block, len(blocks)))
    assert len(blocks) <= 256
    flat = [c for b in blocks for c in b]
    print("/* General categories of Unicode 16.0.0, made by gen_unicode.py; not to be edited by hand.\n"
          " *\n"
          " *   unicode_block[cp / 256] ──▶ unicode_cats[block][cp % 256]   (enum unicode_cat) */")
    print('#include "tokenizer/unicode.h"\n')
    print("/* clang-format off */")
    print(f"const uint8_t unicode_block[{len(index)}] = {{")
    print("\n".join(rows(index)))
    print("};\n")
    print(f"const uint8_t unicode_cats[{len(flat)}] = {{")
    print("\n".join(rows(flat)))
    print("};")


main()
