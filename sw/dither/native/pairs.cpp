#include "pairs.h"

#include <algorithm>
#include <cstdlib>

#if defined(__AVX2__)
namespace {

constexpr int LARGEST = 32767, MOST_SHIFT = 29;
constexpr int LOWER = 9;  // bits of the lower part of an input that is split

INLINE int32_t pair(int low, int high) { return int32_t(uint32_t(high) << 16 | (uint32_t(low) & 0xFFFF)); }
INLINE Int8 pair(Int8 low, Int8 high) {
    return (Int8)_mm256_blend_epi16((__m256i)low, (__m256i)(high << 16), 0xAA);
}
INLINE Int8 products(Int8 left, Int8 right) { return (Int8)_mm256_madd_epi16((__m256i)left, (__m256i)right); }
INLINE Int8 sum(Int8 start, Int8 left, Int8 right) {
    return start + products(left, right);
}
INLINE Int8 magnitude(Int8 value) { return (Int8)_mm256_abs_epi32((__m256i)value); }

// Half a unit of outputs, which is added to the bias, is a product too: of two powers of two.
int half_input(int shift) { return shift ? 1 << (shift - 1) / 2 : 0; }
int half_weight(int shift) { return shift ? 1 << shift / 2 : 0; }

struct Block {
    const Point *points;
    const Int8 *inputs;  // [pair][point], behind those of the biases; split: [pair][lower, upper]
    const int32_t *weights, *biases, *outputs;
    int pairs, shift;
    const Drain::Outlet *outlet;
};

// Sums of a block, and their outputs; kept is counted down, for each point, by those that are not clipped.
template <int ROWS, int COUNT, bool BIAS, bool SPLIT>
INLINE void multiply_block(const Block &block, Int8 *kept) {
    constexpr int SUMS = SPLIT ? 2 : COUNT;
    Int8 sums[SUMS][ROWS];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
        for (int s = 0; s < SUMS; s++)
            sums[s][r] = BIAS ? products(block.inputs[s], all(block.biases[block.points[SPLIT ? 0 : s].bias + r]))
                              : all(SPLIT && s == 1 ? 0 : 1 << block.shift >> 1);
    const Int8 *inputs = block.inputs + SUMS;
    const int32_t *weights = block.weights;
    for (int pair = 0; pair < block.pairs; pair++, inputs += SUMS, weights += ROWS) {
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            const Int8 weight = all(weights[r]);
#pragma GCC unroll 8
            for (int s = 0; s < SUMS; s++) sums[s][r] = sum(sums[s][r], inputs[s], weight);
        }
    }
    const Drain::Outlet outlet = *block.outlet;
    const int shift = SPLIT ? block.shift - LOWER : block.shift;
#pragma GCC unroll 8
    for (int p = 0; p < COUNT; p++) {
        int32_t *y = block.points[p].y;
        Int8 same = kept[p];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            const Int8 whole = SPLIT ? sums[SUMS - 1][r] + (sums[0][r] >> LOWER) : sums[p][r];
            const Int8 value = whole >> shift, clip = outlet.clip(value);
            same += clip == value;
            store(y + block.outputs[r], outlet.activate(clip));
        }
        kept[p] = same;
    }
}

}  // namespace

bool Pairs::pack(const Shape &shape, const Places &terms, int shift, const int32_t *weights, const int32_t *biases) {
    if (shift > MOST_SHIFT) return false;
    terms_ = terms.size();
    rows_ = shape.rows.size();
    shift_ = shift;
    const Blocks blocks(rows_);
    int64_t heaviest_bias = 0;
    biases_.resize(biases ? shape.matrices.size() * shape.bias_count() : 0);
    int32_t *target = biases_.data();
    for (size_t i = 0; i < biases_.size() / rows_; i++) {
        const size_t positions = shape.bias_count() / rows_;
        const int32_t *first = biases + shape.matrices[i / positions].b + shape.positions[i % positions].b;
        for (const Place &row : shape.rows) {
            heaviest_bias = std::max<int64_t>(heaviest_bias, std::abs(first[row.b]));
            *target++ = pair(first[row.b], half_weight(shift));
        }
    }
    const int64_t room = (int64_t(1) << 31) - 1 - (int64_t(1) << shift >> 1) - heaviest_bias * LARGEST;
    if (heaviest_bias > LARGEST || room < 0) return false;
    weights_.resize(shape.matrices.size() * rows_ * ((terms_ + 1) / 2));
    limits_.clear();
    splits_.clear();
    target = weights_.data();
    for (const Place &matrix : shape.matrices) {
        int64_t heaviest = 1;
        const Place *row = shape.rows.data();
        for (int block = 0; block < blocks.count; row += blocks.rows(block++)) {
            int64_t sums[HEIGHT] = {};
            int largest = 0;
            for (int term = 0; term < terms_; term += 2)
                for (int r = 0; r < blocks.rows(block); r++) {
                    const int32_t *first = weights + matrix.w + row[r].w;
                    const int low = first[terms[term].w], high = term + 1 < terms_ ? first[terms[term + 1].w] : 0;
                    sums[r] += std::abs(low) + std::abs(high);
                    largest = std::max({largest, std::abs(low), std::abs(high)});
                    *target++ = pair(low, high);
                }
            if (largest > LARGEST) return false;
            heaviest = std::max(heaviest, *std::max_element(sums, sums + HEIGHT));
        }
        limits_.push_back(std::min<int64_t>(LARGEST, room / heaviest));
        splits_.push_back(shift >= LOWER && ((heaviest + heaviest_bias) << LOWER) + (int64_t(1) << shift) < int64_t(1) << 31);
    }
    return true;
}

bool Pairs::multiply(Run &run, const Point *points, int count, int64_t &clips) const {
    const bool bias = !biases_.empty();
    switch (count) {
        case 1: return bias ? multiply<1, true>(run, points, clips) : multiply<1, false>(run, points, clips);
        case 2: return bias ? multiply<2, true>(run, points, clips) : multiply<2, false>(run, points, clips);
        default: return bias ? multiply<POINTS, true>(run, points, clips) : multiply<POINTS, false>(run, points, clips);
    }
}

template <int COUNT, bool BIAS>
bool Pairs::multiply(Run &run, const Point *points, int64_t &clips) const {
    if (!run.large) {
        if (pair_up<COUNT, BIAS>(run, points)) {
            multiply_all<COUNT, BIAS, false>(run, points, clips);
            return true;
        }
        run.large = true;
    }
    if (!splits_[run.matrix]) return false;
    for (int p = 0; p < COUNT; p++) {
        split_up<BIAS>(run, points[p]);
        multiply_all<1, BIAS, true>(run, points + p, clips);
    }
    return true;
}

// Puts inputs together in pairs; false where they are too large.
template <int COUNT, bool BIAS>
bool Pairs::pair_up(const Run &run, const Point *points) const {
    Int8 *target = run.scratch;
    const Int8 half = all(half_input(shift_));
    for (int p = 0; p < COUNT; p++, target++)
        if (BIAS) {
            const Int8 one = load(points[p].one);
            if (lanes_of(magnitude(one) > LARGEST)) return false;
            *target = pair(one, half);
        }
    Int8 largest{};
    for (int term = 0; term < terms_; term += 2) {
        const int32_t first = run.inputs[term], second = run.inputs[term + 1];
#pragma GCC unroll 8
        for (int p = 0; p < COUNT; p++) {
            const Int8 low = load(points[p].x + first), high = load(points[p].x + second);
            largest = larger(largest, larger(magnitude(low), magnitude(high)));
            *target++ = pair(low, high);
        }
    }
    return !lanes_of(largest > limits_[run.matrix]);
}

// Puts lower and upper bits of inputs together in pairs.
template <bool BIAS>
void Pairs::split_up(const Run &run, const Point &point) const {
    Int8 *target = run.scratch;
    const Int8 mask = all((1 << LOWER) - 1);
    auto put = [&](Int8 low, Int8 high) {
        *target++ = pair(low & mask, high & mask);
        *target++ = pair(low >> LOWER, high >> LOWER);
    };
    if (BIAS) {
        const Int8 one = load(point.one);
        target[0] = pair(one & mask, all(half_input(shift_)));
        target[1] = pair(one >> LOWER, Int8{});
    }
    target += 2;
    for (int term = 0; term < terms_; term += 2) put(load(point.x + run.inputs[term]), load(point.x + run.inputs[term + 1]));
}

template <int COUNT, bool BIAS, bool SPLIT>
void Pairs::multiply_all(const Run &run, const Point *points, int64_t &clips) const {
    const int pairs = (terms_ + 1) / 2;
    const Blocks blocks(rows_);
    Block block{points, run.scratch, &weights_[run.matrix * rows_ * pairs], nullptr, run.shape->outputs.data(), pairs, shift_, run.outlet};
    if (BIAS) block.biases = &biases_[run.matrix * run.shape->bias_count()];
    Int8 kept[COUNT] = {};
    for (int number = 0; number < blocks.count; number++) {
        const int rows = blocks.rows(number);
        switch (rows) {
            case 1: multiply_block<1, COUNT, BIAS, SPLIT>(block, kept); break;
            case 2: multiply_block<2, COUNT, BIAS, SPLIT>(block, kept); break;
            case 3: multiply_block<3, COUNT, BIAS, SPLIT>(block, kept); break;
            case 4: multiply_block<4, COUNT, BIAS, SPLIT>(block, kept); break;
            case 5: multiply_block<5, COUNT, BIAS, SPLIT>(block, kept); break;
            default: multiply_block<6, COUNT, BIAS, SPLIT>(block, kept);
        }
        block.weights += rows * pairs;
        block.biases += rows;
        block.outputs += rows;
    }
    for (int p = 0; p < COUNT; p++) clips += excess(-rows_, kept[p], points[p].existing);
}

int Pairs::weight(size_t matrix, int row, int term) const {
    const int pairs = (terms_ + 1) / 2;
    const Blocks blocks(rows_);
    const int32_t *block = &weights_[matrix * rows_ * pairs];
    int number = 0;
    for (; row >= blocks.rows(number); number++) {
        row -= blocks.rows(number);
        block += blocks.rows(number) * pairs;
    }
    const int32_t found = block[term / 2 * blocks.rows(number) + row];
    return term % 2 ? found >> 16 : int16_t(found);
}
#else
bool Pairs::pack(const Shape &, const Places &, int, const int32_t *, const int32_t *) { return false; }
bool Pairs::multiply(Run &, const Point *, int, int64_t &) const { return false; }
int Pairs::weight(size_t, int, int) const { return 0; }
#endif
