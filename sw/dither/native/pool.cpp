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

void Pool::run(const std::function<void(int)> &work) {
    if (size > 1 && process_ != getpid()) {
        for (std::thread &thread : threads_) thread.detach();
        threads_.clear();
        process_ = getpid();
        asleep_ = 0;
        for (int number = 1; number < size; number++) threads_.emplace_back(&Pool::serve, this, number, round_.load());
    }
    work_ = &work;
    busy_ = size - 1;
    {
        std::lock_guard<std::mutex> lock(mutex_);
        round_++;
        if (asleep_) begin_.notify_all();
    }
    work(0);
    for (int looks = 0; busy_.load(std::memory_order_acquire); looks++) {
        rest();
        if (looks > PATIENCE) std::this_thread::yield();
    }
}

// done: rounds that this thread has no part in any more.
void Pool::serve(int number, unsigned done) {
    while (true) {
        for (int looks = 0; round_.load(std::memory_order_acquire) == done && looks < PATIENCE; looks++) rest();
        if (round_.load(std::memory_order_acquire) == done) {
            std::unique_lock<std::mutex> lock(mutex_);
            asleep_++;
            begin_.wait(lock, [&] { return ending_ || round_ != done; });
            asleep_--;
        }
        if (ending_) return;
        done++;
        (*work_)(number);
        busy_.fetch_sub(1, std::memory_order_release);
    }
}
