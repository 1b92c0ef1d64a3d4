#include "update.h"

#include <algorithm>

using namespace facts;

namespace {

INLINE int64_t shifted(int64_t value, int shift) { return shift ? (value + (int64_t(1) << (shift - 1))) >> shift : value; }

INLINE int64_t clipped(int64_t value, int width, int64_t &clips) {
    const int64_t half = int64_t(1) << (width - 1), kept = std::max(-half, std::min(value, half - 1));
    clips += kept != value;
    return kept;
}

INLINE int64_t sign(int64_t value) { return (value > 0) - (value < 0); }

// What a first moment goes of its way: one unit at least, so that it arrives.
INLINE int64_t part(int64_t way, int decay) {
    const int64_t rounded = shifted(way, decay);
    return rounded ? rounded : sign(way);
}

// Second moments are words of two scales.
INLINE int64_t unpacked(uint32_t word) {
    const int64_t rest = word & 0x7FFFFFFF;
    return word >> 31 ? rest << COARSE_SHIFT : rest;
}
INLINE uint32_t packed(int64_t square) {
    return square >> 31 ? 0x80000000u + uint32_t(shifted(square, COARSE_SHIFT)) : uint32_t(square);
}

INLINE int64_t adam_direction(int64_t moment, int64_t square, int decay2, const Table &roots, int64_t &clips) {
    const int64_t n = std::max<int64_t>(square + (EPSILON >> decay2), 1);
    const int exponent = 63 - __builtin_clzll(n);
    const int64_t mantissa = ((n << RECIPROCAL_BITS) >> exponent) & ((1 << RECIPROCAL_BITS) - 1);
    const int64_t odd = ~exponent & 1;
    const int32_t found = roots.at(int32_t((odd << RECIPROCAL_BITS) + mantissa));
    const int64_t root = std::max(0, std::min(found, (1 << SCALAR_VALUE_BITS) - 1));
    return clipped(shifted(moment * root, ROOT_SHIFT + ((exponent + 1) >> 1)), DIRECTION_BITS, clips);
}

template <int RULE>
int64_t update_all(Memories &memories, const Update &instruction, int32_t rate) {
    const int rows = memories.config.rows, decay1 = instruction.decay1, decay2 = instruction.decay2;
    const int64_t begin = int64_t(instruction.base) * rows, end = begin + int64_t(instruction.count) * rows;
    const int64_t mantissa = rate & ((1 << RATE_BITS) - 1);
    const Table roots = memories.scalar_table(scalartable::RSQRT);
    int64_t clips = 0;
    for (int64_t i = begin; i < end; i++) {
        const int64_t gradient = wrapped(memories.gradient[i], GRADIENT_BITS);
        const int64_t h = clipped(shifted(gradient, instruction.gradient_shift), SHIFTED_BITS, clips);
        int64_t moment = memories.moment1[i], direction = 0;
        if constexpr (RULE == rule::SGD) direction = h;
        if constexpr (RULE == rule::SIGN) direction = sign(h) * SIGN_UNIT;
        if constexpr (RULE == rule::MOMENTUM || RULE == rule::SIGN_MOMENTUM) {
            if (RULE == rule::MOMENTUM)
                moment += (h << MOMENT_FRAC) - part(moment, decay1);
            else
                moment += part((sign(h) * SIGN_UNIT << MOMENT_FRAC) - moment, decay1);
            moment = clipped(moment, MASTER_BITS, clips);
            direction = clipped(shifted(moment, MOMENT_FRAC), DIRECTION_BITS, clips);
        }
        if constexpr (RULE == rule::ADAM) {
            moment = clipped(moment + part((h << ADAM_FRAC) - moment, decay1), MASTER_BITS, clips);
            int64_t square = unpacked(memories.moment2[i]);
            square += shifted((std::min<int64_t>(h * h, LARGEST_SQUARE) << SQUARE_FRAC) - square, decay2);
            memories.moment2[i] = packed(square);
            direction = adam_direction(moment, square, decay2, roots, clips);
        }
        memories.moment1[i] = moment;
        const int64_t change = shifted(direction * mantissa, instruction.rate_shift);
        memories.master[i] = clipped(memories.master[i] - change, MASTER_BITS, clips);
        memories.gradient[i] = 0;
    }
    return clips;
}

}  // namespace

int64_t update(Memories &memories, const Update &instruction, int32_t rate) {
    switch (instruction.rule) {
        case rule::SGD: return update_all<rule::SGD>(memories, instruction, rate);
        case rule::SIGN: return update_all<rule::SIGN>(memories, instruction, rate);
        case rule::MOMENTUM: return update_all<rule::MOMENTUM>(memories, instruction, rate);
        case rule::ADAM: return update_all<rule::ADAM>(memories, instruction, rate);
        default: return update_all<rule::SIGN_MOMENTUM>(memories, instruction, rate);
    }
}
