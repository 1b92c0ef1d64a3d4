#include "parameters.h"

#include <algorithm>

namespace distribution = facts::distribution;

namespace {

// The shape of a tensor: word (t, k) stands at base + t*inner + k, and its first row has parameter
// k*pitch + t*rows.
struct Tensor {
    int64_t base, inner, tiles, rows, pitch;

    template <class Instruction>
    Tensor(const Memories &memories, const Instruction &instruction)
        : base(instruction.base), inner(instruction.inner), tiles(instruction.tiles), rows(memories.config.rows) {
        pitch = (tiles * rows + facts::INDEX_ALIGNMENT - 1) / facts::INDEX_ALIGNMENT * facts::INDEX_ALIGNMENT;
    }

    // Calls visit(place of a word's first number in its memory, its first parameter) for all words.
    template <class Visit>
    INLINE void walk(Visit visit) const {
        for (int64_t t = 0; t < tiles; t++)
            for (int64_t k = 0; k < inner; k++) visit((base + t * inner + k) * rows, k * pitch + t * rows);
    }

    // Place of the parameter whose index is the probe's number; -1 if the tensor does not have it.
    int64_t place(uint32_t number, uint32_t block) const {
        int64_t parameter = int64_t(number) - facts::BLOCK_BITS * block;
        if (parameter < 0) return -1;
        int64_t k = parameter / pitch, output = parameter % pitch;
        if (k >= inner || output >= tiles * rows) return -1;
        return (base + output / rows * inner + k) * rows + output % rows;
    }
};

template <int DISTRIBUTION>
constexpr int BITS = DISTRIBUTION == distribution::RADEMACHER ? 1
                     : DISTRIBUTION == distribution::UNIFORM  ? 8
                     : DISTRIBUTION == distribution::GAUSSIAN ? 16
                                                              : 0;

// The numbers xi of eight successive parameters; the first one's index is a multiple of the rows.
template <int DISTRIBUTION>
INLINE Int8 numbers(const Generator &generator, int64_t first) {
    const Int8 lanes = {0, 1, 2, 3, 4, 5, 6, 7};
    if constexpr (DISTRIBUTION == distribution::RADEMACHER) {
        Int8 bits = Int8{} + int(generator.bits(first));
        return ((bits >> lanes) & 1) * 2 - 1;
    } else if constexpr (DISTRIBUTION == distribution::UNIFORM) {
        typedef uint8_t Bytes __attribute__((vector_size(8)));
        Bytes bytes;
        memcpy(&bytes, generator.bytes() + first, 8);
        return __builtin_convertvector(bytes, Int8) * 2 - 255;
    } else if constexpr (DISTRIBUTION == distribution::GAUSSIAN) {
        Int8 found;
        for (int i = 0; i < GROUP; i++) {
            uint16_t bits;
            memcpy(&bits, generator.bytes() + 2 * (first + i), 2);
            found[i] = count(bits) - 8;
        }
        return found;
    } else
        return Int8{};
}

template <int DISTRIBUTION>
void generate(Generator &generator, const Tensor &tensor, uint32_t block, Probe probe) {
    if constexpr (BITS<DISTRIBUTION> > 0) {
        int64_t bits = tensor.inner * tensor.pitch * BITS<DISTRIBUTION>;
        generator.make(probe.seed, probe.step, probe.number, block, (bits + facts::BLOCK_BITS - 1) / facts::BLOCK_BITS);
    }
}

// Working weights from masters that were moved, in units of a master.
struct Rounding {
    double scale, half;
    Int8 lowest, highest;

    explicit Rounding(int width)
        : scale(1.0 / double(int64_t(1) << (facts::MASTER_BITS - width))),
          half(double(int64_t(1) << (facts::MASTER_BITS - 1 - width))),
          lowest(all(-(1 << (width - 1)))),
          highest(all((1 << (width - 1)) - 1)) {}
    // The weights; clips gets how many of the first rows were clipped.
    INLINE Int8 weights(Double8 moved, unsigned rows, int64_t &clips) const {
        const Int8 exact = integers(rounded_down((moved + half) * scale));
        const Int8 value = smaller(larger(exact, lowest), highest);
        clips += count(lanes_of(value != exact) & rows);
        return value;
    }
};

template <int DISTRIBUTION>
int64_t perturb_all(Memories &memories, Generator &generator, const facts::Perturb &instruction, const Tensor &tensor,
                    Probe probe) {
    generate<DISTRIBUTION>(generator, tensor, instruction.block, probe);
    const Rounding rounding(memories.config.width);
    const int rows = tensor.rows;
    const double amplitude = instruction.amplitude;
    int64_t clips = 0;
    tensor.walk([&](int64_t place, int64_t parameter) {
        Int8 masters;
        memcpy(&masters, &memories.master[place], sizeof masters);
        Double8 moved = doubles(masters);
        if (BITS<DISTRIBUTION>) moved += doubles(numbers<DISTRIBUTION>(generator, parameter)) * amplitude;
        const Int8 weights = rounding.weights(moved, (1u << rows) - 1, clips);
        if (rows == GROUP)
            memcpy(&memories.weight[place], &weights, sizeof weights);
        else
            for (int r = 0; r < rows; r++) memories.weight[place + r] = weights[r];
    });
    return clips;
}

// One parameter moved by the amplitude, after all of them were written unmoved.
int64_t perturb_one(Memories &memories, const facts::Perturb &instruction, int64_t place) {
    const Rounding rounding(memories.config.width);
    int64_t before = 0, after = 0;
    const double master = memories.master[place];
    rounding.weights(all(master), 1, before);
    memories.weight[place] = rounding.weights(all(master + instruction.amplitude), 1, after)[0];
    return after - before;
}

template <int DISTRIBUTION>
void accumulate_all(Memories &memories, Generator &generator, const facts::Accumulate &instruction,
                    const Tensor &tensor, Probe probe, int64_t difference) {
    generate<DISTRIBUTION>(generator, tensor, instruction.block, probe);
    const int rows = tensor.rows;
    tensor.walk([&](int64_t place, int64_t parameter) {
        Long8 moves = widened(numbers<DISTRIBUTION>(generator, parameter)) * difference;
        if (rows == GROUP) {
            Long8 gradients;
            memcpy(&gradients, &memories.gradient[place], sizeof gradients);
            gradients += moves;
            memcpy(&memories.gradient[place], &gradients, sizeof gradients);
        } else
            for (int r = 0; r < rows; r++) memories.gradient[place + r] += moves[r];
    });
}

}  // namespace

int64_t perturb(Memories &memories, Generator &generator, const facts::Perturb &instruction, Probe probe) {
    const Tensor tensor(memories, instruction);
    int64_t clips = 0;
    switch (instruction.distribution) {
        case distribution::RADEMACHER:
            clips = perturb_all<distribution::RADEMACHER>(memories, generator, instruction, tensor, probe);
            break;
        case distribution::UNIFORM:
            clips = perturb_all<distribution::UNIFORM>(memories, generator, instruction, tensor, probe);
            break;
        case distribution::GAUSSIAN:
            clips = perturb_all<distribution::GAUSSIAN>(memories, generator, instruction, tensor, probe);
            break;
        default: clips = perturb_all<distribution::NONE>(memories, generator, instruction, tensor, probe);
    }
    if (instruction.distribution == distribution::COORDINATE) {
        int64_t place = tensor.place(probe.number, instruction.block);
        if (place >= 0) clips += perturb_one(memories, instruction, place);
    }
    memories.weights_written(instruction.base, tensor.inner * tensor.tiles);
    return clips;
}

void accumulate(Memories &memories, Generator &generator, const facts::Accumulate &instruction, Probe probe,
                int32_t difference) {
    const Tensor tensor(memories, instruction);
    switch (instruction.distribution) {
        case distribution::RADEMACHER:
            accumulate_all<distribution::RADEMACHER>(memories, generator, instruction, tensor, probe, difference);
            break;
        case distribution::UNIFORM:
            accumulate_all<distribution::UNIFORM>(memories, generator, instruction, tensor, probe, difference);
            break;
        case distribution::GAUSSIAN:
            accumulate_all<distribution::GAUSSIAN>(memories, generator, instruction, tensor, probe, difference);
            break;
        case distribution::COORDINATE:
            int64_t place = tensor.place(probe.number, instruction.block);
            if (place >= 0) memories.gradient[place] += difference;
    }
}

void transpose(Memories &memories, const facts::Transpose &instruction) {
    const int rows = memories.config.rows, inner = instruction.inner, columns = instruction.columns;
    const int32_t *source = &memories.weight[int64_t(instruction.base) * rows];
    int32_t *target = &memories.weight[int64_t(instruction.target) * rows];
    const int tiles = (inner + rows - 1) / rows;
    for (int u = 0; u < tiles; u++)
        for (int m = 0; m < columns; m++)
            for (int r = 0; r < rows; r++) {
                const int input = u * rows + r;
                *target++ = input < inner ? source[(m / rows * inner + input) * rows + m % rows] : 0;
            }
    memories.weights_written(instruction.target, tiles * columns);
}
