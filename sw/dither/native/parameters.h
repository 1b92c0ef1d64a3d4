// PERTURB, ACCUMULATE and TRANSPOSE: what walks over the words of parameters.
#pragma once
#include "generator.h"
#include "memories.h"

// A probe's coordinates, from the registers that an instruction names.
struct Probe {
    int32_t seed, step, number;
};

// Writes a tensor's working weights and returns how many of them were clipped.
int64_t perturb(Memories &memories, Generator &generator, const facts::Perturb &instruction, Probe probe);
void accumulate(Memories &memories, Generator &generator, const facts::Accumulate &instruction, Probe probe,
                int32_t difference);
void transpose(Memories &memories, const facts::Transpose &instruction);
