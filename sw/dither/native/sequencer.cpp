#include "sequencer.h"

#include <cmath>

#include "contract.h"
#include "lanewise.h"
#include "loss.h"
#include "update.h"

namespace opcode = facts::opcode;
namespace memory = facts::memory;
namespace counter = facts::counter;

namespace {

constexpr auto PATIENCE = std::chrono::milliseconds(50);  // between looks at what else is wanted
constexpr int TOGETHER = 4;  // groups of lanes that go through a queue of jobs at once, at most
constexpr int NEAR = 1 << 13;  // words of eight lanes that the second cache holds, half full

// LOAD and STORE of activations.
struct Load : Plan {
    void run(Memories &memories, const Job &job, int begin, int end, Tally &) const override {
        for (int group = begin; group < end; group++) memories.write_group(group, job.base[0], job.count, job.values);
    }
} activations_in;

struct Store : Plan {
    void run(Memories &memories, const Job &job, int begin, int end, Tally &) const override {
        for (int group = begin; group < end; group++) memories.read_group(group, job.base[0], job.count, job.values);
    }
} activations_out;

int slots(const facts::Config &config, int kind) {
    switch (kind) {
        case -1: return 1;
        case memory::ACTIVATION: return config.lanes;
        case memory::ACTIVATION_TABLE: case memory::SCALAR_TABLE: return 2;
        default: return config.rows;
    }
}

}  // namespace

Sequencer::Sequencer(const facts::Config &config, bool monitor, int threads, int64_t worth_while,
                     const Hooks &hooks)
    : memories(config),
      monitor_(monitor),
      pool_(threads),
      worth_while_(worth_while),
      hooks_(hooks),
      program_(config.program_depth) {}

void Sequencer::define(Instruction &&instruction) {
    const int address = instruction.address;
    program_[address] = std::make_unique<Instruction>(std::move(instruction));
}

void Sequencer::forget() {
    for (auto &instruction : program_) instruction.reset();
    ranges.clear();
}

void Sequencer::run(int entry, std::vector<Segment> inputs, std::vector<Segment> outputs, int64_t *counters,
                    Outcome &outcome) {
    inputs_ = std::move(inputs);
    outputs_ = std::move(outputs);
    counters_ = counters;
    outcome_ = &outcome;
    stack_.clear();
    looked_ = std::chrono::steady_clock::now();
    auto settle = [&](const Stopped &stopped) {
        outcome.fault = stopped.fault;
        outcome.address = stopped.address;
    };
    try {
        try {
            execute(entry);
            flush();
        } catch (const Stopped &stopped) {
            settle(stopped);
            flush();  // what was executed before, and may have gone wrong before
        }
    } catch (const Stopped &stopped) {
        settle(stopped);
    }
    for (const Job &job : queue_) job.plan->pending = false;
    queue_.clear();
    outcome.open = stack_.size();
    for (size_t i = 0; i < stack_.size(); i++) {
        outcome.entries[2 * i] = stack_[i].address;
        outcome.entries[2 * i + 1] = stack_[i].left;
    }
}

Instruction &Sequencer::at(int address) {
    if (address < 0 || address >= int(program_.size()) || !program_[address])
        if (hooks_.prepare(address)) stop(RAISED, address);
    return *program_[address];
}

void Sequencer::execute(int entry) {
    int address = entry;
    while (true) {
        Instruction &instruction = at(address);
        counters_[counter::cycles_fetch] += instruction.fetch;
        counters_[instruction.phase] += instruction.cycles;
        counters_[counter::row_steps] += instruction.row_steps;
        address = instruction.following;
        switch (instruction.opcode) {
            case opcode::HALT: return;
            case opcode::LOOP: {
                const auto &fields = instruction.as<facts::Loop>();
                open(instruction, {address, int64_t(registers_[fields.register_]) + fields.count});
                break;
            }
            case opcode::END: {
                if (stack_.empty() || stack_.back().left == 0) stop(STACK, instruction.address);
                Open &loop = stack_.back();
                if (--loop.left)
                    address = loop.address;
                else
                    stack_.pop_back();
                break;
            }
            case opcode::CALL:
                open(instruction, {address, 0});
                address = instruction.as<facts::Call>().target;
                break;
            case opcode::RETURN:
                if (stack_.empty() || stack_.back().left) stop(STACK, instruction.address);
                address = stack_.back().address;
                stack_.pop_back();
                break;
            default: step(instruction);
        }
        if (++steps_ % 64 == 0) look();
    }
}

void Sequencer::open(const Instruction &instruction, Open entry) {
    const bool loop = instruction.opcode == opcode::LOOP;
    outcome_->words = entry.left;
    if ((loop && entry.left < 1) || stack_.size() == facts::STACK_DEPTH) stop(STACK, instruction.address);
    stack_.push_back(entry);
}

void Sequencer::look() {
    const auto now = std::chrono::steady_clock::now();
    if (now - looked_ < PATIENCE) return;
    looked_ = now;
    if (hooks_.look()) stop(RAISED, 0);
}

void Sequencer::step(Instruction &instruction) {
    if (instruction.refused && instruction.opcode != opcode::LOAD) stop(REFUSED, instruction.address);
    switch (instruction.opcode) {
        case opcode::SET: {
            const auto &fields = instruction.as<facts::Set>();
            write(fields.target, int64_t(registers_[fields.source]) + fields.value);
            break;
        }
        case opcode::ADD: {
            const auto &fields = instruction.as<facts::Add>();
            write(fields.target, int64_t(registers_[fields.left]) + registers_[fields.right]);
            break;
        }
        case opcode::SUBTRACT: {
            const auto &fields = instruction.as<facts::Subtract>();
            write(fields.target, int64_t(registers_[fields.left]) - registers_[fields.right]);
            break;
        }
        case opcode::PULL: take(instruction, -1, 1, instruction.as<facts::Pull>().target); break;
        case opcode::EMIT: send(instruction, -1, 1, instruction.as<facts::Emit>().source); break;
        case opcode::LOAD: load(instruction); break;
        case opcode::STORE: store(instruction); break;
        case opcode::CONTRACT: contract(instruction); break;
        case opcode::CORRELATE: correlate(instruction); break;
        case opcode::LOSS: loss(instruction); break;
        case opcode::DITHER: dither(instruction); break;
        case opcode::PERTURB: {
            const auto &fields = instruction.as<facts::Perturb>();
            counters_[counter::saturations_weight] += perturb(memories, generator_, fields, probe(fields));
            break;
        }
        case opcode::ACCUMULATE: {
            const auto &fields = instruction.as<facts::Accumulate>();
            accumulate(memories, generator_, fields, probe(fields), registers_[fields.difference]);
            break;
        }
        case opcode::UPDATE: {
            const auto &fields = instruction.as<facts::Update>();
            counters_[counter::saturations_update] += update(memories, fields, registers_[fields.rate]);
            break;
        }
        case opcode::TRANSPOSE: transpose(memories, instruction.as<facts::Transpose>()); break;
    }
}

template <class Fields>
Probe Sequencer::probe(const Fields &fields) const {
    return {registers_[fields.seed], registers_[fields.step], registers_[fields.probe]};
}

// Takes words of the input stream for a memory or, where kind is -1, for the register base.
void Sequencer::take(const Instruction &instruction, int kind, int count, int base) {
    Outcome &at = *outcome_;
    for (int missing = count; missing;) {
        if (at.input == int64_t(inputs_.size()) || inputs_[at.input].kind != kind) {
            at.kind = kind;
            at.words = missing;
            stop(INPUT, instruction.address);
        }
        const Segment &segment = inputs_[at.input];
        const int part = std::min<int64_t>(missing, segment.words - at.taken);
        int64_t *values = segment.values + at.taken * slots(memories.config, kind);
        if (kind < 0)
            write(base, values[0]);
        else if (!instruction.refused) {
            if (kind == memory::ACTIVATION) {
                Job job;
                job.base[0] = base;
                job.count = part;
                job.values = values;
                queue(activations_in, job);
            } else
                memories.write(kind, base, part, values);
        }
        missing -= part;
        base += part;
        at.taken += part;
        if (at.taken == segment.words) {
            at.input++;
            at.taken = 0;
        }
    }
}

// Sends words of a memory or, where kind is -1, the register base.
void Sequencer::send(const Instruction &instruction, int kind, int count, int base) {
    Outcome &at = *outcome_;
    for (int left = count; left;) {
        while (at.output < int64_t(outputs_.size()) && at.filled >= outputs_[at.output].words) {
            at.output++;
            at.filled = 0;
        }
        if (at.output == int64_t(outputs_.size()) || outputs_[at.output].kind != kind) {
            at.kind = kind;
            at.words = left;
            stop(OUTPUT, instruction.address);
        }
        const Segment &segment = outputs_[at.output];
        const int part = std::min<int64_t>(left, segment.words - at.filled);
        int64_t *values = segment.values + at.filled * slots(memories.config, kind);
        if (kind < 0)
            values[0] = registers_[base];
        else if (kind == memory::ACTIVATION) {
            Job job;
            job.base[0] = base;
            job.count = part;
            job.values = values;
            queue(activations_out, job);
        } else
            memories.read(kind, base, part, values);
        left -= part;
        base += part;
        at.filled += part;
    }
}

void Sequencer::load(Instruction &instruction) {
    const auto &fields = instruction.as<facts::Load>();
    if (fields.memory == memory::ACTIVATION_TABLE || fields.memory == memory::SCALAR_TABLE) flush();
    take(instruction, fields.memory, fields.count, fields.base);
    if (instruction.refused) stop(REFUSED, instruction.address);
}

void Sequencer::store(Instruction &instruction) {
    const auto &fields = instruction.as<facts::Store>();
    send(instruction, fields.memory, fields.count, fields.base);
}

// Asks Python about bases that an instruction has not had before.
void Sequencer::require(Instruction &instruction, const int *bases, int count) {
    uint64_t key = 0;
    for (int i = 0; i < count; i++) key |= uint64_t(bases[i]) << (16 * i);
    if (key == instruction.latest) return;
    if (!instruction.known.count(key)) {
        if (hooks_.check(instruction.address, bases)) stop(RAISED, instruction.address);
        instruction.known.insert(key);
    }
    instruction.latest = key;
}

void Sequencer::contract(Instruction &instruction) {
    const auto &fields = instruction.as<facts::Contract>();
    Job job;
    job.base[0] = uint16_t(fields.w_base + registers_[fields.w_index]);
    job.base[1] = uint16_t(fields.x_base + registers_[fields.x_index]);
    job.base[2] = uint16_t(fields.y_base + registers_[fields.y_index]);
    job.base[3] = uint16_t(fields.b_base + registers_[fields.b_index]);
    require(instruction, job.base, 4);
    const bool weights = fields.operand == facts::operand::WEIGHT;
    if (!instruction.plan) {
        if (weights)
            instruction.plan = std::make_unique<::Contract>(memories, fields, monitor_);
        else
            instruction.plan = std::make_unique<LaneWise>(memories, fields, monitor_);
    }
    if (weights) {
        auto &plan = static_cast<::Contract &>(*instruction.plan);
        if (!plan.packed(memories, job)) {
            if (plan.pending) flush();
            plan.pack(memories, job);
        }
    }
    job.address = instruction.address;
    job.counter = counter::saturations_requantise;
    queue(*instruction.plan, job);
}

void Sequencer::correlate(Instruction &instruction) {
    const auto &fields = instruction.as<facts::Correlate>();
    const int bases[] = {uint16_t(fields.d_base + registers_[fields.d_index]),
                         uint16_t(fields.x_base + registers_[fields.x_index]),
                         uint16_t(fields.g_base + registers_[fields.g_index])};
    require(instruction, bases, 3);
    if (!instruction.correlate) instruction.correlate = std::make_unique<::Correlate>(memories, fields);
    flush();
    instruction.correlate->run(memories, pool_, bases);
}

void Sequencer::loss(Instruction &instruction) {
    const auto &fields = instruction.as<facts::Loss>();
    if (!instruction.plan) instruction.plan = std::make_unique<::Loss>(fields);
    Job job;
    job.address = instruction.address;
    job.counter = counter::saturations_loss;
    queue(*instruction.plan, job);
    flush();
    write(fields.target, losses_);
}

void Sequencer::dither(Instruction &instruction) {
    const auto &fields = instruction.as<facts::Dither>();
    if (!instruction.plan) instruction.plan = std::make_unique<::Dither>(fields);
    if (instruction.plan->pending) flush();
    const Probe at = probe(fields);
    static_cast<::Dither &>(*instruction.plan).make(memories, at.seed, at.step, at.number, registers_[fields.offset]);
    Job job;
    job.address = instruction.address;
    job.counter = counter::saturations_requantise;
    queue(*instruction.plan, job);
}

void Sequencer::queue(Plan &plan, Job job) {
    job.plan = &plan;
    plan.pending = true;
    queue_.push_back(job);
}

// Executes all jobs that wait, for one stretch of groups after the other.
void Sequencer::flush() {
    if (queue_.empty()) return;
    int64_t work = 0, words = 1;
    for (const Job &job : queue_) {
        work += job.plan->work();
        words = std::max(words, job.plan->words());
    }
    const int threads = work * memories.groups < worth_while_ ? 1 : pool_.size;
    const int most = std::min<int64_t>(TOGETHER, NEAR / words);
    const int together = std::max(1, threads > 1 ? std::min(most, memories.groups / (2 * threads)) : most);
    const size_t count = queue_.size();
    tallies_.assign(count * threads, Tally());
    auto share = [&](int thread, int part) {
        const int begin = part * together, end = std::min(memories.groups, begin + together);
        for (size_t i = 0; i < count; i++)
            queue_[i].plan->run(memories, queue_[i], begin, end, tallies_[thread * count + i]);
    };
    const int parts = (memories.groups + together - 1) / together;
    if (threads > 1)
        pool_.run(parts, share);
    else
        for (int part = 0; part < parts; part++) share(0, part);
    for (int thread = 1; thread < threads; thread++)
        for (size_t i = 0; i < count; i++) tallies_[i].add(tallies_[thread * count + i]);
    std::vector<Job> jobs;
    jobs.swap(queue_);
    for (const Job &job : jobs) job.plan->pending = false;
    for (size_t i = 0; i < jobs.size(); i++) {
        const Job &job = jobs[i];
        const Tally &tally = tallies_[i];
        if (job.plan->overflowed(tally)) stop(OVERFLOWED, job.address);
        if (tally.empty) stop(EMPTY, job.address);
        if (job.counter < 0) continue;
        counters_[job.counter] += tally.clips;
        if (job.counter == counter::saturations_loss) losses_ = tally.sum;
        if (monitor_ && tally.lowest <= tally.highest) {
            const int64_t lowest = std::floor(tally.lowest), highest = std::floor(tally.highest);
            Range &seen = ranges.try_emplace(job.address, Range{job.address, lowest, highest, 0, 0}).first->second;
            seen.lowest = std::min(seen.lowest, lowest);
            seen.highest = std::max(seen.highest, highest);
            seen.clips += tally.clips;
            seen.executions++;
        }
    }
    queue_ = std::move(jobs);
    queue_.clear();
}
