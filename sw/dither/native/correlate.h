// CORRELATE: sums of products of two activation words over all lanes, added to gradients.
//
// Loops fall in four groups: those that leave the gradient where it is are summed over; those that do
// not move the right operand give rows, those that do not move the left one columns of a matrix of
// gradients, and those that move both give further matrices.
#pragma once
#include "memories.h"
#include "nest.h"

class Correlate {
  public:
    Correlate(const Memories &memories, const facts::Correlate &instruction);
    // base: first words of left operand, right operand and gradients.
    void run(Memories &memories, const int *base) const;

  private:
    struct Piece {
        Places rows, columns, matrices, sums;
    };
    void add_piece(Places rows, const std::vector<Loop> &loops, Place origin);
    template <int ROWS, int COLUMNS>
    void multiply(Memories &memories, const int *base, const Piece &piece, const Place &matrix, const Place *rows,
                  const Place *columns) const;
    template <int ROWS>
    void multiply(Memories &memories, const int *base, const Piece &piece, const Place &matrix, const Place *rows) const;

    std::vector<Piece> pieces_;
};
