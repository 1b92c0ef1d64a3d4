// What LOAD and STORE do to the memories.
#include "memories.h"

#include <algorithm>

namespace memory = facts::memory;

void Memories::write_group(int group, int base, int count, const int64_t *values) {
    int32_t *words = this->group(group) + size_t(base) * GROUP;
    int first = group * GROUP, lanes = std::min(GROUP, config.lanes - first);
    for (int word = 0; word < count; word++) {
        const int64_t *source = values + size_t(word) * config.lanes + first;
        for (int lane = 0; lane < lanes; lane++)
            words[word * GROUP + lane] = wrapped(source[lane], config.width);
    }
}

void Memories::read_group(int group, int base, int count, int64_t *values) {
    const int32_t *words = this->group(group) + size_t(base) * GROUP;
    int first = group * GROUP, lanes = std::min(GROUP, config.lanes - first);
    for (int word = 0; word < count; word++)
        for (int lane = 0; lane < lanes; lane++)
            values[size_t(word) * config.lanes + first + lane] = words[word * GROUP + lane];
}

void Memories::write(int kind, int base, int count, const int64_t *values) {
    size_t first = size_t(base) * config.rows, size = size_t(count) * config.rows;
    auto copy = [&](auto &numbers, int width) {
        for (size_t i = 0; i < size; i++) numbers[first + i] = wrapped(values[i], width);
    };
    auto copy_segments = [&](Array<int64_t> &segments, bool sign, int width) {
        for (int i = 0; i < count; i++) {
            const int64_t value = sign ? wrapped(values[2 * i], width) : values[2 * i] & ((1 << width) - 1);
            segments[base + i] = segment(value, wrapped(values[2 * i + 1], width));
        }
    };
    switch (kind) {
        case memory::ACTIVATION:
            for (int group = 0; group < groups; group++) write_group(group, base, count, values);
            break;
        case memory::MASTER: copy(master, facts::MASTER_BITS); break;
        case memory::GRADIENT: copy(gradient, facts::GRADIENT_BITS); break;
        case memory::MOMENT1: copy(moment1, facts::MASTER_BITS); break;
        case memory::MOMENT2: copy(moment2, facts::MASTER_BITS); break;
        case memory::WEIGHT:
            copy(weight, config.width);
            weights_written(base, count);
            break;
        case memory::ACTIVATION_TABLE: copy_segments(activation_segments_, true, config.width); break;
        case memory::SCALAR_TABLE: copy_segments(scalar_segments_, false, facts::SCALAR_VALUE_BITS); break;
    }
}

void Memories::read(int kind, int base, int count, int64_t *values) {
    size_t first = size_t(base) * config.rows, size = size_t(count) * config.rows;
    auto copy = [&](const auto &numbers) { std::copy_n(numbers.begin() + first, size, values); };
    switch (kind) {
        case memory::ACTIVATION:
            for (int group = 0; group < groups; group++) read_group(group, base, count, values);
            break;
        case memory::MASTER: copy(master); break;
        case memory::GRADIENT:
            for (size_t i = 0; i < size; i++) values[i] = wrapped(gradient[first + i], facts::GRADIENT_BITS);
            break;
        case memory::MOMENT1: copy(moment1); break;
        case memory::MOMENT2: copy(moment2); break;
        case memory::WEIGHT: copy(weight); break;
    }
}

void Memories::weights_written(int base, int count) {
    version_++;
    for (Written &each : written_)
        if (each.begin == base && each.end == base + count) {
            each.version = version_;
            return;
        }
    written_.push_back({base, base + count, version_});
}

uint64_t Memories::version(int begin, int end) const {
    uint64_t latest = 0;
    for (const Written &each : written_)
        if (each.begin < end && begin < each.end) latest = std::max(latest, each.version);
    return latest;
}
