// Clocks a verilated sample store: writes its registers, gives it beats and takes its beats; store.py is its only caller.

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>

#include "clocked.h"

namespace {

constexpr int RESET_CYCLES = 4;
constexpr int WORDS = 20;  // of 32 bits, that the ports for beats have

struct Harness : Clocked {
    Noise noise;

    Harness() : Clocked("store") {}

    void host(uint32_t address, uint32_t value, bool write) {
        model->host_addr = address;
        model->host_wdata = value;
        model->host_write = write;
        tick();
        model->host_write = 0;
    }
};

}  // namespace

API void* dither_store_create() {
    auto harness = std::make_unique<Harness>();
    harness->reset(RESET_CYCLES);
    return harness.release();
}

API void dither_store_destroy(void* handle) { delete static_cast<Harness*>(handle); }

API void dither_store_idle(void* handle, uint64_t cycles) {
    while (cycles--) static_cast<Harness*>(handle)->tick();
}

API void dither_store_reset(void* handle) {
    auto& harness = *static_cast<Harness*>(handle);
    harness.model->reset = 1;
    harness.tick();
    harness.model->reset = 0;
}

// Writes registers from an address on, or again and again within a window, with pauses as the link makes them.
API void dither_store_write(void* handle, uint32_t address, const uint32_t* values, uint64_t count, uint32_t window, uint32_t pause) {
    auto& harness = *static_cast<Harness*>(handle);
    for (uint64_t i = 0; i < count; ++i) {
        harness.host(address + i % window, values[i], true);
        for (uint32_t left = pause; left; --left) harness.tick();
    }
}

API uint32_t dither_store_read(void* handle, uint32_t address) {
    auto& harness = *static_cast<Harness*>(handle);
    harness.host(address, 0, false);
    harness.tick();
    return harness.model->host_rdata;
}

API void dither_store_upset(void* handle, uint32_t address, uint32_t bits) {
    auto& harness = *static_cast<Harness*>(handle);
    harness.model->upset = 1;
    harness.model->upset_address = address;
    harness.model->upset_bits = bits;
    harness.tick();
    harness.model->upset = 0;
}

// Gives `count` beats of `words` words, takes `expected`, for at most `limit` cycles; returns how many it took. `at` is the
// cycle in which each was taken. With `pattern` 0 a beat is taken in every cycle, with 1 in every other one at most, with 2
// at random, and then they are given at random, too.
API uint64_t dither_store_run(void* handle, const uint32_t* beats, uint64_t count, uint32_t words, uint32_t* results, uint64_t* at,
                              uint64_t expected, uint64_t limit, int pattern) {
    auto& harness = *static_cast<Harness*>(handle);
    auto& model = *harness.model;
    uint64_t given = 0, taken = 0;
    bool just = false;
    for (uint64_t i = 0; i < limit && (taken < expected || given < count); ++i) {
        model.give = given < count && (model.give || pattern != 2 || (harness.noise.next() >> 20 & 3));
        if (model.give)
            for (uint32_t word = 0; word < words; ++word) model.given[word] = beats[given * words + word];
        model.willing = pattern == 0 || (pattern == 1 ? !just : harness.noise.next() >> 20 & 1);
        model.clk = 0;
        harness.evaluate();
        const bool gives = model.give && model.taken, takes = model.offer && model.willing;
        if (takes && taken < expected) {
            for (uint32_t word = 0; word < words; ++word) results[taken * words + word] = model.offered[word];
            at[taken] = harness.cycles;
        }
        model.clk = 1;
        harness.evaluate();
        ++harness.cycles;
        given += gives;
        taken += takes;
        just = takes;
        if (gives) model.give = 0;
    }
    model.give = 0;
    model.willing = 0;
    return taken;
}

// Cycles, ports `holds` and `damaged`, broken rules.
API void dither_store_progress(void* handle, uint64_t* numbers) {
    auto& harness = *static_cast<Harness*>(handle);
    const uint64_t values[] = {harness.cycles, harness.model->holds, harness.model->damaged, harness.model->broken};
    std::copy(std::begin(values), std::end(values), numbers);
}
