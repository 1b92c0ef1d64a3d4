#include "pool.h"

#include <unistd.h>

namespace {

constexpr int PATIENCE = 2000;  // looks at a number before a thread goes to sleep, or lets others go first

inline void rest() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

}  // namespace

Pool::~Pool() {
    if (process_ != getpid()) {
        for (std::thread &thread : threads_) thread.detach();  // they are not here
        return;
    }
    {
        std::lock_guard<std::mutex> lock(mutex_);
        ending_ = true;
    }
    begin_.notify_all();
    for (std::thread &thread : threads_) thread.join();
}

void Pool::start() {
    for (std::thread &thread : threads_) thread.detach();
    threads_.clear();
    process_ = getpid();
    asleep_ = 0;
    for (int number = 1; number < size; number++) threads_.emplace_back(&Pool::serve, this, number, round_.load());
}

void Pool::run(int parts, const std::function<void(int, int)> &work) {
    if (size == 1 || parts == 1) {
        for (int part = 0; part < parts; part++) work(0, part);
        return;
    }
    if (process_ != getpid()) start();
    work_ = &work;
    parts_ = parts;
    next_ = 0;
    open_ = true;
    {
        std::lock_guard<std::mutex> lock(mutex_);
        round_++;
        if (asleep_) begin_.notify_all();
    }
    take_parts(0);
    open_ = false;
    for (int looks = 0; busy_; looks++) {
        rest();
        if (looks > PATIENCE) std::this_thread::yield();
    }
}

void Pool::take_parts(int number) {
    for (int part; (part = next_++) < parts_;) (*work_)(number, part);
}

// done: rounds that this thread has no part in any more.
void Pool::serve(int number, unsigned done) {
    while (true) {
        for (int looks = 0; round_ == done && looks < PATIENCE; looks++) rest();
        if (round_ == done) {
            std::unique_lock<std::mutex> lock(mutex_);
            asleep_++;
            begin_.wait(lock, [&] { return ending_ || round_ != done; });
            asleep_--;
        }
        if (ending_) return;
        done = round_;
        busy_++;  // before it looks whether the round is still open, so that the caller waits if it is
        if (open_) take_parts(number);
        busy_--;
    }
}
