// Asks a verilated SDRAM controller for bursts and compares what it reads; simulation.py is its only caller.

#include <cstdint>
#include <algorithm>
#include <deque>
#include <iterator>
#include <memory>
#include <unordered_map>
#include <vector>

#include "clocked.h"

namespace {

constexpr int RESET_CYCLES = 4;

struct Burst {
    uint32_t address;
    uint32_t count;
    bool write;
};

struct Harness : Clocked {
    uint64_t words = 0, wrong = 0;
    std::unordered_map<uint32_t, uint32_t> held;  // what the memory should hold, where that is known
    std::vector<uint32_t> written;                // addresses of bursts that were written
    std::deque<uint32_t> giving;
    std::deque<std::pair<uint32_t, bool>> awaited;
    const uint32_t mask;

    explicit Harness(uint32_t mask) : Clocked("memory"), mask(mask) {}

    // A cycle in which a burst may be on offer; whether it was taken.
    bool step(const Burst* burst, bool willing) {
        model->ask = burst != nullptr;
        if (burst) {
            model->ask_address = burst->address;
            model->ask_more = burst->count - 1;
            model->ask_write = burst->write;
        }
        model->give = willing && !giving.empty();
        model->give_word = giving.empty() ? 0 : giving.front();
        model->clk = 0;
        evaluate();
        const bool taken = burst && model->asked;
        const bool passed = model->give && model->given;
        if (model->got) {
            if (awaited.empty()) {
                ++wrong;
            } else {
                wrong += awaited.front().second && awaited.front().first != model->got_word;
                awaited.pop_front();
                ++words;
            }
        }
        model->clk = 1;
        evaluate();
        ++cycles;
        if (passed) {
            giving.pop_front();
            ++words;
        }
        return taken;
    }

    // Offers a burst until it is taken; its words go after it, or are expected.
    bool ask(const Burst& burst, Noise& noise, bool hesitant, uint64_t limit) {
        for (uint64_t end = cycles + limit; cycles < end;) {
            if (!step(&burst, !hesitant || noise.next() >> 30)) continue;
            for (uint32_t i = 0; i < burst.count; ++i) {
                const uint32_t address = burst.address + i;
                if (burst.write) {
                    const uint32_t word = (noise.next() >> 3 ^ noise.next() << 13) & mask;
                    held[address] = word;
                    giving.push_back(word);
                } else {
                    auto found = held.find(address);
                    awaited.emplace_back(found == held.end() ? 0 : found->second, found != held.end());
                }
            }
            if (burst.write) written.push_back(burst.address);
            return true;
        }
        return false;
    }

    bool settle(uint64_t limit) {
        for (uint64_t end = cycles + limit; !giving.empty() || !awaited.empty();) {
            if (cycles >= end) return false;
            step(nullptr, true);
        }
        return true;
    }

    bool wait_ready(uint64_t limit) {
        for (uint64_t end = cycles + limit; !model->ready;) {
            if (cycles >= end) return false;
            step(nullptr, true);
        }
        return true;
    }
};

constexpr uint64_t PATIENCE = 1 << 20;

}  // namespace

API void* dither_memory_create(uint32_t mask, uint32_t mutation) {
    auto harness = std::make_unique<Harness>(mask);
    harness->model->mutation = mutation;
    harness->reset(RESET_CYCLES);
    return harness.release();
}

API void dither_memory_destroy(void* handle) { delete static_cast<Harness*>(handle); }

// Bursts at random places: `count` of them, of 1 to `most` words (a power of two), within aligned blocks of `most` words.
// With `hesitant`, there are pauses between bursts and between words. False if the controller hangs.
API int dither_memory_random(void* handle, uint64_t count, uint32_t seed, uint32_t blocks, uint32_t most, int hesitant) {
    auto& harness = *static_cast<Harness*>(handle);
    if (!harness.wait_ready(PATIENCE)) return 0;
    Noise noise{seed * 2 + 1};
    for (uint64_t i = 0; i < count; ++i) {
        const uint32_t choice = noise.next() >> 8;
        Burst burst;
        burst.write = harness.written.empty() || (choice & 3) == 0;
        burst.address = (noise.next() >> 1) % blocks * most;
        burst.count = 1 + (noise.next() >> 5) % most;
        if (!burst.write && (choice >> 4 & 3)) burst.address = harness.written[(noise.next() >> 2) % harness.written.size()] & ~(most - 1);
        if (hesitant)
            for (uint32_t pause = (choice >> 8 & 7) ? 0 : choice >> 12 & 63; pause; --pause) harness.step(nullptr, noise.next() >> 31);
        if (!harness.ask(burst, noise, hesitant, PATIENCE)) return 0;
    }
    return harness.settle(PATIENCE);
}

// Bursts of `most` words one behind the other, from the first block on; false if the controller hangs.
API int dither_memory_sequence(void* handle, uint64_t count, uint32_t most, int write) {
    auto& harness = *static_cast<Harness*>(handle);
    if (!harness.wait_ready(PATIENCE)) return 0;
    Noise noise{uint32_t(count) | 1};
    for (uint64_t i = 0; i < count; ++i)
        if (!harness.ask(Burst{uint32_t(i) * most, most, write != 0}, noise, false, PATIENCE)) return 0;
    return harness.settle(PATIENCE);
}

// Nothing is asked for so many cycles.
API void dither_memory_idle(void* handle, uint64_t count) {
    auto& harness = *static_cast<Harness*>(handle);
    while (count--) harness.step(nullptr, true);
}

API void dither_memory_upset(void* handle, uint32_t address, uint32_t bits) {
    auto& harness = *static_cast<Harness*>(handle);
    harness.model->upset = 1;
    harness.model->upset_address = address;
    harness.model->upset_bits = bits;
    harness.step(nullptr, true);
    harness.model->upset = 0;
}

// Cycles, words read and written, words read that are wrong, broken rules.
API void dither_memory_progress(void* handle, uint64_t* numbers) {
    auto& harness = *static_cast<Harness*>(handle);
    const uint64_t values[] = {harness.cycles, harness.words, harness.wrong, harness.model->broken};
    std::copy(std::begin(values), std::end(values), numbers);
}
