// The functions that Python calls.
#include "sequencer.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT Sequencer *dither_native_new(const int32_t *config, int monitor, int threads, int64_t worth_while,
                                    Hooks hooks) {
    facts::Config values;
    memcpy(&values, config, sizeof values);
    return new Sequencer(values, monitor, threads, worth_while, hooks);
}

EXPORT void dither_native_delete(Sequencer *machine) { delete machine; }

EXPORT void dither_native_forget(Sequencer *machine) { machine->forget(); }

// costs: cycles of the fetch, cycles of the execution, row steps.
EXPORT void dither_native_define(Sequencer *machine, int address, int opcode, int following, int phase,
                                 const int64_t *costs, int refused, const int32_t *fields, int count) {
    Instruction instruction;
    instruction.address = address;
    instruction.opcode = opcode;
    instruction.following = following;
    instruction.phase = phase;
    instruction.fetch = costs[0];
    instruction.cycles = costs[1];
    instruction.row_steps = costs[2];
    instruction.refused = refused;
    instruction.fields.assign(fields, fields + count);
    machine->define(std::move(instruction));
}

EXPORT void dither_native_run(Sequencer *machine, int entry, const Segment *inputs, int input_count,
                              const Segment *outputs, int output_count, int64_t *counters, Outcome *outcome) {
    machine->run(entry, {inputs, inputs + input_count}, {outputs, outputs + output_count}, counters, *outcome);
}

EXPORT void dither_native_read(Sequencer *machine, int kind, int64_t *values) {
    const facts::Config &config = machine->memories.config;
    const int depth = kind == facts::memory::ACTIVATION ? config.activation_depth
                      : kind == facts::memory::WEIGHT   ? config.weight_depth
                                                        : config.parameter_depth;
    machine->memories.read(kind, 0, depth, values);
}

EXPORT int dither_native_ranges(Sequencer *machine, Range *found) {
    for (const auto &[address, range] : machine->ranges)
        if (found) *found++ = range;
    return machine->ranges.size();
}
