// CONTRACT with lane-wise operands: sums of products of activation words.
#pragma once
#include "drain.h"
#include "nest.h"

class LaneWise : public Plan {
  public:
    LaneWise(const Memories &memories, const facts::Contract &instruction, bool monitor);
    void run(Memories &memories, const Job &job, int begin, int end, Tally &tally) const override;
    int64_t work() const override { return work_; }
    bool overflowed(const Tally &tally) const override { return drain_.overflowed(tally); }

  private:
    template <int OPERAND>
    void sum(Memories &memories, const Job &job, int group, Tally &tally) const;
    template <int OPERAND>
    void sum_exactly(Memories &memories, const Job &job, int group, Tally &tally) const;

    Drain drain_;
    Places terms_, outputs_;  // in the order of the nest, as the last write of a word counts
    int operand_, one_;
    bool exact_, watched_;
    int64_t work_;
};
