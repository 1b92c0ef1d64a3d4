#include "correlate.h"

#include <algorithm>

namespace {

#if defined(__AVX512F__)
constexpr int MOST_ROWS = 8, MOST_COLUMNS = 2;
#else
constexpr int MOST_ROWS = 2, MOST_COLUMNS = 2;
#endif

}  // namespace

Correlate::Correlate(const Memories &memories, const facts::Correlate &instruction) {
    const int all_rows = memories.config.rows;
    const int *counts = &instruction.n_k0;
    int g[7], x[7], d[4];
    strides<7>(counts, &instruction.g_k0, g);
    strides<7>(counts, &instruction.x_k0, x);
    strides<4>(counts + 3, &instruction.d_o0, d);
    std::vector<Loop> loops;
    for (int loop = 0; loop < 7; loop++)
        loops.push_back({counts[loop], {g[loop] * all_rows, x[loop], loop < 3 ? 0 : d[loop - 3], 0}});
    Loop row{all_rows, {1, 0, all_rows > 1 ? instruction.d_row : 0, 0}};
    const Loop tiles = loops[3];
    loops.erase(loops.begin() + 3);
    Places full = around({Place()}, row), last = around({Place()}, {instruction.last_rows, row.stride});
    if (tiles.stride.x == 0 && tiles.stride.w != 0) {
        Places rows = around(full, {tiles.count - 1, tiles.stride});
        for (const Place &place : last) rows.push_back(place + tiles.stride * (tiles.count - 1));
        add_piece(rows, loops, Place());
        return;
    }
    if (tiles.count > 1) {
        std::vector<Loop> before = loops;
        before.push_back({tiles.count - 1, tiles.stride});
        add_piece(full, before, Place());
    }
    add_piece(last, loops, tiles.stride * (tiles.count - 1));
}

void Correlate::add_piece(Places rows, const std::vector<Loop> &loops, Place origin) {
    Piece piece;
    piece.columns = piece.sums = {Place()};
    piece.matrices = {origin};
    for (const Loop &loop : loops) {
        Places &places = loop.stride.w == 0   ? piece.sums
                         : loop.stride.x == 0 ? rows
                         : loop.stride.y == 0 ? piece.columns
                                              : piece.matrices;
        places = around(places, loop);
    }
    piece.rows = rows;
    pieces_.push_back(piece);
}

void Correlate::run(Memories &memories, const int *base) const {
    for (const Piece &piece : pieces_)
        for (const Place &matrix : piece.matrices) {
            const Place *row = piece.rows.data(), *end = row + piece.rows.size();
            for (; row + MOST_ROWS <= end; row += MOST_ROWS) multiply<MOST_ROWS>(memories, base, piece, matrix, row);
            for (; row < end; row++) multiply<1>(memories, base, piece, matrix, row);
        }
}

template <int ROWS>
void Correlate::multiply(Memories &memories, const int *base, const Piece &piece, const Place &matrix,
                         const Place *rows) const {
    const Place *column = piece.columns.data(), *end = column + piece.columns.size();
    for (; column + MOST_COLUMNS <= end; column += MOST_COLUMNS)
        multiply<ROWS, MOST_COLUMNS>(memories, base, piece, matrix, rows, column);
    for (; column < end; column++) multiply<ROWS, 1>(memories, base, piece, matrix, rows, column);
}

template <int ROWS, int COLUMNS>
void Correlate::multiply(Memories &memories, const int *base, const Piece &piece, const Place &matrix,
                         const Place *rows, const Place *columns) const {
    // So many words may be summed before a sum of eight lanes could leave what double holds exactly.
    const int most = ((int64_t(1) << (53 - (2 * memories.config.width - 2))) - 1) / GROUP;
    int left_words[ROWS], right_words[COLUMNS];
    for (int r = 0; r < ROWS; r++) left_words[r] = (base[0] + matrix.y + rows[r].y + columns[0].y) * GROUP;
    for (int c = 0; c < COLUMNS; c++) right_words[c] = (base[1] + matrix.x + columns[c].x + rows[0].x) * GROUP;
    Double8 sums[ROWS][COLUMNS] = {};
    int added = 0;
    auto take = [&] {
        for (int r = 0; r < ROWS; r++)
            for (int c = 0; c < COLUMNS; c++) {
                double total = 0;
                for (int lane = 0; lane < GROUP; lane++) total += sums[r][c][lane];
                int64_t place = int64_t(base[2]) * memories.config.rows + matrix.w + rows[r].w + columns[c].w;
                memories.gradient[place] += int64_t(total);
                sums[r][c] = Double8{};
            }
        added = 0;
    };
    for (int group = 0; group < memories.groups; group++) {
        const float *words = memories.group(group);
        Int8 exists;
        for (int lane = 0; lane < GROUP; lane++) exists[lane] = memories.existing(group) >> lane & 1 ? -1 : 0;
        for (const Place &sum : piece.sums) {
            Double8 left[ROWS];
            for (int r = 0; r < ROWS; r++) {
                Float8 word = load(words + left_words[r] + sum.y * GROUP);
                left[r] = widened((Float8)((Int8)word & exists));
            }
            for (int c = 0; c < COLUMNS; c++) {
                Double8 right = widened(load(words + right_words[c] + sum.x * GROUP));
                for (int r = 0; r < ROWS; r++) sums[r][c] += left[r] * right;
            }
            if (++added == most) take();
        }
    }
    take();
}
