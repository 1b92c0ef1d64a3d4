// Work on activations, lane by lane: what an instruction does to one group of lanes does not depend
// on the others, so instructions are kept until a result is wanted, and then each group goes through
// all of them at once.
#pragma once
#include <cstdint>
#include <limits>

#include "memories.h"

// What is counted on the way. Tallies of groups add up, in any order.
struct Tally {
    int64_t clips = 0;
    int64_t sum = 0;  // of losses
    double lowest = std::numeric_limits<double>::infinity();
    double highest = -std::numeric_limits<double>::infinity();
    bool empty = false;  // a sum of exponentials is zero

    void add(const Tally &other) {
        clips += other.clips;
        sum += other.sum;
        lowest = other.lowest < lowest ? other.lowest : lowest;
        highest = other.highest > highest ? other.highest : highest;
        empty |= other.empty;
    }
};

struct Job;

// An instruction at its address, prepared for all of its executions.
class Plan {
  public:
    bool pending = false;  // whether a job in the queue counts on what is prepared here
    virtual ~Plan() = default;
    // Executes a job for the groups from begin to end - 1.
    virtual void run(Memories &memories, const Job &job, int begin, int end, Tally &tally) const = 0;
    // About how many multiply-accumulates a group takes: whether more threads are worth while.
    virtual int64_t work() const { return 0; }
    // About how many words of a group it reads and writes.
    virtual int64_t words() const { return 0; }
    // Whether a sum did not fit its accumulator, for what has any.
    virtual bool overflowed(const Tally &) const { return false; }
};

// One execution of a plan, as far as registers and streams decide it.
struct Job {
    Plan *plan = nullptr;
    int address = 0;            // of the instruction, in the program
    int counter = -1;           // that clips go to
    int base[4] = {};           // CONTRACT: of the operands w, x, y and b; LOAD and STORE: the first word
    int count = 0;              // LOAD and STORE: words
    int64_t *values = nullptr;  // LOAD and STORE: the host's
};
