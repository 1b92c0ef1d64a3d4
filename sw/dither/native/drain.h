// The drain of CONTRACT: clips and activates outputs that are already shifted and rounded.
#pragma once
#include <cmath>

#include "jobs.h"

// What numbers in the lanes that exist are more than the least they can be, together.
INLINE int64_t excess(int least, Int8 numbers, unsigned existing) {
    const Int8 more = (numbers - least) & mask_of(existing);
    int64_t sum = 0;
    if (lanes_of(more > 0))
        for (int lane = 0; lane < GROUP; lane++) sum += more[lane];
    return sum;
}

class Drain {
  public:
    const double scale;  // 2**-shift
    const int shift;

    Drain(const facts::Config &config, const facts::Contract &instruction)
        : scale(std::ldexp(1.0, -instruction.shift)),
          shift(instruction.shift),
          half_(1 << (config.width - 1)),
          limit_(std::ldexp(1.0, config.accumulator_width - 1 - instruction.shift)),
          floor_(instruction.activation == facts::activation::RELU ? 0 : -half_),
          table_(instruction.activation == facts::activation::TABLE ? instruction.table : -1) {}

    // Whether a sum did not fit; what was watched includes half a unit.
    bool overflowed(const Tally &tally) const { return tally.lowest < -limit_ || tally.highest >= limit_ + 0.5; }

    // What a job needs besides: the table's contents.
    struct Outlet {
        int half, floor;
        Table table;
        bool looks_up;

        // Clips and activates, but for the table.
        INLINE Int8 clip(Int8 value) const { return smaller(larger(value, all(-half)), all(half - 1)); }
        INLINE Int8 activate(Int8 value) const { return larger(value, all(floor)); }

        // Writes one output of a group, but for the table: numbers that were rounded down, of any size.
        INLINE void finish(Double8 rounded, int32_t *place, unsigned existing, int64_t &clips) const {
            const Double8 value = clipped(rounded, -half, half - 1);
            if (unsigned off = differing(value, rounded) & existing; __builtin_expect(off, 0)) clips += count(off);
            store(place, activate(integers(value)));
        }

        // Takes outputs at some offsets through the table.
        void look_up(int32_t *place, const int32_t *offsets, int number, unsigned existing, int64_t &clips) const {
            const Outlet here = *this;  // nothing that is written here
            Int8 same{};
            for (int i = 0; i < number; i++) {
                const Int8 exact = here.table.at(load(place + offsets[i]) + here.half), found = here.clip(exact);
                same += found == exact;
                store(place + offsets[i], found);
            }
            clips += excess(-number, same, existing);
        }

        void finish_whole(Double8 rounded, int32_t *place, unsigned existing, int64_t &clips) const {
            finish(rounded, place, existing, clips);
            constexpr int32_t here = 0;
            if (looks_up) look_up(place, &here, 1, existing, clips);
        }
    };

    Outlet outlet(const Memories &memories) const {
        Outlet made;
        made.half = half_;
        made.floor = floor_;
        made.looks_up = table_ >= 0;
        if (made.looks_up) made.table = memories.activation_table(table_);
        return made;
    }

  private:
    int half_;
    double limit_;
    int floor_;
    int table_;
};

// Least and greatest output before it is rounded down and clipped, in the lanes that exist.
INLINE void watch(Double8 value, unsigned existing, Tally &tally) {
    for (int lane = 0; lane < GROUP; lane++)
        if (existing >> lane & 1) {
            if (value[lane] < tally.lowest) tally.lowest = value[lane];
            if (value[lane] > tally.highest) tally.highest = value[lane];
        }
}

// Whether count products, and half a unit, always add exactly in double.
inline bool exact_in_double(int width, int64_t count) { return ((count + 1) << (2 * width - 2)) < int64_t(1) << 53; }

// Whether a sum of so many products could be more than the accumulator holds.
inline bool may_leave_accumulator(const facts::Config &config, int64_t count) {
    return (count << (2 * config.width - 2)) >= int64_t(1) << (config.accumulator_width - 1);
}
