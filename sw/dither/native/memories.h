// The memories of one engine. Activations stand in groups of eight lanes: all words of a group are
// together, so that a group's pass through a network stays in the nearest caches.
#pragma once
#include <cstdint>
#include <new>
#include <vector>

#include "facts.h"
#include "vectors.h"

template <class Number>
struct Aligned {
    using value_type = Number;
    static constexpr std::align_val_t SIZE{64};
    Aligned() = default;
    template <class Other>
    Aligned(const Aligned<Other> &) {}
    template <class Other>
    struct rebind {
        using other = Aligned<Other>;
    };
    Number *allocate(size_t count) { return static_cast<Number *>(operator new(count * sizeof(Number), SIZE)); }
    void deallocate(Number *place, size_t) { operator delete(place, SIZE); }
    bool operator==(const Aligned &) const { return true; }
    bool operator!=(const Aligned &) const { return false; }
};
template <class Number>
using Array = std::vector<Number, Aligned<Number>>;

// A function as straight segments.
struct Table {
    const int64_t *segments;  // slope * 2**32 + value, the value's sign cut off
    int fraction_bits;

    // The interpolation for unsigned inputs, not yet clipped.
    INLINE Int8 at(Int8 input) const {
        const Int8 fraction = input & ((1 << fraction_bits) - 1);
        Int8 value, slope;
        pick(segments, input >> fraction_bits, value, slope);
        return value + ((slope * fraction + (1 << (fraction_bits - 1))) >> fraction_bits);
    }
    INLINE int32_t at(int32_t input) const {
        const int32_t fraction = input & ((1 << fraction_bits) - 1);
        const int64_t found = segments[input >> fraction_bits];
        return int32_t(found) + ((int32_t(found >> 32) * fraction + (1 << (fraction_bits - 1))) >> fraction_bits);
    }
};

inline int64_t segment(int32_t value, int32_t slope) { return int64_t(slope) << 32 | uint32_t(value); }

class Memories {
  public:
    const facts::Config config;
    const int groups;
    Array<int32_t> weight;  // [word][row], and a few more behind, so that vectors may be read anywhere
    Array<int32_t> master, moment1;
    Array<uint32_t> moment2;
    Array<int64_t> gradient;  // modulo 2**64, of which the lowest 48 bits count
    Array<int32_t> kept;      // losses of all lanes

    explicit Memories(const facts::Config &config)
        : config(config),
          groups((config.lanes + GROUP - 1) / GROUP),
          weight(config.weight_depth * config.rows + GROUP),
          master(config.parameter_depth * config.rows),
          moment1(master.size()),
          moment2(master.size()),
          gradient(master.size()),
          kept(groups * GROUP),
          activation_(size_t(groups) * config.activation_depth * GROUP),
          activation_segments_(config.activation_tables << config.table_bits),
          scalar_segments_(3 << config.table_bits) {}

    // All words of a group, eight numbers each.
    int32_t *group(int number) { return activation_.data() + size_t(number) * config.activation_depth * GROUP; }

    // A bit for each lane of a group that exists.
    unsigned existing(int group) const {
        int left = config.lanes - group * GROUP;
        return left >= GROUP ? 0xFF : (1u << left) - 1;
    }

    Table activation_table(int number) const {
        return {&activation_segments_[number << config.table_bits], config.width - config.table_bits};
    }
    Table scalar_table(int number) const {
        return {&scalar_segments_[number << config.table_bits], facts::SCALAR_INPUT_BITS - config.table_bits};
    }

    // Words of any memory as integers of its width, [word][slot], as streams carry them.
    void write(int kind, int base, int count, const int64_t *values);
    void read(int kind, int base, int count, int64_t *values);
    // The same for the lanes of one group of activations.
    void write_group(int group, int base, int count, const int64_t *values);
    void read_group(int group, int base, int count, int64_t *values);

    // What has been written to the weights so far: a stretch of words, and when it was written last.
    struct Written {
        int begin, end;
        uint64_t version;
    };
    void weights_written(int base, int count);
    uint64_t latest() const { return version_; }
    // When the latest of some weights was written.
    uint64_t version(int begin, int end) const;

  private:
    Array<int32_t> activation_;
    Array<int64_t> activation_segments_, scalar_segments_;  // tables, one behind the other
    std::vector<Written> written_;
    uint64_t version_ = 0;
};

// The lowest bits of a number, as a signed one.
INLINE int64_t wrapped(int64_t value, int width) {
    return int64_t(uint64_t(value) << (64 - width)) >> (64 - width);
}
