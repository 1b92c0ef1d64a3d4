// Clocks a verilated board and is the USB bridge at the other end of its line; simulation.py is its only caller.
//
// The bridge has a clock of its own: edges of its bits fall wherever its baud rate puts them, between the board's clock edges.
// In a cycle without an event the line costs two comparisons.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "clocked.h"

namespace {

constexpr int RESET_CYCLES = 16;
// Cycles that a silent board may still be busy with what came last: a body of 1,024 bytes leaves the input buffer in slots
// of 17 cycles, a byte in each.
constexpr uint64_t LINGER = 1 << 15;
constexpr int BITS = 10;              // of a byte on the line: start, eight of data, stop
constexpr size_t ENOUGH = 512;        // bytes that nobody should wait for more behind

// A point in time: whole clock cycles of the board and a fraction of 2^-32.
struct Moment {
    uint64_t cycle = 0;
    uint32_t fraction = 0;

    void advance(uint64_t step) {
        uint64_t sum = uint64_t{fraction} + uint32_t(step);
        fraction = uint32_t(sum);
        cycle += (step >> 32) + (sum >> 32);
    }
};

struct Harness : Clocked {
    uint64_t active = 0;

    uint64_t bit = 0;    // cycles, 32 bits of fraction
    uint32_t gaps = 0;   // of 256 bytes, behind how many the line pauses for up to 4 bits
    Noise noise;

    std::deque<uint8_t> waiting;
    bool sending = false;
    uint32_t shift = 0, left = 0;
    Moment edge;

    std::vector<uint8_t> received;
    bool listening = false;
    uint32_t heard = 0, samples = 0;
    Moment sample;
    uint64_t silent = 0;  // when the last byte of the board ended
    uint64_t bytes_in = 0, bytes_out = 0, framing_errors = 0;

    Harness(uint64_t bit, uint32_t gaps, uint32_t seed)
        : Clocked("board"), bit(bit), gaps(gaps), noise{seed * 2 + 1} {
        model->rx = 1;
    }

    // The next bit of the byte on the line, or the next byte.
    void drive() {
        if (left == 0) {
            if (waiting.empty()) {
                sending = false;
                return;
            }
            shift = 1u << (BITS - 1) | uint32_t{waiting.front()} << 1;
            left = BITS;
            waiting.pop_front();
            ++bytes_in;
        }
        model->rx = shift & 1;
        shift >>= 1;
        edge.advance(bit);
        if (--left == 0 && gaps && (noise.next() >> 9 & 255) < gaps) edge.advance((bit >> 14) * (noise.next() >> 16));
    }

    void begin_sending() {
        if (sending || waiting.empty()) return;
        sending = true;
        edge = Moment{cycles + 1, noise.next()};
    }

    // The line went low, or it is time to look at it again.
    void listen() {
        if (!listening) {
            listening = true;
            samples = 0;
            sample = Moment{cycles, noise.next()};
            sample.advance(bit / 2);
            return;
        }
        heard = (heard | uint32_t{model->tx} << BITS) >> 1;
        if (++samples < BITS && !(samples == 1 && model->tx)) {
            sample.advance(bit);
            return;
        }
        listening = false;
        silent = cycles;
        if (samples == BITS && model->tx) {
            received.push_back(uint8_t(heard >> 1));
            ++bytes_out;
        } else {
            ++framing_errors;
        }
    }

    bool run(uint64_t limit, bool until_silent) {
        const uint64_t pause = 2 * (bit >> 32) + 2;
        begin_sending();
        for (uint64_t end = cycles + limit; cycles < end;) {
            if (sending && cycles >= edge.cycle) drive();
            tick();
            if (listening ? cycles >= sample.cycle : !model->tx) listen();
            if (sending || listening || model->busy) {
                active = cycles;
            } else if (cycles - active >= LINGER) {
                return false;
            }
            if (until_silent && !received.empty() && !listening && (cycles - silent > pause || received.size() >= ENOUGH))
                break;
        }
        return true;
    }
};

}  // namespace

// `bit` is cycles per bit with 32 bits of fraction, as the bridge has it.
API void* dither_board_create(uint64_t bit, uint32_t gaps, uint32_t seed, const char* waves) {
    auto harness = std::make_unique<Harness>(bit, gaps, seed);
#if DITHER_TRACE
    harness->open_trace(waves);
#endif
    harness->reset(RESET_CYCLES);
    harness->active = harness->cycles;
    return harness.release();
}

API void dither_board_destroy(void* handle) {
    std::unique_ptr<Harness> harness(static_cast<Harness*>(handle));
#if DITHER_TRACE
    harness->trace->close();
#endif
}

API void dither_board_send(void* handle, const uint8_t* bytes, uint64_t count) {
    auto& harness = *static_cast<Harness*>(handle);
    harness.waiting.insert(harness.waiting.end(), bytes, bytes + count);
}

// Goes on for `limit` cycles, or until nothing moves any more, or (if asked to) until the board has said something and is
// silent again; false if nothing moves.
API int dither_board_run(void* handle, uint64_t limit, int until_silent) {
    return static_cast<Harness*>(handle)->run(limit, until_silent != 0);
}

// Takes up to `room` of the bytes that the board has sent.
API uint64_t dither_board_receive(void* handle, uint8_t* bytes, uint64_t room) {
    auto& received = static_cast<Harness*>(handle)->received;
    const uint64_t count = std::min<uint64_t>(room, received.size());
    std::memcpy(bytes, received.data(), count);
    received.erase(received.begin(), received.begin() + count);
    return count;
}

#if DITHER_MEMORY
// Changes bits of a word in the memory chip, as nature might.
API void dither_board_upset(void* handle, uint32_t address, uint32_t bits) {
    auto& harness = *static_cast<Harness*>(handle);
    harness.model->upset = 1;
    harness.model->upset_address = address;
    harness.model->upset_bits = bits;
    harness.tick();
    harness.model->upset = 0;
}

// A bit for each of the chip's rules that was broken.
API uint32_t dither_board_broken(void* handle) { return static_cast<Harness*>(handle)->model->broken; }
#endif

// Cycles, bytes to the board, bytes from the board, broken bytes from the board, bytes still waiting, bytes not yet taken,
// and the ports busy, error, session.
API void dither_board_progress(void* handle, uint64_t* numbers) {
    auto& harness = *static_cast<Harness*>(handle);
    const uint64_t values[] = {harness.cycles, harness.bytes_in, harness.bytes_out, harness.framing_errors,
                               harness.waiting.size() + (harness.left != 0), harness.received.size(),
                               harness.model->busy, harness.model->error, harness.model->session};
    std::copy(std::begin(values), std::end(values), numbers);
}
