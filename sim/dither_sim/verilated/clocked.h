// A verilated module `bench` with its clock, reset and waveforms, as all harnesses have it.

#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "Vbench.h"
#include "verilated.h"

#if DITHER_TRACE == 1
#include "verilated_vcd_c.h"
using Trace = VerilatedVcdC;
#elif DITHER_TRACE == 2
#include "verilated_fst_c.h"
using Trace = VerilatedFstC;
#endif

#define API extern "C" __attribute__((visibility("default")))

struct Noise {
    uint32_t state = 1;

    uint32_t next() {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        return state;
    }
};

struct Clocked {
    VerilatedContext context;
    std::unique_ptr<Vbench> model;
#if DITHER_TRACE
    std::unique_ptr<Trace> trace;
#endif
    uint64_t cycles = 0;

    explicit Clocked(const char* name) {
#if DITHER_TRACE
        context.traceEverOn(true);
#endif
        model = std::make_unique<Vbench>(&context, name);
        model->clk = 0;
        model->rst = 0;
    }

    ~Clocked() { model->final(); }

#if DITHER_TRACE
    void open_trace(const char* path) {
        trace = std::make_unique<Trace>();
        model->trace(trace.get(), 99);
        trace->open(path);
    }
#endif

    void evaluate() {
        model->eval();
#if DITHER_TRACE
        if (trace) trace->dump(2 * cycles + model->clk);
#endif
    }

    void tick() {
        model->clk = 0;
        evaluate();
        model->clk = 1;
        evaluate();
        ++cycles;
    }

    // So many cycles with a reset, and as many without.
    void reset(int length) {
        model->rst = 1;
        for (int i = 0; i < length; ++i) tick();
        model->rst = 0;
        for (int i = 0; i < length; ++i) tick();
    }
};

#if DITHER_OBSERVE
extern "C" void __gcov_dump();

// Writes the counts so far into a folder; they are written once.
API void dither_counts(const char* folder) {
    setenv("GCOV_PREFIX", folder, 1);
    setenv("GCOV_PREFIX_STRIP", "99", 1);  // the files' names alone
    __gcov_dump();
    unsetenv("GCOV_PREFIX");
    unsetenv("GCOV_PREFIX_STRIP");
}
#endif
