// Sums of products of 16 bits, two products at once: what contractions are made of wherever numbers
// are as small as those of trained networks. Whether weights fit is seen when they are packed; inputs
// are looked at while they are put together in pairs. Where these are too large, upper and lower bits
// are summed apart.
#pragma once
#include "drain.h"
#include "nest.h"

// A position in one group of lanes.
struct Point {
    const int32_t *x, *one;
    size_t bias;  // of the first row, among those of a matrix
    int32_t *y;
    unsigned existing;
};

// The loops of a contraction, sorted by what they move.
struct Shape {
    Places rows, positions, matrices;
    std::vector<int32_t> outputs;  // offsets of the rows' outputs, in numbers
    bool moving_bias = false;      // whether positions move the bias

    int bias_count() const { return rows.size() * (moving_bias ? positions.size() : 1); }  // of a matrix
};

class Pairs {
  public:
    static constexpr int HEIGHT = 6, POINTS = 2;

    // weights, biases: where they begin. Without biases, these are null. False where numbers, or their
    // sums, may be too large.
    bool pack(const Shape &shape, const Places &terms, int shift, const int32_t *weights, const int32_t *biases);
    // What is the same for all points of a run.
    struct Run {
        const Shape *shape;
        size_t matrix;
        const int32_t *inputs;  // offsets of the terms, two for each pair
        const Drain::Outlet *outlet;
        Int8 *scratch;      // as many words as scratch() says
        bool large = false;  // whether inputs have been too large to be taken whole
    };
    size_t scratch() const { return POINTS * (terms_ + 3); }
    // Computes all rows of a matrix at up to POINTS points; false, and nothing, where inputs are too
    // large.
    bool multiply(Run &run, const Point *points, int count, int64_t &clips) const;
    // A weight of a matrix.
    int weight(size_t matrix, int row, int term) const;

  private:
    template <int COUNT, bool BIAS>
    bool multiply(Run &run, const Point *points, int64_t &clips) const;
    template <int COUNT, bool BIAS>
    bool pair_up(const Run &run, const Point *points) const;
    template <bool BIAS>
    void split_up(const Run &run, const Point &point) const;
    template <int COUNT, bool BIAS, bool SPLIT>
    void multiply_all(const Run &run, const Point *points, int64_t &clips) const;

    // Rows in blocks of equal height, or one less.
    struct Blocks {
        int count, height, higher;
        explicit Blocks(int rows)
            : count((rows + HEIGHT - 1) / HEIGHT), height(rows / count), higher(rows % count) {}
        int rows(int block) const { return height + (block < higher); }
    };
    int terms_ = 0, rows_ = 0, shift_ = 0;
    Array<int32_t> weights_;  // [matrix][block][pair][row]
    Array<int32_t> biases_;   // [matrix][position, if it moves them][row]
    std::vector<int> limits_;   // of each matrix: the largest inputs that are taken whole
    std::vector<bool> splits_;  // of each matrix: whether any others are split
};
