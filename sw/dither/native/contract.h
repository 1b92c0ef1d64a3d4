// CONTRACT with weights: matrix products, eight lanes at a time.
//
// Loops fall in four groups. Those over terms are summed over; those that do not move the input give
// the rows of a matrix of weights; those that move the input alone give the positions at which it
// is applied; those that move both give further matrices. Weights are packed as the kernels read
// them: in pairs where they are small enough, else as double, times 2**-shift, so that a sum needs no
// more than rounding down.
#pragma once
#include <atomic>

#include "pairs.h"

// A flag that any thread may set; who copies it starts anew.
struct Flag : std::atomic<bool> {
    Flag() : std::atomic<bool>(false) {}
    Flag(const Flag &) : Flag() {}
    using std::atomic<bool>::operator=;
};

class Contract : public Plan {
  public:
    Contract(const Memories &memories, const facts::Contract &instruction, bool monitor);

    // Whether the weights are packed as they are now; if not, pack() has to be called.
    bool packed(const Memories &memories, const Job &job);
    void pack(const Memories &memories, const Job &job);
    void run(Memories &memories, const Job &job, int begin, int end, Tally &tally) const override;
    int64_t work() const override { return work_; }
    int64_t words() const override { return words_; }
    bool overflowed(const Tally &tally) const override { return drain_.overflowed(tally); }

  private:
    struct Piece : Shape {
        Pairs pairs;
        bool paired = false;  // whether weights are in pairs, and not in double
        mutable Flag unlucky;  // whether inputs were too large for that before
        Array<double> weights, biases;
    };
    void add_piece(Places rows, const std::vector<Loop> &outer, Place origin);
    void add_in_order(const Loop &row, const std::vector<Loop> &outer, int last_rows);
    void pack_weights(const Memories &memories, const Job &job, Piece &piece) const;
    void pack_biases(const Memories &memories, const Job &job, Piece &piece) const;
    void unpack_weights(const Piece &piece, size_t matrix, Array<double> &weights) const;
    void run_piece(Memories &memories, const Job &job, const Piece &piece, int begin, int end, Tally &tally) const;
    void run_in_double(const Piece &piece, size_t matrix, const double *weights, const Point *points, int count,
                       const Drain::Outlet &outlet, Tally &tally) const;
    void run_exactly(Memories &memories, const Job &job, const Piece &piece, int begin, int end, Tally &tally) const;

    Drain drain_;
    Places terms_;
    std::vector<int32_t> term_inputs_;  // offsets of the terms' inputs, in numbers
    std::vector<Piece> pieces_;
    int one_;  // word of the constant that biases are multiplied by; -1 without bias
    bool exact_;  // whether sums are exact in double
    bool watched_;
    int weights_begin_, weights_end_, biases_begin_, biases_end_;  // reach in words, from the bases
    int packed_base_[2] = {-1, -1};
    uint64_t packed_version_ = 0, known_version_ = 0;  // known: no weight of these was written up to it
    int64_t work_, words_;
};
