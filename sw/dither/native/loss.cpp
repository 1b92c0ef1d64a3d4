#include "loss.h"

#include <algorithm>

namespace losskind = facts::losskind;
namespace lossmode = facts::lossmode;
namespace scalartable = facts::scalartable;
using facts::EXP_FRAC, facts::EXP_ONE, facts::LN2, facts::LOSS_BITS, facts::SCALAR_INPUT_BITS, facts::SCALAR_VALUE_BITS;

namespace {

// A word's place; addresses are modulo 2**16.
INLINE int32_t *at(int32_t *words, int base, int step, int number) {
    return words + uint16_t(base + number * step) * GROUP;
}

INLINE Int8 at_most(Int8 value, int most) { return smaller(value, all(most)); }
INLINE Int8 at_least(Int8 value, int least) { return larger(value, all(least)); }

// Right shifts round half-up; left where the shift is negative.
INLINE Int8 shifted(Int8 value, int shift) {
    if (shift <= 0) return value << -shift;
    return (value + (1 << (shift - 1))) >> shift;
}

INLINE Int8 looked_up(const Table &table, Int8 input) {
    return at_least(at_most(table.at(input & ((1 << SCALAR_INPUT_BITS) - 1)), (1 << SCALAR_VALUE_BITS) - 1), 0);
}

}  // namespace

void Loss::write(const Memories &memories, int32_t *words, int number, Int8 value, unsigned active, Tally &tally) const {
    const int half = 1 << (memories.config.width - 1);
    const Int8 kept = at_least(at_most(value, half - 1), -half);
    tally.clips += count(lanes_of(kept != value) & active);
    store(at(words, instruction_.d_base, instruction_.d_step, number), kept & mask_of(active));
}

Long8 Loss::cross_entropy(Memories &memories, int32_t *words, Int8 labels, unsigned active, Tally &tally) const {
    const int outputs = instruction_.count, z_frac = instruction_.z_frac;
    constexpr int HIGHEST = (1 << SCALAR_INPUT_BITS) - 1;
    const Table exponentials = memories.scalar_table(scalartable::EXP), logarithms = memories.scalar_table(scalartable::LOG);
    auto output = [&](int number) { return load(at(words, instruction_.z_base, instruction_.z_step, number)); };
    Int8 greatest = output(0);
    for (int c = 1; c < outputs; c++) {
        Int8 z = output(c);
        greatest = z > greatest ? z : greatest;
    }
    auto exponent = [&](Int8 z) { return at_most(shifted(greatest - z, z_frac - EXP_FRAC), HIGHEST); };
    Long8 total{};
    Int8 of_label{};
    for (int c = 0; c < outputs; c++) {
        const Int8 z = output(c);
        of_label = labels == c ? greatest - z : of_label;
        total += widened(looked_up(exponentials, exponent(z)));
    }
    int64_t losses[GROUP];
    Int8 logarithm;
    for (int lane = 0; lane < GROUP; lane++) {
        const int64_t sum = total[lane];
        if (sum == 0 && active >> lane & 1) tally.empty = true;
        const int e = sum ? 63 - __builtin_clzll(sum) : 0;
        const int mantissa = (e < 16 ? sum << (16 - e) : sum >> (e - 16)) & 0xFFFF;
        const int found = std::max(0, std::min(logarithms.at(mantissa), (1 << SCALAR_VALUE_BITS) - 1));
        logarithm[lane] = found + (e - int(EXP_ONE)) * int(LN2);
        losses[lane] = logarithm[lane] + (int64_t(of_label[lane]) << (16 - z_frac));
    }
    if (instruction_.mode == lossmode::ERROR) {
        const int shift = EXP_ONE + 2 - memories.config.width;
        for (int c = 0; c < outputs; c++) {
            const Int8 probability = at_most(exponent(output(c)) + shifted(logarithm, 16 - EXP_FRAC), HIGHEST);
            Int8 value = looked_up(exponentials, probability);
            value -= (labels == c) & (1 << EXP_ONE);
            // Halves go up or down with the lowest bit of the exponent.
            write(memories, words, c, (value + ((1 << (shift - 1)) - 1) + (probability & 1)) >> shift, active, tally);
        }
    }
    return loaded(losses);
}

Long8 Loss::squared_error(Memories &memories, int32_t *words, unsigned active, Tally &tally) const {
    Long8 total{};
    for (int c = 0; c < instruction_.count; c++) {
        const Int8 error = load(at(words, instruction_.z_base, instruction_.z_step, c)) -
                           load(at(words, instruction_.t_base, instruction_.t_step, c));
        total += widened(error) * widened(error);
        if (instruction_.mode == lossmode::ERROR) write(memories, words, c, error, active, tally);
    }
    return total;
}

void Loss::run(Memories &memories, const Job &job, int begin, int end, Tally &tally) const {
    constexpr int64_t HIGHEST = (1 << LOSS_BITS) - 1;
    const bool classes = instruction_.kind == losskind::CROSS_ENTROPY;
    const int shift = (classes ? 16 : 2 * instruction_.z_frac) - instruction_.loss_frac;
    for (int group = begin; group < end; group++) {
        int32_t *words = memories.group(group);
        const Int8 labels = load(words + instruction_.label * GROUP);
        unsigned active = lanes_of(labels >= 0) & memories.existing(group);
        if (classes) active &= lanes_of(labels < instruction_.count);
        const Long8 raw = classes ? cross_entropy(memories, words, labels, active, tally)
                                  : squared_error(memories, words, active, tally);
        int32_t *kept = &memories.kept[group * GROUP];
        Int8 differences{};
        for (int lane = 0; lane < GROUP; lane++) {
            const bool counts = active >> lane & 1;
            int64_t scaled = 0;
            if (counts && shift > 0) scaled = (raw[lane] + (int64_t(1) << (shift - 1))) >> shift;
            if (counts && shift <= 0) scaled = std::min(raw[lane], HIGHEST + 1) << -shift;
            tally.clips += scaled > HIGHEST;
            const int64_t loss = std::min(scaled, HIGHEST);
            tally.sum += loss;
            differences[lane] = loss - kept[lane];
            if (instruction_.mode == lossmode::KEEP) kept[lane] = loss;
        }
        if (instruction_.mode == lossmode::DIFFER) {
            write(memories, words, 0, differences, active, tally);
        }
    }
}
