#include "contract.h"

#include <algorithm>

namespace {

// Rows of a block at most, and positions by its rows: as many sums as there are registers for.
constexpr int MOST_ROWS = 4;
constexpr int most_points(int rows) { return rows == 1 ? 4 : rows == 2 ? 2 : 1; }
constexpr int MOST_POINTS = 24;  // that are computed before the next ones

struct Block {
    const double *weights, *biases;  // [term][row]; [row], of the first position
    const int32_t *terms;            // offsets of the inputs
    const int32_t *outputs;          // offsets of the rows
    int count;                       // of terms
    const Drain::Outlet *outlet;
    Tally *tally;
};

template <int ROWS, int POINTS, bool BIAS, bool WATCH>
void multiply(const Block &block, const Point *points) {
    Double8 sums[POINTS][ROWS];
#pragma GCC unroll 8
    for (int p = 0; p < POINTS; p++)
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            sums[p][r] = all(0.5);
            if (BIAS) sums[p][r] += doubles(load(points[p].one)) * all(block.biases[points[p].bias + r]);
        }
    const double *weights = block.weights;
    const int32_t *inputs[POINTS];
    for (int p = 0; p < POINTS; p++) inputs[p] = points[p].x;
    for (int term = 0; term < block.count; term++, weights += ROWS) {
        Double8 x[POINTS];
#pragma GCC unroll 8
        for (int p = 0; p < POINTS; p++) x[p] = doubles(load(inputs[p] + block.terms[term]));
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            const Double8 weight = all(weights[r]);
#pragma GCC unroll 8
            for (int p = 0; p < POINTS; p++) sums[p][r] += weight * x[p];
        }
    }
    const Drain::Outlet outlet = *block.outlet;
    int64_t clips = 0;
#pragma GCC unroll 8
    for (int p = 0; p < POINTS; p++)
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            if (WATCH) watch(sums[p][r], points[p].existing, *block.tally);
            outlet.finish(rounded_down(sums[p][r]), points[p].y + block.outputs[r], points[p].existing, clips);
        }
    block.tally->clips += clips;
}

using Kernel = void (*)(const Block &, const Point *);

// The largest kernel for so many rows and at most so many points; points becomes what it takes.
template <int ROWS, bool BIAS, bool WATCH>
Kernel kernel(int &points) {
    constexpr int MOST = WATCH ? 1 : most_points(ROWS);
    if (MOST >= 8 && points >= 8) {
        points = 8;
        return multiply<ROWS, MOST >= 8 ? 8 : 1, BIAS, WATCH>;
    }
    if (MOST >= 4 && points >= 4) {
        points = 4;
        return multiply<ROWS, MOST >= 4 ? 4 : 1, BIAS, WATCH>;
    }
    if (MOST == 3 && points >= 3) {
        points = 3;
        return multiply<ROWS, MOST == 3 ? 3 : 1, BIAS, WATCH>;
    }
    if (MOST >= 2 && points >= 2) {
        points = 2;
        return multiply<ROWS, MOST >= 2 ? 2 : 1, BIAS, WATCH>;
    }
    points = 1;
    return multiply<ROWS, 1, BIAS, WATCH>;
}

template <bool BIAS, bool WATCH>
Kernel kernel(int rows, int &points) {
    switch (rows) {
        case 1: return kernel<1, BIAS, WATCH>(points);
        case 2: return kernel<2, BIAS, WATCH>(points);
        case 3: return kernel<3, BIAS, WATCH>(points);
        default: return kernel<4, BIAS, WATCH>(points);
    }
}

Kernel kernel(bool bias, bool watched, int rows, int &points) {
    if (watched) return bias ? kernel<true, true>(rows, points) : kernel<false, true>(rows, points);
    return bias ? kernel<true, false>(rows, points) : kernel<false, false>(rows, points);
}

// First and last offset, in words, of weights that stand at the offsets of some places together.
void reach(const std::vector<const Places *> &all, int Place::*offset, int rows, int &begin, int &end) {
    int lowest = 0, highest = 0;
    for (const Places *places : all) {
        auto [least, most] = std::minmax_element(places->begin(), places->end(), [&](const Place &a, const Place &b) {
            return a.*offset < b.*offset;
        });
        lowest += (*least).*offset;
        highest += (*most).*offset;
    }
    auto word = [&](int place) { return (place < 0 ? place - rows + 1 : place) / rows; };
    begin = std::min(begin, word(lowest));
    end = std::max(end, word(highest) + 1);
}

}  // namespace

Contract::Contract(const Memories &memories, const facts::Contract &instruction, bool monitor)
    : drain_(memories.config, instruction), one_(instruction.bias ? instruction.one : -1) {
    const facts::Config &config = memories.config;
    std::vector<Loop> loops = contraction_loops(instruction);
    for (Loop &loop : loops) loop.stride.w *= config.rows, loop.stride.b *= config.rows;
    terms_ = {Place()};
    for (int loop = 0; loop < 3; loop++) terms_ = around(terms_, loops[loop]);
    for (const Place &term : terms_) term_inputs_.push_back(term.x * GROUP);
    if (terms_.size() % 2) term_inputs_.push_back(term_inputs_.back());  // a pair needs two, though one be times zero
    int64_t count = int64_t(terms_.size()) + instruction.bias;
    exact_ = exact_in_double(config.width, count);
    watched_ = monitor || may_leave_accumulator(config, count);

    Loop row{config.rows, {1, 0, config.rows > 1 ? instruction.y_row : 0, 1}};
    const std::vector<Loop> outer(loops.begin() + 3, loops.end());
    int last_rows = instruction.last_rows;
    work_ = GROUP * count * config.rows;
    for (const Loop &loop : outer) work_ *= loop.count;
    words_ = work_ / GROUP * (count + config.rows) / (count * config.rows);

    Places outputs = {Place()};
    for (const Loop &loop : outer) outputs = around(outputs, loop);
    Places written;
    for (size_t tile = 0; tile < outputs.size(); tile++)
        for (int r = 0; r < (int(tile) % outer[0].count == outer[0].count - 1 ? last_rows : config.rows); r++)
            written.push_back(outputs[tile] + row.stride * r);
    std::sort(written.begin(), written.end(), [](const Place &a, const Place &b) { return a.y < b.y; });
    bool twice = std::adjacent_find(written.begin(), written.end(),
                                    [](const Place &a, const Place &b) { return a.y == b.y; }) != written.end();

    const Loop tiles = outer[0];
    const std::vector<Loop> others(outer.begin() + 1, outer.end());
    Places full = around({Place()}, row), last = around({Place()}, {last_rows, row.stride});
    if (twice)
        add_in_order(row, outer, last_rows);
    else if (tiles.stride.x == 0) {
        Places rows = around(full, {tiles.count - 1, tiles.stride});
        for (const Place &place : last) rows.push_back(place + tiles.stride * (tiles.count - 1));
        add_piece(rows, others, Place());
    } else {
        std::vector<Loop> before = others;
        before.insert(before.begin(), {tiles.count - 1, tiles.stride});
        add_piece(full, before, Place());
        add_piece(last, others, tiles.stride * (tiles.count - 1));
    }
    weights_begin_ = weights_end_ = biases_begin_ = biases_end_ = 0;
    for (const Piece &piece : pieces_) {
        reach({&piece.rows, &piece.positions, &piece.matrices, &terms_}, &Place::w, config.rows, weights_begin_,
              weights_end_);
        reach({&piece.rows, &piece.positions, &piece.matrices}, &Place::b, config.rows, biases_begin_, biases_end_);
    }
}

void Contract::add_piece(Places rows, const std::vector<Loop> &outer, Place origin) {
    Piece piece;
    piece.positions = {Place()};
    piece.matrices = {origin};
    for (const Loop &loop : outer) {
        if (loop.stride.x == 0)
            rows = around(rows, loop);
        else if (loop.stride.w == 0) {
            piece.positions = around(piece.positions, loop);
            piece.moving_bias |= loop.stride.b != 0;
        } else
            piece.matrices = around(piece.matrices, loop);
    }
    piece.rows = rows;
    for (const Place &row : rows) piece.outputs.push_back(row.y * GROUP);
    pieces_.push_back(std::move(piece));
}

// One output after the other, where a word is written more than once and the last time counts.
void Contract::add_in_order(const Loop &row, const std::vector<Loop> &outer, int last_rows) {
    Places tiles = {Place()};
    for (const Loop &loop : outer) tiles = around(tiles, loop);
    for (size_t tile = 0; tile < tiles.size(); tile++) {
        bool last = int(tile) % outer[0].count == outer[0].count - 1;
        for (int r = 0; r < (last ? last_rows : row.count); r++)
            add_piece({row.stride * r}, {}, tiles[tile]);
    }
}

bool Contract::packed(const Memories &memories, const Job &job) {
    if (packed_base_[0] != job.base[0] || packed_base_[1] != job.base[3]) return false;
    for (const Piece &piece : pieces_)
        if (piece.paired && piece.unlucky) return false;
    if (memories.latest() == known_version_) return true;
    auto written = [&](int base, int begin, int end) { return memories.version(base + begin, base + end) > packed_version_; };
    if (written(job.base[0], weights_begin_, weights_end_)) return false;
    if (one_ >= 0 && written(job.base[3], biases_begin_, biases_end_)) return false;
    known_version_ = memories.latest();
    return true;
}

void Contract::pack(const Memories &memories, const Job &job) {
    for (Piece &piece : pieces_) {
        const int32_t *weights = memories.weight.data() + int64_t(job.base[0]) * memories.config.rows;
        const int32_t *biases = memories.weight.data() + int64_t(job.base[3]) * memories.config.rows;
        piece.paired = exact_ && !watched_ && !piece.unlucky &&
                       piece.pairs.pack(piece, terms_, drain_.shift, weights, one_ < 0 ? nullptr : biases);
        if (!piece.paired) pack_weights(memories, job, piece);
        if (one_ >= 0) pack_biases(memories, job, piece);
    }
    packed_base_[0] = job.base[0];
    packed_base_[1] = job.base[3];
    packed_version_ = known_version_ = memories.latest();
}

void Contract::pack_weights(const Memories &memories, const Job &job, Piece &piece) const {
    const double scale = exact_ ? drain_.scale : 1.0;
    const int count = piece.rows.size();
    piece.weights.resize(piece.matrices.size() * count * terms_.size() + GROUP);
    double *target = piece.weights.data();
    for (const Place &matrix : piece.matrices) {
        const int32_t *source = memories.weight.data() + int64_t(job.base[0]) * memories.config.rows + matrix.w;
        for (int first = 0; first < count; first += MOST_ROWS) {
            const int rows = std::min(MOST_ROWS, count - first);
            const Place *row = &piece.rows[first];
            bool together = true;
            for (int r = 1; r < rows; r++) together &= row[r].w == row[0].w + r;
            for (const Place &term : terms_) {
                if (together)  // what is written beyond these rows is written over
                    for (int r = 0; r < MOST_ROWS; r++) target[r] = double(source[term.w + row[0].w + r]) * scale;
                else
                    for (int r = 0; r < rows; r++) target[r] = double(source[term.w + row[r].w]) * scale;
                target += rows;
            }
        }
    }
}

void Contract::pack_biases(const Memories &memories, const Job &job, Piece &piece) const {
    const double scale = exact_ ? drain_.scale : 1.0;
    const size_t positions = piece.moving_bias ? piece.positions.size() : 1;
    piece.biases.resize(piece.matrices.size() * positions * piece.rows.size());
    double *target = piece.biases.data();
    for (const Place &matrix : piece.matrices)
        for (size_t p = 0; p < positions; p++) {
            int64_t first = int64_t(job.base[3]) * memories.config.rows + matrix.b + piece.positions[p].b;
            for (const Place &row : piece.rows) *target++ = double(memories.weight[first + row.b]) * scale;
        }
}

// The weights of a matrix in double, where they are in pairs.
void Contract::unpack_weights(const Piece &piece, size_t matrix, Array<double> &weights) const {
    const int rows = piece.rows.size(), terms = terms_.size();
    weights.clear();
    for (int first = 0; first < rows; first += MOST_ROWS)
        for (int term = 0; term < terms; term++)
            for (int r = first; r < std::min(first + MOST_ROWS, rows); r++)
                weights.push_back(piece.pairs.weight(matrix, r, term) * drain_.scale);
}

void Contract::run(Memories &memories, const Job &job, int begin, int end, Tally &tally) const {
    for (const Piece &piece : pieces_)
        if (exact_)
            run_piece(memories, job, piece, begin, end, tally);
        else
            run_exactly(memories, job, piece, begin, end, tally);
}

void Contract::run_piece(Memories &memories, const Job &job, const Piece &piece, int begin, int end,
                         Tally &tally) const {
    static thread_local Array<double> unpacked;
    static thread_local Array<int32_t> scratch;
    scratch.resize(std::max(scratch.size(), piece.pairs.scratch() * GROUP));
    const Drain::Outlet outlet = drain_.outlet(memories);
    const int rows = piece.rows.size(), positions = piece.positions.size(), terms = terms_.size();
    const int points = positions * (end - begin), together = piece.paired ? Pairs::POINTS : MOST_POINTS;
    for (size_t q = 0; q < piece.matrices.size(); q++) {
        const Place &matrix = piece.matrices[q];
        const double *weights = piece.paired ? nullptr : piece.weights.data() + q * rows * terms;
        Pairs::Run paired{&piece, q, term_inputs_.data(), &outlet, reinterpret_cast<Int8 *>(scratch.data())};
        int group = begin, position = 0;
        for (int done = 0, count; done < points; done += count) {
            Point at[MOST_POINTS];
            count = std::min(points - done, together);
            for (int p = 0; p < count; p++) {
                const Place &place = piece.positions[position];
                int32_t *words = memories.group(group);
                at[p].x = words + (job.base[1] + matrix.x + place.x) * GROUP;
                at[p].one = words + (one_ < 0 ? 0 : one_) * GROUP;
                at[p].bias = piece.moving_bias ? position * rows : 0;
                at[p].y = words + (job.base[2] + matrix.y + place.y) * GROUP;
                at[p].existing = memories.existing(group);
                if (++group == end) {
                    group = begin;
                    position++;
                }
            }
            if (!piece.paired || !piece.pairs.multiply(paired, at, count, tally.clips)) {
                if (!weights) {
                    piece.unlucky = true;
                    unpack_weights(piece, q, unpacked);
                    weights = unpacked.data();
                }
                run_in_double(piece, q, weights, at, count, outlet, tally);
            }
            if (outlet.looks_up)
                for (int p = 0; p < count; p++)
                    outlet.look_up(at[p].y, piece.outputs.data(), rows, at[p].existing, tally.clips);
        }
    }
}

void Contract::run_in_double(const Piece &piece, size_t matrix, const double *weights, const Point *points, int count,
                             const Drain::Outlet &outlet, Tally &tally) const {
    const int rows = piece.rows.size(), terms = terms_.size();
    const double *biases = piece.biases.data() + matrix * piece.bias_count();
    for (int first = 0; first < rows; first += MOST_ROWS) {
        const int height = std::min(MOST_ROWS, rows - first);
        const Block block{weights + first * terms, biases + first, term_inputs_.data(), &piece.outputs[first],
                          terms, &outlet, &tally};
        for (int done = 0, width; done < count; done += width) {
            width = count - done;
            const Kernel multiply = kernel(one_ >= 0, watched_, height, width);
            multiply(block, points + done);
        }
    }
}

// Sums that double does not hold, in integers.
void Contract::run_exactly(Memories &memories, const Job &job, const Piece &piece, int begin, int end,
                           Tally &tally) const {
    const Drain::Outlet outlet = drain_.outlet(memories);
    const int rows = piece.rows.size(), terms = terms_.size();
    for (int group = begin; group < end; group++) {
        int32_t *words = memories.group(group);
        for (size_t q = 0; q < piece.matrices.size(); q++)
            for (size_t p = 0; p < piece.positions.size(); p++)
                for (int r = 0; r < rows; r++) {
                    const Place place = piece.matrices[q] + piece.positions[p] + piece.rows[r];
                    const int first = r / MOST_ROWS * MOST_ROWS, height = std::min(MOST_ROWS, rows - first);
                    const double *weights = piece.weights.data() + (q * rows + first) * terms + (r - first);
                    Long8 sum{};
                    for (int term = 0; term < terms; term++) {
                        const Int8 input = load(words + (job.base[1] + place.x) * GROUP + term_inputs_[term]);
                        sum += widened(input) * int64_t(weights[int64_t(term) * height]);
                    }
                    if (one_ >= 0) {
                        size_t bias = (q * (piece.moving_bias ? piece.positions.size() : 1) +
                                       (piece.moving_bias ? p : 0)) * rows + r;
                        sum += widened(load(words + one_ * GROUP)) * int64_t(piece.biases[bias]);
                    }
                    sum = (sum + (int64_t(1) << drain_.shift >> 1)) >> drain_.shift;
                    const Double8 rounded = doubles(sum);
                    unsigned existing = memories.existing(group);
                    watch(rounded, existing, tally);
                    outlet.finish_whole(rounded, words + (job.base[2] + place.y) * GROUP, existing, tally.clips);
                }
    }
}
