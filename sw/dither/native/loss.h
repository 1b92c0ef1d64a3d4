// LOSS: losses lane by lane, their sum, differences and derivatives.
#pragma once
#include "jobs.h"

class Loss : public Plan {
  public:
    explicit Loss(const facts::Loss &instruction) : instruction_(instruction) {}
    void run(Memories &memories, const Job &job, int begin, int end, Tally &tally) const override;

  private:
    // Losses of a group's lanes with some fraction bits; lanes that are masked may have any.
    Long8 cross_entropy(Memories &memories, int32_t *words, Int8 labels, unsigned active, Tally &tally) const;
    Long8 squared_error(Memories &memories, int32_t *words, unsigned active, Tally &tally) const;
    // Writes a derivative, or a difference, clipped.
    void write(const Memories &memories, int32_t *words, int number, Int8 value, unsigned active, Tally &tally) const;

    facts::Loss instruction_;
};
