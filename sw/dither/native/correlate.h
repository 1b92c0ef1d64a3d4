// CORRELATE: sums of products of two activation words over all lanes, added to gradients.
//
// Loops fall in four groups: those that leave the gradient where it is are summed over; those that do
// not move the right operand give rows, those that do not move the left one columns of a matrix of
// gradients, and those that move both give further matrices.
#pragma once
#include <memory>

#include "memories.h"
#include "nest.h"
#include "pool.h"

class Correlate {
  public:
    Correlate(const Memories &memories, const facts::Correlate &instruction);
    // base: first words of left operand, right operand and gradients.
    void run(Memories &memories, Pool &pool, const int *base) const;

  private:
    struct Piece {
        Places rows, columns, matrices, sums;
    };
    // A block of a matrix of gradients.
    struct Block {
        const Piece *piece;
        const Place *matrix, *rows, *columns;
        int height, width;
    };
    void add_piece(Places rows, const std::vector<Loop> &loops, Place origin);
    void add_blocks(const Piece &piece);
    bool apart() const;
    template <int ROWS, int COLUMNS>
    void multiply(Memories &memories, const int *base, const Block &block) const;
    void multiply(Memories &memories, const int *base, const Block &block) const;

    std::vector<std::unique_ptr<Piece>> pieces_;
    std::vector<Block> blocks_;
    bool apart_;  // whether no gradient is in two blocks
};
