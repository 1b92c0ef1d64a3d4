#include "correlate.h"

#include <algorithm>

namespace {

constexpr int MOST_ROWS = 2, MOST_COLUMNS = 2;

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
    } else {
        if (tiles.count > 1) {
            std::vector<Loop> before = loops;
            before.push_back({tiles.count - 1, tiles.stride});
            add_piece(full, before, Place());
        }
        add_piece(last, loops, tiles.stride * (tiles.count - 1));
    }
    apart_ = apart();
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
    pieces_.push_back(std::make_unique<Piece>(piece));
    add_blocks(*pieces_.back());
}

void Correlate::add_blocks(const Piece &piece) {
    const int rows = piece.rows.size(), columns = piece.columns.size();
    for (const Place &matrix : piece.matrices)
        for (int row = 0; row < rows;) {
            const int height = rows - row >= MOST_ROWS ? MOST_ROWS : rows - row >= 4 && MOST_ROWS > 4 ? 4 : 1;
            for (int column = 0; column < columns;) {
                const int width = columns - column >= MOST_COLUMNS ? MOST_COLUMNS : 1;
                blocks_.push_back({&piece, &matrix, &piece.rows[row], &piece.columns[column], height, width});
                column += width;
            }
            row += height;
        }
}

bool Correlate::apart() const {
    std::vector<int> gradients;
    for (const auto &piece : pieces_)
        for (const Place &matrix : piece->matrices)
            for (const Place &column : piece->columns)
                for (const Place &row : piece->rows) gradients.push_back(matrix.w + column.w + row.w);
    std::sort(gradients.begin(), gradients.end());
    return std::adjacent_find(gradients.begin(), gradients.end()) == gradients.end();
}

void Correlate::run(Memories &memories, Pool &pool, const int *base) const {
    const int parts = apart_ ? std::min<int>(blocks_.size(), 4 * pool.size) : 1;
    pool.run(parts, [&](int, int part) {
        const size_t begin = blocks_.size() * part / parts, end = blocks_.size() * (part + 1) / parts;
        for (size_t i = begin; i < end; i++) multiply(memories, base, blocks_[i]);
    });
}

void Correlate::multiply(Memories &memories, const int *base, const Block &block) const {
    if (block.width == MOST_COLUMNS) {
        if (block.height == MOST_ROWS) return multiply<MOST_ROWS, MOST_COLUMNS>(memories, base, block);
        if (block.height == 4) return multiply<4, MOST_COLUMNS>(memories, base, block);
        return multiply<1, MOST_COLUMNS>(memories, base, block);
    }
    if (block.height == MOST_ROWS) return multiply<MOST_ROWS, 1>(memories, base, block);
    if (block.height == 4) return multiply<4, 1>(memories, base, block);
    return multiply<1, 1>(memories, base, block);
}

template <int ROWS, int COLUMNS>
void Correlate::multiply(Memories &memories, const int *base, const Block &block) const {
    const Place *rows = block.rows, *columns = block.columns, &matrix = *block.matrix;
    const Places &terms = block.piece->sums;
    // So many words may be summed before a sum of eight lanes could leave what double holds exactly.
    const int most = ((int64_t(1) << (53 - (2 * memories.config.width - 2))) - 1) / GROUP;
    int left_words[ROWS], right_words[COLUMNS];
    int64_t gradients[COLUMNS];
    for (int r = 0; r < ROWS; r++) left_words[r] = (base[0] + matrix.y + rows[r].y) * GROUP;
    for (int c = 0; c < COLUMNS; c++) {
        right_words[c] = (base[1] + matrix.x + columns[c].x) * GROUP;
        gradients[c] = int64_t(base[2]) * memories.config.rows + matrix.w + columns[c].w;
    }
    Double8 sums[COLUMNS][ROWS] = {};
    int added = 0;
    auto take = [&] {
        for (int c = 0; c < COLUMNS; c++) {
            for (int r = 0; r < ROWS; r++) {
                double total = 0;
                for (int lane = 0; lane < GROUP; lane++) total += sums[c][r][lane];
                memories.gradient[gradients[c] + rows[r].w] += int64_t(total);
                sums[c][r] = all(0.0);
            }
        }
        added = 0;
    };
    auto add = [&](const int32_t *words, auto keep) {
        for (const Place &term : terms) {
            Double8 right[COLUMNS];
            for (int c = 0; c < COLUMNS; c++) right[c] = doubles(load(words + right_words[c] + term.x * GROUP));
            for (int r = 0; r < ROWS; r++) {
                const Double8 left = doubles(keep(load(words + left_words[r] + term.y * GROUP)));
                for (int c = 0; c < COLUMNS; c++) sums[c][r] += left * right[c];
            }
            if (++added == most) take();
        }
    };
    for (int group = 0; group < memories.groups; group++) {
        if (memories.existing(group) == 0xFF) {
            add(memories.group(group), [](Int8 word) { return word; });
            continue;
        }
        const Int8 exists = mask_of(memories.existing(group));
        add(memories.group(group), [&](Int8 word) { return word & exists; });
    }
    take();
}
