// DITHER: random signs times a factor for each lane, added to activations.
#pragma once
#include "generator.h"
#include "jobs.h"

class Dither : public Plan {
  public:
    explicit Dither(const facts::Dither &instruction) : instruction_(instruction) {}

    // Makes the signs of the next execution; offset is the first lane's sample within its tile.
    void make(const Memories &memories, int32_t seed, int32_t step, int32_t probe, int32_t offset);
    void run(Memories &memories, const Job &job, int begin, int end, Tally &tally) const override;

  private:
    facts::Dither instruction_;
    Generator generator_;
    int first_ = 0;  // place of the bit of word 0 and lane 0
};
