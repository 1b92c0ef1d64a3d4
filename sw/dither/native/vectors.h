// Eight numbers at once, one for each lane of a group: integers of 32 bits, and where these are not
// enough, of 64 bits, or as double. Everything here is exact.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

constexpr int GROUP = 8;  // lanes of a group

#define INLINE inline __attribute__((always_inline))

typedef int32_t Int8 __attribute__((vector_size(32)));
typedef float Float8 __attribute__((vector_size(32)));
typedef double Double4 __attribute__((vector_size(32)));
typedef int64_t Long4 __attribute__((vector_size(32)));

// Two registers for one: compilers keep vectors that are too long for any in memory.
template <class Half, class Number>
struct Halves {
    Half low, high;

    INLINE Number operator[](int lane) const { return lane < 4 ? low[lane] : high[lane - 4]; }
    INLINE Halves operator+(const Halves &other) const { return {low + other.low, high + other.high}; }
    INLINE Halves operator*(const Halves &other) const { return {low * other.low, high * other.high}; }
    INLINE Halves operator+(Number other) const { return {low + other, high + other}; }
    INLINE Halves operator*(Number other) const { return {low * other, high * other}; }
    INLINE Halves operator>>(int bits) const { return {low >> bits, high >> bits}; }
    INLINE Halves &operator+=(const Halves &other) { return *this = *this + other; }
};
typedef Halves<Double4, double> Double8;
typedef Halves<Long4, int64_t> Long8;

INLINE Int8 load(const int32_t *place) { return *reinterpret_cast<const Int8 *>(place); }
INLINE void store(int32_t *place, Int8 value) { *reinterpret_cast<Int8 *>(place) = value; }
INLINE Int8 all(int32_t x) { return Int8{} + x; }
INLINE Long8 loaded(const int64_t *place) {
    Long8 value;
    memcpy(&value, place, sizeof value);
    return value;
}

// Conversions by name where the compiler would take two halves and put them together.
INLINE Double8 all(double x) { return {Double4{x, x, x, x}, Double4{x, x, x, x}}; }
INLINE Long8 longs(Double8 value) {
    return {__builtin_convertvector(value.low, Long4), __builtin_convertvector(value.high, Long4)};
}
INLINE Double8 doubles(Long8 value) {
    return {__builtin_convertvector(value.low, Double4), __builtin_convertvector(value.high, Double4)};
}
#if defined(__AVX2__)
INLINE __m128i low_half(Int8 value) { return _mm256_castsi256_si128((__m256i)value); }
INLINE __m128i high_half(Int8 value) { return _mm256_extracti128_si256((__m256i)value, 1); }
INLINE Double8 doubles(Int8 value) {
    return {(Double4)_mm256_cvtepi32_pd(low_half(value)), (Double4)_mm256_cvtepi32_pd(high_half(value))};
}
INLINE Long8 widened(Int8 value) {
    return {(Long4)_mm256_cvtepi32_epi64(low_half(value)), (Long4)_mm256_cvtepi32_epi64(high_half(value))};
}
INLINE Int8 integers(Double8 value) {
    return (Int8)_mm256_set_m128i(_mm256_cvttpd_epi32((__m256d)value.high), _mm256_cvttpd_epi32((__m256d)value.low));
}
INLINE Int8 narrowed(Long8 value) {
    const __m256 even = _mm256_shuffle_ps((__m256)value.low, (__m256)value.high, 0x88);
    return (Int8)_mm256_permute4x64_pd((__m256d)even, 0xD8);
}
INLINE Double8 rounded_down(Double8 value) {
    return {(Double4)_mm256_floor_pd((__m256d)value.low), (Double4)_mm256_floor_pd((__m256d)value.high)};
}
INLINE Double8 clipped(Double8 value, double lowest, double highest) {
    const __m256d least = _mm256_set1_pd(lowest), most = _mm256_set1_pd(highest);
    return {(Double4)_mm256_min_pd(_mm256_max_pd((__m256d)value.low, least), most),
            (Double4)_mm256_min_pd(_mm256_max_pd((__m256d)value.high, least), most)};
}
#else
template <class To, class Half, class From>
INLINE To each(const From &value) {
    To made;
    for (int i = 0; i < 4; i++) made.low[i] = value[i], made.high[i] = value[i + 4];
    return made;
}
INLINE Double8 doubles(Int8 value) { return each<Double8, Double4>(value); }
INLINE Long8 widened(Int8 value) { return each<Long8, Long4>(value); }
INLINE Int8 integers(Double8 value) {
    Int8 made;
    for (int i = 0; i < GROUP; i++) made[i] = int32_t(value[i]);
    return made;
}
INLINE Int8 narrowed(Long8 value) {
    Int8 made;
    for (int i = 0; i < GROUP; i++) made[i] = int32_t(value[i]);
    return made;
}
INLINE Double8 rounded_down(Double8 value) {
    for (int i = 0; i < 4; i++)
        value.low[i] = __builtin_floor(value.low[i]), value.high[i] = __builtin_floor(value.high[i]);
    return value;
}
INLINE Double8 clipped(Double8 value, double lowest, double highest) {
    auto clip = [&](double x) { return x < lowest ? lowest : x > highest ? highest : x; };
    for (int i = 0; i < 4; i++) value.low[i] = clip(value.low[i]), value.high[i] = clip(value.high[i]);
    return value;
}
#endif

#if defined(__AVX2__)
INLINE Int8 larger(Int8 left, Int8 right) { return (Int8)_mm256_max_epi32((__m256i)left, (__m256i)right); }
INLINE Int8 smaller(Int8 left, Int8 right) { return (Int8)_mm256_min_epi32((__m256i)left, (__m256i)right); }
#else
INLINE Int8 larger(Int8 left, Int8 right) { return left > right ? left : right; }
INLINE Int8 smaller(Int8 left, Int8 right) { return left < right ? left : right; }
#endif

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

// All ones in the lanes that have a bit.
INLINE Int8 mask_of(unsigned lanes) {
    const Int8 bits = {1, 2, 4, 8, 16, 32, 64, 128};
    return (all(int(lanes)) & bits) != 0;
}

// A bit for each lane in which two vectors differ.
INLINE unsigned differing(Double8 left, Double8 right) {
    const Long4 low = left.low != right.low, high = left.high != right.high;
#if defined(__AVX2__)
    return _mm256_movemask_pd((__m256d)low) | _mm256_movemask_pd((__m256d)high) << 4;
#else
    unsigned bits = 0;
    for (int i = 0; i < 4; i++) bits |= (low[i] < 0) << i | (high[i] < 0) << (i + 4);
    return bits;
#endif
}

INLINE int count(unsigned bits) { return __builtin_popcount(bits); }

// Lower and upper halves of entries[index], lane by lane, by way of memory: gathering, and taking
// numbers out of a register, take several times as long.
INLINE void pick(const int64_t *entries, Int8 index, Int8 &lower, Int8 &upper) {
    alignas(32) int32_t at[GROUP];
    store(at, index);
#if defined(__AVX2__)
    asm("" : "+m"(at));
    const Long4 even = {entries[at[0]], entries[at[1]], entries[at[4]], entries[at[5]]};
    const Long4 odd = {entries[at[2]], entries[at[3]], entries[at[6]], entries[at[7]]};
    lower = (Int8)_mm256_shuffle_ps((__m256)even, (__m256)odd, 0x88);
    upper = (Int8)_mm256_shuffle_ps((__m256)even, (__m256)odd, 0xDD);
#else
    for (int i = 0; i < GROUP; i++) lower[i] = int32_t(entries[at[i]]), upper[i] = int32_t(entries[at[i]] >> 32);
#endif
}

