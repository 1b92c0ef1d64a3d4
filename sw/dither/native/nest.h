// Loop nests as strides: what lies between two iterations of a loop. In instructions, a step is what
// is added when a loop advances and every loop inside has just wrapped.
#pragma once
#include <cstdint>
#include <vector>

// Offsets of the operands; CORRELATE's gradient is w here, its left operand y.
struct Place {
    int w = 0, x = 0, y = 0, b = 0;

    Place operator+(const Place &other) const { return {w + other.w, x + other.x, y + other.y, b + other.b}; }
    Place operator*(int times) const { return {w * times, x * times, y * times, b * times}; }
};

struct Loop {
    int count = 1;
    Place stride;
};

using Places = std::vector<Place>;

inline int wrapped_16(int value) { return int16_t(uint16_t(value)); }

// Strides of nested loops, the innermost first; those of loops of one iteration are zero.
template <int N>
inline void strides(const int *counts, const int32_t *steps, int *result) {
    int64_t way = 0;  // how far the loops inside have moved when all of them are at their last iteration
    for (int loop = 0; loop < N; loop++) {
        result[loop] = counts[loop] > 1 ? wrapped_16(int(steps[loop] + way)) : 0;
        way += int64_t(counts[loop] - 1) * result[loop];
    }
}

// The seven loops of a contraction, the innermost first, with strides in words; those of the
// reduction move neither outputs nor biases.
template <class Contraction>
inline std::vector<Loop> contraction_loops(const Contraction &instruction) {
    const int *counts = &instruction.n_k0;
    int w[7], x[7], y[4], b[4];
    strides<7>(counts, &instruction.w_k0, w);
    strides<7>(counts, &instruction.x_k0, x);
    strides<4>(counts + 3, &instruction.y_o0, y);
    strides<4>(counts + 3, &instruction.b_o0, b);
    std::vector<Loop> loops;
    for (int loop = 0; loop < 7; loop++)
        loops.push_back({counts[loop], {w[loop], x[loop], loop < 3 ? 0 : y[loop - 3], loop < 3 ? 0 : b[loop - 3]}});
    return loops;
}

// All places of a loop around others.
inline Places around(const Places &inside, const Loop &loop) {
    Places all;
    all.reserve(inside.size() * loop.count);
    for (int i = 0; i < loop.count; i++)
        for (const Place &place : inside) all.push_back(place + loop.stride * i);
    return all;
}
