#include "lanewise.h"

namespace operand = facts::operand;

namespace {

// What an input is multiplied by, of a word of activations.
template <int OPERAND>
INLINE Int8 factor(Int8 word) {
    if (OPERAND == operand::LANE) return word;
    const Int8 positive = (word > 0) & 1, negative = (word < 0) & 1;
    return OPERAND == operand::POSITIVE ? positive : positive - negative;
}

}  // namespace

LaneWise::LaneWise(const Memories &memories, const facts::Contract &instruction, bool monitor)
    : drain_(memories.config, instruction),
      operand_(instruction.operand),
      one_(instruction.bias ? instruction.one : -1) {
    const std::vector<Loop> loops = contraction_loops(instruction);
    terms_ = outputs_ = {Place()};
    for (int loop = 0; loop < 3; loop++) terms_ = around(terms_, loops[loop]);
    for (int loop = 3; loop < 7; loop++) outputs_ = around(outputs_, loops[loop]);
    int64_t count = int64_t(terms_.size()) + instruction.bias;
    work_ = GROUP * count * outputs_.size();
    exact_ = exact_in_double(memories.config.width, count);
    watched_ = monitor || may_leave_accumulator(memories.config, count);
}

void LaneWise::run(Memories &memories, const Job &job, int begin, int end, Tally &tally) const {
    for (int group = begin; group < end; group++) switch (operand_) {
            case operand::LANE: sum<operand::LANE>(memories, job, group, tally); break;
            case operand::POSITIVE: sum<operand::POSITIVE>(memories, job, group, tally); break;
            case operand::SIGN: sum<operand::SIGN>(memories, job, group, tally); break;
        }
}

template <int OPERAND>
void LaneWise::sum(Memories &memories, const Job &job, int group, Tally &tally) const {
    if (!exact_) return sum_exactly<OPERAND>(memories, job, group, tally);
    const Drain::Outlet outlet = drain_.outlet(memories);
    const unsigned existing = memories.existing(group);
    int32_t *words = memories.group(group);
    for (const Place &output : outputs_) {
        const int32_t *w = words + (job.base[0] + output.w) * GROUP, *x = words + (job.base[1] + output.x) * GROUP;
        Double8 total = all(0.0);
        for (const Place &term : terms_)
            total += doubles(factor<OPERAND>(load(w + term.w * GROUP))) * doubles(load(x + term.x * GROUP));
        if (one_ >= 0)
            total += doubles(load(words + (job.base[3] + output.b) * GROUP)) * doubles(load(words + one_ * GROUP));
        total = total * drain_.scale + 0.5;
        if (watched_) watch(total, existing, tally);
        outlet.finish_whole(rounded_down(total), words + (job.base[2] + output.y) * GROUP, existing, tally.clips);
    }
}

// Sums that double does not hold, in integers.
template <int OPERAND>
void LaneWise::sum_exactly(Memories &memories, const Job &job, int group, Tally &tally) const {
    const Drain::Outlet outlet = drain_.outlet(memories);
    const unsigned existing = memories.existing(group);
    int32_t *words = memories.group(group);
    auto whole = [&](int word) { return widened(load(words + word * GROUP)); };
    for (const Place &output : outputs_) {
        Long8 total{};
        for (const Place &term : terms_) {
            const Int8 left = factor<OPERAND>(load(words + (job.base[0] + output.w + term.w) * GROUP));
            total += widened(left) * whole(job.base[1] + output.x + term.x);
        }
        if (one_ >= 0) total += whole(job.base[3] + output.b) * whole(one_);
        total = (total + (int64_t(1) << drain_.shift >> 1)) >> drain_.shift;
        const Double8 rounded = doubles(total);
        watch(rounded, existing, tally);
        outlet.finish_whole(rounded, words + (job.base[2] + output.y) * GROUP, existing, tally.clips);
    }
}
