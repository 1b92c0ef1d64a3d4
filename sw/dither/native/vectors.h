// Eight numbers at once, one for each lane of a group. On processors with narrower registers the
// compiler takes several for one of these. Everything here is exact: integers in float or double.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

constexpr int GROUP = 8;  // lanes of a group

typedef float Float8 __attribute__((vector_size(32)));
typedef int32_t Int8 __attribute__((vector_size(32)));
typedef double Double8 __attribute__((vector_size(64)));
typedef int64_t Long8 __attribute__((vector_size(64)));

#define INLINE inline __attribute__((always_inline))

INLINE Float8 load(const float *place) { return *reinterpret_cast<const Float8 *>(place); }
INLINE void store(float *place, Float8 value) { *reinterpret_cast<Float8 *>(place) = value; }
// Conversions by name where the compiler would take two halves and put them together.
#if defined(__AVX512F__)
INLINE Double8 widened(Float8 value) { return (Double8)_mm512_cvtps_pd((__m256)value); }
INLINE Double8 doubles(Int8 value) { return (Double8)_mm512_cvtepi32_pd((__m256i)value); }
INLINE Long8 widened(Int8 value) { return (Long8)_mm512_cvtepi32_epi64((__m256i)value); }
INLINE Float8 narrowed(Double8 value) { return (Float8)_mm512_cvtpd_ps((__m512d)value); }
INLINE Int8 narrowed(Long8 value) { return (Int8)_mm512_cvtepi64_epi32((__m512i)value); }
#else
INLINE Double8 widened(Float8 value) { return __builtin_convertvector(value, Double8); }
INLINE Double8 doubles(Int8 value) { return __builtin_convertvector(value, Double8); }
INLINE Long8 widened(Int8 value) { return __builtin_convertvector(value, Long8); }
INLINE Float8 narrowed(Double8 value) { return __builtin_convertvector(value, Float8); }
INLINE Int8 narrowed(Long8 value) { return __builtin_convertvector(value, Int8); }
#endif
INLINE Int8 integers(Float8 value) { return __builtin_convertvector(value, Int8); }
INLINE Float8 floats(Int8 value) { return __builtin_convertvector(value, Float8); }
INLINE Double8 all(double x) { return Double8{x, x, x, x, x, x, x, x}; }
INLINE Float8 all(float x) { return Float8{x, x, x, x, x, x, x, x}; }

INLINE Double8 rounded_down(Double8 value) {
#if defined(__AVX512F__)
    return (Double8)_mm512_roundscale_pd((__m512d)value, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#else
    for (int i = 0; i < GROUP; i++) value[i] = __builtin_floor(value[i]);
    return value;
#endif
}

INLINE Float8 larger(Float8 left, Float8 right) {
#if defined(__AVX2__)
    return (Float8)_mm256_max_ps((__m256)left, (__m256)right);
#else
    return left > right ? left : right;
#endif
}

INLINE Float8 smaller(Float8 left, Float8 right) {
#if defined(__AVX2__)
    return (Float8)_mm256_min_ps((__m256)left, (__m256)right);
#else
    return left < right ? left : right;
#endif
}

// A bit for each lane whose mask is not zero.
INLINE unsigned lanes_of(Int8 mask) {
#if defined(__AVX2__)
    return _mm256_movemask_ps((__m256)mask);
#else
    unsigned bits = 0;
    for (int i = 0; i < GROUP; i++) bits |= (mask[i] < 0) << i;
    return bits;
#endif
}

INLINE int count(unsigned bits) { return __builtin_popcount(bits); }

// entries[index], lane by lane; gathering takes several times as long.
INLINE Long8 picked(const int64_t *entries, Int8 index) {
    return Long8{entries[index[0]], entries[index[1]], entries[index[2]], entries[index[3]],
                 entries[index[4]], entries[index[5]], entries[index[6]], entries[index[7]]};
}

// Lanes of two vectors side by side, by number.
#if defined(__clang__)
#define LANES(left, right, ...) __builtin_shufflevector(left, right, __VA_ARGS__)
#else
#define LANES(left, right, ...) __builtin_shuffle(left, right, Long8{__VA_ARGS__})
#endif

// The sum of each of eight vectors' lanes.
INLINE Double8 sums_of(const Double8 *eight) {
    Double8 pairs[4], fours[2];
    for (int i = 0; i < 4; i++) {
        const Double8 left = eight[2 * i], right = eight[2 * i + 1];
        pairs[i] = LANES(left, right, 0, 8, 2, 10, 4, 12, 6, 14) + LANES(left, right, 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int i = 0; i < 2; i++) {
        const Double8 left = pairs[2 * i], right = pairs[2 * i + 1];
        fours[i] = LANES(left, right, 0, 1, 8, 9, 4, 5, 12, 13) + LANES(left, right, 2, 3, 10, 11, 6, 7, 14, 15);
    }
    return LANES(fours[0], fours[1], 0, 1, 2, 3, 8, 9, 10, 11) + LANES(fours[0], fours[1], 4, 5, 6, 7, 12, 13, 14, 15);
}
