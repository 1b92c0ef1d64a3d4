#include "generator.h"

namespace {

constexpr int AT_ONCE = 16;
typedef uint32_t Words __attribute__((vector_size(4 * AT_ONCE)));

}  // namespace

void Generator::make(uint32_t seed, uint32_t step, uint32_t probe, uint32_t first, int count) {
    words_.resize(2 * (count + AT_ONCE));
    const uint32_t keys[] = {seed, step, seed ^ step ^ uint32_t(facts::KEY_PARITY)};
    Words numbers;
    for (int i = 0; i < AT_ONCE; i++) numbers[i] = i;
    for (int block = 0; block < count; block += AT_ONCE) {
        Words low = numbers + (first + block + keys[0]), high = Words{} + (probe + keys[1]);
        for (int round = 0; round < facts::ROUNDS; round++) {
            const int rotation = facts::ROTATIONS[round % 8];
            low += high;
            high = ((high << rotation) | (high >> (32 - rotation))) ^ low;
            if ((round + 1) % facts::ROUNDS_PER_INJECTION == 0) {
                const uint32_t injection = (round + 1) / facts::ROUNDS_PER_INJECTION;
                low += keys[injection % 3];
                high += keys[(injection + 1) % 3] + injection;
            }
        }
        for (int i = 0; i < AT_ONCE; i++) {
            words_[2 * (block + i)] = low[i];
            words_[2 * (block + i) + 1] = high[i];
        }
    }
}
