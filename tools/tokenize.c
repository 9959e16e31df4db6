/* tokenize: text into ids, ids into text, and what a vocabulary holds. */
#include "tools/tokenize.h"

int main(int argc, char **argv) {
    static const struct subcommand subs[] = {
        {"encode", "turn text into ids, or into tokens with their places", encode_main},
        {"decode", "turn ids into text", decode_main},
        {"pieces", "show what a pattern cuts a text into", pieces_main},
        {"convert", "write a vocabulary in the files of other tools", convert_main},
        {"info", "say what a vocabulary holds", info_main},
        {0}};
    static const struct family family = {"tokenize", "text into ids and back", subs, NULL};
    return tool_dispatch(&family, argc, argv);
}
