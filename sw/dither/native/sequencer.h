// The sequencer: executes programs. Python decodes each instruction when it is reached for the first
// time, checks it, and says what it costs; from then on all stays here.
#pragma once
#include <chrono>
#include <map>
#include <memory>
#include <unordered_set>
#include <vector>

#include "correlate.h"
#include "dither.h"
#include "parameters.h"
#include "pool.h"
#include "jobs.h"
#include "memories.h"

extern "C" {
// Words of one kind in a stream; kind is a memory's number, or -1 for scalars.
struct Segment {
    int64_t kind, words;
    int64_t *values;  // [word][slot]
};

// Why a run ended, and how far it came. What went wrong is said by Python, from these numbers.
struct Outcome {
    int64_t fault, address;
    int64_t kind, words;  // of a stream that has not what is wanted
    int64_t input, taken, output, filled;  // segments that streams have come to, and words of these
    int64_t open, entries[2 * facts::STACK_DEPTH];  // loops and calls: address and iterations left
};

struct Range {
    int64_t address, lowest, highest, clips, executions;
};

struct Hooks {
    int (*prepare)(int address);                  // defines the instruction there; not 0: it cannot be
    int (*check)(int address, const int *bases);  // whether an instruction may have these bases; 0: yes
    int (*look)();                                // not 0: somebody wants the run to end
};
}

enum Fault { NONE, RAISED, REFUSED, STACK, INPUT, OUTPUT, OVERFLOWED, EMPTY };

struct Instruction {
    int address, opcode, following, phase;  // phase: the counter that the cycles are charged to
    int64_t fetch, cycles, row_steps;
    bool refused;  // it breaks a rule, which Python will say
    std::vector<int32_t> fields;
    std::unique_ptr<Plan> plan;
    std::unique_ptr<Correlate> correlate;
    uint64_t latest = ~uint64_t(0);          // bases that it was executed with last
    std::unordered_set<uint64_t> known;      // bases that it may have

    template <class Fields>
    const Fields &as() const {
        return *reinterpret_cast<const Fields *>(fields.data());
    }
};

class Sequencer {
  public:
    Memories memories;
    std::map<int, Range> ranges;

    Sequencer(const facts::Config &config, bool monitor, int threads, int64_t worth_while, const Hooks &hooks);
    void define(Instruction &&instruction);
    void forget();  // all instructions
    void run(int entry, std::vector<Segment> inputs, std::vector<Segment> outputs, int64_t *counters, Outcome &outcome);

  private:
    struct Stopped {
        Fault fault;
        int address;
    };
    struct Open {
        int address;
        int64_t left;  // iterations; 0 for a call
    };

    void execute(int entry);
    Instruction &at(int address);
    void step(Instruction &instruction);
    void open(const Instruction &instruction, Open entry);
    void take(const Instruction &instruction, int kind, int count, int base);
    void send(const Instruction &instruction, int kind, int count, int base);
    void load(Instruction &instruction);
    void store(Instruction &instruction);
    void contract(Instruction &instruction);
    void correlate(Instruction &instruction);
    void loss(Instruction &instruction);
    void dither(Instruction &instruction);
    template <class Fields>
    Probe probe(const Fields &fields) const;
    void require(Instruction &instruction, const int *bases, int count);
    void queue(Plan &plan, Job job);
    void flush();
    void look();
    [[noreturn]] void stop(Fault fault, int address) { throw Stopped{fault, address}; }
    void write(int number, int64_t value) {
        if (number) registers_[number] = int32_t(uint32_t(value));
    }

    const bool monitor_;
    Pool pool_;
    const int64_t worth_while_;  // least number of multiply-accumulates that threads share
    const Hooks hooks_;
    Generator generator_;
    int32_t registers_[facts::REGISTERS] = {};
    std::vector<std::unique_ptr<Instruction>> program_;
    std::vector<Open> stack_;
    std::vector<Job> queue_;
    std::vector<Tally> tallies_;  // [thread][job]
    int64_t losses_ = 0;  // sum of the latest LOSS
    int64_t *counters_ = nullptr;
    Outcome *outcome_ = nullptr;
    std::vector<Segment> inputs_, outputs_;
    std::chrono::steady_clock::time_point looked_;
    unsigned steps_ = 0;
};
