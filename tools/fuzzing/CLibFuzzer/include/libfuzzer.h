#pragma once
#include <stddef.h>
#include <stdint.h>

/// Runs libFuzzer with the arguments of a command line; `play` gets one input after another and returns 0.
int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*play)(const uint8_t *bytes, size_t count));

/// A file without a name (memfd_create); negative where there is none.
int fuzz_memory_file(void);
