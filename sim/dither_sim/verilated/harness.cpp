// Clocks the verilated engine and moves whole transactions in and out; device.py is its only caller.
//
// The model is the engine behind registers for all of its inputs (bench.sv): what is written to the model's inputs during
// a cycle reaches the engine in the next one, and after a rising edge all outputs are settled. So nothing depends on the
// inputs at once, and there is nothing to evaluate but clock edges.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "clocked.h"

namespace {

enum Status : int { RUNNING = 0, DONE = 1, OVERRUN = 2 };

// A beat of the model may be shorter than the words that hold it here (16 bits), never longer; numbers are little-endian.
static_assert(sizeof(Vbench::input_payload) <= DITHER_BEAT_WORDS * 4);

constexpr uint32_t BUSY = 1;
constexpr int READ = 3;  // enough cycles until an address' register is there
constexpr int SETTLE = 8;  // more than the cycles from a write until `status` shows it, and from the end until all is still

// Decides cycle by cycle whether a side of a stream pauses: a fraction of `pauses` / 256 of them.
struct Pattern {
    uint32_t pauses = 0;
    Noise noise;

    bool pause() { return pauses != 0 && (noise.next() >> 11 & 255) < pauses; }
};

struct Harness : Clocked {
    const uint32_t* input = nullptr;
    uint32_t* output = nullptr;
    uint64_t input_beats = 0, output_beats = 0, consumed = 0, produced = 0;
    uint32_t waited = 0;
    bool offering = false, willing = false;
    Pattern idle, back_pressure;

    Harness() : Clocked("engine") { release(); }

    void release() {
        model->host_addr = 0;
        model->host_write = 0;
        model->host_wdata = 0;
        model->input_valid = offering = false;
        model->output_ready = willing = false;
    }

    // One cycle of both streams; false if there is a beat more than expected. `offering` and `willing` are what the
    // engine sees in this cycle; valid and payload hold until taken, whatever the patterns say.
    bool transfer() {
        if (model->output_valid) {
            if (produced == output_beats) return false;
            if (willing) {
                std::memcpy(output + produced * DITHER_BEAT_WORDS, &model->output_payload, sizeof model->output_payload);
                ++produced;
            }
        }
        if (offering && model->input_ready) {
            ++consumed;
            offering = false;
        }
        if (!offering && consumed < input_beats && !idle.pause()) {
            std::memcpy(&model->input_payload, input + consumed * DITHER_BEAT_WORDS, sizeof model->input_payload);
            offering = true;
        }
        willing = !back_pressure.pause();
        model->input_valid = offering;
        model->output_ready = willing;
        tick();
        return true;
    }
};

}  // namespace

API void* dither_create() { return new Harness; }

API void dither_destroy(void* handle) { delete static_cast<Harness*>(handle); }

API void dither_reset(void* handle) {
    auto& harness = *static_cast<Harness*>(handle);
    harness.release();
    harness.reset(SETTLE);
}

API uint32_t dither_read(void* handle, uint32_t address) {
    auto& harness = *static_cast<Harness*>(handle);
    harness.model->host_addr = address;
    for (int i = 0; i < READ; ++i) harness.tick();
    return harness.model->host_rdata;
}

API void dither_write(void* handle, uint32_t address, const uint32_t* words, uint64_t count) {
    auto& harness = *static_cast<Harness*>(handle);
    harness.model->host_write = 1;
    for (uint64_t i = 0; i < count; ++i) {
        harness.model->host_addr = address + i;
        harness.model->host_wdata = words[i];
        harness.tick();
    }
    harness.model->host_write = 0;
    harness.tick();
}

// Prepares dither_run: buffers stay the caller's and have to live until it is over.
API void dither_begin(void* handle, const uint32_t* input, uint64_t input_beats, uint32_t* output, uint64_t output_beats,
                      uint32_t idle, uint32_t back_pressure, uint32_t seed) {
    auto& harness = *static_cast<Harness*>(handle);
    harness.input = input;
    harness.input_beats = input_beats;
    harness.output = output;
    harness.output_beats = output_beats;
    harness.consumed = harness.produced = 0;
    harness.waited = 0;
    harness.idle = Pattern{idle, seed * 2 + 1};
    harness.back_pressure = Pattern{back_pressure, seed * 2654435761u | 1};
}

// Runs on for `limit` cycles, then looks at the counter of cycles that were spent waiting for a stream: RUNNING if the
// program needs more, DONE, or OVERRUN at a beat nobody expects.
API int dither_run(void* handle, uint32_t status_address, uint32_t wait_address, uint64_t limit) {
    auto& harness = *static_cast<Harness*>(handle);
    auto& model = *harness.model;
    model.host_addr = status_address;
    for (uint64_t i = 0; i < limit; ++i) {
        if (!harness.transfer()) return OVERRUN;
        if (i >= SETTLE && !(model.host_rdata & BUSY)) {
            for (int j = 0; j < SETTLE; ++j)
                if (!harness.transfer()) return OVERRUN;
            harness.release();
            return DONE;
        }
    }
    model.host_addr = wait_address;
    for (int i = 0; i < READ; ++i)
        if (!harness.transfer()) return OVERRUN;
    harness.waited = model.host_rdata;
    return RUNNING;
}

// Beats consumed, beats produced, clock cycles, and the last look at the counter of waiting.
API void dither_progress(void* handle, uint64_t* numbers) {
    auto& harness = *static_cast<Harness*>(handle);
    numbers[0] = harness.consumed;
    numbers[1] = harness.produced;
    numbers[2] = harness.cycles;
    numbers[3] = harness.waited;
}

// The smallest loop that can drive the model: both streams always willing, the same beat over and over.
API void dither_spin(void* handle, uint64_t cycles) {
    auto& harness = *static_cast<Harness*>(handle);
    auto& model = *harness.model;
    // As a number of iterations this is longer than anyone waits, so the engine has work throughout.
    std::memset(&model.input_payload, 0x11, sizeof model.input_payload);
    model.input_valid = 1;
    model.output_ready = 1;
    for (uint64_t i = 0; i < cycles; ++i) {
        model.clk = 0;
        model.eval();
        model.clk = 1;
        model.eval();
    }
    harness.cycles += cycles;
    harness.release();
}

#if DITHER_TRACE
API void dither_trace_open(void* handle, const char* path) {
    static_cast<Harness*>(handle)->open_trace(path);
}

API void dither_trace_close(void* handle) {
    auto& harness = *static_cast<Harness*>(handle);
    if (harness.trace) harness.trace->close();
    harness.trace.reset();
}
#endif
