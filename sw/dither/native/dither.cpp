#include "dither.h"

void Dither::make(const Memories &memories, int32_t seed, int32_t step, int32_t probe, int32_t offset) {
    const int place = offset & 0xFFFF;
    first_ = place % facts::BLOCK_BITS;
    const int bits = first_ + instruction_.count + memories.groups * GROUP;
    generator_.make(seed, step, probe, instruction_.block + place / facts::BLOCK_BITS, bits / facts::BLOCK_BITS + 1);
}

void Dither::run(Memories &memories, const Job &job, int begin, int end, Tally &tally) const {
    const int half = 1 << (memories.config.width - 1);
    const Int8 lanes = {0, 1, 2, 3, 4, 5, 6, 7};
    for (int group = begin; group < end; group++) {
        int32_t *words = memories.group(group);
        const unsigned existing = memories.existing(group);
        const Int8 scale = load(words + instruction_.scale * GROUP);
        for (int word = 0; word < instruction_.count; word++) {
            const Int8 x = load(words + (instruction_.x_base + word * instruction_.x_step) * GROUP);
            // The sign is turned where the bit is 0.
            const Int8 bits = Int8{} + int(generator_.bits(first_ + word + group * GROUP));
            const Int8 turned = ((bits >> lanes) & 1) - 1;
            Int8 move = (scale ^ turned) - turned;
            if (instruction_.gate) move &= x > 0;
            const Int8 moved = x + move, value = smaller(larger(moved, all(-half)), all(half - 1));
            tally.clips += count(lanes_of(value != moved) & existing);
            store(words + (instruction_.y_base + word * instruction_.y_step) * GROUP, value);
        }
    }
}
