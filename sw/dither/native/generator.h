// The perturbation generator: Threefry-2x32-20 (Salmon, Moraes, Dror, Shaw: Parallel random numbers:
// as easy as 1, 2, 3, SC'11), several blocks at once.
#pragma once
#include <vector>

#include "facts.h"
#include "vectors.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bits are read as bytes, the lowest first");

class Generator {
  public:
    // Makes count successive blocks of a probe; block numbers are modulo 2**32.
    void make(uint32_t seed, uint32_t step, uint32_t probe, uint32_t first, int count);

    // Eight bits from any place on, the first the lowest.
    INLINE unsigned bits(int64_t place) const {
        uint16_t both;
        memcpy(&both, bytes() + (place >> 3), 2);
        return (both >> (place & 7)) & 0xFF;
    }
    const uint8_t *bytes() const { return reinterpret_cast<const uint8_t *>(words_.data()); }

  private:
    std::vector<uint32_t> words_;  // two of each block, and a few more, so that any place may be read
};
