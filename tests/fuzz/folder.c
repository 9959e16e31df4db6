/* The one variable behind fuzz_folder(). */
#include "tests/fuzz/fuzz.h"

char fuzz_folder_path[256];
