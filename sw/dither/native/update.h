// UPDATE: one optimiser step for the parameters of some words.
#pragma once
#include "memories.h"

// Returns how many values were clipped, at all stages together.
int64_t update(Memories &memories, const facts::Update &instruction, int32_t rate);
